"""A call that is repeated says what the original said, unless it is told otherwise."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from calling import ACCOUNT_SID, NUMBERS, Desk
from processors.errors import InvalidArgument
from services import call_webhooks
from services.call_webhooks import Told
from services.celery_service import celery_service
from services.testing import InlineService
from services.wiring import parts

NUMBER = "+15557770100"


def kwargs_of(task_id: str) -> dict[str, object]:
    record = parts().tasks.read(task_id)
    assert record is not None
    return record.kwargs


def test_a_repetition_takes_over_what_it_is_not_given(inline_service: InlineService):
    original = celery_service.queue_outbound_call(
        NUMBER,
        from_number="+15005550006",
        webhook_url="https://example.com/say",
        call_metadata={"message": "Your table is free.", "customer_id": "7"},
        calling_hours={"start": "09:00", "end": "20:00"},
        detection="hang_up",
        ring_seconds=20,
    )
    first, repeated = kwargs_of(original), kwargs_of(celery_service.retry_failed_call(original, NUMBER))
    shared = set(first) & set(repeated) - {"to_number"}
    assert shared >= {"from_number", "webhook_url", "call_metadata", "calling_hours", "detection", "ring_seconds"}
    assert {name: repeated[name] for name in shared} == {name: first[name] for name in shared}


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
OF_EVERY_CALL = {
    "to_number", "from_number", "webhook_url", "status_callback_url", "call_metadata", "calling_hours", "detection",
    "ring_seconds", "limit_seconds", "record",
}  # fmt: skip
SUBMITS: Mapping[str, tuple[Callable[[], str], set[str]]] = {
    "queue_outbound_call": (lambda: celery_service.queue_outbound_call(NUMBER), OF_EVERY_CALL),
    "schedule_call": (
        lambda: celery_service.schedule_call(NUMBER, schedule_time=TOMORROW),
        OF_EVERY_CALL | {"schedule_time", "timezone"},
    ),
    "retry_failed_call": (
        lambda: celery_service.retry_failed_call("failed_task_123", NUMBER),
        OF_EVERY_CALL | {"original_task_id", "retry_delay"},
    ),
    "retry_failed_call of a single one": (
        lambda: celery_service.retry_failed_call(celery_service.queue_outbound_call(NUMBER), NUMBER),
        OF_EVERY_CALL | {"original_task_id", "retry_delay"},
    ),
    "queue_bulk_calls": (
        lambda: celery_service.queue_bulk_calls([NUMBER]),
        OF_EVERY_CALL - {"to_number"}
        | {"delay_between_calls", "max_concurrent_calls", "retry", "caller_identity", "opt_out_prompt", "max_minutes"},
    ),
}


@pytest.mark.parametrize("submit", SUBMITS)
def test_what_is_submitted_can_be_run_by_the_version_before(inline_service: InlineService, submit: str):
    made, names = SUBMITS[submit]
    assert set(kwargs_of(made())) == names, "it refuses arguments that it does not know, and their keys conflict"


def test_a_repetition_says_what_it_is_told_to_say(inline_service: InlineService):
    original = celery_service.queue_outbound_call(NUMBER, call_metadata={"message": "One."}, ring_seconds=20)
    repeated = kwargs_of(celery_service.retry_failed_call(original, NUMBER, call_metadata={"message": "Two."}))
    assert repeated["call_metadata"] == {"message": "Two."}
    assert repeated["ring_seconds"] == 20


def test_a_repetition_of_nothing_that_is_known_says_its_own_words(inline_service: InlineService):
    repeated = kwargs_of(celery_service.retry_failed_call("failed_task_123", NUMBER))
    assert repeated["call_metadata"] == {}


def test_what_repeats_a_campaigns_call_says_who_calls_and_how_not_to_be_called_again(desk: Desk):
    desk.ends = lambda _: "busy"
    campaign = celery_service.queue_bulk_calls(
        [NUMBER], caller_identity="This is the city theatre.", opt_out_prompt="Press 9 and we call you no more."
    )
    desk.until_final(campaign)
    repeated = celery_service.retry_failed_call(f"{campaign}:0", NUMBER, retry_delay=0)
    desk.run(10)
    attempt = parts().calls.last_attempt(repeated)
    assert attempt is not None
    sid = str(attempt.call_sid)
    told = Told(attempt.id, {"AccountSid": ACCOUNT_SID, "CallSid": sid, "CallStatus": "in-progress"}, sid, None)
    said = call_webhooks.answer(told)
    assert said.index("city theatre") < said.index("Press 9") < said.index("automated call")
    call_webhooks.heard(Told(attempt.id, {**told.fields, "Digits": "9"}, sid, None))
    assert [one["phone_number"] for one in celery_service.get_opt_outs()] == [NUMBER]


def test_a_call_whose_words_are_not_kept_any_more_is_not_repeated_with_others(desk: Desk):
    desk.ends = lambda _: "busy"
    task_id, _ = desk.made(call_metadata={"message": "One."})
    desk.phone()
    desk.run(2 * 86_400)
    celery_service.cleanup_old_tasks(1)
    desk.run()
    assert parts().tasks.read(task_id) is None
    with pytest.raises(InvalidArgument, match="not kept any more"):
        celery_service.retry_failed_call(task_id, NUMBERS[0])
