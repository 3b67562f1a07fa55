"""The phone simulator over HTTP: the official SDK talks to it, and its webhooks are signed as the SDK checks them."""

import contextlib
import http.client
import itertools
import json
import socket
import threading
from base64 import b64encode

import pytest
import requests
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.request_validator import RequestValidator

from adapters.phone_simulator.callees import Callee
from adapters.phone_simulator.faults import Faults
from adapters.phone_simulator.refusals import REFUSALS
from adapters.phone_simulator.webhooks import signature
from adapters.twilio_simulator import TwilioSimulator
from call_webhooks import ACCOUNT, HELLO, OURS, TOKEN, CallWebhooks, sdk
from ports import free_port
from waiting import until

EVENTS = ["initiated", "ringing", "answered", "completed"]
NUMBERS = (f"+49170{number:07d}" for number in itertools.count(1_111_111, 11))
LOGIN = {"Authorization": "Basic " + b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()}
CALLS = f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"


@pytest.fixture
def web():
    with CallWebhooks({"/answer": HELLO}) as webhooks:
        yield webhooks


@pytest.fixture
def simulator():
    with TwilioSimulator(ACCOUNT, TOKEN, speed=200, calls_per_second=1000, seed=1) as running:
        yield running


def order(web=None, **more):
    """Return what a create is given: a number of its own, and what is heard."""
    heard = (
        {"twiml": "<Response><Say>Hello</Say></Response>"} if web is None else {"url": f"{web.url}/answer?attempt=7"}
    )
    return {"to": next(NUMBERS), "from_": OURS, **heard, **more}


def status_order(web, **more):
    told = {"status_callback": f"{web.url}/status?attempt=7&x=%31", "status_callback_event": EVENTS}
    return order(web, **told | more)


def asked(simulator, method, path, body=None, headers=LOGIN):
    """Send a request without the SDK; return status and JSON."""
    connection = http.client.HTTPConnection(simulator.url.removeprefix("http://"), timeout=10)
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if content else None


def ended(simulator, call):
    return until(lambda: simulator.call(call.sid).ended, 20, "the call ends")


def test_a_call_is_made_as_twilio_makes_it_and_is_seen_until_its_end(simulator, web):
    client = sdk(simulator)
    answer = client.calls.create_with_http_info(**status_order(web))
    call = answer.data
    assert answer.status_code == 201
    assert (call.status, call.queue_time, call.direction, call.api_version) == (
        "queued",
        "0",
        "outbound-api",
        "2010-04-01",
    )
    assert (call.duration, call.price, call.end_time, call.answered_by) == (None, None, None, None)
    ended(simulator, call)
    seen = client.calls(call.sid).fetch()
    assert (seen.status, seen.to) == ("completed", simulator.call(call.sid).plan.to)
    assert seen.duration == str(simulator.call(call.sid).duration)
    assert seen.start_time is not None
    assert seen.end_time is not None
    until(lambda: len(web.at("/status")) == 4, 10, "all steps are told")
    assert web.told() == ["initiated", "ringing", "in-progress", "completed"]


def test_every_webhook_has_twilios_fields_and_a_signature_that_the_sdk_takes(simulator, web):
    web.documents["/answer"] = b"<Response><Redirect>/more?x=a%20b</Redirect></Response>"
    web.documents["/more"] = HELLO
    client = sdk(simulator)
    call = client.calls.create(
        **status_order(web, status_callback=f"{web.url}/status?attempt=7&x=%31#rc=5&rp=5xx,ct,rt")
    )
    until(lambda: "completed" in web.told(), 20, "the end is told")
    validator = RequestValidator(TOKEN)
    assert {one.path for one in web.came} == {"/status", "/answer", "/more"}
    for one in web.came:
        assert validator.validate(web.url + one.target, one.fields, one.headers["X-Twilio-Signature"])
        assert not validator.validate(
            web.url + one.target, one.fields | {"To": "+1"}, one.headers["X-Twilio-Signature"]
        )
        assert one.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
        assert {"CallSid": call.sid, "AccountSid": ACCOUNT, "ApiVersion": "2010-04-01"}.items() <= one.fields.items()
        assert (one.fields["FromCity"], one.fields["Direction"]) == ("", "outbound-api")
    assert web.at("/status")[0].target == "/status?attempt=7&x=%31"
    assert {one.fields["CallbackSource"] for one in web.at("/status")} == {"call-progress-events"}


