"""Every carrier hands a notification over once, tells what became of it, and says what it does not know."""

import ast
import json
import logging
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import requests
import trustme
import urllib3.util.connection
from apprise.manager_plugins import NotificationManager
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from adapters.apprise_chats import AppriseChats
from adapters.guarded_https import GuardedHttps
from adapters.requests_door import Call, _door, under
from adapters.twilio_sms import TwilioSms
from adapters.web_push import WebPush, _payload
from config.chat_services import CHAT_SERVICES
from fake_carrier import FakeCarrier
from ports import free_port
from processors.carriers import AnswerLost, EndpointGone, Notice, Receipt
from processors.errors import ConfigurationError, PermanentError, TransientError, TransportFault
from push_messages import Browser, claims, unpadded
from web_server import WebServer, said

NOTICE = Notice("task-1:ann", "order_shipped", "Shipped", "Your order is on its way.")
SECRET = "hk7Qz93TokenThatIsSecret"
PHONE = "+4917012345678"
ACCOUNT = "AC" + "0" * 32
GLOBAL = "93.184.215.14"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_of(authority: trustme.CA, *names: str) -> WebServer:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("other.example", "127.0.0.1"))).configure_cert(context)
    return WebServer(context)


@pytest.fixture
def server(authority):
    with server_of(authority) as running:
        yield running


