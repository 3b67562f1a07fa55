"""Twilio is asked once for each call, whatever becomes of the answer, and never tells more than it knows."""

import json
import logging
import os
import signal
import socket
import ssl
import threading
import traceback
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

import pytest
import trustme
from celery.exceptions import SoftTimeLimitExceeded
from twilio.request_validator import RequestValidator

from adapters import twilio_http
from adapters.twilio_voice import TwilioVoiceService
from ports import free_port
from processors.call_errors import BY_CODE
from processors.call_interfaces import (
    CallInDoubt,
    CallNotFound,
    CallNotTaken,
    CallOrder,
    CallRefused,
    CallsHalted,
    PlacedCall,
    VoiceProvider,
)
from processors.errors import ConfigurationError, TransientError, WorkError
from web_server import WebServer, said

ACCOUNT = "AC" + "0" * 32
TOKEN = "tk7Qz93TokenThatIsSecret"
LOGIN = b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
CALL = "CA" + "1" * 32
TO, FROM = "+4917012345678", "+14155550100"
ORDER = CallOrder(TO, FROM, answer_url="https://our.example/answer?attempt=7", status_url="https://our.example/status")
CALLS = f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
ONE = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}.json"
SHORT = 0.4
"""Seconds that a method may take which is kept waiting."""


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    """No test reaches another machine, nor asks for its address."""
    strangers = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def checked_connect(self, address):
        if self.family != socket.AF_UNIX and not ip_address(address[0]).is_loopback:
            strangers.append(address)
            raise ConnectionRefusedError(address)
        return connect(self, address)

    def checked_look_up(host, *rest, **more):
        if host not in {"127.0.0.1", "localhost"}:
            strangers.append(host)
            raise socket.gaierror(socket.EAI_NONAME, "not asked")
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", checked_connect)
    monkeypatch.setattr(socket, "getaddrinfo", checked_look_up)
    yield
    assert not strangers


@pytest.fixture
def server():
    with WebServer(None) as running:
        yield running


@pytest.fixture
def twilio(server):
    return service(server)


def service(server, deadline: float = 10.0, **more) -> TwilioVoiceService:
    return TwilioVoiceService(ACCOUNT, TOKEN, base_url=f"http://127.0.0.1:{server.port}", deadline=deadline, **more)


def told(status: int, fields: object, **headers: str) -> bytes:
    return said(status, "Told", json.dumps(fields).encode(), Content_Type="application/json", **headers)


def error(status: int, code: int, message: str = "What Twilio says.") -> bytes:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return told(status, {"code": code, "message": message, "more_info": more, "status": status})


def problem(status: int, code: int, detail: str = "What Twilio says.") -> bytes:
    """As RFC 9457 has it, which the SDK raises by another class."""
    return told(
        status, {"type": f"https://twilio/{code}", "title": "No", "status": status, "code": code, "detail": detail}
    )


def resource(**more: object) -> dict[str, object]:
    return {
        "sid": CALL,
        "account_sid": ACCOUNT,
        "to": TO,
        "from": FROM,
        "status": "queued",
        "direction": "outbound-api",
        "date_created": "Sun, 29 Nov 2026 10:00:00 +0000",
        "start_time": None,
        "end_time": None,
        "duration": None,
        "price": None,
        "price_unit": "USD",
        "answered_by": None,
        "queue_time": "0",
        **more,
    }


def methods(server: WebServer) -> list[str]:
    return [head.split(" ")[0] for head in server.requests]


def form(server: WebServer) -> list[tuple[str, str]]:
    (body,) = server.bodies
    return parse_qsl(body.decode(), keep_blank_values=True)


def raised(twilio: TwilioVoiceService, order: CallOrder = ORDER) -> Exception:
    with pytest.raises(WorkError) as found:
        twilio.create_call(order)
    return found.value


def test_it_is_a_provider_of_calls(twilio):
    provider: VoiceProvider = twilio
    assert (provider.account, provider.deadline) == (ACCOUNT, 10.0)


# -- a call that is made --


def test_an_order_is_one_request_with_all_that_bounds_a_call(server, twilio):
    server.answers[CALLS] = told(201, resource(queue_time="2500"))
    assert twilio.create_call(ORDER) == PlacedCall(CALL, "queued", 2.5)
    (head,) = server.requests
    assert head.startswith(f"POST {CALLS} HTTP/1.1\r\n")
    assert f"authorization: basic {LOGIN}".lower() in head.lower()
    assert sorted(form(server)) == sorted(
        [
            ("To", TO),
            ("From", FROM),
            ("Url", "https://our.example/answer?attempt=7"),
            ("Timeout", "30"),
            ("TimeLimit", "3600"),
            ("StatusCallback", "https://our.example/status#rc=5&rp=5xx,ct,rt"),
            ("StatusCallbackEvent", "initiated"),
            ("StatusCallbackEvent", "ringing"),
            ("StatusCallbackEvent", "answered"),
            ("StatusCallbackEvent", "completed"),
        ]
    )


