"""A small SMTP server on 127.0.0.1 that says what a test tells it to say, and remembers what it was given."""

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import Self


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
        drip: a command's beginning (or `connect`) whose answer comes letter by letter and never ends.
        once: replies that are given only the first time.
        drop_after: how many mails a connection takes before it is cut without a word.
        silent: a command's beginning (or `dot`) at which nothing is ever answered.
        most_recipients: how many a transaction takes before 452 comes.
    """

    tls: ssl.SSLContext | None = None
    implicit: bool = False
    replies: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)
    drop_after: int = 1_000_000
    drip: str = "-"
    drop: str = "-"
    silent: str = "-"
    most_recipients: int = 1000
    mails: list[Delivered] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0

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
        with contextlib.suppress(OSError, ssl.SSLError):
            if self.implicit and self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            if self.drop != "connect":
                conversation = _Conversation(self, connection)
                with contextlib.closing(conversation):
                    conversation.run()
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


class _Conversation:
    def __init__(self, server: SmtpServer, connection: socket.socket) -> None:
        self.server, self.connection = server, connection
        self.reader = connection.makefile("rb")
        self.sender, self.recipients, self.user, self.taken = "", [], None, 0

    def close(self) -> None:
        self.reader.close()  # a socket with an open reader stays open, whoever closes it

    def run(self) -> None:
        if self.server.drip == "connect":
            self.drip()
        self.say(self.server.replies.get("connect", "220 test"))
        while line := self.reader.readline():
            verb, space, rest = line.decode().rstrip("\r\n").partition(" ")
            command = verb.upper() + space + rest
            self.server.commands.append(command)
            if command.startswith(self.server.drop):
                return
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
                    "\r\n".join(["250-test", *(["250-STARTTLS"] if tls else []), "250-AUTH PLAIN", "250 8BITMIME"])
                )
            case "STARTTLS":
                self.say("220 go ahead")
                self.reader.close()
                self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
                self.server._open.append(self.connection)
                self.reader = self.connection.makefile("rb")
            case "AUTH":
                self.user = command.rsplit(" ", maxsplit=1)[-1]
                self.say("235 2.7.0 welcome")
            case "MAIL":
                self.sender, self.recipients = command[len("MAIL FROM:<") : -1], []
                self.say("250 2.1.0 ok")
            case "RCPT":
                if len(self.recipients) >= self.server.most_recipients:
                    self.say("452 4.5.3 too many recipients")
                    return None
                self.recipients.append(command[len("RCPT TO:<") : -1])
                self.say("250 2.1.5 ok")
            case "DATA":
                return self.take_content()
            case "QUIT":
                self.say("221 bye")
                return "end"
            case _:
                self.say("250 ok")
        return None

    def take_content(self) -> str | None:
        self.say("354 go on")
        if self.server.drop == "content":
            return "end"
        lines = []
        while (line := self.reader.readline()) != b".\r\n":
            if not line:
                return "end"
            lines.append(line[1:] if line.startswith(b"..") else line)
        encrypted = isinstance(self.connection, ssl.SSLSocket)
        self.server.mails.append(Delivered(self.sender, self.recipients, b"".join(lines), encrypted, self.user))
        if self.server.silent == "dot":
            self.server._ended.wait()
        if self.server.drop == "dot" or self.server.silent == "dot":
            return "end"
        self.say(self.server.replies.get("dot", "250 2.0.0 queued as 42"))
        self.taken += 1
        return "end" if self.taken >= self.server.drop_after else None

    def drip(self) -> None:
        """Until the other side has had enough, which is an `OSError` here."""
        while not self.server._ended.wait(0.05):
            self.connection.sendall(b"2")

    def say(self, line: str) -> None:
        self.connection.sendall(line.encode() + b"\r\n")
