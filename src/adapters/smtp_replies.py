"""What a mail server says (RFC 5321 4.2): replies read from bytes, and what they mean for a recipient."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

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


class ReplyReader:
    """Cuts what comes over a connection into replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Yield the replies that are whole with these bytes.

        Raises:
            TransportFault: this is no mail server's talk.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            found = LINE.fullmatch(line.rstrip(b"\r"))
            if found is None:
                raise TransportFault(f"The mail server said what is no reply: {readable(line)[:80]!r}.")
            self._lines.append(found[3])
            if found[2] != b"-":
                text, self._lines = b" ".join(self._lines), []
                yield Reply(int(found[1]), readable(text))
        if len(self._rest) + sum(map(len, self._lines)) > LONGEST_REPLY:
            raise TransportFault(f"The mail server's reply has no end: more than {LONGEST_REPLY} octets.")


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
    """Return the seconds after which a server wants to be asked again, where its words say so."""
    found = ASKED.search(text)
    return min(LONGEST_ASKED, float(found[1]) * SECONDS[found[2][0].lower()]) if found else None


def readable(text: bytes) -> str:
    """Return a server's words in one line."""
    return " ".join(text.decode("utf-8", "replace").replace("\0", "\ufffd").split())