def trusting(authority: trustme.CA, *, loopback: bool = True, addresses=("127.0.0.1",)) -> GuardedHttps:
    """A way out that takes every host for one at these addresses."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return GuardedHttps(lambda _host, _port: list(addresses), context, loopback=loopback)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "vapid.pem"
    file.touch(0o600)
    key = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


@dataclass
class Kind:
    """A carrier with the other side, as the suite sees both."""

    carrier: object
    endpoint: dict
    says: Callable[[str], None]
    arrived: Callable[[], list[str]]
    lost: type[Exception] = AnswerLost
    browser: Browser = field(default_factory=Browser)

    def send(self, notice: Notice = NOTICE) -> Receipt:
        return self.carrier.send(notice, self.endpoint)

    def fault(self, notice: Notice = NOTICE) -> Exception:
        """What a send raises; it tells no secret."""
        with pytest.raises(Exception) as raised:  # noqa: PT011 - the test looks at its class
            self.send(notice)
        told = f"{raised.value} {raised.value!r} {self.carrier!r}"
        for secret in (SECRET, PHONE, *map(str, self.endpoint.get("keys", {}).values())):
            assert secret not in told
        return raised.value


KINDS = ("push", "sms", "chat")
ACCEPTED = {
    "push": said(201, "Created", Location="https://other.example/m/1"),
    "sms": said(201, "Created", b'{"sid": "SM1", "status": "queued"}'),
    "chat": said(200, "OK", b"ok"),
}


def made(name: str, server, authority, key_file, *, port: int = 0, deadline: float = 20, **way) -> Kind:
    """The carrier of a channel, towards this server."""
    host = f"other.example:{port or server.port}"
    https = trusting(authority, **way)
    browser = Browser()
    if name == "push":
        carrier = WebPush(key_file, "mailto:ops@example.com", https=https, deadline=deadline)
        endpoint = browser.subscription(f"https://{host}/push/{SECRET}")
    elif name == "sms":
        carrier = TwilioSms(ACCOUNT, SECRET, "+15005550006", https=https, base_url=f"https://{host}", deadline=deadline)
        endpoint = {"phone": PHONE}
    else:
        carrier = AppriseChats(CHAT_SERVICES, https=https, deadline=deadline)
        endpoint = {"url": f"jsons://{host}/hook/{SECRET}"}
    moods = {
        "accept": ACCEPTED[name],
        "refuse": said(400, "Bad Request", f"no {PHONE if name == 'sms' else SECRET}".encode()),
        "later": said(429, "Too Many", Retry_After="7"),
        "lose": lambda _: None,
    }
    lost = TransientError if name == "push" else AnswerLost
    kind = Kind(carrier, endpoint, lambda mood: server.answers.update({"*": moods[mood]}), lambda: server.requests)
    kind.lost, kind.browser = lost, browser
    kind.says("accept")
    return kind


def fake() -> Kind:
    carrier = FakeCarrier()
    moods = {
        "accept": None,
        "refuse": PermanentError("no"),
        "later": TransientError("later", 7),
        "lose": AnswerLost("lost"),
    }
    return Kind(carrier, {"phone": PHONE}, lambda mood: carrier.next.append(moods[mood]), lambda: carrier.sent)


@pytest.fixture(params=KINDS)
def real(request, server, authority, key_file) -> Kind:
    kind = made(request.param, server, authority, key_file)
    kind.name = request.param
    return kind


@pytest.fixture(params=[*KINDS, "fake"])
def kind(request, server, authority, key_file) -> Kind:
    return fake() if request.param == "fake" else made(request.param, server, authority, key_file)


# --- What all promise ------------------------------------------------------------------------------------------


def test_a_notification_arrives_once_and_its_receipt_tells_the_code(kind):
    kind.carrier.check(kind.endpoint)
    assert kind.arrived() == [], "a check asks nobody"

    receipt = kind.send()

    assert receipt.code in {200, 201}
    assert len(kind.arrived()) == 1


def test_a_refusal_is_permanent_and_nothing_is_tried_twice(kind):
    kind.says("refuse")

    assert type(kind.fault()) is PermanentError
    assert len(kind.arrived()) <= 1


def test_who_asks_to_wait_is_asked_again_after_that(kind):
    kind.says("later")

    fault = kind.fault()

    assert isinstance(fault, TransientError)
    assert fault.retry_after == 7


def test_a_lost_answer_is_told_as_what_it_is(kind):
    kind.says("lose")

    assert type(kind.fault()) is kind.lost
    assert len(kind.arrived()) == 1


@pytest.mark.parametrize("endpoint", [{}, {"phone": None}, {"url": 5}, {"endpoint": ["x"], "keys": {}}])
def test_an_endpoint_of_another_kind_is_refused_by_the_check_and_by_the_sending(kind, endpoint):
    with pytest.raises(ValueError, match="must"):
        kind.carrier.check(endpoint)
    with pytest.raises(PermanentError, match="Nothing was sent"):
        kind.carrier.send(NOTICE, endpoint)
    assert kind.arrived() == []


# --- What the other side may do --------------------------------------------------------------------------------

GONE, LOGIN, NO, LATER, LOST = EndpointGone, TransportFault, PermanentError, TransientError, AnswerLost


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, {"push": NO, "sms": NO, "chat": NO}),
        (401, {"push": LOGIN, "sms": LOGIN, "chat": NO}),
        (403, {"push": LOGIN, "sms": LOGIN, "chat": NO}),
        (404, {"push": GONE, "sms": LOGIN, "chat": NO}),
        (410, {"push": GONE, "sms": NO, "chat": NO}),
        (413, {"push": NO, "sms": NO, "chat": NO}),
        (500, {"push": LATER, "sms": LOST, "chat": LOST}),
        (503, {"push": LATER, "sms": LOST, "chat": LOST}),
    ],
)
def test_each_status_means_what_the_channel_makes_of_it(real, server, status, expected):
    server.answers["*"] = said(status, "Words", SECRET.encode(), Location="https://other.example/elsewhere")

    assert type(real.fault()) is expected[real.name]
    assert not any("/elsewhere" in head for head in server.requests), "no redirect is followed"
    assert len(server.requests) == (2 if (real.name, status) == ("push", 413) else 1)


@pytest.mark.parametrize("mood", ["hang", "drip"])
@pytest.mark.parametrize("name", KINDS)
def test_a_call_ends_by_its_deadline_whatever_the_other_side_does(name, mood, server, authority, key_file):
    kind = made(name, server, authority, key_file, deadline=2)

    def slow(connection):
        while not server.ended.wait(0.02):
            connection.sendall(b"" if mood == "hang" else b"H")

    server.answers["*"] = slow
    assert type(kind.fault()) is kind.lost


@pytest.mark.parametrize("name", KINDS)
def test_an_answer_whose_headers_never_end_is_taken_by_its_status(name, server, authority, key_file):
    kind = made(name, server, authority, key_file, deadline=2)

    def drip(connection):
        connection.sendall(b"HTTP/1.1 201 Created\r\nX: ")
        while not server.ended.wait(0.02):
            connection.sendall(b"H")

    server.answers["*"] = drip
    assert kind.send().code == 201


def test_an_answer_that_never_ends_is_taken_by_its_status(real, server):
    def endless(connection):
        code = b"200 OK" if real.name == "chat" else b"201 Created"
        connection.sendall(b"HTTP/1.1 " + code + b"\r\nContent-Length: 99999999999\r\n\r\n")
        while not server.ended.is_set():
            connection.sendall(bytes(65536))

    server.answers["*"] = endless
    assert real.send().code in {200, 201}


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_sent_to_whoever_has_no_trusted_certificate(name, server, key_file):
    kind = made(name, server, trustme.CA(), key_file)

    fault = kind.fault()

    assert type(fault) is TransientError
    assert "certificate" in str(fault)
    assert server.requests == []


@pytest.mark.parametrize("name", KINDS)
def test_nothing_was_sent_where_nobody_listens(name, server, authority, key_file):
    kind = made(name, server, authority, key_file, port=free_port())

    fault = kind.fault()

    assert type(fault) is TransientError
    assert "Nothing was sent" in str(fault)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1"])
@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_sent_to_places_behind_the_internet(name, address, server, authority, key_file):
    kind = made(name, server, authority, key_file, loopback=False, addresses=[GLOBAL, address])

    fault = kind.fault()

    assert type(fault) is PermanentError
    assert "no global address" in str(fault)
    assert server.requests == []


def test_letters_of_no_alphabet_and_control_characters_do_no_harm(real):
    real.send(Notice("i\ud800d", "type", "a\r\nBcc: b\ud800", "\0\ud800 message"))

    assert len(real.arrived()) == 1
    assert "bcc" not in real.arrived()[0].lower()


# --- Web push --------------------------------------------------------------------------------------------------


@pytest.fixture
def push(server, authority, key_file) -> Kind:
    return made("push", server, authority, key_file)


def headers(head: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if line)


def test_a_browser_opens_what_was_sent_as_the_example_of_the_rfc_is_opened():
    browser = Browser(
        ec.derive_private_key(
            int.from_bytes(unpadded("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), "big"), ec.SECP256R1()
        ),
        unpadded("BTBZMqHH6r4Tts7J_aSIgg"),
    )
    body = (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
        "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
    assert browser.opened(unpadded(body)) == b"When I grow up, I want to be a watermelon"


def test_a_browser_gets_the_notification_and_the_push_service_who_sends_it(push, server, key_file):
    receipt = push.send()

    assert receipt == Receipt("https://other.example/m/1", 201)
    assert json.loads(push.browser.opened(server.bodies[0])) == {
        "id": NOTICE.id,
        "type": "order_shipped",
        "title": "Shipped",
        "message": "Your order is on its way.",
    }
    sent = headers(server.requests[0])
    assert (sent["content-encoding"], sent["urgency"], sent["ttl"]) == ("aes128gcm", "normal", str(28 * 24 * 3600))
    told, point = claims(next(line[15:] for line in server.requests[0].split("\r\n") if line[:14] == "Authorization:"))
    assert told["aud"] == f"https://other.example:{server.port}"
    assert told["sub"] == "mailto:ops@example.com"
    assert 0 < told["exp"] - time.time() <= 12 * 3600
    key = WebPush(key_file, "mailto:ops@example.com")._vapid.public_key
    assert point == key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def test_the_same_notification_has_the_same_topic_and_others_have_others(push, server):
    for notice in (NOTICE, NOTICE, Notice("another", "t", "t", "m")):
        push.send(notice)

    first, again, other = (
        next(line[7:] for line in head.split("\r\n") if line.startswith("Topic: ")) for head in server.requests
    )
    assert first == again != other
    assert len(first) <= 32
    assert set(first) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(("seconds", "most"), [(-5, 0), (90, 90), (10**9, 28 * 24 * 3600)])
def test_a_push_service_keeps_a_notification_no_longer_than_it_is_wanted(push, server, seconds, most):
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    push.send(Notice("1", "t", "t", "m", expires))
    assert most - 60 <= int(headers(server.requests[0])["ttl"]) <= most


def test_a_message_that_is_too_long_is_cut_to_what_fits_and_cut_again_where_less_is_taken(push, server):
    server.answers["*"] = said(413, "Too Large")
    notice = Notice("1", "t", "title", "👨‍👩‍👧 é" * 2000)

    assert type(push.fault(notice)) is PermanentError

    first, second = (json.loads(push.browser.opened(body)) for body in server.bodies)
    assert 3900 < len(server.bodies[0]) <= 4096
    assert len(server.bodies[1]) <= 2200
    for payload in (first, second):
        assert payload["title"] == "title"
        assert payload["message"].endswith("…")
        assert notice.message.startswith(payload["message"].rstrip("…"))
        assert not payload["message"].endswith(("\u200d…", "e…"))


@given(st.text(), st.text(), st.integers(60, 4000))
def test_a_payload_is_json_that_fits_whatever_the_texts_are(title, message, size):
    payload = _payload(Notice("id", "type", title * 50, message * 200), size)

    told = json.loads(payload)
    assert len(payload) <= size
    assert (told["id"], told["type"]) == ("id", "type")
    assert "lang" not in told


def test_a_payload_names_the_language_where_it_is_known():
    told = json.loads(_payload(Notice("id", "type", "Hallo", "Grüezi " * 2000, language="de-CH"), 200))
    assert (told["title"], told["lang"]) == ("Hallo", "de-CH")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"endpoint": f"http://other.example/{SECRET}"}, "only https"),
        ({"endpoint": f"https://user:pass@other.example/{SECRET}"}, "password"),
        ({"endpoint": f"https://10.0.0.1/{SECRET}"}, "no global address"),
        ({"endpoint": f"https://[::1]/{SECRET}"}, "IPv6|no global"),
        ({"endpoint": "https://other.example/" + "x" * 3000}, "at most"),
        ({"endpoint": "https:///x"}, "host"),
        ({"keys": None}, "p256dh and auth"),
        ({"keys": {"p256dh": "AAAA", "auth": SECRET}}, "65 bytes"),
        ({"keys": {"p256dh": "BA" + "A" * 85, "auth": SECRET}}, "point"),
    ],
)
def test_a_subscription_that_could_never_be_sent_to_is_refused_without_telling_its_secret(push, change, words):
    with pytest.raises(ValueError, match=words) as refused:
        push.carrier.check(push.endpoint | change)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, 0o600, "No such file"),
        (b"nothing of a key", 0o600, "no private key"),
        (b"", 0o644, "others may read"),
    ],
)
def test_a_vapid_key_that_cannot_be_used_is_told_with_its_setting(tmp_path, content, mode, words):
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"VAPID_PRIVATE_KEY_FILE.*{words}"):
        WebPush(file, "mailto:ops@example.com")


def test_a_key_of_another_curve_is_refused(tmp_path):
    file = tmp_path / "key.pem"
    file.touch(0o600)
    other = ec.generate_private_key(ec.SECP384R1())
    file.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigurationError, match="P-256"):
        WebPush(file, "mailto:ops@example.com")


# --- Text messages ---------------------------------------------------------------------------------------------


@pytest.fixture
def sms(server, authority, key_file) -> Kind:
    return made("sms", server, authority, key_file)


def test_twilio_gets_the_number_the_sender_and_one_text(sms, server):
    receipt = sms.send()

    assert receipt == Receipt("SM1", 201, "queued")
    assert server.requests[0].startswith(f"POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json ")
    assert parse_qs(server.bodies[0].decode()) == {
        "To": [PHONE],
        "From": ["+15005550006"],
        "Body": ["Shipped\nYour order is on its way."],
    }


def test_a_messaging_service_sends_in_the_place_of_a_number(server, authority, sms):
    service = "MG" + "1" * 32
    carrier = TwilioSms(
        ACCOUNT, SECRET, service, https=trusting(authority), base_url=f"https://other.example:{server.port}"
    )
    carrier.send(NOTICE, sms.endpoint)
    form = parse_qs(server.bodies[0].decode())
    assert form["MessagingServiceSid"] == [service]
    assert "From" not in form


def test_a_text_is_cut_to_what_twilio_takes_and_waits_no_longer_than_it_is_wanted(sms, server):
    sms.send(Notice("1", "t", "title", "😀" * 3000, datetime.now(UTC) + timedelta(seconds=300)))

    form = parse_qs(server.bodies[0].decode())
    assert 1590 <= len(form["Body"][0].encode("utf-16-le")) // 2 <= 1600
    assert form["Body"][0].endswith("😀…")
    assert 240 <= int(form["ValidityPeriod"][0]) <= 300


@pytest.mark.parametrize(("hours", "asked"), [(9, True), (11, False)])
def test_twilio_is_told_no_longer_time_than_it_takes(sms, server, hours, asked):
    """It keeps a message for 36 000 s where nothing is said, and refuses a longer time (error 90007)."""
    sms.send(Notice("1", "t", "title", "text", datetime.now(UTC) + timedelta(hours=hours)))

    form = parse_qs(server.bodies[0].decode())
    assert ("ValidityPeriod" in form) is asked
    if asked:
        assert hours * 3600 - 60 <= int(form["ValidityPeriod"][0]) <= hours * 3600


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, 21211, NO),
        (400, 21614, NO),
        (400, 21610, NO),
        (403, 21408, NO),
        (400, 21606, LOGIN),
        (401, 20003, LOGIN),
        (429, 20429, LATER),
        (400, 21611, LATER),
        (500, 20500, LOST),
        (418, 99999, NO),
    ],
)
def test_each_of_twilios_codes_means_what_it_says(sms, server, status, code, expected):
    words = f"The number {PHONE} cannot be written to"
    server.answers["*"] = said(status, "X", json.dumps({"code": code, "message": words}).encode())

    fault = sms.fault()

    assert type(fault) is expected
    assert f"(error {code})" in str(fault)
    assert "cannot be written to" in str(fault)


@pytest.mark.parametrize(
    "phone", ["0170123456", "+49 170 1234567", "+0123456789", "+1", "+" + "1" * 16, "+٤٩١٧٠١٢٣٤", ""]
)
def test_what_is_no_number_in_the_international_form_is_refused(sms, phone):
    with pytest.raises(ValueError, match="phone must be"):
        sms.carrier.check({"phone": phone})


def test_a_notification_without_a_word_is_no_text(sms, server):
    with pytest.raises(PermanentError, match="neither a title nor a message"):
        sms.send(Notice("1", "t", " ", ""))
    assert server.requests == []


# --- Chat services ---------------------------------------------------------------------------------------------


@pytest.fixture
def hosted(authority, monkeypatch):
    """A server that stands for every vendor's host, at a global address, and a carrier that is let out to it."""
    names = ("hooks.slack.com", "slack.com", "discord.com", "api.telegram.org", "ntfy.sh", "rocket.example")
    with server_of(authority, *names) as running:
        connect = urllib3.util.connection.create_connection

        def dial(address, *arguments, **options):
            assert address[0] == GLOBAL, "the checked address"
            return connect(("127.0.0.1", running.port), *arguments, **options)

        monkeypatch.setattr(urllib3.util.connection, "create_connection", dial)
        running.chats = AppriseChats(CHAT_SERVICES, https=trusting(authority, loopback=False, addresses=[GLOBAL]))
        yield running


SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
SLACK_BOT = "slack://xoxb-1234-1234-4ddbc191d40ee098cbaae6f3523ada2d/#general"
DISCORD = "discord://417429632418316298/JHZ7lQml277CDHmQKMHI8qBe7bk2ZwO5UKjCiOAF7711o33MyqU344Qpgv7YTpadV_js"
TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/12315544/"


@pytest.mark.parametrize(
    ("url", "host", "answer"),
    [
        (SLACK, "hooks.slack.com", said(200, "OK", b"ok")),
        (SLACK_BOT, "slack.com", said(200, "OK", b'{"ok": true, "channel": "C1"}')),
        (DISCORD, "discord.com", said(204, "No Content")),
        (TELEGRAM, "api.telegram.org", said(200, "OK", b'{"ok": true, "result": {"message_id": 1}}')),
        ("ntfy://some-topic", "ntfy.sh", said(200, "OK", b'{"id": "x"}')),
    ],
)
def test_each_service_is_asked_once_at_its_own_host(hosted, url, host, answer):
    hosted.answers["*"] = answer
    hosted.chats.check({"url": url})
    assert hosted.requests == []

    receipt = hosted.chats.send(NOTICE, {"url": url})

    assert receipt.code in {200, 204}
    (head,) = hosted.requests
    assert headers(head)["host"] == host
    assert b"Your order is on its way." in hosted.bodies[0]


