"""A small SMTP server on 127.0.0.1 that says what a test tells it to say, and remembers what it was given."""

import base64
import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

CHALLENGES = {"LOGIN": (b"Username:", b"Password:"), "CRAM-MD5": (b"<1896.697170952@example.com>",)}
"""What a login is asked, one after the other (CRAM-MD5: RFC 2195); PLAIN says all at once (RFC 4616)."""

TLS_HANDSHAKE = b"\x16\x03"
"""The beginning of what a client says that takes this for a server of TLS (RFC 8446, section 5.1): no line of text."""


@dataclass
class Delivered:
    """One mail as it came over the wire."""

    sender: str
    recipients: list[str]
    content: bytes
    encrypted: bool
    user: str | None = None


@dataclass
class SmtpServer:
    """Accepts mail until told otherwise.

    Attributes:
        replies: a command's beginning to the reply it gets instead of the usual one; the longest beginning wins.
        drop: a command's beginning (or `connect`, `content`, `dot`) at which the connection is cut without a word.
        drip: a command's beginning (or `connect`, `dot`) whose answer comes letter by letter and never ends.
        once: replies that are given only the first time.
        drop_after: how many mails a connection takes before it is cut without a word.
        silent: a command's beginning (or `connect`, `tls`, `handshake`, `dot`) at which nothing is ever answered.
        mechanism: the one way to log in that it offers.
        logins: what each login said, answer by answer.
        most_recipients: how many a transaction takes before `too_many` comes.
        pipelining: whether it offers to take several commands at once; where not, it takes that for an attack.
        mood: called with each command (or `content`, `dot`) and the connection's number; returns a reply that comes
            instead of the usual one, `drop`, `cut` (in the middle of a content), or None.
    """

    tls: ssl.SSLContext | None = None
    implicit: bool = False
    replies: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)
    drop_after: int = 1_000_000
    drip: str = "-"
    drop: str = "-"
    silent: str = "-"
    mechanism: str = "PLAIN"
    logins: list[list[bytes]] = field(default_factory=list)
    most_recipients: int = 1000
    too_many: str = "452 4.5.3 too many recipients"
    mails: list[Delivered] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    open_at_most: int = 0
    mood: Callable[[str, int], str | None] | None = None

    pipelining = False  # no field: a test module may choose it for all of its servers

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._open: list[socket.socket] = []
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self._threads[0].join(10)  # it may still be on its way to its next accept: that must find the port open
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in self._open:
            one.close()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._ended.is_set():
                connection.close()
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        self.open_now += 1
        self.open_at_most = max(self.open_at_most, self.open_now)
        with contextlib.suppress(OSError, ssl.SSLError):
            if self.silent == "tls":
                self._ended.wait()
            if self.implicit and self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            if self.silent == "connect":
                self._ended.wait()
            elif self.drop != "connect":
                conversation = _Conversation(self, connection)
                with contextlib.closing(conversation):
                    conversation.run()
        self.open_now -= 1
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


