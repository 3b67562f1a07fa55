"""Reaching a mail server: greeting, TLS and login; then the connection is ready for mails (RFC 5321, 3207, 4954)."""

import hashlib
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from adapters.deadline import ended_at
from adapters.smtp_replies import asked_wait, readable
from config.email_urls import PORTS
from processors.errors import ConfigurationError, TransportFault

READY = 220
CLOSING = 421
TLS_WORDS = ("required", "opportunistic", "none")
FAULTS = (smtplib.SMTPException, OSError, ValueError)


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """Where a mail server is, and how to log in there.

    Attributes:
        tls: `implicit` from the first byte, or STARTTLS `required`, `opportunistic` or `none`.
        is_local: whether it is this machine: a password may go there in clear.
    """

    host: str
    port: int
    user: str
    password: str
    tls: str
    is_local: bool

    @property
    def key(self) -> str:
        """What tells it from other accounts, without its password and its user."""
        user = f"#{hashlib.sha256(self.user.encode()).hexdigest()[:8]}" if self.user else ""
        return f"{self.host}:{self.port}{user}"


def account_of(url: str) -> Account:
    """Read `smtp://[user:password@]host[:port][?tls=required|opportunistic|none]` or `smtps://…`.

    TLS is required, and certificates are verified, unless the host is this machine or the URL says otherwise.

    Raises:
        ConfigurationError: the URL is not of that form.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise ConfigurationError(
            "EMAIL_URL must be smtp:// or smtps:// with a host, e.g. smtp://user:password@host:587."
        )
    implicit = parts.scheme == "smtps"
    is_local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    words = parse_qs(parts.query, keep_blank_values=True)
    if unknown := set(words) - {"tls"}:
        raise ConfigurationError(f"EMAIL_URL: the only word after ? is tls; got {min(unknown)!r}.")
    tls = words.get("tls", ["none" if is_local else "required"])[0]
    if tls not in TLS_WORDS:
        raise ConfigurationError(f"EMAIL_URL: tls must be one of {', '.join(TLS_WORDS)}; got {tls!r}.")
    return Account(
        host=parts.hostname,
        port=parts.port or PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls="implicit" if implicit else tls,
        is_local=is_local,
    )


class _Handshake:
    """A TLS context that shows its socket before the handshake, so that a deadline can cut that, too."""

    def __init__(self, server: smtplib.SMTP, context: ssl.SSLContext) -> None:
        self._server, self._context = server, context

    def wrap_socket(self, plain: socket.socket, server_hostname: str) -> ssl.SSLSocket:
        wrapped = self._context.wrap_socket(plain, server_hostname=server_hostname, do_handshake_on_connect=False)
        self._server.sock = wrapped
        wrapped.do_handshake()
        return wrapped


class _Utf8(str):
    """A name or a password, which goes out in UTF-8 (RFC 4616 2) where `smtplib` asks for ASCII."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002 - it is always UTF-8
        """Return the bytes."""
        return super().encode("utf-8", errors)


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A connection that takes mails, and whether the server takes several commands at once (RFC 2920)."""

    socket: socket.socket
    pipelining: bool


def log_in(account: Account, context: ssl.SSLContext, *, timeout: float, deadline: float) -> LoggedIn:
    """Connect and log in.

    Args:
        account: where.
        context: of TLS.
        timeout: seconds that one reply may take.
        deadline: seconds that all of it may take, whatever the server does.

    Raises:
        TransportFault: it cannot be done now.
    """
    server = _unconnected(account, context, timeout)
    try:
        with ended_at(server, time.monotonic() + deadline):
            _prepare(server, account, context)
    except smtplib.SMTPAuthenticationError as error:
        code = error.smtp_code
        what = f"The mail server {account.host} refuses the login ({code}): check EMAIL_URL."
        raise TransportFault(what, _asked(error), code=code) from None
    except ssl.SSLCertVerificationError as error:
        raise TransportFault(f"The certificate of {account.host} is not trusted: {error.verify_message}.") from error
    except FAULTS as error:
        what = f"The mail server {account.host}:{account.port} cannot be used: {error}."
        if isinstance(error, smtplib.SMTPResponseException):
            raise TransportFault(what, _asked(error), code=error.smtp_code, opening=True) from error
        raise TransportFault(what) from error
    connection = server.sock
    if connection is None:
        raise TransportFault(f"The mail server {account.host}:{account.port} has ended the connection.")
    if server.file is not None:
        server.file.close()  # the socket lives on
    return LoggedIn(connection, server.has_extn("pipelining"))


def _asked(error: smtplib.SMTPResponseException) -> float | None:
    text = error.smtp_error
    return asked_wait(readable(text.encode() if isinstance(text, str) else text))


def _prepare(server: smtplib.SMTP, account: Account, context: ssl.SSLContext) -> None:
    """Connect, greet, switch to TLS and log in; a connection that fails here is closed."""
    try:
        _reach(server, account)
        _greet(server)
        _secure(server, account, context)
        if account.user:
            _answer_in_utf8(server)
            server.login(account.user, _Utf8(account.password))
    except BaseException:
        server.close()
        raise


def _answer_in_utf8(server: smtplib.SMTP) -> None:
    ask = server.auth

    def auth(mechanism: str, answer: Callable[[bytes | None], str | None], **options: Any) -> Any:
        def answered(challenge: bytes | None = None) -> str | None:
            said = answer(challenge)
            return None if said is None else _Utf8(said)

        return ask(mechanism, cast("Any", answered), **options)

    cast("Any", server).auth = auth


def _reach(server: smtplib.SMTP, account: Account) -> None:
    code, text = server.connect(account.host, account.port)
    if code != READY:
        raise smtplib.SMTPConnectError(code, text)


def _greet(server: smtplib.SMTP) -> None:
    """Say EHLO, or HELO to an old server; one that closes is asked nothing more."""
    code, text = server.ehlo()
    if code == CLOSING:
        raise smtplib.SMTPHeloError(code, text)
    if not server.does_esmtp:
        code, text = server.helo()
        if code // 100 != 2:  # noqa: PLR2004 - the positive replies of RFC 5321 4.2.1
            raise smtplib.SMTPHeloError(code, text)


def _unconnected(account: Account, context: ssl.SSLContext, timeout: float) -> smtplib.SMTP:
    """Return a server that is not connected yet, so that a deadline can end whatever it does."""
    implicit = account.tls == "implicit"
    server = smtplib.SMTP_SSL(timeout=timeout, context=context) if implicit else smtplib.SMTP(timeout=timeout)
    if isinstance(server, smtplib.SMTP_SSL):
        cast("Any", server).context = _Handshake(server, context)
    cast("Any", server)._host = account.host  # noqa: SLF001 - the name that TLS checks
    return server


def _secure(server: smtplib.SMTP, account: Account, context: ssl.SSLContext) -> None:
    """Switch to TLS as the account asks; a password never goes out in clear but to this machine."""
    wanted = account.tls == "required" or (account.tls == "opportunistic" and server.has_extn("starttls"))
    if wanted:
        server.starttls(context=cast("Any", _Handshake(server, context)))
        server.ehlo()
    if account.user and not account.is_local and not isinstance(server.sock, ssl.SSLSocket):
        raise smtplib.SMTPNotSupportedError("a login needs TLS, which this server or EMAIL_URL does not allow")