def test_a_get_is_signed_over_its_query(simulator, web):
    sdk(simulator).calls.create(**status_order(web, method="GET", status_callback_method="GET"))
    until(lambda: len(web.at("/status")) == 4, 20, "all steps are told")
    for one in web.came:
        assert one.method == "GET"
        assert "CallSid=CA" in one.target
        assert RequestValidator(TOKEN).validate(web.url + one.target, {}, one.headers["X-Twilio-Signature"])


def test_the_signature_is_that_of_twilios_published_example():
    fields = {"CallSid": "CA1234567890ABCDE", "Caller": "+14158675309", "Digits": "1234", "From": "+14158675309"}
    fields["To"] = "+18005551212"
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert signature("12345", url, fields) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_a_number_that_ends_with_a_code_is_refused_with_it(simulator, code):
    with pytest.raises(TwilioRestException) as refused:
        sdk(simulator).calls.create(**order(to=f"+1555{code:07d}"))
    assert (refused.value.code, refused.value.status) == (code, REFUSALS[code][0])
    assert simulator.calls == []
    assert simulator.measures.posts == 1


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"to": "0170 1234"}, 21211),
        ({"to": "+4917012345678901"}, 21211),
        ({"to": ""}, 21201),
        ({"from_": "12"}, 21212),
        ({"from_": ""}, 21213),
        ({"from_": "+15005550007"}, 21210),
        ({"twiml": ""}, 21205),
        ({"twiml": "x" * 4001}, 20001),
        ({"url": "ftp://localhost/answer"}, 21205),
        ({"url": "http://[/answer"}, 21205),
        ({"url": "http://localhost:99999/answer"}, 21205),
        ({"timeout": 601}, 21208),
        ({"timeout": "soon"}, 21208),
        ({"time_limit": "soon"}, 20001),
        ({"status_callback": "http://web_app/status"}, 21609),
        ({"status_callback_event": ["initiated ringing"]}, 21626),
        ({"send_digits": "x"}, 20001),
        ({"machine_detection": "Yes"}, 20001),
        ({"url": "http://localhost/answer", "method": "PUT"}, 20001),
    ],
)
def test_what_twilio_refuses_is_refused(simulator, wrong, code):
    with pytest.raises(TwilioRestException) as refused:
        sdk(simulator).calls.create(**order() | wrong)
    assert (refused.value.status, refused.value.code) == (400, code)
    assert simulator.calls == []


def test_a_refusal_has_twilios_body_or_is_a_problem(simulator):
    form = {"Content-Type": "application/x-www-form-urlencoded", **LOGIN}
    status, body = asked(simulator, "POST", CALLS, headers=form)
    assert (status, set(body)) == (400, {"code", "message", "more_info", "status"})
    simulator.faults = Faults(problem_details=True)
    with pytest.raises(TwilioServiceException) as refused:
        sdk(simulator).calls.create(**order(to="+15550021211"))
    assert (refused.value.status, refused.value.code) == (400, 21211)


def test_nobody_gets_in_without_the_login(simulator):
    client = sdk(simulator, token="another")
    with pytest.raises(TwilioRestException) as refused:
        client.calls.create(**order())
    assert (refused.value.status, refused.value.code) == (401, 20003)
    for method, path in (("GET", "/simulator/state"), ("PUT", "/simulator/faults"), ("POST", "/simulator/incoming")):
        assert asked(simulator, method, path, {}, {})[0] == 401
    assert simulator.calls == []


def test_the_login_is_refused_from_a_moment_on(simulator):
    client = sdk(simulator)
    call = client.calls.create(**order())
    simulator.faults = Faults(login_refused=True)
    for refused in (lambda: client.calls.create(**order()), lambda: client.calls(call.sid).fetch()):
        with pytest.raises(TwilioRestException) as error:
            refused()
        assert (error.value.status, error.value.code) == (401, 20003)
    assert asked(simulator, "GET", "/simulator/state")[0] == 200