@pytest.mark.parametrize(
    ("url", "answer", "expected", "words"),
    [
        (SLACK, said(404, "Not Found", b"no_service"), EndpointGone, "no_service"),
        (SLACK, said(410, "Gone", b"channel_is_archived"), EndpointGone, "archived"),
        (DISCORD, said(404, "Not Found", b'{"message": "Unknown Webhook"}'), EndpointGone, "Unknown Webhook"),
        (TELEGRAM, said(404, "Not Found", b'{"ok": false}'), PermanentError, "404"),
        (SLACK_BOT, said(200, "OK", b'{"ok": false, "error": "channel_not_found"}'), PermanentError, "channel_not"),
        (SLACK_BOT, said(200, "OK", b"<html>a proxy"), AnswerLost, "neither yes nor no"),
        (DISCORD, said(429, "Too Many", b'{"retry_after": 3}', Retry_After="3"), TransientError, "429"),
        (DISCORD, said(502, "Bad Gateway"), AnswerLost, "may have been sent"),
    ],
)
def test_each_no_of_a_service_means_what_it_says_and_is_the_last(hosted, url, answer, expected, words):
    hosted.answers["*"] = answer
    with pytest.raises(Exception, match=words) as raised:
        hosted.chats.send(NOTICE, {"url": url})
    assert type(raised.value) is expected
    assert len(hosted.requests) == 1, "no service tries again by itself"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_code_that_would_wait_and_ask_again_sees_no_answer_but_a_lost_connection(hosted, authority, status):
    hosted.answers["*"] = said(status, "No", Retry_After="3")
    call = Call(trusting(authority, loopback=False, addresses=[GLOBAL]), time.monotonic() + 30)
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            under(call, lambda: _door.post("https://discord.com/x", json={}))
    assert (len(hosted.requests), call.answers[0][1].status, call.shut) == (1, status, True)


