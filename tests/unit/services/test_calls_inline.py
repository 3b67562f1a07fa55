"""Calls from the facade to the simulator and back into the records, in this process."""

from adapters.twilio_simulator import TwilioSimulator
from services.celery_service import celery_service
from services.submission import submit_by_name
from services.testing import InlineService
from services.wiring import parts

PERSON, BUSY, NOBODY = "+15557770100", "+15557770001", "+15557770002"


def look(service: InlineService) -> None:
    """Let the provider be asked about all live calls, some time later."""
    service.advance(10)
    submit_by_name("monitoring.follow_calls", {}, queue="twilio_calls", origin="test")
    service.run_due()


def until_ended(service: InlineService, seconds: int = 600) -> None:
    for _ in range(seconds):
        if not parts().calls.live():
            return
        look(service)
    raise AssertionError("calls go on")


def test_a_call_is_made_once_and_its_result_names_it(inline_service: InlineService, simulator: TwilioSimulator):
    task_id = celery_service.queue_outbound_call(PERSON, call_metadata={"message": "Hello", "customer_id": "12345"})
    inline_service.run_due()
    result = celery_service.get_task_result(task_id)
    assert result["success"] is True
    assert result["call_sid"].startswith("CA")
    assert result["metadata"]["customer_id"] == "12345"
    until_ended(inline_service)
    status = celery_service.get_call_status(result["call_sid"])
    inline_service.run_due()
    told = celery_service.get_task_result(status)
    assert told["call_info"]["status"] == "completed"
    assert simulator.measures.rung.get(PERSON) == 1


def test_a_campaign_ends_when_every_member_is_final(inline_service: InlineService, simulator: TwilioSimulator):
    numbers = [PERSON, "+1 555 777 0101", BUSY, NOBODY, PERSON.replace("+1", "+1 "), "nobody"]
    campaign = celery_service.queue_bulk_calls(numbers, delay_between_calls=0, max_concurrent_calls=2)
    for _ in range(200):
        inline_service.run_due()
        if celery_service.get_task_status(campaign)["status"] != "PROGRESS":
            break
        look(inline_service)
    result = celery_service.get_task_result(campaign, timeout=0)
    assert result["by_state"] == {"done": 2, "failed": 2, "duplicate": 1, "invalid": 1}
    assert result["successful_calls"] == 2
    assert simulator.measures.live_most <= 2