def test_a_fragment_of_our_own_stays(server, twilio):
    server.answers[CALLS] = told(201, resource())
    twilio.create_call(replace(ORDER, status_url="https://our.example/status#rc=1"))
    assert dict(form(server))["StatusCallback"] == "https://our.example/status#rc=1"


def test_what_is_said_goes_with_the_order_where_nobody_can_be_asked(server, twilio):
    server.answers[CALLS] = told(201, resource())
    twilio.create_call(CallOrder(TO, FROM, twiml="<Response><Say>Grüße & mehr</Say></Response>", ring_seconds=20))
    sent = dict(form(server))
    assert sent == {
        "To": TO,
        "From": FROM,
        "Twiml": "<Response><Say>Grüße & mehr</Say></Response>",
        "Timeout": "20",
        "TimeLimit": "3600",
    }


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({"detection": "ignore", "detection_url": "https://our.example/amd"}, {}),
        ({"detection": "hang_up"}, {"MachineDetection": "Enable"}),
        ({"detection": "leave_message"}, {"MachineDetection": "DetectMessageEnd"}),
        (
            {"detection": "hang_up", "detection_url": "https://our.example/amd"},
            {
                "MachineDetection": "Enable",
                "AsyncAmd": "true",
                "AsyncAmdStatusCallback": "https://our.example/amd#rc=5&rp=5xx,ct,rt",
            },
        ),
        ({"recording_url": "https://our.example/recording"}, {}),
        ({"record": True}, {"Record": "true"}),
        (
            {"record": True, "recording_url": "https://our.example/recording"},
            {"Record": "true", "RecordingStatusCallback": "https://our.example/recording#rc=5&rp=5xx,ct,rt"},
        ),
        ({"send_digits": "ww12#"}, {"SendDigits": "ww12#"}),
    ],
)
def test_what_an_order_asks_for_is_said_in_twilios_words(server, twilio, more, sent):
    server.answers[CALLS] = told(201, resource())
    twilio.create_call(replace(ORDER, status_url=None, **more))
    bounds = {"To", "From", "Url", "Timeout", "TimeLimit"}
    assert {name: value for name, value in form(server) if name not in bounds} == sent


@pytest.mark.parametrize("queue_time", [None, "", "soon", -5, "9" * 5000, True])
def test_a_time_in_the_queue_that_cannot_be_read_is_none(server, twilio, queue_time):
    server.answers[CALLS] = told(201, resource(queue_time=queue_time))
    assert twilio.create_call(ORDER).queue_seconds == 0.0


@pytest.mark.parametrize(
    ("queue_time", "queue_seconds"), [("86399000", 86_399), ("86400001", 86_400), ("9" * 9, 86_400)]
)
def test_a_call_waits_in_the_queue_for_a_day_at_most(server, twilio, queue_time, queue_seconds):
    server.answers[CALLS] = told(201, resource(queue_time=queue_time))
    assert twilio.create_call(ORDER).queue_seconds == queue_seconds


# -- an order that is not asked for --


@pytest.mark.parametrize(
    ("order", "kind", "code"),
    [
        (replace(ORDER, to_number="0170 1234567"), CallRefused, 21211),
        (replace(ORDER, to_number="+49170123456\n"), CallRefused, 21211),
        (replace(ORDER, to_number="sip:me@our.example"), CallRefused, 21211),
        (replace(ORDER, to_number="110"), CallRefused, 21211),
        (replace(ORDER, from_number="shop"), CallsHalted, 21212),
        (replace(ORDER, twiml="<Response/>"), CallRefused, 400),
        (replace(ORDER, answer_url=None), CallRefused, 400),
        (CallOrder(TO, FROM, twiml="x" * 4001), CallRefused, 400),
        (CallOrder(TO, FROM, twiml="\ud800"), CallRefused, 400),
    ],
)
def test_what_twilio_cannot_take_is_not_asked_for(server, twilio, order, kind, code):
    problem = raised(twilio, order)
    assert (type(problem), problem.code) == (kind, code)
    assert order.to_number not in str(problem)
    assert not server.requests


# -- answers that are no call --

REFUSED = [13226, 21201, 21202, 21211, 21216, 21217, 32224]
HALTED = [
    10001,
    20003,
    20005,
    20008,
    20403,
    20404,
    21203,
    21205,
    21208,
    21210,
    21212,
    21213,
    21219,
    21626,
    70051,
    573005,
]