def test_code_sees_other_answers_as_they_are(hosted, authority):
    hosted.answers["*"] = said(404, "Not Found", b"none")
    call = Call(trusting(authority, loopback=False, addresses=[GLOBAL]), time.monotonic() + 30)
    answer = under(call, lambda: _door.post("https://discord.com/x", json={}))
    assert (answer.status_code, answer.text, call.shut) == (404, "none", False)


def test_what_fails_after_a_request_that_was_taken_may_have_been_sent(hosted):
    hosted.answers["*"] = said(429, "Too Many")
    hosted.answers["/api/v1/login"] = said(
        200, "OK", b'{"status": "success", "data": {"authToken": "a", "userId": "u"}}'
    )
    with pytest.raises(AnswerLost, match="took a request before"):
        hosted.chats.send(NOTICE, {"url": "rockets://user:password@rocket.example/#channel?mode=basic"})


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("dbus://", "none of the allowed"),
        ("syslog://", "none of the allowed"),
        ("windows://", "none of the allowed"),
        ("gnome://", "none of the allowed"),
        ("macosx://", "none of the allowed"),
        ("file:///etc/passwd", "none of the allowed"),
        ("exec://true", "none of the allowed"),
        ("mailto://user:hunter22@gmail.com", "none of the allowed"),
        ("json://other.example/x", "none of the allowed"),
        ("mmost://other.example/hunter22", "none of the allowed"),
        ("ntfy://other.example/topic", "only https"),
        ("jsons://127.0.0.1/x", "no global address"),
        ("ntfys://169.254.169.254/x", "no global address"),
        ("jsons://other.example/x?verify=no", "certificates"),
        (f"{SLACK}/#one/#two", "one target"),
        (f"{SLACK}?template=/etc/passwd", "template"),
        (f"{SLACK}?Template=https://other.example/x", "template"),
        ("slack://hunter22", "not complete"),
        ("slack://" + "x" * 3000, "at most"),
        ("hunter22", "none of the allowed"),
        ("", "must be"),
    ],
)
def test_a_url_that_must_not_or_cannot_be_used_is_refused_without_telling_it(hosted, url, words):
    with pytest.raises(ValueError, match=words) as refused:
        hosted.chats.check({"url": url})
    assert "hunter22" not in str(refused.value).replace("'hunter22'", "")
    with pytest.raises(PermanentError):
        hosted.chats.send(NOTICE, {"url": url})
    assert hosted.requests == []


