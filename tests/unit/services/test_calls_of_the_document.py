"""The document's own examples of phone calls, word for word, against the simulator: from the order to the status."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from adapters.twilio_simulator import EXAMPLE_NUMBER, TwilioSimulator
from documentation import examples
from processors.errors import TaskFailed
from services.celery_service import celery_service
from services.submission import submit_by_name
from services.testing import InlineService
from services.wiring import parts
from waiting import until

CALLED = "+1234567890"

SINGLE_CALL = """\
# Queue a single outbound call
task_id = celery_service.queue_outbound_call(
    to_number="+1234567890",
    from_number="+1987654321",  # Optional, uses default if not provided
    call_metadata={
        "customer_id": "12345",
        "call_type": "follow_up",
        "agent_id": "agent_001"
    },
    delay_seconds=10  # Optional delay before making the call
)

# Monitor the call task
status = celery_service.get_task_status(task_id)
result = celery_service.get_task_result(task_id)
"""

BULK_CALLS = """\
# Queue multiple calls with rate limiting
phone_numbers = [
    "+1234567890",
    "+1234567891", 
    "+1234567892",
    "+1234567893"
]

task_id = celery_service.queue_bulk_calls(
    phone_numbers=phone_numbers,
    from_number="+1987654321",
    call_metadata={
        "campaign_id": "campaign_001",
        "call_type": "survey",
        "agent_id": "agent_002"
    },
    delay_between_calls=30,  # 30 seconds between calls
    max_concurrent_calls=3   # Max 3 concurrent calls
)
"""  # noqa: W291 - word for word

SCHEDULED_CALL = """\
from datetime import datetime, timedelta

# Schedule a call for a specific time
schedule_time = (datetime.utcnow() + timedelta(hours=2)).isoformat()

task_id = celery_service.schedule_call(
    to_number="+1234567890",
    schedule_time=schedule_time,
    call_metadata={
        "customer_id": "67890",
        "call_type": "appointment_reminder"
    }
)
"""

CALL_MANAGEMENT = """\
# End an active call
end_task_id = celery_service.end_call(call_sid="CA1234567890abcdef")

# Get call status
status_task_id = celery_service.get_call_status(call_sid="CA1234567890abcdef")

# Retry a failed call
retry_task_id = celery_service.retry_failed_call(
    original_task_id="failed_task_123",
    to_number="+1234567890",
    retry_delay=300  # 5 minutes delay
)
"""

CLEANUP = """\
# Clean up stale call records (older than 24 hours)
cleanup_task_id = celery_service.cleanup_stale_calls(max_age_hours=24)
"""

ADVANCED = """\
# Custom webhook URLs and call parameters
task_id = celery_service.queue_outbound_call(
    to_number="+1234567890",
    webhook_url="https://your-domain.com/api/v1/twilio/incoming-call",
    status_callback_url="https://your-domain.com/api/v1/twilio/call-status",
    call_metadata={
        "custom_param": "value",
        "priority": "high"
    }
)
"""

MONITORING = """\
# Monitor call task progress
status = celery_service.get_task_status(task_id)

if status['status'] == 'SUCCESS':
    result = celery_service.get_task_result(task_id)
    call_sid = result.get('call_sid')
    print(f"Call created successfully: {call_sid}")
    
    # Get detailed call status
    call_status = celery_service.get_call_status(call_sid)
    call_result = celery_service.get_task_result(call_status)
    print(f"Call status: {call_result.get('call_info', {}).get('status')}")