def expected() -> list[tuple[str, int, int | None, type[Exception], dict[str, object]]]:
    """Every row of the table: what it is, status, code, what is raised, and with which attributes."""
    return [
        *((f"number {code}", 400, code, CallRefused, {"code": code, "retry_once": False}) for code in REFUSED),
        *((f"number {code}", 400, code, CallRefused, {"code": code, "retry_once": True}) for code in (13224, 21214)),
        *((f"ours {code}", 400, code, CallsHalted, {"code": code, "country": None}) for code in HALTED),
        ("login", 401, 20003, CallsHalted, {"code": 20003, "country": None}),
        ("account", 404, 20404, CallsHalted, {"code": 20404, "country": None}),
        ("forbidden", 403, 403, CallsHalted, {"code": 403, "country": None}),
        ("country", 400, 21215, CallsHalted, {"code": 21215, "country": "49"}),
        ("live 10004", 400, 10004, CallNotTaken, {"too_many_live": True}),
        ("live 86008", 429, 86008, CallNotTaken, {"too_many_live": True}),
        ("requests", 429, 20429, CallNotTaken, {"too_many_live": False, "retry_after": None}),
        ("failing requests", 400, 70005, CallNotTaken, {"too_many_live": False}),
        ("another 429", 429, 99999, CallNotTaken, {"too_many_live": False}),
        ("unavailable", 503, 20503, CallInDoubt, {}),
        ("server", 500, 20500, CallInDoubt, {}),
        ("another 5xx", 504, 99999, CallInDoubt, {}),
        ("time-out", 408, 99999, CallInDoubt, {}),
        ("conflict", 409, 99999, CallInDoubt, {}),
        ("another 4xx", 400, 30001, CallRefused, {"code": 30001, "retry_once": False}),
        ("a 4xx without a code", 422, None, CallRefused, {"code": 422, "retry_once": False}),
    ]


def test_the_table_of_these_tests_has_every_code():
    assert {code for _, _, code, _, _ in expected()} >= set(BY_CODE)


@pytest.mark.parametrize("written", [error, problem])
@pytest.mark.parametrize(("status", "code", "kind", "more"), [pytest.param(*row[1:], id=row[0]) for row in expected()])
def test_a_refusal_means_what_its_code_says_and_is_asked_for_once(server, twilio, written, status, code, kind, more):
    server.answers[CALLS] = written(status, code)
    problem = raised(twilio)
    assert type(problem) is kind
    assert {name: getattr(problem, name) for name in more} == more
    assert "What Twilio says" in str(problem)
    assert str(status) in str(problem)
    assert methods(server) == ["POST"]


def test_a_code_in_a_text_is_one(server, twilio):
    server.answers[CALLS] = told(400, {"code": "21211", "message": "no"})
    assert (type(refusal := raised(twilio)), refusal.code) == (CallRefused, 21211)


def test_the_status_of_http_counts_where_the_body_tells_another(server, twilio):
    server.answers[CALLS] = told(500, {"type": "t", "title": "No", "status": 400, "code": 99999})
    assert type(raised(twilio)) is CallInDoubt


@pytest.mark.parametrize(("header", "seconds"), [({"Retry_After": "7"}, 7.0), ({}, None)])
def test_a_wait_that_twilio_asks_for_is_told(server, twilio, header, seconds):
    server.answers[CALLS] = told(429, {"code": 20429, "message": "Too many requests"}, **header)
    problem = raised(twilio)
    assert (type(problem), problem.retry_after) == (CallNotTaken, seconds)


@pytest.mark.parametrize(
    ("number", "country"),
    [("+4917012345678", "49"), ("+79161234567", "7"), ("+35312345678", "353"), ("+18765550100", "1876")],
)
def test_a_missing_permission_holds_for_numbers_of_that_country(server, twilio, number, country):
    server.answers[CALLS] = error(400, 21215)
    assert raised(twilio, replace(ORDER, to_number=number)).country == country


def test_a_page_of_somebody_between_refuses_no_number(server, twilio):
    server.answers[CALLS] = said(400, "Bad Request", b"<html>blocked</html>")
    assert type(raised(twilio)) is CallInDoubt


# -- answers that say nothing --


