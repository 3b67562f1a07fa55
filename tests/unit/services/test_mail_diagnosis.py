"""Where mail goes is said by the health check; the doctor asks the servers, too, and tells what is wrong with one."""

import pytest

from config.email_urls import read_ways
from config.settings import settings
from ports import free_port
from services.celery_service import celery_service
from services.diagnosis import Finding, diagnose
from services.testing import InlineService
from smtp_server import SmtpServer


@pytest.fixture(autouse=True)
def service(inline_service: InlineService) -> InlineService:
    return inline_service


def found(monkeypatch, url: str) -> Finding:
    monkeypatch.setitem(vars(settings), "email_url", url)
    (one,) = [one for one in diagnose() if one.name == "mail"]
    return one


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("outbox://", "outbox: nothing leaves this machine"),
        ("null://", "null: every mail is dropped"),
        ("smtp://ann:secret@mail.example.com", "smtp mail.example.com:587"),
        ("smtps://mail.example.com?tls=required", "smtps mail.example.com:465"),
        ("smtp://[2001:db8::1]:25", "smtp [2001:db8::1]:25"),
        ("failover(smtp://a.example:25 outbox://)", "failover(smtp a.example:25, outbox: nothing leaves this machine)"),
    ],
)
def test_where_mail_goes_is_told_without_user_and_password(url, told):
    assert read_ways(url).ends == told


def test_the_health_check_says_that_nothing_leaves_the_machine_and_what_staging_lets_out(monkeypatch):
    monkeypatch.setitem(vars(settings), "email_only_to", "*@example.com")
    told = celery_service.get_task_result(celery_service.health_check(), timeout=0)
    (check,) = [one for one in told["checks"] if one["name"] == "mail"]
    assert check["status"] == "healthy"
    assert check["detail"] == "outbox: nothing leaves this machine; EMAIL_ONLY_TO lets it out to some alone"


def test_the_health_check_asks_no_server(monkeypatch):
    with SmtpServer() as server:
        port = server.port
        monkeypatch.setitem(vars(settings), "email_url", f"smtp://127.0.0.1:{port}")
        told = celery_service.get_task_result(celery_service.health_check(), timeout=0)
    (check,) = [one for one in told["checks"] if one["name"] == "mail"]
    assert check["detail"] == f"smtp 127.0.0.1:{port}"
    assert server.connections == 0


def test_the_doctor_greets_and_logs_in_and_sends_nothing(monkeypatch):
    with SmtpServer() as server:
        port = server.port
        one = found(monkeypatch, f"smtp://ann:secret@127.0.0.1:{port}")
    assert one == Finding("mail", good=True, detail=f"smtp 127.0.0.1:{port}")
    assert [command.split()[0] for command in server.commands][:2] == ["EHLO", "AUTH"]
    assert server.mails == []


def test_the_doctor_says_in_one_sentence_that_a_login_is_refused_without_the_password(monkeypatch):
    with SmtpServer(replies={"AUTH": "535 5.7.8 no"}) as server:
        port = server.port
        one = found(monkeypatch, f"smtp://ann:secret@127.0.0.1:{port}")
    assert (one.good, one.detail) == (False, "The mail server 127.0.0.1 refuses the login (535): check EMAIL_URL.")


def test_the_doctor_names_each_server_that_cannot_be_used(monkeypatch):
    closed = free_port()
    with SmtpServer(replies={"connect": "554 5.3.2 not today"}) as server:
        port = server.port
        one = found(monkeypatch, f"failover(smtp://127.0.0.1:{closed} smtp://127.0.0.1:{port})")
    assert not one.good
    assert f"The mail server 127.0.0.1:{closed} cannot be used: " in one.detail
    assert f"The mail server 127.0.0.1:{port} cannot be used: " in one.detail


def test_the_doctor_wants_tls_where_the_url_does(monkeypatch):
    with SmtpServer() as server:
        port = server.port
        one = found(monkeypatch, f"smtp://127.0.0.1:{port}?tls=required")
    assert not one.good
    assert "STARTTLS" in one.detail