"""  # noqa: W293 - word for word


def run(block: str, **names: object) -> dict[str, object]:
    """Run a block of the document; returns its names."""
    known = {"celery_service": celery_service, **names}
    exec(compile(block, "celery-service.md", "exec"), known)
    return known


def let_ring(service: InlineService, simulator: TwilioSimulator) -> None:
    """Let the phones that ring be answered and hung up, and let Twilio be asked about them."""
    until(lambda: all(one.ended for one in simulator.calls), what="every call has ended at the simulator")
    service.advance(10)
    submit_by_name("monitoring.follow_calls", {}, queue="twilio_calls", origin="test")
    service.run_due()


def test_a_single_call_is_made_after_its_delay_and_monitored_to_its_status(
    inline_service: InlineService, simulator: TwilioSimulator, capsys: pytest.CaptureFixture[str]
):
    queued, monitored = SINGLE_CALL.split("# Monitor the call task")
    task_id = run(queued)["task_id"]
    assert simulator.calls == []
    inline_service.advance(10)
    known = run(monitored, task_id=task_id)
    assert known["status"]["status"] == "SUCCESS"
    assert known["result"]["success"] is True
    assert known["result"]["metadata"] == {"customer_id": "12345", "call_type": "follow_up", "agent_id": "agent_001"}
    (call,) = simulator.calls
    assert (call.plan.to, call.plan.from_, call.sid) == (CALLED, EXAMPLE_NUMBER, known["result"]["call_sid"])

    let_ring(inline_service, simulator)
    run(MONITORING, task_id=task_id)
    assert capsys.readouterr().out == f"Call created successfully: {call.sid}\nCall status: completed\n"


def test_the_bulk_calls_are_a_campaign_thirty_seconds_apart(inline_service: InlineService, simulator: TwilioSimulator):
    campaign = str(run(BULK_CALLS)["task_id"])
    for _ in range(50):
        if celery_service.get_task_status(campaign)["status"] != "PROGRESS":
            break
        let_ring(inline_service, simulator)
    made = sorted(parts().calls.story(f"{campaign}:{position}")["tries"][0]["sending_at"] for position in range(4))
    assert all(later - one >= timedelta(seconds=30) for one, later in pairwise(made))
    result = celery_service.get_task_result(campaign, timeout=0)
    assert (result["success"], result["total_calls"], result["successful_calls"]) == (True, 4, 4)
    assert {one["phone_number"] for one in result["successful_call_details"]} == {f"+123456789{n}" for n in range(4)}
    assert {call.plan.from_ for call in simulator.calls} == {EXAMPLE_NUMBER}


def test_a_call_is_made_at_its_scheduled_time(inline_service: InlineService, simulator: TwilioSimulator):
    naive = "from datetime import UTC\nnow = lambda: datetime.now(UTC).replace(tzinfo=None)\n"
    block = SCHEDULED_CALL.replace("datetime.utcnow()", "now()")  # the document's own warns from Python 3.12 on
    known = run(naive + block)
    inline_service.advance(7190)
    assert simulator.calls == []
    inline_service.advance(20)
    result = celery_service.get_task_result(str(known["task_id"]), timeout=0)
    assert result["scheduled_time"] == known["schedule_time"]
    assert result["metadata"]["call_type"] == "appointment_reminder"
    assert [call.plan.to for call in simulator.calls] == [CALLED]


def test_calls_are_managed_and_a_sid_that_nobody_knows_is_told(
    inline_service: InlineService, simulator: TwilioSimulator
):
    known = run(CALL_MANAGEMENT)
    with pytest.raises(TaskFailed, match="Nothing was ended"):
        celery_service.get_task_result(str(known["end_task_id"]), timeout=0)
    told = celery_service.get_task_result(str(known["status_task_id"]), timeout=0)
    assert (told["success"], told["call_sid"], told["call_info"]) == (False, "CA1234567890abcdef", {})
    inline_service.advance(300)
    result = celery_service.get_task_result(str(known["retry_task_id"]), timeout=0)
    assert (result["original_task_id"], result["original_found"]) == ("failed_task_123", False)
    assert result["retry_task_id"] == known["retry_task_id"]
    assert [call.plan.to for call in simulator.calls] == [CALLED]


def test_stale_calls_are_cleaned_up(inline_service: InlineService, simulator: TwilioSimulator):
    result = celery_service.get_task_result(str(run(CLEANUP)["cleanup_task_id"]), timeout=0)
    assert (result["success"], result["max_age_hours"], result["active_calls_remaining"]) == (True, 24, 0)
    assert datetime.fromisoformat(result["cleaned_at"]).tzinfo is not None


def test_a_caller_has_webhooks_of_their_own_and_a_priority(inline_service: InlineService, simulator: TwilioSimulator):
    task_id = str(run(ADVANCED)["task_id"])
    status = celery_service.get_task_status(task_id)
    assert (status["status"], status["priority"]) == ("SUCCESS", "high")
    attempt = parts().calls.last_attempt(task_id)
    (call,) = simulator.calls
    assert attempt is not None
    assert call.plan.answer.url == f"https://your-domain.com/api/v1/twilio/incoming-call?attempt={attempt.id}"
    assert "custom_param" not in str(call.plan), "metadata is nobody's business there"


def test_the_examples_of_the_page_run(
    inline_service: InlineService, simulator: TwilioSimulator, capsys: pytest.CaptureFixture[str]
):
    single, campaign = examples("calls.md")
    run(single)
    assert capsys.readouterr().out.strip() in {"queued", "initiated", "ringing", "in-progress", "completed"}
    campaign_id = str(run(campaign)["campaign_id"])
    assert celery_service.get_campaign(campaign_id)["total"] == 2
