"""Mailers for a test's own SMTP servers, closed when the test ends."""

from collections import Counter

import pytest

from adapters.resting_mailer import RestingMailer
from adapters.smtp_mailer import SmtpMailer
from records.mail_rests import MailRestRecords
from smtp_server import SmtpServer

MADE: list[SmtpMailer] = []


@pytest.fixture(params=[False, True], ids=["one-by-one", "pipelining"])
def both_kinds_of_server(request, monkeypatch):
    """Every promise holds with a server that takes several commands at once, and with one that does not."""
    monkeypatch.setattr(SmtpServer, "pipelining", request.param)
    yield
    while MADE:
        MADE.pop().close()


def smtp_mailer(
    server: SmtpServer | int, scheme: str = "smtp", login: str = "", query: str = "", **options
) -> SmtpMailer:
    """Return a mailer for this server."""
    port = server if isinstance(server, int) else server.port
    mailer = SmtpMailer(f"{scheme}://{login}127.0.0.1:{port}{query}", **{"timeout": 5} | options)
    MADE.append(mailer)
    return mailer


def resting_mailer(server: SmtpServer, database, *, login="", most=None, connections=8) -> RestingMailer:
    """Return a mailer that leaves a server alone that asks for it, as one process has it."""
    mailer = smtp_mailer(server, login=login, connections=connections)
    return RestingMailer(mailer, mailer.account.key, MailRestRecords(database), most)


def copies(server: SmtpServer) -> Counter[str]:
    """Count the mails that a server has for each recipient."""
    return Counter(address for mail in server.mails for address in mail.recipients)
