"""What is told of calls: in any order, repeated, late, at once, the rows say the same in the end."""

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select

from processors.call_messages import progress_of
from processors.call_outcomes import what_next
from processors.call_states import CallProgress
from records.call_events import CallEvent, CallEvents, Waits
from records.call_records import CallRecords
from records.call_tables import call_attempts, call_events, calls
from records.columns import Now
from records.database import Database
from records.members import insert_members, members
from records.opt_outs import OptOuts
from records.task_records import Draft, TaskRecords, task_records

ACCOUNT = "AC1"
TIMES = {"sending_at", "doubt_until", "look_at", "hang_up_at", "placed_at", "ended_at", "created_at", "closed_at"}
TIMES |= {"next_attempt_at", "id", "attempt_id", "received_at", "call_sid", "call_id", "campaign_id", "task_id"}

STEPS: list[dict[str, str]] = [
    {"CallStatus": "initiated", "SequenceNumber": "0"},
    {"CallStatus": "ringing", "SequenceNumber": "1"},
    {"CallStatus": "in-progress", "SequenceNumber": "2"},
    {"CallStatus": "completed", "SequenceNumber": "3", "CallDuration": "41", "SipResponseCode": "200"},
]


@pytest.fixture
def events(database: Database) -> CallEvents:
    return CallEvents(database, what_next)


def dialled(database: Database, name: str, **campaign: Any) -> str:
    """Return an attempt whose order's answer has not been stored; its call is the member of a campaign."""
    draft = Draft(name, "twilio_calls.queue_bulk_calls", "twilio_calls", "twilio_calls", campaign, is_parent=True)
    TaskRecords(database).open(draft)

    def work(connection: Any) -> None:
        insert_members(connection, name, [{"to_number": "+491701234567"}])
        numbers = {"to_number": f"+49170{random.randrange(10**7):07}", "from_number": "+14155550100"}
        call = {"id": f"{name}:0", "campaign_id": name, "position": 0, "state": "dialing", "attempts": 1}
        connection.execute(insert(calls).values(**call, **numbers, created_at=Now()))
        connection.execute(insert(call_attempts).values(**attempt_of(name, 1), **numbers))

    database.write(work)
    return f"{name}-1"


def attempt_of(name: str, number: int) -> dict[str, Any]:
    moments = {"sending_at": Now(), "doubt_until": Now(60), "look_at": Now(60)}
    own = {"id": f"{name}-{number}", "call_id": f"{name}:0", "number": number, "campaign_id": name}
    return {**own, **moments, "account": ACCOUNT, "state": "sending", "looks": 0}


def told(attempt_id: str, fields: dict[str, str], key: str, kind: str = "status", **more: Any) -> CallEvent:
    given = {"attempt_id": attempt_id, "call_sid": f"CA{attempt_id}", "account": ACCOUNT} | more
    return CallEvent(kind, f"{attempt_id}:{key}", progress=progress_of(fields), raw=fields, **given)


def receive(events: CallEvents, event: CallEvent) -> Any:
    return events.receive(event, lambda _: Waits(90, 3_600))


def rows(database: Database, name: str) -> list[dict[str, Any]]:
    """Return what the rows of a campaign's call say, but for names and times."""

    def query(connection: Any) -> list[Any]:
        own = [(call_attempts, call_attempts.c.campaign_id), (calls, calls.c.campaign_id), (members, members.c.task_id)]
        return [one for table, c in own for one in connection.execute(select(table).where(c == name)).mappings()]

    found = [{key: value for key, value in row.items() if key not in TIMES} for row in database.read(query)]
    for row in found:
        row.pop("to_number", None)
        if isinstance(row.get("outcome"), dict):
            row["outcome"].pop("task_id")
    return found


def all_of(attempt_id: str) -> list[CallEvent]:
    """Return what comes of a call in which everything comes."""
    steps = [told(attempt_id, fields, str(at)) for at, fields in enumerate(STEPS)]
    other_end = {"CallStatus": "busy", "SequenceNumber": "4", "SipResponseCode": "486"}
    return [
        *steps,
        told(attempt_id, other_end, "busy"),
        told(attempt_id, {"CallStatus": "cancelled"}, "cancelled"),
        told(attempt_id, {"CallStatus": "transferring", "SequenceNumber": "9", "New": "1"}, "strange"),
        told(attempt_id, {"AnsweredBy": "unknown"}, "amd-1", "machine"),
        told(attempt_id, {"AnsweredBy": "machine_start"}, "amd-2", "machine"),
        told(attempt_id, {}, "recording", "recording"),
        told(attempt_id, {"CallStatus": "in-progress"}, "answer", "answer"),
        told(attempt_id, {}, "heard", "heard", heard={"digits": "1"}),
    ]