def test_an_unknown_call_account_or_place_is_not_found(simulator):
    client = sdk(simulator)
    for wrong in (
        lambda: client.calls("CA" + "0" * 32).fetch(),
        lambda: client.calls("CA" + "0" * 32).update(status="completed"),
    ):
        with pytest.raises(TwilioRestException) as refused:
            wrong()
        assert (refused.value.status, refused.value.code) == (404, 20404)
    assert asked(simulator, "GET", CALLS.replace(ACCOUNT, "AC" + "0" * 32))[0] == 404
    assert asked(simulator, "GET", "/elsewhere")[0] == 404
    assert asked(simulator, "PUT", CALLS)[0] == 405


def test_a_live_call_is_ended_and_an_ended_one_is_not_in_progress(simulator):
    client = sdk(simulator)
    call = client.calls.create(**order(twiml="<Response><Say loop='0'>Hello</Say></Response>"))
    until(lambda: client.calls(call.sid).fetch().status == "in-progress", 10, "somebody answers")
    assert client.calls(call.sid).update(status="completed").status == "completed"
    with pytest.raises(TwilioRestException) as refused:
        client.calls(call.sid).update(status="completed")
    assert (refused.value.status, refused.value.code) == (400, 21220)


def test_lists_are_filtered_and_come_in_pages_the_newest_first(simulator):
    client = sdk(simulator)
    one = next(NUMBERS)
    sids = [client.calls.create(**order(to=one)).sid for _ in range(7)]
    other = client.calls.create(**order())
    assert [call.sid for call in client.calls.list(to=one, page_size=3)] == sids[::-1]
    assert [call.sid for call in client.calls.list(to=one, limit=2)] == sids[:-3:-1]
    assert len(client.calls.list()) == 8
    assert client.calls.list(from_="+15005550009") == []
    ended(simulator, other)
    until(lambda: simulator.measures.live_now == 0, 20, "all calls end")
    assert len(client.calls.list(status="completed")) == 8
    assert client.calls.list(status="queued") == []
    first = client.calls(sids[0]).fetch().start_time
    assert len(client.calls.list(start_time_after=first)) == 8
    assert client.calls.list(end_time_before=first.replace(year=2000)) == []
    assert asked(simulator, "GET", f"{CALLS}?PageSize=x")[0] == 400


def test_a_page_stays_where_it_was_while_calls_are_added_and_change(simulator):
    client = sdk(simulator)
    sids = [client.calls.create(**order()).sid for _ in range(4)]
    page = client.calls.page(page_size=2)
    client.calls.create(**order())
    assert [call.sid for call in page.next_page()] == [sids[1], sids[0]]


def test_a_call_in_the_queue_is_in_no_list_by_start_time():
    with TwilioSimulator(ACCOUNT, TOKEN, calls_per_second=0.01) as slow:
        client = sdk(slow)
        sids = [client.calls.create(**order()).sid for _ in range(2)]
        until(lambda: client.calls(sids[0]).fetch().start_time, 10, "the first is dialled")
        assert [call.sid for call in client.calls.list(start_time_after="2000-01-01")] == sids[:1]
        assert 90_000 < int(client.calls(sids[1]).fetch().queue_time) <= 100_000
        assert [call.sid for call in client.calls.list()] == sids[::-1]


MADE = ("late", "cut", "drip", "error_made", "reset_made")
NOT_MADE = ("error", "html", "too_many", "too_many_retry_after", "reset")
SEEN = {
    "late": requests.exceptions.ReadTimeout,
    "cut": (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError, ValueError),
    "drip": requests.exceptions.RequestException,
    "reset": requests.exceptions.ConnectionError,
    "reset_made": requests.exceptions.ConnectionError,
    "error_made": TwilioRestException,
    "error": TwilioRestException,
    "html": TwilioRestException,
    "too_many": TwilioRestException,
    "too_many_retry_after": TwilioRestException,
}


