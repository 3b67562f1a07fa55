"""SMTP, command by command (RFC 5321): the stage at which a fault strikes decides whether a mail may be sent again.

Before the first byte of the content nothing has happened; after the final dot, without an answer, nobody knows.
"""

import os
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from processors.errors import ConfigurationError, TransportFault
from processors.interfaces import Handing, Outcome

RECIPIENTS_PER_TRANSACTION = 50
MAILS_PER_CONNECTION = 100
CONNECTION_SECONDS = 60.0
IDLE_SECONDS = 10.0
TOO_MANY_RECIPIENTS = 452
READY = 220
START_MAIL_INPUT = 354
TRANSPORT_FAULTS = frozenset({421, 530, 534, 535, 538})
"""Closing, and everything about the login: the transport's fault, not the recipient's (RFC 5321, RFC 4954)."""
ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\s*")
TLS_WORDS = ("required", "opportunistic", "none")
FAULTS = (smtplib.SMTPException, OSError, ValueError)


@dataclass
class _Session:
    """A connection of one thread of one process, and how much it was used."""

    server: smtplib.SMTP
    pid: int
    opened: float
    used: float
    mails: int = 0


class SmtpMailer:
    """Fulfils `processors.interfaces.Mailer`.

    Args:
        url: `smtp://[user:password@]host[:port][?tls=required|opportunistic|none]` or `smtps://…`. TLS is required, and
            certificates are verified, unless the host is this machine or the URL says otherwise.
        timeout: seconds that one reply may take.
        deadline: seconds that one transaction may take in all, whatever the server does.
        context: the TLS context; by default the system's certificate authorities.

    Raises:
        ConfigurationError: the URL is not of that form.
    """

    name = "smtp"
    repeatable = False

    def __init__(
        self, url: str, *, timeout: float = 30, deadline: float = 120, context: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise ConfigurationError(
                "EMAIL_URL must be smtp:// or smtps:// with a host, e.g. smtp://user:password@host:587."
            )
        self._implicit = parts.scheme == "smtps"
        self._host = parts.hostname
        self._port = parts.port or (465 if self._implicit else 587)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._local = self._host in {"localhost", "127.0.0.1", "::1"}
        self._tls = parse_qs(parts.query).get("tls", ["none" if self._local else "required"])[0]
        if self._tls not in TLS_WORDS:
            raise ConfigurationError(f"EMAIL_URL: tls must be one of {', '.join(TLS_WORDS)}; got {self._tls!r}.")
        self._timeout, self.deadline = timeout, deadline
        self._context = context or ssl.create_default_context()
        self._threads = threading.local()

    def send(
        self,
        sender: str,
        recipients: Sequence[str],
        content: bytes,
        *,
        mail_id: str,  # noqa: ARG002 - the interface's; SMTP has no place for it
        handing: Handing,
    ) -> dict[str, Outcome]:
        """Hand the mail over to at most 50 recipients; who else there is, or is not taken at once, is left out."""
        used_before = getattr(self._threads, "session", None) is not None
        some = list(recipients[:RECIPIENTS_PER_TRANSACTION])
        try:
            return self._transaction(sender, some, content, handing)
        except TransportFault:
            if not used_before:
                raise
            return self._transaction(sender, some, content, handing)  # the server had ended the old connection

    def close(self) -> None:
        """Close this thread's connection."""
        self._forget()

    def _transaction(self, sender: str, recipients: list[str], content: bytes, handing: Handing) -> dict[str, Outcome]:
        """Send to these; a recipient that the server wants in another transaction is left out of the answer."""
        with self._within_deadline() as server:
            outcomes = self._envelope(server, sender, recipients)
            ready = [address for address in recipients if address not in outcomes]
            postponed = [address for address, outcome in outcomes.items() if outcome.code == TOO_MANY_RECIPIENTS]
            if ready and postponed:
                outcomes = {address: outcome for address, outcome in outcomes.items() if address not in postponed}
            if not ready:
                self._reset(server)
                return outcomes
            code, text = self._command(server, "DATA")
            if code // 100 in {2, 3} and code != START_MAIL_INPUT:
                raise TransportFault(f"The mail server {self._host} answered DATA with {code} {_readable(text)}.")
            if code != START_MAIL_INPUT:
                outcome = _outcome(code, text)
                self._forget()
                return outcomes | dict.fromkeys(ready, outcome)
            dotted = re.sub(rb"(?m)^\.", b"..", content)
            handing(ready)
            return outcomes | dict.fromkeys(ready, self._content(server, dotted))

    def _envelope(self, server: smtplib.SMTP, sender: str, recipients: Sequence[str]) -> dict[str, Outcome]:
        """Say MAIL and RCPT; returns the outcomes of those who were not taken."""
        code, text = self._command(server, f"MAIL FROM:<{sender}>")
        if code // 100 != 2:  # noqa: PLR2004 - the positive replies of RFC 5321 4.2.1
            self._forget()
            outcome = _outcome(code, text)
            return dict.fromkeys(recipients, outcome)
        outcomes: dict[str, Outcome] = {}
        for address in recipients:
            code, text = self._command(server, f"RCPT TO:<{address}>")
            if code // 100 != 2:  # noqa: PLR2004 - the positive replies of RFC 5321 4.2.1
                outcomes[address] = _outcome(code, text)
        return outcomes

    def _command(self, server: smtplib.SMTP, command: str) -> tuple[int, bytes]:
        """Say one command before the content; a fault here has done nothing."""
        try:
            code, text = server.docmd(command)
        except FAULTS as error:
            raise TransportFault(f"The mail server {self._host} was lost before anything was sent: {error}.") from error
        if code in TRANSPORT_FAULTS:
            raise TransportFault(f"The mail server {self._host} takes no mail now: {code} {_readable(text)}.")
        return code, text

    def _content(self, server: smtplib.SMTP, dotted: bytes) -> Outcome:
        """Send the content at once, and its final dot; whether the dot went out decides what a fault means."""
        try:
            server.send(dotted)
        except FAULTS as error:
            self._forget()
            return Outcome("deferred", text=f"the connection was lost while the mail was sent: {error}")
        ending = b".\r\n" if dotted.endswith(b"\r\n") else b"\r\n.\r\n"
        try:
            server.send(ending)
            code, text = server.getreply()
        except FAULTS as error:
            self._forget()
            return Outcome("unknown", text=f"the connection was lost after the mail was sent: {error}")
        return _outcome(code, text)

    @contextmanager
    def _within_deadline(self) -> Generator[smtplib.SMTP]:
        """Lend a connection for as long as a transaction may take; any fault closes it."""
        session = self._session()
        try:
            with _deadline(session.server, self.deadline):
                yield session.server
        except BaseException:
            self._forget()
            raise
        finally:
            session.used = time.monotonic()
            session.mails += 1

    def _session(self) -> _Session:
        session: _Session | None = getattr(self._threads, "session", None)
        if session is not None and self._usable(session):
            return session
        self._forget()
        session = _Session(self._connect(), os.getpid(), time.monotonic(), time.monotonic())
        self._threads.session = session
        return session

    def _usable(self, session: _Session) -> bool:
        now = time.monotonic()
        worn = session.mails >= MAILS_PER_CONNECTION or now - session.opened > CONNECTION_SECONDS
        if session.pid != os.getpid() or worn:
            return False
        if now - session.used <= IDLE_SECONDS:
            return True
        try:
            return session.server.noop()[0] == 250  # noqa: PLR2004 - RFC 5321 4.1.1.9
        except FAULTS:
            return False

    def _connect(self) -> smtplib.SMTP:
        try:
            server = self._open()
            with _deadline(server, self.deadline):
                self._prepare(server)
        except smtplib.SMTPAuthenticationError as error:
            code = error.smtp_code
            raise TransportFault(f"The mail server {self._host} refuses the login ({code}): check EMAIL_URL.") from None
        except ssl.SSLCertVerificationError as error:
            raise TransportFault(f"The certificate of {self._host} is not trusted: {error.verify_message}.") from error
        except FAULTS as error:
            raise TransportFault(f"The mail server {self._host}:{self._port} cannot be used: {error}.") from error
        return server

    def _prepare(self, server: smtplib.SMTP) -> None:
        """Connect, greet, switch to TLS and log in; a connection that fails here is closed."""
        try:
            self._reach(server)
            server.ehlo_or_helo_if_needed()
            self._secure(server)
            if self._user:
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise

    def _reach(self, server: smtplib.SMTP) -> None:
        code, text = server.connect(self._host, self._port)
        if code != READY:
            raise smtplib.SMTPConnectError(code, text)

    def _open(self) -> smtplib.SMTP:
        """Return a server that is not connected yet, so that a deadline can end whatever it does."""
        server = (
            smtplib.SMTP_SSL(timeout=self._timeout, context=self._context)
            if self._implicit
            else smtplib.SMTP(timeout=self._timeout)
        )
        cast("Any", server)._host = self._host  # noqa: SLF001 - the name that TLS checks
        return server

    def _secure(self, server: smtplib.SMTP) -> None:
        """Switch to TLS as the URL asks; a password never goes out in clear but to this machine."""
        if not self._implicit and self._tls != "none" and (self._tls == "required" or server.has_extn("starttls")):
            server.starttls(context=self._context)
            server.ehlo()
        if self._user and not self._local and not isinstance(server.sock, ssl.SSLSocket):
            raise smtplib.SMTPNotSupportedError("a login needs TLS, which this server or EMAIL_URL does not allow")

    def _reset(self, server: smtplib.SMTP) -> None:
        try:
            server.rset()
        except FAULTS:
            self._forget()

    def _forget(self) -> None:
        """Close this thread's connection: after anything but a clean answer it cannot be trusted."""
        session: _Session | None = getattr(self._threads, "session", None)
        self._threads.session = None
        if session is not None and session.pid == os.getpid():
            session.server.close()


@contextmanager
def _deadline(server: smtplib.SMTP, seconds: float) -> Generator[None]:
    """Close a server's socket when what goes on takes too long: a limit for each reply does not stop a slow drip."""
    timer = threading.Timer(seconds, _shut, (server,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(server: smtplib.SMTP) -> None:
    if server.sock is not None:
        try:
            server.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # closed by the other side in the same moment


def _outcome(code: int, text: bytes) -> Outcome:
    """Read a reply: 2xx took it, 4xx may take it later, the rest refuses it (RFC 5321 4.2.1, codes of RFC 3463)."""
    readable = _readable(text)
    enhanced = ENHANCED.match(readable)
    state = {2: "accepted", 4: "deferred"}.get(code // 100, "refused")
    return Outcome(state, code, enhanced[1] if enhanced else None, ENHANCED.sub("", readable))  # pyright: ignore[reportArgumentType] - one of the three words


def _readable(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())