@pytest.mark.parametrize("seed", range(12))
def test_order_repetition_and_delay_of_messages_change_nothing_in_the_end(database: Database, events, seed):
    drawn = random.Random(seed)
    some = drawn.sample(range(12), drawn.randint(2, 12))
    found: list[Any] = []
    for turn in range(4):
        attempt_id = dialled(database, f"c{seed}-{turn}")
        chosen = [all_of(attempt_id)[at] for at in some]
        order = sorted(chosen, key=lambda _: drawn.random()) if turn else chosen
        repeated = [one for event in order for one in [event] * drawn.randint(1, 3)]
        late = [drawn.choice(order) for _ in range(drawn.randint(0, 4))]
        for event in [*repeated, *late]:
            receive(events, event)
        found.append(rows(database, f"c{seed}-{turn}"))
    assert all(one == found[0] for one in found[1:])


def test_a_busy_line_that_was_reached_after_all_is_not_called_again(database: Database, events):
    attempt_id = dialled(database, "reached", retry={"max_attempts": 3})
    receive(events, told(attempt_id, {"CallStatus": "busy", "SequenceNumber": "2"}, "busy"))
    assert rows(database, "reached")[1]["state"] == "waiting"
    receive(events, told(attempt_id, STEPS[3], "completed"))
    _, call, member = rows(database, "reached")
    assert (call["state"], call["outcome"], member["state"]) == ("done", "answered", "done")


def test_what_ended_is_never_opened_again(database: Database, events):
    attempt_id = dialled(database, "ended", retry={"max_attempts": 3, "machine": "retry"})
    receive(events, told(attempt_id, STEPS[3], "completed"))
    receive(events, told(attempt_id, {"CallStatus": "busy", "SequenceNumber": "4"}, "busy"))
    receive(events, told(attempt_id, {"AnsweredBy": "machine_start"}, "machine", "machine"))
    attempt, call, member = rows(database, "ended")
    assert (attempt["status"], call["state"], member["state"]) == ("busy", "done", "done")
    assert call["answered_by"] == member["outcome"]["answered_by"] == "machine_start"


def test_late_news_of_a_former_attempt_leave_its_call_alone_which_is_being_made_again(database: Database, events):
    attempt_id = dialled(database, "former", retry={"max_attempts": 3})
    receive(events, told(attempt_id, {"CallStatus": "busy", "SequenceNumber": "2"}, "busy"))

    def again(connection: Any) -> None:
        numbers = {"to_number": "+491701234567", "from_number": "+14155550100"}
        connection.execute(insert(call_attempts).values(**attempt_of("former", 2), **numbers))
        connection.execute(calls.update().where(calls.c.id == "former:0").values(state="dialing", attempts=2))

    database.write(again)
    receive(events, told(attempt_id, STEPS[3], "completed"))
    first, second, call, member = rows(database, "former")
    assert (first["status"], second["state"], call["state"]) == ("completed", "sending", "dialing")
    assert (call["outcome"], member["state"]) == ("busy", "waiting")


def test_the_result_of_a_campaign_that_is_over_stays_as_it_was_told(database: Database, events):
    attempt_id = dialled(database, "over")
    receive(events, told(attempt_id, STEPS[3], "completed"))
    over = task_records.update().where(task_records.c.id == "over")
    database.write(lambda c: c.execute(over.values(finished_at=Now(), state="SUCCESS")))
    receive(events, told(attempt_id, {"AnsweredBy": "machine_start"}, "machine", "machine"))
    _, call, member = rows(database, "over")
    assert (call["outcome"], member["outcome"]["outcome"]) == ("machine", "answered")


def test_news_of_a_call_that_waits_though_its_campaign_was_cancelled_end_it_and_its_member(database: Database, events):
    attempt_id = dialled(database, "left", retry={"max_attempts": 3})
    receive(events, told(attempt_id, {"CallStatus": "busy", "SequenceNumber": "2"}, "busy"))
    over = task_records.update().where(task_records.c.id == "left")
    database.write(lambda c: c.execute(over.values(finished_at=Now(), state="REVOKED")))
    receive(events, told(attempt_id, {"SipResponseCode": "486"}, "code"))
    _, call, member = rows(database, "left")
    assert (call["state"], member["state"], member["outcome"]["outcome"]) == ("cancelled", "cancelled", "busy")