HALF = told(201, resource())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(said(502, "Bad Gateway", b"<html>no</html>"), id="HTML"),
        pytest.param(said(200, "OK", b"<html>welcome</html>"), id="HTML with 200"),
        pytest.param(HALF[:-40], id="cut in half"),
        pytest.param(HALF[: HALF.index(b"\r\n\r\n") - 5], id="cut in its head"),
        pytest.param(b"HTTP/1.1 201", id="cut in its first line"),
        pytest.param(b"", id="closed without a word"),
        pytest.param(b"\0\1\2\3\r\n\r\n", id="no HTTP"),
        pytest.param(said(201, "Created", b'{"sid": "CA'), id="broken JSON"),
        pytest.param(said(201, "Created", b"[" * 100_000), id="JSON too deep"),
        pytest.param(said(201, "Created"), id="empty"),
        pytest.param(told(201, []), id="a list"),
        pytest.param(told(201, None), id="null"),
        pytest.param(told(201, "CA"), id="a text"),
        pytest.param(told(201, {}), id="no sid"),
        pytest.param(told(201, resource(sid=None)), id="sid null"),
        pytest.param(told(201, resource(sid="CA12")), id="sid cut"),
        pytest.param(told(201, resource(date_created=17)), id="a date that is none"),
        pytest.param(said(302, "Found", Location="/elsewhere"), id="moved"),
        pytest.param(said(307, "Temporary", Location="/elsewhere"), id="moved, to be repeated"),
        pytest.param(told(500, [1]), id="an error that is a list"),
        pytest.param(told(400, None), id="a refusal that is null"),
    ],
)
def test_an_answer_that_says_neither_yes_nor_no_leaves_the_call_in_doubt_after_one_request(server, twilio, answer):
    server.answers["*"] = answer
    problem = raised(twilio)
    assert type(problem) is CallInDoubt
    assert TO not in str(problem)
    assert methods(server) == ["POST"]