@pytest.mark.parametrize("fault", [*MADE, *NOT_MADE])
def test_a_create_that_goes_wrong_makes_a_call_exactly_where_it_says_so(simulator, fault):
    simulator.faults = Faults(create=fault, late_seconds=600, create_times=1)
    client = sdk(simulator, timeout=0.3)
    if fault == "drip":
        assert dripped(simulator) < 100
    else:
        with pytest.raises(SEEN[fault]) as seen:
            client.calls.create(**order())
        status = {"error_made": 500, "error": 500, "html": 502, "too_many": 429, "too_many_retry_after": 429}.get(fault)
        assert getattr(seen.value, "status", None) == status
    assert len(simulator.calls) == (fault in MADE)
    assert simulator.measures.posts == 1
    client.calls.create(**order())  # only one went wrong


BODY = "To=%2B491701234599&From=%2B15005550006&Twiml=x"
RAW_CREATE = (
    f"POST {CALLS} HTTP/1.1\r\nHost: x\r\nAuthorization: {LOGIN['Authorization']}\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
    f"{BODY}"
).encode()


def dripped(simulator) -> int:
    """Return how many bytes of an answer came in a while."""
    with socket.create_connection(("127.0.0.1", int(simulator.url.rpartition(":")[2])), 5) as connection:
        connection.sendall(RAW_CREATE)
        return len(connection.recv(1)) + len(connection.recv(10_000))


@pytest.mark.parametrize("fault", ["reset", "reset_made"])
def test_a_reset_is_no_polite_end(simulator, fault):
    simulator.faults = Faults(create=fault)
    with (
        socket.create_connection(("127.0.0.1", int(simulator.url.rpartition(":")[2])), 5) as connection,
        pytest.raises(ConnectionResetError),
    ):
        connection.sendall(RAW_CREATE)
        connection.recv(1)


def test_retry_after_is_sent_where_it_is_asked_for(simulator):
    for fault, wanted in (("too_many", None), ("too_many_retry_after", "7")):
        simulator.faults = Faults(create=fault, retry_after=7)
        with requests.post(simulator.url + CALLS, auth=(ACCOUNT, TOKEN), timeout=5) as answer:
            assert (answer.status_code, answer.headers.get("Retry-After")) == (429, wanted)


def test_a_share_of_creates_goes_wrong(simulator):
    simulator.faults = Faults(create="error", create_share=0.5)
    client = sdk(simulator)
    for _ in range(40):
        with contextlib.suppress(TwilioRestException):
            client.calls.create(**order())
    assert 5 <= len(simulator.calls) <= 35
    assert len(simulator.calls) == simulator.measures.answers[201] == 40 - simulator.measures.answers[500]


def test_reads_fail_where_that_is_asked_for(simulator):
    client = sdk(simulator)
    call = client.calls.create(**order())
    simulator.faults = Faults(reads_status=503)
    with pytest.raises(TwilioRestException) as refused:
        client.calls(call.sid).fetch()
    assert refused.value.status == 503
    with pytest.raises(TwilioException):
        client.calls.list()
    client.calls.create(**order())


def test_webhooks_are_signed_wrongly_or_not_at_all_where_that_is_asked_for(simulator, web):
    client = sdk(simulator)
    simulator.faults = Faults(signature="wrong")
    client.calls.create(**order(web))
    (one,) = until(lambda: web.at("/answer"), 10, "the document is asked for")
    assert not RequestValidator(TOKEN).validate(web.url + one.target, one.fields, one.headers["X-Twilio-Signature"])
    simulator.faults = Faults(signature="none")
    client.calls.create(**order(web))
    until(lambda: len(web.at("/answer")) == 2, 10, "the second document is asked for")
    assert "X-Twilio-Signature" not in web.at("/answer")[1].headers


