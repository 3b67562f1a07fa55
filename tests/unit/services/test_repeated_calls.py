"""A call that is repeated says what the original said, unless it is told otherwise."""

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


def test_a_repetition_says_what_it_is_told_to_say(inline_service: InlineService):
    original = celery_service.queue_outbound_call(NUMBER, call_metadata={"message": "One."}, ring_seconds=20)
    repeated = kwargs_of(celery_service.retry_failed_call(original, NUMBER, call_metadata={"message": "Two."}))
    assert repeated["call_metadata"] == {"message": "Two."}
    assert repeated["ring_seconds"] == 20


def test_a_repetition_of_nothing_that_is_known_says_its_own_words(inline_service: InlineService):
    repeated = kwargs_of(celery_service.retry_failed_call("failed_task_123", NUMBER))
    assert repeated["call_metadata"] == {}
