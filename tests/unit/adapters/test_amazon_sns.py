"""SNS's certificates: from the internet alone, from no other host, and asked for once."""

import socket
import ssl

import pytest
import trustme
import urllib3.util.connection

from adapters.amazon_sns import MOST_CERTIFICATES, AmazonSns
from processors.errors import NotAuthentic, ServiceUnavailable
from web_server import WebServer, said

HOST = "sns.eu-west-1.amazonaws.com"
GLOBAL = "93.184.215.14"
URL = f"https://{HOST}/SimpleNotificationService-01.pem"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def web(authority, monkeypatch):
    """A server that stands for all hosts at a global address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST, "evil.example").configure_cert(context)
    with WebServer(context) as server:
        connect = urllib3.util.connection.create_connection
        monkeypatch.setattr(
            urllib3.util.connection,
            "create_connection",
            lambda _address, *a, **o: connect(("127.0.0.1", server.port), *a, **o),
        )
        yield server


def sns(authority, address=GLOBAL) -> AmazonSns:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return AmazonSns(lambda _host, _port: [address], context)


def test_a_certificate_is_asked_for_once(web, authority):
    web.answers["/SimpleNotificationService-01.pem"] = said(200, body=b"pem")
    ours = sns(authority)
    assert [ours.certificate(URL), ours.certificate(URL)] == [b"pem", b"pem"]
    assert len(web.requests) == 1


def test_of_many_certificates_only_some_are_kept(web, authority):
    ours = sns(authority)
    for number in range(MOST_CERTIFICATES + 1):
        web.answers[f"/{number}.pem"] = said(200, body=b"%d" % number)
        ours.certificate(f"https://{HOST}/{number}.pem")
    assert ours.certificate(f"https://{HOST}/0.pem") == b"0"
    assert len(web.requests) == MOST_CERTIFICATES + 2


def test_a_subscription_is_confirmed_by_asking(web, authority):
    web.answers["/?Action=ConfirmSubscription&Token=1"] = said(200, body=b"<xml/>")
    sns(authority).confirm(f"https://{HOST}/?Action=ConfirmSubscription&Token=1")
    assert web.requests[0].startswith("GET /?Action=ConfirmSubscription&Token=1 ")


def test_a_host_that_resolves_to_this_network_is_not_asked(web, authority):
    with pytest.raises(NotAuthentic, match="no global address"):
        sns(authority, "127.0.0.1").certificate(URL)
    assert web.requests == []


def test_another_host_is_not_asked_where_sns_redirects_to_it(web, authority):
    web.answers["/SimpleNotificationService-01.pem"] = said(302, "Found", Location="https://evil.example/x")
    web.answers["/x"] = said(200, body=b"pem")
    with pytest.raises(NotAuthentic, match=r"evil\.example"):
        sns(authority).certificate(URL)
    assert len(web.requests) == 1


def test_what_is_not_there_is_told_from_what_cannot_be_had_now(web, authority):
    with pytest.raises(NotAuthentic, match="does not have what the message names"):
        sns(authority).certificate(URL)
    web.answers["/SimpleNotificationService-01.pem"] = said(503)
    with pytest.raises(ServiceUnavailable, match="cannot be asked now"):
        sns(authority).certificate(URL)

    def away(_host, _port):
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    with pytest.raises(ServiceUnavailable):
        AmazonSns(away).certificate(URL)