@pytest.mark.parametrize(
    ("fragment", "status", "tries"),
    [
        ("", 503, 1),
        ("#rc=5&rp=5xx,ct,rt", 503, 6),
        ("#rc=2&rp=5xx", 503, 3),
        ("#rc=9&rp=all", 404, 6),
        ("#rc=5&rp=5xx,ct,rt", 404, 1),
        ("#rc=0&rp=all", 503, 1),
        ("#rc=3&rp=all", 302, 1),
        ("#rc=3&rp=all", 204, 1),
    ],
)
def test_a_callback_is_retried_as_the_fragment_says_with_one_token_and_no_redirect_is_followed(
    simulator, web, fragment, status, tries
):
    web.documents["/status"] = (status, "text/plain", b"")
    call = sdk(simulator).calls.create(**order(status_callback=f"{web.url}/status{fragment}"))
    ended(simulator, call)
    until(lambda: status == 204 or simulator.measures.callbacks_failed, 10, "the callback is given up")
    until(lambda: len(web.came) >= tries, 10, "all tries come")
    assert [one.target for one in web.came] == ["/status"] * tries
    assert len({one.headers["I-Twilio-Idempotency-Token"] for one in web.came}) == 1
    assert simulator.measures.callbacks == 1


@contextlib.contextmanager
def dripping_server():
    """Answer one request with a byte now and then, until the other side goes; yield the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    gone = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not gone.wait(0.02):
                connection.sendall(b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    gone.set()
    thread.join(10)
    listener.close()


def test_a_webhook_that_cannot_be_reached_or_does_not_answer_is_given_up(simulator, web):
    answer = threading.Event()

    def slow(_asked):
        answer.wait(20)
        return 204, "text/plain", b""

    web.documents["/status"] = slow
    with dripping_server() as dripping:
        client = sdk(simulator)
        calls = [
            client.calls.create(**order(status_callback=f"http://127.0.0.1:{free_port()}/status")),
            client.calls.create(**order(status_callback=f"{web.url}/status#rt=200&rc=1&rp=rt")),
            client.calls.create(**order(status_callback="http://example.com/status")),
            client.calls.create(**order(status_callback="https://127.0.0.1/status")),
            client.calls.create(**order(status_callback="http://me:secret@127.0.0.1/status")),
            client.calls.create(**order(status_callback="http://127.0.0.1/a\x0b\u00e9")),
            client.calls.create(**order(status_callback=f"{dripping}/#tt=300")),
        ]
        reasons = (
            "no connection: ConnectionRefusedError",
            "no answer: TimeoutError",
            "this machine alone",
            "http://",
            "no URL",
            "no URL",
            "no answer: TimeoutError",
        )
        for call, reason in zip(calls, reasons, strict=True):
            last = until(lambda call=call: simulator.call(call.sid).history[-1][1].startswith("15003"), 10, reason)
            assert last
            assert reason in simulator.call(call.sid).history[-1][1]
    answer.set()
    assert len(web.at("/status")) == 2
    assert ended(simulator, client.calls.create(**order(web)))


def test_a_public_address_is_reached_where_it_really_is_and_signed_as_it_was_given(web):
    with TwilioSimulator(
        ACCOUNT, TOKEN, speed=200, calls_per_second=1000, reach={"https://calls.example.com": web.url}
    ) as simulator:
        sdk(simulator).calls.create(**order(url="https://calls.example.com/answer?attempt=7") | {"twiml": ""})
        (one,) = until(lambda: web.at("/answer"), 10, "the document is asked for")
    url = "https://calls.example.com" + one.target
    assert RequestValidator(TOKEN).validate(url, one.fields, one.headers["X-Twilio-Signature"])


def test_everything_that_was_counted_is_told_over_http(simulator, web):
    client = sdk(simulator)
    call = client.calls.create(**status_order(web))
    ended(simulator, call)
    until(lambda: len(web.at("/status")) == 4, 10, "all steps are told")
    status, state = asked(simulator, "GET", "/simulator/state")
    assert status == 200
    assert (state["seed"], state["live_now"], state["live_most"], state["posts"]) == (1, 0, 1, 1)
    assert (state["posts_by_attempt"], state["calls_by_attempt"]) == ({"7": 1}, {"7": 1})
    assert state["rung"] == state["live_most_by_number"] == {simulator.call(call.sid).plan.to: 1}
    assert (state["documents"], state["callbacks"], state["ended"]) == (1, 4, {"completed": 1})
    assert state["calls"][0]["history"][-1][1] == "completed"
    assert asked(simulator, "GET", "/simulator/state?calls=0")[1]["calls"] == []
    assert asked(simulator, "GET", "/simulator/state?calls=x")[0] == 400


def test_faults_are_changed_over_http_and_nonsense_is_refused(simulator):
    assert asked(simulator, "PUT", "/simulator/faults", {"lose": 0.5, "create": "late", "create_times": 3}) == (
        204,
        None,
    )
    assert simulator.faults == Faults(lose=0.5, create="late", create_times=3)
    for wrong in ({"loose": 1}, {"lose": 2}, {"lose": "all"}, {"create": "never"}, {"reverse": 1}, [], "x"):
        status, body = asked(simulator, "PUT", "/simulator/faults", wrong)
        assert (status, body["code"]) == (400, 20001)
    assert simulator.faults.lose == 0.5
    assert asked(simulator, "PUT", "/simulator/faults", {}) == (204, None)
    assert simulator.faults == Faults()


def test_somebody_calls_us(simulator, web):
    web.documents["/in"] = b"<Response><Gather numDigits='1' action='/keys'/></Response>"
    web.documents["/keys"] = HELLO
    body = {
        "from": "+491701234598",
        "to": OURS,
        "url": f"{web.url}/in",
        "keys": "9",
        "status_callback": f"{web.url}/status",
    }
    status, made = asked(simulator, "POST", "/simulator/incoming", body)
    assert (status, made["direction"], made["status"]) == (201, "inbound", "ringing")
    until(web.told, 10, "the end is told")
    assert [(one.path, one.fields["Direction"], one.fields.get("Digits")) for one in web.came] == [
        ("/in", "inbound", None),
        ("/keys", "inbound", "9"),
        ("/status", "inbound", None),
    ]
    for wrong in ({}, body | {"from": "me"}, body | {"url": "x"}, body | {"keys": "x"}, body | {"more": 1}):
        assert asked(simulator, "POST", "/simulator/incoming", wrong)[0] == 400
    second = simulator.incoming(f"{web.url}/in", from_number="+491701234597", callee=Callee(stays=1))
    until(lambda: second.ended, 10, "they hang up")


def test_bodies_without_an_end_and_too_large_ones_are_refused(simulator):
    with requests.post(simulator.url + CALLS, data=iter([b"x"]), auth=(ACCOUNT, TOKEN), timeout=5) as answer:
        assert answer.status_code == 411
    with requests.post(
        simulator.url + CALLS, headers={"Content-Length": "1000001"}, data=b"", auth=(ACCOUNT, TOKEN), timeout=5
    ) as answer:
        assert answer.status_code == 413


def test_it_listens_on_loopback_alone_and_refuses_what_it_cannot_be(simulator):
    assert simulator.url.startswith("http://127.0.0.1:")
    for wrong in ({"speed": 0}, {"calls_per_second": 0}):
        with pytest.raises(ValueError, match="more than 0"):
            TwilioSimulator(ACCOUNT, TOKEN, **wrong)
    for account, token in (("ac/..", TOKEN), (ACCOUNT, "")):
        with pytest.raises(ValueError, match="account"):
            TwilioSimulator(account, token)


def test_nothing_is_left_when_it_ends_whatever_is_under_way(web):
    before = set(threading.enumerate())
    asked_for = threading.Event()
    go_on = threading.Event()

    def slow(_asked):
        asked_for.set()
        go_on.wait(30)
        return HELLO

    web.documents["/answer"] = slow
    errors = []
    with TwilioSimulator(ACCOUNT, TOKEN, speed=200, calls_per_second=1000) as simulator:
        client = sdk(simulator, timeout=30)
        client.calls.create(**status_order(web))
        assert asked_for.wait(10)
        simulator.faults = Faults(create="late", late_seconds=600)

        def create() -> None:
            try:
                client.calls.create(**order())
            except requests.exceptions.ConnectionError as error:
                errors.append(error)

        waiting = threading.Thread(target=create)
        waiting.start()
        until(lambda: len(simulator.calls) == 2, 10, "the second call is made")
    waiting.join(10)
    go_on.set()
    assert len(errors) == 1
    left = {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("simulator")}
    assert left == set()
