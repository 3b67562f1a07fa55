"""A mail's rows: whoever hands it over first has it, and what is known stays."""

import pytest

from processors.errors import TransientError
from processors.interfaces import Outcome
from records.deliveries import DeliveryRecords
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords


@pytest.fixture
def deliveries(database):
    TaskRecords(database).open(Draft("t", "email.send_email", "email", "email"))
    records = DeliveryRecords(database)
    records.open("t", 0, {"b@example.com": "to", "c@example.com": "cc"})
    return records


def states(deliveries) -> dict[str, str]:
    return {address: outcome.state for address, outcome in deliveries.outcomes("t", 0).items()}


@pytest.mark.parametrize("state", ["handing", "accepted", "refused", "unknown"])
def test_a_run_that_wakes_up_hands_nothing_over_that_another_run_has_taken(deliveries, state):
    deliveries.handing("t", 0, ["b@example.com"])
    if state != "handing":
        deliveries.close("t", 0, {"b@example.com": Outcome(state)})

    with pytest.raises(TransientError, match="another run"):
        deliveries.handing("t", 0, ["b@example.com", "c@example.com"])

    assert states(deliveries) == {"b@example.com": state, "c@example.com": "queued"}


def test_a_cancelled_mail_is_not_handed_over(deliveries, database):
    assert TaskMoves(database).revoke("t")

    with pytest.raises(TransientError, match="cancelled"):
        deliveries.handing("t", 0, ["b@example.com"])

    assert states(deliveries)["b@example.com"] == "queued"


def test_what_was_put_off_may_be_handed_over_again(deliveries):
    deliveries.handing("t", 0, ["b@example.com"])
    deliveries.close("t", 0, {"b@example.com": Outcome("deferred", 451)})
    deliveries.handing("t", 0, ["b@example.com"])
    assert states(deliveries)["b@example.com"] == "handing"


def test_an_outcome_that_is_known_stays(deliveries):
    deliveries.handing("t", 0, ["b@example.com"])
    deliveries.close("t", 0, {"b@example.com": Outcome("accepted", 250)})
    deliveries.close("t", 0, {"b@example.com": Outcome("deferred", 451)})
    assert states(deliveries)["b@example.com"] == "accepted"
