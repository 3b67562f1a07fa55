"""What is said to a mail server, mail by mail, and what its answers mean (RFC 5321); no socket is touched here.

With PIPELINING (RFC 2920) a mail's envelope goes out in one piece, behind the content of the mail before it.
"""

import re
from collections import deque
from dataclasses import dataclass, field, replace

from adapters.smtp_replies import TRANSPORT_FAULTS, Reply, ReplyReader, fault_in, outcome_of
from processors.errors import TransportFault
from processors.interfaces import Letter, Outcome, Told

RECIPIENTS_PER_TRANSACTION = 50
TOO_MANY_RECIPIENTS = 452
OF_TOO_MANY_RECIPIENTS = "4.5.3"
OLD_TOO_MANY_RECIPIENTS = 552
OF_TOO_MANY = re.compile(r"5\.5\.3\b|.*too many recipients", re.IGNORECASE)
"""What RFC 821 servers say of it, by the code of a full mailbox: it is to be taken as 452 (RFC 5321 4.5.3.1.10)."""

START_MAIL_INPUT = 354
ANSWERS = frozenset({2, 4, 5})
"""First digits of what says yes, later or no (RFC 5321 4.2.1); any other says nothing of a mail or a recipient."""


def _is_answer(verb: str, reply: Reply) -> bool:
    """Tell whether a reply says something of a mail; whoever does not reset has the mail before still in hand."""
    if verb == "RSET":
        return reply.positive
    return reply.code // 100 in ANSWERS or (verb, reply.code) == ("DATA", START_MAIL_INPUT)


def _not_taken(reply: Reply) -> Outcome:
    """Return what became of a recipient whom the server does not take, or not in this transaction."""
    if reply.code == OLD_TOO_MANY_RECIPIENTS and OF_TOO_MANY.match(reply.text):
        return replace(outcome_of(replace(reply, code=TOO_MANY_RECIPIENTS)), enhanced=OF_TOO_MANY_RECIPIENTS)
    return outcome_of(reply)


def _dotted(content: bytes) -> bytes:
    """Return a content in which no line ends the mail: those that begin with a dot get another (RFC 5321 4.5.2)."""
    return (b"." if content.startswith(b".") else b"") + content.replace(b"\n.", b"\n..")


@dataclass
class Transaction:
    """One mail on its way.

    Attributes:
        outcomes: of those of whom is known what became of them.
        ready: those whom the server will have the content for.
        refused: the outcome of the whole mail, where the server does not take it.
    """

    letter: Letter
    outcomes: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    ready: list[str] = field(default_factory=list[str])
    refused: Outcome | None = None

    @property
    def recipients(self) -> tuple[str, ...]:
        """Those whom this transaction is for."""
        return self.letter.recipients[:RECIPIENTS_PER_TRANSACTION]

    @property
    def refusals(self) -> dict[str, Outcome]:
        """Those whom the server will never have the content for."""
        return {address: outcome for address, outcome in self.outcomes.items() if outcome.state == "refused"}

    def end(self, outcome: Outcome) -> dict[str, Outcome]:
        """Return what became of all, where this became of those who were ready.

        A recipient whom the server wants in a transaction of its own is left out (RFC 5321 4.5.3.1.10).
        """
        if outcome.state != "accepted":
            outcome = replace(outcome, of_whole_mail=True)
        told = self.outcomes | dict.fromkeys(self.ready, outcome)
        if self.ready:
            return {address: one for address, one in told.items() if one.code != TOO_MANY_RECIPIENTS or one is outcome}
        return told


