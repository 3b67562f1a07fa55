"""What a mail server says (RFC 5321 4.2): replies read from bytes, and what they mean for a recipient."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from processors.errors import TransportFault
from processors.interfaces import Outcome

LONGEST_REPLY = 65_536
"""Octets; a line has at most 512 (RFC 5321 4.5.3.1.5), and nobody needs a hundred."""

TRANSPORT_FAULTS = frozenset({421, 530, 534, 535, 538})
"""Closing, and everything about the login: the transport's fault, not the recipient's (RFC 5321, RFC 4954)."""

LINE = re.compile(rb"(\d{3})([ -]?)(.*)", re.DOTALL)
ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\s*")
ASKED = re.compile(r"\b(\d{1,5})\s*(seconds?|secs?|s|minutes?|mins?|hours?)\b", re.IGNORECASE)
SECONDS = {"s": 1, "m": 60, "h": 3_600}
LONGEST_ASKED = 86_400.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: its code, and its text in one line."""

    code: int
    text: str

    @property
    def positive(self) -> bool:
        """Whether it took what was asked."""
        return self.code // 100 == 2  # noqa: PLR2004 - the positive replies of RFC 5321 4.2.1

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()


def fault_in(reply: Reply, what: str) -> TransportFault:
    """Return the error that a reply is which says that the server takes no mail."""
    return TransportFault(f"{what}: {reply}.", asked_wait(reply.text), code=reply.code)


class ReplyReader:
    """Cuts what comes over a connection into replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._texts: list[str] = []
        self._octets = 0  # of the lines of a reply that goes on

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Yield the replies that are whole with these bytes.

        Raises:
            TransportFault: this is no mail server's talk.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            code, goes_on, text = _read(line)
            self._texts.append(text)
            self._octets += len(line)
            if not goes_on:
                text = " ".join(filter(None, self._texts))
                self._texts, self._octets = [], 0
                yield Reply(code, text)
        if len(self._rest) + self._octets > LONGEST_REPLY:
            raise TransportFault(f"The mail server's reply has no end: more than {LONGEST_REPLY} octets.")


@lru_cache(maxsize=64)
def _read(line: bytes) -> tuple[int, bool, str]:
    """Return a line's code, whether its reply goes on, and its words; most are what the server always says.

    Raises:
        TransportFault: it is no line of a reply.
    """
    found = LINE.fullmatch(line.rstrip(b"\r"))
    if found is None:
        raise TransportFault(f"The mail server said what is no reply: {readable(line)[:80]!r}.")
    return int(found[1]), found[2] == b"-", readable(found[3])


def outcome_of(reply: Reply) -> Outcome:
    """Read a reply: 2xx took it, 4xx may take it later, the rest refuses it (RFC 5321 4.2.1, codes of RFC 3463)."""
    enhanced = ENHANCED.match(reply.text)
    code = enhanced[1] if enhanced else None
    text = ENHANCED.sub("", reply.text, count=1)
    if reply.positive:
        return Outcome("accepted", reply.code, code, text)
    if reply.code // 100 == 4:  # noqa: PLR2004 - the transient negative replies of RFC 5321 4.2.1
        return Outcome("deferred", reply.code, code, text, asked_wait(text))
    return Outcome("refused", reply.code, code, text)


def asked_wait(text: str) -> float | None:
    """Return the seconds after which a server wants to be asked again, where its words name more than none."""
    found = ASKED.search(text)
    seconds = min(LONGEST_ASKED, float(found[1]) * SECONDS[found[2][0].lower()]) if found else 0.0
    return seconds or None


def readable(text: bytes) -> str:
    """Return a server's words in one line."""
    return " ".join(text.decode("utf-8", "replace").replace("\0", "\ufffd").split())
