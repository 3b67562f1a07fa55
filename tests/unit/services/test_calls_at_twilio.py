"""What Twilio does to calls, seen by the service: the simulator plays it, and nobody hears of it but by asking."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.phone_simulator.faults import Faults
from adapters.twilio_simulator import TwilioSimulator
from calling import ACCOUNT_SID, TOKEN, account, use
from processors import phone_numbers
from processors.errors import TaskFailed
from services.celery_service import celery_service
from services.submission import submit_by_name
from services.testing import InlineService
from services.wiring import parts
from waiting import until

NOT_OURS = "+15005550999"
NUMBERS = [f"+1555781{at:04}" for at in range(1010, 1020)]
NEW_YORK, TOLL_FREE = "+12125550123", "+18005550199"
DAYS_IN_A_SECOND = 150_000.0


def follow(service: InlineService, seconds: float = 10.0) -> None:
    """Let time pass, and Twilio be asked about calls."""
    service.advance(seconds)
    submit_by_name("monitoring.follow_calls", {}, queue="twilio_calls", origin="test")
    service.run_due()


def test_a_number_that_is_not_ours_calls_nobody_and_is_named_as_the_reason(
    inline_service: InlineService, simulator: TwilioSimulator
):
    task_id = celery_service.queue_outbound_call(NUMBERS[0], from_number=NOT_OURS)
    inline_service.advance(3_600)
    with pytest.raises(TaskFailed, match=r"the number that calls is not verified.*21210") as raised:
        celery_service.get_task_result(task_id, timeout=0)
    assert NOT_OURS not in str(raised.value)
    campaign = celery_service.queue_bulk_calls(NUMBERS[1:], from_number=NOT_OURS, delay_between_calls=0)
    inline_service.advance(60)
    found = celery_service.get_campaign(campaign)
    assert found["counts"] == {"pending": len(NUMBERS[1:])}
    assert "the number that calls is not verified" in found["info"]["status"]
    assert (simulator.calls, simulator.measures.rung.total()) == ([], 0)


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwilioSimulator]:
    """A Twilio whose phones live through more than a day in a second, and which is asked how calls stand."""
    with TwilioSimulator(ACCOUNT_SID, TOKEN, speed=DAYS_IN_A_SECOND, calls_per_second=1_000, seed=1) as made:
        use(account(twilio_base_url=made.url, twilio_calls_per_second=100.0), monkeypatch)
        monkeypatch.setattr("services.call_lines.is_reachable", lambda: False)
        yield made


def states(campaign: str) -> Any:
    return celery_service.get_campaign(campaign)["counts"]


def test_a_call_that_twilio_cancels_after_a_day_in_its_queue_is_over_and_made_again_where_that_is_set(
    inline_service: InlineService, days: TwilioSimulator
):
    days.faults = Faults(queue_seconds=1.0)
    task_id = celery_service.queue_outbound_call(NUMBERS[0])
    retry = {"max_attempts": 2, "failed_seconds": 60}
    campaign = celery_service.queue_bulk_calls(NUMBERS[1:3], retry=retry, delay_between_calls=0)
    inline_service.advance(1)
    until(lambda: len(days.calls) == 3 and all(one.ended for one in days.calls), what="Twilio has cancelled all")
    assert {one.status for one in days.calls} == {"canceled"}
    follow(inline_service)
    call = parts().calls.read(task_id)
    assert call is not None
    assert (call.state, call.outcome, call.attempts) == ("failed", "canceled", 1)
    assert (states(campaign), celery_service.get_campaign(campaign)["live_calls"]) == ({"pending": 2}, 0)
    assert days.measures.rung.total() == 0

    days.faults = Faults()
    for _ in range(20):
        follow(inline_service)
        if states(campaign) == {"done": 2}:
            break
    assert states(campaign) == {"done": 2}
    assert days.measures.rung == dict.fromkeys(NUMBERS[1:3], 1)


def test_a_number_that_may_lie_in_all_zones_of_a_continent_is_left_out_where_no_hour_is_right_in_all_of_them(
    inline_service: InlineService, simulator: TwilioSimulator
):
    assert len(phone_numbers.zones(TOLL_FREE)) > 40
    now = datetime.now(UTC).astimezone(ZoneInfo("America/New_York"))
    hours = {"start": f"{now - timedelta(hours=2):%H:%M}", "end": f"{now + timedelta(hours=4):%H:%M}"}
    campaign = celery_service.queue_bulk_calls([TOLL_FREE, NEW_YORK], calling_hours=hours, delay_between_calls=0)
    for _ in range(20):
        follow(inline_service)
        if "pending" not in states(campaign):
            break
    left_out, called = celery_service.get_campaign(campaign)["members"]
    assert (left_out["state"], called["state"]) == ("excluded", "done")
    assert "never open in all zones where the number may be" in left_out["reason"]
    assert simulator.measures.rung == {NEW_YORK: 1}
