"""Webhooks go to the internet alone, once and by https, and no further than they are sent."""

import ssl

import pytest
import trustme

from adapters.guarded_https import GuardedHttps
from adapters.webhook_sender import WebhookSender
from processors.carriers import AnswerLost
from processors.errors import PermanentError, TransientError
from processors.webhooks import Answered
from web_server import WebServer, said

BODY = b'{"type":"task.succeeded"}'


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("shop.example", "127.0.0.1").configure_cert(context)
    with WebServer(context) as running:
        yield running


def sender(authority, *addresses: str, loopback: bool = True, deadline: float = 15.0) -> WebhookSender:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    resolve = lambda _host, _port: list(addresses or ("127.0.0.1",))  # noqa: E731
    return WebhookSender(GuardedHttps(resolve, context, loopback=loopback), deadline=deadline)


def test_it_is_posted_with_its_headers_and_the_status_is_what_was_answered(server, authority):
    server.answers["/hook?a=1"] = said(503, "Later", b"<script>alert(1)</script>", Retry_After="17")
    url = f"https://shop.example:{server.port}/hook?a=1"
    headers = {"Content-Type": "application/json", "webhook-id": "m1"}
    assert sender(authority).post(url, headers, BODY) == Answered(503, 17.0)
    [request] = server.requests
    assert request.startswith("POST /hook?a=1 HTTP/1.1\r\n")
    assert "webhook-id: m1\r\n" in request
    assert server.bodies == [BODY]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(server, authority, status):
    place = f"https://shop.example:{server.port}"
    server.answers["/"] = said(status, "There", Location=f"{place}/there")
    assert sender(authority).post(f"{place}/", {}, BODY).status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/", "ftp://shop.example/", "//shop.example/", "shop.example", "https://", "https:///x",
        "https://user@shop.example/", "https://user:pass@shop.example/", "https://shop.example:port/", "javascript:1",
        "https://127.0.0.1/", "https://10.1.2.3/", "https://192.168.0.1/", "https://169.254.169.254/latest/",
        "https://<b>shop</b>.example/", "https://[::1]/", "https://[fd00::1]/", "https://[::ffff:10.0.0.1]/", "https://0.0.0.0/",
    ],
)  # fmt: skip
def test_an_address_that_is_none_of_the_internet_is_refused_before_anybody_is_asked(authority, url):
    guarded = sender(authority, loopback=False)
    with pytest.raises(ValueError, match=r"."):
        guarded.check(url)
    with pytest.raises(PermanentError, match="Nothing was sent"):
        guarded.post(url, {}, BODY)


@pytest.mark.parametrize(
    "url", ["https://shop.example/", "https://SHOP.example:8443/a?b=c", "https://xn--bcher-kva.example/"]
)
def test_an_address_of_the_internet_passes_without_asking_anybody(authority, url):
    sender(authority, "10.0.0.1", loopback=False).check(url)


@pytest.mark.parametrize("url", ["https://2130706433/", "https://0x7f000001/", "https://127.1/", "https://localhost/"])
def test_a_name_that_leads_to_this_machine_is_not_asked(url):
    with pytest.raises((PermanentError, TransientError), match="Nothing was sent"):
        WebhookSender().post(url, {}, BODY)


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fd00::1"])
def test_a_name_that_leads_to_a_private_address_beside_a_global_one_is_not_asked(authority, server, address):
    guarded = sender(authority, "93.184.215.14", address, loopback=False)
    with pytest.raises(PermanentError, match="no global address"):
        guarded.post(f"https://shop.example:{server.port}/", {}, BODY)
    assert server.requests == []


def test_an_answer_that_does_not_come_is_lost_and_ends_by_its_deadline(authority, server):
    server.answers["/"] = lambda _connection: None
    with pytest.raises(AnswerLost):
        sender(authority).post(f"https://shop.example:{server.port}/", {}, BODY)
    server.answers["/"] = lambda _connection: server.ended.wait(600)
    with pytest.raises(AnswerLost):
        sender(authority, deadline=0.5).post(f"https://shop.example:{server.port}/", {}, BODY)


def test_whoever_answers_must_be_who_is_meant(server, authority):
    with pytest.raises(TransientError, match="not trusted"):
        sender(authority).post(f"https://other.example:{server.port}/", {}, BODY)
    assert server.bodies == []