def test_a_service_that_is_not_allowed_here_is_refused(authority):
    chats = AppriseChats(["discord"], https=trusting(authority))
    chats.check({"url": DISCORD})
    with pytest.raises(ValueError, match=r"'slack' is none of the allowed.*NOTIFICATION_CHAT_SERVICES"):
        chats.check({"url": SLACK})
    with pytest.raises(ConfigurationError, match="NOTIFICATION_CHAT_SERVICES"):
        AppriseChats(["dbus"])


def test_apprise_logs_nothing_of_what_it_does(hosted, caplog):
    hosted.answers["*"] = said(500, "Fault")
    with caplog.at_level(logging.DEBUG), pytest.raises(AnswerLost):
        hosted.chats.send(NOTICE, {"url": SLACK})
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in caplog.text
    assert not [one for one in caplog.records if one.name.startswith("apprise")]


OTHER_WAYS = {
    "aiohttp",
    "asyncio",
    "ctypes",
    "http",
    "paho",
    "smtplib",
    "socket",
    "socks",
    "ssl",
    "subprocess",
    "urllib3",
}


@pytest.mark.parametrize("scheme", CHAT_SERVICES)
def test_the_code_of_a_service_has_no_way_out_but_the_door(scheme):
    plugin = NotificationManager()[scheme]
    tree = ast.parse(Path(sys.modules[plugin.__module__].__file__).read_text(encoding="utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [one.name for one in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert "requests" in imported
    assert not imported & OTHER_WAYS
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "requests"
    }
    assert not used & {"Session", "session", "sessions", "adapters", "api"}
