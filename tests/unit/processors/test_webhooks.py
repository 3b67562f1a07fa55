"""What webhooks say, how they are signed and verified, and when they are sent again."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csai_client import WebhookNotAuthentic, verify_webhook
from processors import webhooks
from processors.carriers import AnswerLost, EndpointGone
from processors.errors import PermanentError, TransientError
from processors.webhooks import DELAYS, Answered, EndedTask, body_of_end, deliver, headers_of, signature_of

MOMENT = datetime(2026, 5, 4, 10, 0, 0, 123456, UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


# --- The signature ----------------------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_specifications_own_example():
    assert signature_of(SECRET, *VECTOR) == SIGNATURE
    assert verify_webhook(SECRET, headers_of([SECRET], *VECTOR), VECTOR[2], now=VECTOR[1]) == {"test": 2432232314}


def test_a_secret_has_256_random_bits():
    made = {webhooks.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(one.startswith("whsec_") and len(base64.b64decode(one[6:])) == 32 for one in made)


@given(
    body=st.dictionaries(st.text(), st.text()),
    second=st.integers(0, 2**40),
    place=st.integers(0),
    bit=st.integers(0, 7),
)
def test_what_was_signed_is_verified_and_what_was_changed_in_one_bit_is_not(body, second, place, bit):
    sent = json.dumps(body).encode()
    headers = {name.upper(): value for name, value in headers_of([SECRET], "m1", second, sent).items()}
    assert verify_webhook(SECRET, headers, sent, now=second) == body
    changed = bytearray(sent)
    changed[place % len(sent)] ^= 1 << bit
    with pytest.raises(WebhookNotAuthentic):
        verify_webhook(SECRET, headers, bytes(changed), now=second)
    for name in ("WEBHOOK-ID", "WEBHOOK-TIMESTAMP", "WEBHOOK-SIGNATURE"):
        with pytest.raises(WebhookNotAuthentic):
            verify_webhook(SECRET, {**headers, name: "1" + headers[name]}, sent, now=second)
        with pytest.raises(WebhookNotAuthentic):
            verify_webhook(SECRET, {one: value for one, value in headers.items() if one != name}, sent, now=second)
    with pytest.raises(WebhookNotAuthentic):
        verify_webhook(webhooks.new_secret(), headers, sent, now=second)


@pytest.mark.parametrize(("late", "taken"), [(-301, False), (-300, True), (300, True), (301, False), (1e9, False)])
def test_what_is_older_or_newer_than_five_minutes_is_refused(late, taken):
    headers = headers_of([SECRET], *VECTOR)
    if taken:
        assert verify_webhook(SECRET, headers, VECTOR[2], now=VECTOR[1] + late)
        return
    with pytest.raises(WebhookNotAuthentic, match="too far"):
        verify_webhook(SECRET, headers, VECTOR[2], now=VECTOR[1] + late)


@pytest.mark.parametrize("second", ["", "x", "-1", "1e9", "9" * 5_000, "١٦١٤٢٦٥٣٣٠", " 1614265330", "1614265330.0"])
def test_a_second_that_is_none_is_refused(second):
    headers = headers_of([SECRET], *VECTOR) | {"webhook-timestamp": second}
    with pytest.raises(WebhookNotAuthentic):
        verify_webhook(SECRET, headers, VECTOR[2], now=VECTOR[1])


@pytest.mark.parametrize(
    ("given_", "taken"),
    [
        (f"v1,AAAA {SIGNATURE}", True),
        (f"{SIGNATURE} v2,other", True),
        (SIGNATURE.removeprefix("v1,"), False),
        (SIGNATURE.replace("v1,", "v2,"), False),
        (SIGNATURE.replace("v1,", "v1a,"), False),
        ("v1,", False),
        ("", False),
        ("\udcff ü", False),
    ],
)
def test_one_of_several_signatures_is_enough_where_its_version_is_known(given_, taken):
    headers = headers_of([SECRET], *VECTOR) | {"webhook-signature": given_}
    if taken:
        assert verify_webhook(SECRET, headers, VECTOR[2], now=VECTOR[1])
        return
    with pytest.raises(WebhookNotAuthentic):
        verify_webhook(SECRET, headers, VECTOR[2], now=VECTOR[1])


# --- The body ---------------------------------------------------------------------------------------------------


def ended(**more) -> EndedTask:
    values = {
        "id": "t1", "name": "email.send", "category": "email", "queue": "email", "state": "SUCCESS",
        "created_at": MOMENT, "started_at": MOMENT, "finished_at": MOMENT, "attempts": 1, "tenant": "acme",
        "tags": ["one"], "error": None, "error_type": None, "result": {"a": [1]},
    }  # fmt: skip
    return EndedTask(**values | more)


def test_an_end_is_told_whole():
    told = json.loads(body_of_end(ended()))
    assert told == {
        "type": "task.succeeded",
        "timestamp": "2026-05-04T10:00:00.123456+00:00",
        "data": {
            "task_id": "t1", "name": "email.send", "category": "email", "queue": "email", "status": "SUCCESS",
            "created_at": MOMENT.isoformat(), "started_at": MOMENT.isoformat(), "finished_at": MOMENT.isoformat(),
            "attempts": 1, "tenant": "acme", "tags": ["one"], "error": None, "error_type": None, "result": {"a": [1]},
        },
    }  # fmt: skip
    never = json.loads(body_of_end(ended(state="REVOKED", started_at=None, attempts=0, result=None, tags=())))
    assert (never["type"], never["data"]["started_at"], never["data"]["result"]) == ("task.cancelled", None, None)


def test_secrets_are_masked_in_results_and_errors():
    hidden = "pl4nted"
    task = ended(
        state="FAILURE", error=f"no {{'password': '{hidden}'}}", error_type="ValueError",
        result={"password": hidden, "inner": [{"api_key": hidden}], "url": f"https://u:{hidden}@x.example/"},
    )  # fmt: skip
    assert hidden not in body_of_end(task).decode()
    assert json.loads(body_of_end(task))["type"] == "task.failed"


def test_a_result_is_told_up_to_64_kilobytes():
    at_most = "x" * (64 * 1024 - 2)
    assert json.loads(body_of_end(ended(result=at_most)))["data"]["result"] == at_most
    assert "result" not in json.loads(body_of_end(ended(result=at_most + "x")))["data"]
    assert "result" not in json.loads(body_of_end(ended(result="ü" * 20_000)))["data"]  # as it is sent


# --- What is answered -------------------------------------------------------------------------------------------


class Door:
    def __init__(self, answer):
        self.answer = answer

    def check(self, url):
        """Let all pass."""

    def post(self, url, headers, body):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def sent(answer, attempt=0):
    return deliver("https://shop.example.com/hooks/s3cret?token=s3cret", {}, b"", Door(answer), attempt)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_taken(status):
    assert sent(Answered(status)) == status


def test_410_ends_it():
    with pytest.raises(EndpointGone, match=r"shop\.example\.com answers 410 Gone"):
        sent(Answered(410))


@pytest.mark.parametrize(
    "answer",
    [
        *(
            Answered(status)
            for status in (100, 301, 302, 307, 308, 400, 401, 403, 404, 408, 413, 429, 500, 503, 599, 999)
        ),
        AnswerLost("nobody knows"),
        TransientError("nothing was sent", 1.0),
        PermanentError("it is at 10.0.0.1"),
    ],
)
def test_all_else_is_tried_again_and_tells_nothing_that_the_endpoint_said(answer):
    for attempt, usual in enumerate(DELAYS):
        with pytest.raises(TransientError) as raised:
            sent(answer, attempt)
        assert usual <= raised.value.retry_after <= usual * 1.1
        assert "s3cret" not in str(raised.value)


def test_the_waits_are_those_that_were_promised():
    assert DELAYS == (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
    assert webhooks.wait_before_next(3, spread=lambda low, high: high) == pytest.approx(7_920)


@pytest.mark.parametrize(
    ("asked", "waits"), [(None, 5), (0, 5), (4.9, 5), (60, 60), (86_400, 86_400), (1e9, 86_400), (float("nan"), 5)]
)
def test_an_endpoint_gets_the_wait_that_it_asks_for_up_to_a_day_and_never_less_than_the_usual_one(asked, waits):
    with pytest.raises(TransientError) as raised:
        sent(Answered(503, asked))
    assert waits <= raised.value.retry_after <= max(waits, 5.5)