def test_a_connection_that_is_reset_after_the_request_leaves_the_call_in_doubt(server, twilio):
    def reset(connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    server.answers[CALLS] = reset
    assert type(raised(twilio)) is CallInDoubt
    assert methods(server) == ["POST"]


def test_an_answer_that_comes_too_late_leaves_the_call_in_doubt(server):
    server.answers[CALLS] = lambda _connection: server.ended.wait(60)
    assert type(raised(service(server, SHORT))) is CallInDoubt
    assert methods(server) == ["POST"]


@pytest.mark.parametrize("last", [True, False], ids=["the last of its connection", "not the last"])
@pytest.mark.parametrize("where", ["head", "body"])
def test_a_drip_ends_at_the_deadline(server, where, last):
    """Each byte comes long before a time-out for one; the whole call would be there after a minute."""
    answer = told(201, resource(), **({"Connection": "close"} if last else {}))
    start = 0 if where == "head" else answer.index(b"\r\n\r\n") + 4

    def drip(connection):
        connection.sendall(answer[:start])
        for place in range(start, len(answer)):
            connection.sendall(answer[place : place + 1])
            server.ended.wait(0.1)

    server.answers[CALLS] = drip
    assert type(raised(service(server, SHORT))) is CallInDoubt
    assert methods(server) == ["POST"]


def test_an_answer_without_end_is_not_kept(server, twilio, monkeypatch):
    monkeypatch.setattr(twilio_http, "ANSWER_BYTES", 1000)
    server.answers[CALLS] = told(201, resource(more="x" * 1000))
    assert type(raised(twilio)) is CallInDoubt


# -- requests that never went out --


def test_an_address_where_nobody_listens_was_not_asked():
    twilio = TwilioVoiceService(ACCOUNT, TOKEN, base_url=f"http://127.0.0.1:{free_port()}")
    assert type(raised(twilio)) is CallNotTaken


def unresolved(*_: object) -> list[str]:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def test_a_name_without_an_address_was_not_asked(monkeypatch):
    monkeypatch.setattr(twilio_http, "system_resolver", unresolved)
    assert type(raised(TwilioVoiceService(ACCOUNT, TOKEN))) is CallNotTaken


def test_a_name_that_is_looked_up_for_ever_was_not_asked(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(twilio_http, "system_resolver", lambda *_: [str(ended.wait(60))])
    assert type(raised(TwilioVoiceService(ACCOUNT, TOKEN, deadline=SHORT))) is CallNotTaken
    ended.set()


def test_a_handshake_that_never_ends_was_no_request():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base = f"https://localhost:{silent.getsockname()[1]}"
        assert type(raised(TwilioVoiceService(ACCOUNT, TOKEN, base_url=base, deadline=SHORT))) is CallNotTaken


def test_a_connection_that_comes_too_late_carries_no_request(server, monkeypatch):
    slow = twilio_http.HTTPConnection.connect

    def connect(self):
        slow(self)
        threading.Event().wait(SHORT)

    monkeypatch.setattr(twilio_http.HTTPConnection, "connect", connect)
    assert type(raised(service(server, SHORT / 2))) is CallNotTaken
    assert not server.requests


@pytest.fixture
def secured():
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with WebServer(context) as running:
        running.answers[CALLS] = told(201, resource())
        yield running, trusting


def test_tls_is_verified_before_anything_is_asked(secured):
    server, trusting = secured
    base = f"https://localhost:{server.port}"
    assert type(raised(TwilioVoiceService(ACCOUNT, TOKEN, base_url=base))) is CallNotTaken
    assert not server.requests
    twilio = TwilioVoiceService(ACCOUNT, TOKEN, base_url=base, context=trusting)
    assert twilio.create_call(ORDER).sid == CALL
    assert f"Host: localhost:{server.port}\r\n" in server.requests[0]
    strange = TwilioVoiceService(ACCOUNT, TOKEN, base_url=f"https://127.0.0.1:{server.port}", context=trusting)
    assert type(raised(strange)) is CallNotTaken
    assert methods(server) == ["POST"]


# -- what interrupts --


@pytest.mark.parametrize("interrupt", [SoftTimeLimitExceeded, KeyboardInterrupt])
def test_what_interrupts_a_task_passes_through(server, twilio, interrupt):
    def raise_it(*_):
        raise interrupt

    def hang(_connection):
        os.kill(os.getpid(), signal.SIGUSR1)
        server.ended.wait(60)

    server.answers[CALLS] = hang
    former = signal.signal(signal.SIGUSR1, raise_it)
    try:
        with pytest.raises(interrupt):
            twilio.create_call(ORDER)
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert methods(server) == ["POST"]


# -- what surrounds it --


def test_nothing_is_read_from_the_environment(server, twilio, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login stranger password stranger\n")
    strange = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    twilios = {"TWILIO_ACCOUNT_SID": "AC9", "TWILIO_AUTH_TOKEN": "no", "TWILIO_REGION": "au1", "TWILIO_EDGE": "sydney"}
    for name, value in {**strange, **twilios, "HOME": str(tmp_path), "NO_PROXY": ""}.items():
        monkeypatch.setenv(name, value)
    client = twilio._calls(twilio._http())._version.domain.twilio
    assert (client.account_sid, client.auth, client.region, client.edge) == (ACCOUNT, (ACCOUNT, TOKEN), None, None)
    server.answers[CALLS] = told(201, resource())
    assert twilio.create_call(ORDER).sid == CALL
    assert LOGIN in server.requests[0]


def test_threads_share_one_service(server, twilio):
    server.answers[CALLS] = told(201, resource())
    numbers = [f"+4917012345{place:03}" for place in range(40)]
    with ThreadPoolExecutor(8) as pool:
        placed = list(pool.map(lambda number: twilio.create_call(replace(ORDER, to_number=number)), numbers))
    assert len(placed) == len(server.requests) == 40
    assert {dict(parse_qsl(body.decode()))["To"] for body in server.bodies} == set(numbers)


SPELLINGS = [TO, TO[1:], "%2B4917012345678", "+49 170 123456-78", "+49 (170) 1234.5678", "4917\x0012345678"]


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("written", [error, problem])
def test_no_secret_and_no_whole_number_is_told_or_logged(server, twilio, caplog, written, status):
    caplog.set_level(logging.DEBUG)
    words = f"{TOKEN} {LOGIN} {' and '.join(SPELLINGS)} \x1b[31m"
    server.answers["*"] = written(status, 99999, words)
    problems = [raised(twilio)]
    for method in ("fetch_call", "end_call", "list_calls"):
        with pytest.raises(WorkError) as found:
            ask(twilio, method)
        problems.append(found.value)
    shown = "".join(line for one in problems for line in traceback.format_exception(one)) + caplog.text
    assert not [secret for secret in (TOKEN, LOGIN, *SPELLINGS, "17012345", "\x1b") if secret in shown]


def test_words_are_one_short_line(server, twilio):
    server.answers[CALLS] = error(400, 21211, "a\nb " + "c" * 100_000)
    words = str(raised(twilio))
    assert "a b ccc" in words
    assert "\n" not in words
    assert len(words) < 500


@pytest.mark.parametrize(
    "given",
    [
        {"account_sid": ""},
        {"account_sid": "SK" + "0" * 32},
        {"account_sid": "AC0/../AC1"},
        {"auth_token": ""},
        *(
            {"base_url": one}
            for one in (
                "http://api.twilio.com",
                "http://10.0.0.1:4010",
                "ftp://127.0.0.1",
                "api.twilio.com",
                "",
                "https://",
                "https://user:secret@api.twilio.com",
                "https://api.twilio.com/elsewhere",
                "https://api.twilio.com?x=1",
                "http://[::1",
            )
        ),
    ],
)
def test_settings_that_cannot_work_or_would_tell_the_token_are_refused(given):
    with pytest.raises(ConfigurationError) as found:
        TwilioVoiceService(**{"account_sid": ACCOUNT, "auth_token": TOKEN, **given})
    assert TOKEN not in str(found.value)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:4010", "http://[::1]:4010/", "http://localhost", "https://10.0.0.1"]
)
def test_a_simulator_may_be_on_this_machine(base):
    TwilioVoiceService(ACCOUNT, TOKEN, base_url=base)


# -- what is known of calls --


def test_a_call_is_told_as_twilio_knows_it(server, twilio):
    server.answers[ONE] = told(
        200,
        resource(
            status="completed",
            start_time="Sun, 29 Nov 2026 10:00:05 +0000",
            end_time="Sun, 29 Nov 2026 10:00:47 +0000",
            duration="42",
            price="-0.02800",
            answered_by="human",
        ),
    )
    call = twilio.fetch_call(CALL)
    assert (call.sid, call.status, call.to_number, call.from_number) == (CALL, "completed", TO, FROM)
    assert (call.direction, call.answered_by, call.duration_seconds) == ("outbound-api", "human", 42)
    assert (call.price, call.price_unit) == ("0.02800", "USD")
    assert call.created_at == datetime(2026, 11, 29, 10, tzinfo=UTC)
    assert call.started_at == datetime(2026, 11, 29, 10, 0, 5, tzinfo=UTC)
    assert call.ended_at == datetime(2026, 11, 29, 10, 0, 47, tzinfo=UTC)
    assert methods(server) == ["GET"]


def test_what_twilio_does_not_say_is_none(server, twilio):
    server.answers[ONE] = told(200, {"sid": CALL, "status": "cancelled", "price": "much", "duration": ""})
    call = twilio.fetch_call(CALL)
    assert call.status == "canceled"
    assert (call.created_at, call.started_at, call.ended_at, call.answered_by) == (None, None, None, None)
    assert (call.duration_seconds, call.price, call.price_unit) == (None, None, None)


@pytest.mark.parametrize("sid", ["", "CA1", "../Messages", CALL + "\n", "MM" + "1" * 32])
@pytest.mark.parametrize("method", ["fetch_call", "end_call"])
def test_what_is_no_name_of_a_call_is_not_asked_for(server, twilio, method, sid):
    with pytest.raises(CallNotFound):
        getattr(twilio, method)(sid)
    assert not server.requests


UNTOLD = [
    (error(401, 20003), CallsHalted),
    (said(401, "Unauthorized"), CallsHalted),
    (said(403, "Forbidden"), CallsHalted),
    (error(400, 20005), CallsHalted),
    (error(429, 20429), TransientError),
    (error(500, 20500), TransientError),
    (problem(503, 20503), TransientError),
    (said(502, "Bad Gateway", b"<html>"), TransientError),
    (said(200, "OK", b"<html>"), TransientError),
    (HALF[:-40], TransientError),
    (b"", TransientError),
    (told(200, [1]), TransientError),
    (told(200, {}), TransientError),
    (said(200, "OK", b"[" * 100_000), TransientError),
]


@pytest.mark.parametrize(("answer", "kind"), UNTOLD)
@pytest.mark.parametrize("method", ["fetch_call", "end_call", "list_calls"])
def test_what_is_not_told_now_is_asked_for_later_or_needs_somebody(server, twilio, method, answer, kind):
    server.answers["*"] = answer
    with pytest.raises(kind) as found:
        ask(twilio, method)
    assert type(found.value) is kind
    assert len(server.requests) == 1


def ask(twilio: TwilioVoiceService, method: str) -> object:
    if method == "list_calls":
        return twilio.list_calls(to_number=TO, from_number=FROM)
    return getattr(twilio, method)(CALL)


@pytest.mark.parametrize("method", ["fetch_call", "end_call", "list_calls"])
def test_each_method_ends_at_its_deadline_and_tells_who_asks_when_to_come_again(server, method):
    server.answers["*"] = told(429, {"code": 20429}, Retry_After="3")
    with pytest.raises(TransientError) as found:
        ask(service(server), method)
    assert found.value.retry_after == 3.0
    server.answers["*"] = lambda _connection: server.ended.wait(60)
    with pytest.raises(TransientError):
        ask(service(server, SHORT), method)
    with pytest.raises(TransientError):
        ask(TwilioVoiceService(ACCOUNT, TOKEN, base_url=f"http://127.0.0.1:{free_port()}"), method)


@pytest.mark.parametrize("answer", [error(404, 20404), problem(404, 20404), said(404, "Not Found", b"<html>")])
@pytest.mark.parametrize("method", ["fetch_call", "end_call"])
def test_a_call_that_twilio_does_not_know_now_is_not_found(server, twilio, method, answer):
    server.answers["*"] = answer
    with pytest.raises(CallNotFound):
        getattr(twilio, method)(CALL)


def test_a_call_is_ended_as_one_that_may_still_ring(server, twilio):
    server.answers[ONE] = told(200, resource(status="completed"))
    assert twilio.end_call(CALL).status == "completed"
    assert methods(server) == ["POST"]
    assert form(server) == [("Status", "completed")]


@pytest.mark.parametrize("written", [error, problem])
def test_a_call_that_is_over_is_returned_as_it_is(server, twilio, written):
    def answer(connection):
        over = methods(server) == ["POST"]
        connection.sendall(written(400, 21220) if over else told(200, resource(status="busy")))

    server.answers[ONE] = answer
    assert twilio.end_call(CALL).status == "busy"
    assert methods(server) == ["POST", "GET"]


def pages(server: WebServer, *, most: int = 1) -> None:
    """One call a page; page after page, for ever."""

    def answer(connection):
        place = len(server.requests)
        sid = f"CA{place:032x}"
        created = f"Sun, 29 Nov 2026 10:00:{place % 60:02} +0000"
        more = f"{CALLS}?PageSize={most}&Page={place}&PageToken=PA{sid}"
        listed = {"calls": [resource(sid=sid, date_created=created)], "next_page_uri": more, "page": place}
        connection.sendall(told(200, listed))

    server.answers["*"] = answer


def test_calls_between_two_numbers_are_listed_the_newest_first_up_to_a_limit(server, twilio):
    pages(server)
    found = twilio.list_calls(to_number=TO, from_number=FROM, limit=3)
    assert [call.sid for call in found] == [f"CA{place:032x}" for place in (3, 2, 1)]
    first, *more = [urlsplit(head.split(" ")[1]) for head in server.requests]
    assert dict(parse_qsl(first.query)) == {"To": TO, "From": FROM, "PageSize": "3"}
    assert [dict(parse_qsl(one.query))["Page"] for one in more] == ["1", "2"]
    assert methods(server) == ["GET"] * 3


def test_no_call_is_asked_for_where_none_is_wanted(server, twilio):
    assert not twilio.list_calls(to_number=TO, from_number=FROM, limit=0)
    assert not server.requests


def test_a_page_is_never_larger_than_twilio_takes(server, twilio):
    server.answers["*"] = told(200, {"calls": [], "next_page_uri": None})
    assert not twilio.list_calls(to_number=TO, from_number=FROM, limit=5000)
    assert "PageSize=1000" in server.requests[0]


def test_pages_without_end_end_at_the_deadline(server):
    server.answers["*"] = told(200, {"calls": [], "next_page_uri": CALLS})
    with pytest.raises(TransientError):
        service(server, SHORT).list_calls(to_number=TO, from_number=FROM)


def test_the_next_page_is_never_looked_for_at_a_strangers(server, twilio):
    stranger = f"http://stranger.example{CALLS}?Page=1"
    calls = [{"calls": [resource()], "meta": {"key": "calls", "next_page_url": stranger}}, {"calls": [resource()]}]
    server.answers["*"] = lambda connection: connection.sendall(told(200, calls[len(server.requests) - 1]))
    assert len(twilio.list_calls(to_number=TO, from_number=FROM)) == 2
    assert f"Host: 127.0.0.1:{server.port}\r\n" in server.requests[1]


# -- signatures --

URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FIELDS = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
    ("Caller", "+14158675309"),
]
SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
BODY = b'{"property": "value", "boolean": true}'
BODY_URL = URL + "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
SIGNED_BODY = "a9nBmqA0ju/hNViExpshrM61xv4="
SAME_NAME = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234")]
PLAIN_URL = URL.replace("https", "http")


@pytest.fixture
def signed_for() -> TwilioVoiceService:
    return TwilioVoiceService(ACCOUNT, "12345")


@pytest.mark.parametrize(
    ("url", "given", "signature"),
    [
        pytest.param(URL, FIELDS, SIGNATURE, id="form"),
        pytest.param(URL, FIELDS[::-1], SIGNATURE, id="in another order"),
        pytest.param(URL.replace(".com", ".com:1234"), FIELDS, SIGNATURE, id="port removed"),
        pytest.param(
            PLAIN_URL.replace(".com", ".com:1234"), FIELDS, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=", id="port kept, http"
        ),
        pytest.param(URL, FIELDS, "kvajT1Ptam85bY51eRf/AJRuM3w=", id="port 443 added"),
        pytest.param(PLAIN_URL, FIELDS, "0ZXoZLH/DfblKGATFgpif+LLRf4=", id="port 80 added, http"),
        pytest.param(URL, SAME_NAME, "IK+Dwps556ElfBT0I3Rgjkr1wJU=", id="two fields of a name"),
        pytest.param(URL, [*SAME_NAME, ("Digits", "1234")], "IK+Dwps556ElfBT0I3Rgjkr1wJU=", id="the same field twice"),
        pytest.param(BODY_URL, BODY, SIGNED_BODY, id="JSON"),
    ],
)
def test_what_twilio_has_published_as_signed_is_authentic(signed_for, url, given, signature):
    """The vectors of the SDK's own tests."""
    assert signed_for.is_authentic(url, given, signature)


@pytest.mark.parametrize(
    ("url", "given", "signature"),
    [
        pytest.param(URL, FIELDS, "", id="unsigned"),
        pytest.param(URL, FIELDS, None, id="no header at all"),
        pytest.param(URL, FIELDS, "FAIL", id="forged"),
        pytest.param(URL, FIELDS, "é" * len(SIGNATURE), id="not ASCII"),
        pytest.param(URL, FIELDS, SIGNATURE + " ", id="one more character"),
        pytest.param(URL, [*FIELDS, ("Extra", "")], SIGNATURE, id="one more field"),
        pytest.param(URL, FIELDS[1:], SIGNATURE, id="one field less"),
        pytest.param(URL, [(name, value.strip("+")) for name, value in FIELDS], SIGNATURE, id="changed"),
        pytest.param(URL, [], SIGNATURE, id="no form"),
        pytest.param(PLAIN_URL, FIELDS, SIGNATURE, id="http for https"),
        pytest.param(URL.replace("mycompany", "MyCompany"), FIELDS, SIGNATURE, id="the host in another case"),
        pytest.param(URL.replace("mycompany", "other"), FIELDS, SIGNATURE, id="another host"),
        pytest.param(URL.replace(".php", ".php/"), FIELDS, SIGNATURE, id="a slash more"),
        pytest.param(URL.replace("foo=1", "foo=%31"), FIELDS, SIGNATURE, id="encoded anew"),
        pytest.param(URL + "#rc=5", FIELDS, SIGNATURE, id="with its fragment"),
        pytest.param(URL.replace(".com", ".com:x"), FIELDS, SIGNATURE, id="a port that is none"),
        pytest.param("https://[", FIELDS, SIGNATURE, id="no URL"),
        pytest.param("", FIELDS, SIGNATURE, id="empty URL"),
        pytest.param(URL, [("a", "\ud800")], SIGNATURE, id="half a character"),
        pytest.param(URL, {"To": ["x"]}, SIGNATURE, id="no pairs"),
        pytest.param(URL, BODY, SIGNED_BODY, id="JSON without its hash"),
        pytest.param(BODY_URL, BODY + b" ", SIGNED_BODY, id="JSON changed"),
        pytest.param(BODY_URL, b"", SIGNED_BODY, id="JSON dropped"),
        pytest.param(BODY_URL, b"\xff", SIGNED_BODY, id="no UTF-8"),
        pytest.param(BODY_URL.replace("0a1f", "0a1e"), BODY, SIGNED_BODY, id="another hash"),
    ],
)
def test_what_twilio_has_not_signed_is_not_authentic_whatever_it_is(signed_for, url, given, signature):
    assert signed_for.is_authentic(url, given, signature) is False


def signature_of(token: str, url: str, fields: dict[str, str]) -> str:
    return RequestValidator(token).compute_signature(url, fields)


def test_blank_fields_and_blanks_in_fields_are_signed():
    twilio = TwilioVoiceService(ACCOUNT, "12345")
    signature = signature_of("12345", URL, {"SpeechResult": "", "Digits": " 1 "})
    assert twilio.is_authentic(URL, [("SpeechResult", ""), ("Digits", " 1 ")], signature)
    assert not twilio.is_authentic(URL, [("Digits", " 1 ")], signature)
    assert not twilio.is_authentic(URL, [("SpeechResult", ""), ("Digits", "1")], signature)


@pytest.mark.parametrize("nothing", [[], b""])
def test_a_get_is_signed_by_its_url(nothing):
    twilio = TwilioVoiceService(ACCOUNT, "12345")
    assert twilio.is_authentic(URL, nothing, signature_of("12345", URL, {}))
    assert not twilio.is_authentic(URL, nothing, signature_of("12345", URL + "&x=1", {}))


def test_a_body_that_is_no_form_is_taken_as_its_bytes():
    twilio, body = TwilioVoiceService(ACCOUNT, "12345"), '{"name":  "Zoë"}\n'.encode()
    url = f"https://our.example/x?bodySHA256={sha256(body).hexdigest()}"
    assert twilio.is_authentic(url, body, signature_of("12345", url, {}))


def test_former_tokens_are_taken_while_a_token_is_changed_and_an_empty_one_never():
    twilio = TwilioVoiceService(ACCOUNT, "new", former_tokens=["old", ""])
    signed = {token: signature_of(token, URL, dict(FIELDS)) for token in ("new", "old", "other", "")}
    assert {token for token, one in signed.items() if twilio.is_authentic(URL, FIELDS, one)} == {"new", "old"}