def test_a_message_that_comes_again_under_its_token_is_the_same_message(database: Database, events):
    attempt_id = dialled(database, "token")
    first = told(attempt_id, {}, "a", "heard", heard={"digits": "1"}, token="t-1")
    again = told(attempt_id, {}, "b", "heard", heard={"digits": "1"}, token="t-1")
    assert [receive(events, one).new for one in (first, again)] == [True, False]
    assert rows(database, "token")[1]["heard"] == [{"digits": "1"}]


def test_a_call_of_another_attempt_is_not_taken_for_this_one(database: Database, events):
    first, second = dialled(database, "one"), dialled(database, "two")
    receive(events, told(first, STEPS[1], "ringing", call_sid="CAsame"))
    received = receive(events, told(second, STEPS[3], "completed", call_sid="CAsame"))
    assert "one-1" in (received.why_not or "")
    assert rows(database, "two")[0]["state"] == "sending"


def test_a_second_call_for_one_attempt_is_told_each_time_and_changes_nothing(database: Database, events):
    attempt_id = dialled(database, "twice")
    receive(events, told(attempt_id, STEPS[1], "ringing"))
    before = rows(database, "twice")
    extra = told(attempt_id, STEPS[3], "extra", call_sid="CAextra")
    assert [(one.new, one.second_call) for one in (receive(events, extra), receive(events, extra))] == [
        (True, True),
        (False, True),
    ]
    assert rows(database, "twice") == before


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Return what each raised, or None, where all ran at the same time."""
    ready, raised = threading.Barrier(len(works)), [None] * len(works)

    def run(at: int) -> None:
        ready.wait(30)
        try:
            works[at]()
        except Exception as error:
            raised[at] = error

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(works))]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    return raised


@pytest.mark.parametrize("seed", range(3))
def test_messages_and_the_answer_to_the_order_that_come_at_once_end_as_one_after_the_other(
    database: Database, events, seed
):
    records = CallRecords(database, what_next)
    alone, together = dialled(database, f"alone{seed}"), dialled(database, f"together{seed}")
    for event in all_of(alone):
        receive(events, event)
    mixed = [*all_of(together), *all_of(together)[:4]]
    random.Random(seed).shuffle(mixed)
    works = [lambda event=event: receive(events, event) for event in mixed]

    def placed() -> None:
        records.placed(together, f"CA{together}", "queued", queue_seconds=0, look=90, hang_up=3_600)

    assert at_once(*works, placed) == [None] * (len(works) + 1)
    kept = select(call_events.c.dedupe_key).where(call_events.c.attempt_id == together)
    assert len(database.read(lambda c: c.execute(kept).all())) == len(all_of(together))
    first, second = rows(database, f"alone{seed}"), rows(database, f"together{seed}")
    first[0].pop("queue_seconds"), second[0].pop("queue_seconds")
    assert first == second


def test_the_ends_of_many_calls_of_a_campaign_and_an_opt_out_at_once_get_in_nobodys_way(database: Database, events):
    names = [f"many{at}" for at in range(6)]
    attempts = [dialled(database, name) for name in names]
    ends = [lambda a=a: receive(events, told(a, STEPS[3], "completed")) for a in attempts]
    outs = [lambda at=at: OptOuts(database).add(f"+4917099999{at:02}", "keypress") for at in range(4)]
    assert at_once(*ends, *outs) == [None] * 10
    assert {rows(database, name)[2]["state"] for name in names} == {"done"}


def test_a_message_about_no_call_of_ours_is_kept_and_says_why_it_changed_nothing(events):
    received = receive(events, told("f" * 32, STEPS[1], "ringing"))
    assert (received.attempt, received.why_not) == (None, "it is about no call of ours")
    (kept,) = events.of_call("CA" + "f" * 32)
    assert (kept["applied"], kept["status"], kept["raw"]) == (False, "ringing", STEPS[1])


def test_a_message_of_another_account_changes_nothing(database: Database, events):
    attempt_id = dialled(database, "account")
    received = receive(events, told(attempt_id, STEPS[3], "completed", account="AC2"))
    assert (received.why_not, rows(database, "account")[0]["state"]) == ("it is of another account", "sending")


def test_who_answers_is_the_first_news_of_a_call_whose_order_was_not_answered(database: Database, events):
    attempt_id = dialled(database, "adopted")
    received = receive(events, told(attempt_id, {"CallStatus": "in-progress"}, "answer", "answer"))
    assert received.attempt is not None
    assert (received.attempt.state, received.attempt.call_sid) == ("placed", f"CA{attempt_id}")
    assert CallProgress(received.attempt.status).status == "in-progress"