class Conversation:
    """Everything after the login.

    Args:
        pipelining: whether the server takes several commands at once.

    Attributes:
        envelope: the mail whose envelope the server is answering, or which it will have the content of.
        content: the mail whose content went out, and which it has not answered yet.
        is_ready: whether the server waits for the content of the one in `envelope`.
        fault: why nothing more can be said here.
    """

    def __init__(self, *, pipelining: bool) -> None:
        self.pipelining = pipelining
        self.fault: TransportFault | None = None
        self.envelope: Transaction | None = None
        self.content: Transaction | None = None
        self.is_ready = False
        self._reader = ReplyReader()
        self._unsaid: deque[str] = deque()
        self._unanswered: deque[tuple[str, str]] = deque()  # verb and address
        self._must_reset = False

    def begin(self, letter: Letter) -> bytes:
        """Return the first bytes of a mail: all of its envelope, or its first command."""
        transaction = self.envelope = Transaction(letter)
        reset = ["RSET"] if self._must_reset else []
        to = [f"RCPT TO:<{address}>" for address in transaction.recipients]
        self._unsaid = deque([*reset, f"MAIL FROM:<{letter.sender}>", *to, "DATA"])
        self._must_reset = False
        return self._say()

    def hand_over(self) -> bytes:
        """Return the content that the server waits for, with its final dot."""
        mail, self.envelope, self.is_ready = self.envelope, None, False
        if mail is None:
            raise ValueError("the server waits for no content")
        self.content = mail
        dotted = _dotted(mail.letter.content)
        self._unanswered.append(("content", ""))
        return dotted + (b".\r\n" if dotted.endswith(b"\r\n") else b"\r\n.\r\n")

    def receive(self, data: bytes) -> tuple[list[Told], bytes]:
        """Read what came; returns the mails that are done, with their outcomes, and what is to be said next.

        A `fault` ends the connection. Of what is in `envelope` nothing was handed over then.
        """
        done: list[Told] = []
        say = b""
        try:
            for reply in self._reader.feed(data):
                ended = self._answered(*self._asked(reply), reply)
                if ended is not None:
                    done.append(ended)
                if self._unsaid and not self._unanswered:
                    say += self._say()
        except TransportFault as fault:
            self.fault = fault
        return done, say

    def _say(self) -> bytes:
        """Return the next command, or all of them at once where the server takes that."""
        said: list[str] = []
        while self._unsaid and (self.pipelining or not said):
            command = self._unsaid.popleft()
            verb, _, rest = command.partition(" ")
            self._unanswered.append((verb, rest[4:-1] if verb == "RCPT" else ""))
            said.append(command)
        return "".join(f"{command}\r\n" for command in said).encode("ascii")

    def _asked(self, reply: Reply) -> tuple[str, str]:
        """Return what a reply answers."""
        if not self._unanswered:
            raise fault_in(reply, "The mail server ends the connection")
        return self._unanswered.popleft()

    def _answered(self, verb: str, address: str, reply: Reply) -> Told | None:
        """Take one answer; returns the mail that it ends."""
        if verb == "content":
            return self._content_answered(reply)
        if reply.code in TRANSPORT_FAULTS:
            raise fault_in(reply, "The mail server takes no mail now")
        if not _is_answer(verb, reply):
            raise TransportFault(f"The mail server answered {verb} with {reply}.")
        mail = self.envelope
        if verb == "RSET" or mail is None:
            return None
        if verb == "MAIL" and not reply.positive:
            mail.refused = outcome_of(reply)
        if verb == "RCPT" and reply.positive:
            mail.ready.append(address)
        elif verb == "RCPT":
            mail.outcomes[address] = _not_taken(reply)
        if verb in {"DATA", "."}:
            return self._data_answered(mail, verb, reply)
        pointless = mail.refused is not None or (list(self._unsaid) == ["DATA"] and not mail.ready)
        if pointless and not self._unanswered:
            self._unsaid.clear()
            return self._end(mail, outcome_of(reply))
        return None

    def _data_answered(self, mail: Transaction, verb: str, reply: Reply) -> Told | None:
        wanted = verb == "DATA" and reply.code == START_MAIL_INPUT
        if verb == "DATA" and reply.positive:
            raise TransportFault(f"The mail server answered DATA with {reply}.")
        if wanted and mail.ready and mail.refused is None:
            self.is_ready = True
            return None
        if wanted:  # a server may want the content of a mail that it has taken for nobody: it gets none (RFC 2920 3.1)
            self._unsaid.append(".")
            return None
        return self._end(mail, outcome_of(reply))

    def _end(self, mail: Transaction, outcome: Outcome) -> Told:
        """End a mail whose content was not wanted."""
        self.envelope, self._must_reset = None, True
        if mail.refused is not None:
            return mail.letter, dict.fromkeys(mail.recipients, replace(mail.refused, of_whole_mail=True))
        return mail.letter, mail.end(outcome)

    def _content_answered(self, reply: Reply) -> Told | None:
        mail = self.content
        if mail is None or reply.code // 100 not in ANSWERS:
            raise TransportFault(f"The mail server answered the end of a mail with {reply}.")
        self.content = None
        return mail.letter, mail.end(outcome_of(reply))