class _Conversation:
    def __init__(self, server: SmtpServer, connection: socket.socket) -> None:
        self.server, self.connection = server, connection
        self.reader = connection.makefile("rb")
        self.sender, self.recipients, self.user, self.taken = None, [], None, 0
        self.number = server.connections

    def close(self) -> None:
        self.reader.close()  # a socket with an open reader stays open, whoever closes it

    def run(self) -> None:
        if self.server.drip == "connect":
            self.drip()
        self.say(self.server.replies.get("connect", "220 test"))
        while (line := self.reader.readline()) and not line.startswith(TLS_HANDSHAKE):
            verb, space, rest = line.decode().rstrip("\r\n").partition(" ")
            command = verb.upper() + space + rest
            self.server.commands.append(command)
            assert self.server.pipelining or self.is_quiet() or verb == "QUIT", f"more than {command} at once"
            mood = self.mood(command)
            if mood == "drop" or command.startswith(self.server.drop):
                return
            if mood is not None:
                self.say(mood)
                continue
            if command.startswith(self.server.drip):
                self.drip()
            if command.startswith(self.server.silent):
                self.server._ended.wait()
                return
            if command[:4] in self.server.once:
                self.say(self.server.once.pop(command[:4]))
                continue
            beginnings = [start for start in self.server.replies if command.startswith(start)]
            if beginnings:
                self.say(self.server.replies[max(beginnings, key=len)])
                continue
            if self.answer(command) == "end":
                return

    def answer(self, command: str) -> str | None:
        verb = command.split(" ", maxsplit=1)[0].upper()
        match verb:
            case "EHLO":
                tls = self.server.tls is not None and not isinstance(self.connection, ssl.SSLSocket)
                self.say(
                    "\r\n".join(
                        [
                            "250-test",
                            *(["250-STARTTLS"] if tls else []),
                            *(["250-PIPELINING"] if self.server.pipelining else []),
                            f"250-AUTH {self.server.mechanism}",
                            "250 8BITMIME",
                        ]
                    )
                )
            case "STARTTLS":
                self.say("220 go ahead")
                if self.server.silent == "handshake":
                    self.server._ended.wait()
                self.reader.close()
                self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
                self.server._open.append(self.connection)
                self.reader = self.connection.makefile("rb")
            case "AUTH":
                self.take_login(*command.split()[1:])
                self.say("235 2.7.0 welcome")
            case "MAIL":
                self.sender, self.recipients = command[len("MAIL FROM:<") : -1], []
                self.say("250 2.1.0 ok")
            case "RSET":
                self.sender, self.recipients = None, []
                self.say("250 2.0.0 ok")
            case "RCPT":
                self.take_recipient(command[len("RCPT TO:<") : -1])
            case "DATA":
                return self.take_content()
            case "QUIT":
                self.say("221 bye")
                return "end"
            case _:
                self.say("250 ok")
        return None

    def take_login(self, mechanism: str, *answers: str) -> None:
        """Ask for what did not come with the command itself."""
        said = [*answers]
        for challenge in CHALLENGES.get(mechanism, ())[len(answers) :]:
            self.say(f"334 {base64.b64encode(challenge).decode()}")
            said.append(self.reader.readline().decode().strip())
        self.user = said[-1]
        self.server.logins.append([base64.b64decode(one) for one in said])

    def take_recipient(self, address: str) -> None:
        if self.sender is None:
            self.say("503 5.5.1 MAIL first")
        elif len(self.recipients) >= self.server.most_recipients:
            self.say(self.server.too_many)
        else:
            self.recipients.append(address)
            self.say("250 2.1.5 ok")

    def is_quiet(self) -> bool:
        """Whether nothing more has come yet."""
        if isinstance(self.connection, ssl.SSLSocket):
            return True  # what TLS holds back cannot be seen from here
        if not select.select([self.connection], [], [], 0)[0]:
            return True
        with contextlib.suppress(OSError):
            return not self.connection.recv(1, socket.MSG_PEEK)  # an end is no command
        return True

    def take_content(self) -> str | None:
        if not self.recipients:
            self.say("554 5.5.1 no valid recipients")
            return None
        self.say("354 go on")
        mood = self.mood("content")
        if mood == "cut":
            self.reader.readline()
        if self.server.drop == "content" or mood in {"drop", "cut"}:
            return "end"
        lines = []
        while (line := self.reader.readline()) != b".\r\n":
            if not line:
                return "end"
            lines.append(line[1:] if line.startswith(b"..") else line)
        encrypted = isinstance(self.connection, ssl.SSLSocket)
        mail = Delivered(self.sender, self.recipients, b"".join(lines), encrypted, self.user)
        self.sender, self.recipients, mood = None, [], self.mood("dot")
        if mood is None or mood == "drop":
            self.server.mails.append(mail)
        if self.server.silent == "dot":
            self.server._ended.wait()
        if self.server.drip == "dot":
            self.drip()
        if self.server.drop == "dot" or self.server.silent == "dot" or mood == "drop":
            return "end"
        self.say(mood or self.server.replies.get("dot", "250 2.0.0 queued as 42"))
        self.taken += 1
        return "end" if self.taken >= self.server.drop_after else None

    def mood(self, stage: str) -> str | None:
        return self.server.mood(stage, self.number) if self.server.mood else None

    def drip(self) -> None:
        """Until the other side has had enough, which is an `OSError` here."""
        while not self.server._ended.wait(0.05):
            self.connection.sendall(b"2")

    def say(self, line: str) -> None:
        self.connection.sendall(line.encode() + b"\r\n")
