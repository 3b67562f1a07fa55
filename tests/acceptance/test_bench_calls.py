"""A campaign as the benchmark of calls runs it, small: its caps hold whatever is killed."""

from dataclasses import replace

import calls
import pytest

MEMBERS = 300


@pytest.mark.slow
@pytest.mark.timeout(900)  # an order that was kept and not sent when its worker was killed is in doubt for five minutes
def test_a_campaign_keeps_its_caps_and_rings_everybody_once_through_kills_and_a_lost_broker() -> None:
    told: list[str] = []
    found = calls.campaign(replace(calls.QUICK, members=MEMBERS), told.append)

    assert len(told) == calls.QUICK.kills + 1, "every fault came while calls were made"
    assert found["states"] == {"done": MEMBERS}
    assert (found["rung_twice"], found["asked_twice"]) == (0, 0)
    assert found["live_most"] <= calls.LIVE
    assert found["grants_most_in_a_second"] <= calls.MOST_GRANTS
