"""One connection to a mail server, which never waits: what is to be said is kept until the socket takes it."""

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from socket import IPPROTO_TCP, SHUT_RDWR, TCP_NODELAY

from adapters.smtp_conversation import Conversation
from adapters.smtp_login import LoggedIn
from processors.errors import TransportFault
from processors.interfaces import Letter, Outcome, Told

MAILS_PER_CONNECTION = 100
CONNECTION_SECONDS = 60.0
IDLE_SECONDS = 10.0
READ_BYTES = 65_536
PIECE_BYTES = 16_384
"""What goes to TLS at once: one record (RFC 8446 5.1)."""

NOT_NOW = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, InterruptedError)


class Line:
    """A connection, what is being said over it, and how much it was used.

    Args:
        connection: logged in.
        timeout: seconds for which a server may say nothing.
        deadline: seconds for one mail, whatever the server does.

    Attributes:
        mails: how many the server has answered for here.
        done: mails that have ended since somebody looked.
        fault: why it cannot be used any more.
    """

    def __init__(self, connection: LoggedIn, *, timeout: float, deadline: float) -> None:
        self.socket = connection.socket
        self.socket.setblocking(False)  # noqa: FBT003 - the method has no keyword
        self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # else an envelope waits until the content is acknowledged
        self._is_tls = isinstance(self.socket, ssl.SSLSocket)
        self.talk = Conversation(pipelining=connection.pipelining)
        self.mails = 0
        self.done: list[Told] = []
        self.fault: str | None = None
        self._timeout, self._deadline = timeout, deadline
        self._opened = self._used = self._heard = time.monotonic()
        self._ends_at = 0.0
        self._unsent = memoryview(b"")
        self._after_dot = 0  # how many of the unsent bytes come after the content's end

    @property
    def is_busy(self) -> bool:
        """Whether a mail is on its way here."""
        return self.talk.envelope is not None or self.talk.content is not None

    @property
    def is_ready(self) -> bool:
        """Whether the server waits for the content of a mail."""
        return self.fault is None and self.talk.is_ready

    @property
    def is_answering(self) -> bool:
        """Whether the server has something to say before it waits for content."""
        return self.fault is None and self.is_busy and not self.talk.is_ready

    @property
    def wants_to_write(self) -> bool:
        """Whether the socket has not taken everything."""
        return bool(self._unsent)

    @property
    def is_worn(self) -> bool:
        """Whether it carried so much, or is so old, that the next mail goes over a new one."""
        now = time.monotonic()
        return (
            self.fault is not None
            or self.mails >= MAILS_PER_CONNECTION
            or now - self._opened > CONNECTION_SECONDS
            or now - self._used > IDLE_SECONDS
        )

    def begin(self, letter: Letter) -> None:
        """Begin a mail where none is on its way."""
        self._start_clock()
        self._send(self.talk.begin(letter))

    def hand_over(self, following: Letter | None) -> None:
        """Send the content that the server waits for, and behind it the envelope of the mail that follows."""
        self._start_clock()
        content = self.talk.hand_over()
        envelope = self.talk.begin(following) if following is not None else b""
        self._after_dot = len(envelope)
        self._send(content + envelope)

    def look(self) -> None:
        """Send and read what can be without waiting."""
        if self._unsent and self.fault is None:
            self._flush()
        while self.fault is None:
            try:
                data = self.socket.recv(READ_BYTES)
            except NOT_NOW:
                return
            except OSError as error:
                self._lose(str(error))
                return
            if not data:
                self._lose("the server ended it")
                return
            self._read(data)
            if len(data) < READ_BYTES and not self._is_tls:
                return  # there is no more; what comes later is news again

    def check_clock(self, now: float) -> None:
        """End it where the server takes too long."""
        if self.is_busy and self.fault is None and now >= self.due:
            late = now >= self._ends_at
            self._lose(f"no end after {self._deadline:g} s" if late else f"no answer for {self._timeout:g} s")

    @property
    def due(self) -> float:
        """When its time is over, by the monotonic clock."""
        if self.talk.content is not None:
            return self._ends_at  # a server may take its time to read and to look at a mail
        return min(self._ends_at, self._heard + self._timeout)

    def orphans(self) -> tuple[Told | None, Told | None]:
        """Return, once it is lost, the mail that was not handed over, and the one of which this is the outcome.

        The first one comes with those whom the server has refused: they are not asked for again. A mail whose end the
        socket has not taken whole did not arrive; after that nobody knows.
        """
        waiting, sent = self.talk.envelope, self.talk.content
        self.talk.envelope = self.talk.content = None
        outcome: Mapping[str, Outcome] | None = None
        if sent is not None and len(self._unsent) > self._after_dot:
            text = f"the connection was lost while the mail was sent: {self.fault}"
            outcome = sent.end(Outcome("deferred", text=text))
        elif sent is not None:
            text = f"the connection was lost after the mail was sent: {self.fault}"
            outcome = sent.end(Outcome("unknown", text=text))
        unsent = (waiting.letter, waiting.refusals) if waiting is not None else None
        return unsent, (sent.letter, outcome) if sent is not None and outcome is not None else None

    def close(self) -> None:
        """End it, with a word where nothing is on its way."""
        if self.fault is None and not self.is_busy:
            with suppress(OSError):
                self.socket.send(b"QUIT\r\n")
        with suppress(OSError):
            self.socket.shutdown(SHUT_RDWR)
        self.socket.close()

    def _read(self, data: bytes) -> None:
        self._heard = self._used = time.monotonic()
        done, say = self.talk.receive(data)
        self.done += done
        self.mails += len(done)
        if self.talk.fault is not None:
            self._lose(str(self.talk.fault))
        elif say:
            self._send(say)

    def _send(self, data: bytes) -> None:
        self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._piece()) :]
                self._heard = time.monotonic()
        except NOT_NOW:
            return
        except OSError as error:
            self._lose(str(error))

    def _piece(self) -> memoryview:
        """Return what goes to the socket in one go.

        TLS tells of nothing that it has sent before it has sent all that it was given.
        """
        if not self._is_tls:
            return self._unsent
        content_left = len(self._unsent) - self._after_dot
        return self._unsent[: min(PIECE_BYTES, content_left if content_left > 0 else PIECE_BYTES)]

    def _start_clock(self) -> None:
        self._heard = self._used = time.monotonic()
        self._ends_at = self._heard + self._deadline

    def _lose(self, why: str) -> None:
        if self.fault is None:
            self.fault = why


def fault_of(line: Line, host: str) -> TransportFault:
    """Return the error that a lost line is for mails that were not handed over."""
    said = line.talk.fault
    what = f"The mail server {host} was lost before anything was sent: {line.fault}"
    return TransportFault(what) if said is None else TransportFault(what, said.retry_after, code=said.code)
