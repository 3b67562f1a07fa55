"""Databases that an older program has written to: what lies in them is still there, and goes on, after the upgrade."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from alembic.command import downgrade
from sqlalchemy import Connection, text

from call_rows import ACCOUNT, CAMPAIGN, OURS, Phones
from followed import catch_up
from processors.call_interfaces import NoRoom
from records import schema, upgrading
from records.database import Database
from records.members import insert_members
from records.task_lists import TaskLists, Wanted
from records.task_minutes import TaskMinutes

MOMENT = "2026-01-05 10:00:00.000000"
NOBODY, LIVE_NUMBER, NEXT, SINGLE = "+15557770200", "+15557770201", "+15557770202", "+15557770203"
TASK = {
    "queue": "email", "priority": "normal", "state": "PENDING", "created_at": MOMENT, "due_at": MOMENT,
    "relay_at": MOMENT, "attempt": 0, "run": 0, "lost_runs": 0, "progress": 0.0, "args": "[]", "kwargs": "{}",
    "message": "{}", "is_parent": False, "retry_count": 0, "held": False, "holds": 0,
}  # fmt: skip
PARENT = TASK | {"state": "PROGRESS", "relay_at": None, "started_at": MOMENT, "is_parent": True, "members_total": 2}
CALL = {"from_number": OURS, "attempts": 1, "created_at": MOMENT}
ATTEMPT = {
    "number": 1, "account": ACCOUNT, "from_number": OURS, "sending_at": MOMENT, "doubt_until": MOMENT, "looks": 0,
}  # fmt: skip

MAIL_ROWS = [
    ("task_records", TASK | {"id": "mail", "name": "email.send_email", "category": "email", "kwargs": '{"to": "a"}'}),
    ("task_records", PARENT | {"id": "bulk", "name": "email.send_bulk_emails", "category": "email"}),
    ("task_records", TASK | {"id": "batch", "name": "email.send_batch", "category": "email", "parent_id": "bulk"}),
    ("members", {"task_id": "bulk", "position": 0, "arguments": '{"to": "a@example.com"}', "state": "waiting"}),
    ("members", {"task_id": "bulk", "position": 1, "arguments": '{"to": "b@example.com"}', "state": "delivered",
                 "outcome": '{"status": "sent"}', "closed_at": MOMENT}),
    ("mail_rests", {"transport": "smtp", "domain": "example.com", "level": 2, "not_before": MOMENT, "reason": "421"}),
]  # fmt: skip
PHONE = {"category": "twilio_calls", "queue": "twilio_calls"}
CALL_ROWS = [
    ("task_records", PARENT | PHONE | {"id": "campaign", "name": CAMPAIGN}),
    ("task_records", TASK | PHONE | {"id": "step", "name": "twilio_calls.run_campaign", "parent_id": "campaign"}),
    ("task_records", TASK | PHONE | {"id": "single", "name": "twilio_calls.queue_outbound_call"}),
    ("members", {"task_id": "campaign", "position": 0, "arguments": f'{{"to_number": "{LIVE_NUMBER}"}}',
                 "state": "waiting"}),
    ("members", {"task_id": "campaign", "position": 1, "arguments": f'{{"to_number": "{NEXT}"}}', "state": "waiting"}),
    ("calls", CALL | {"id": "campaign:0", "campaign_id": "campaign", "position": 0, "to_number": LIVE_NUMBER,
                      "state": "dialing"}),
    ("calls", CALL | {"id": "campaign:1", "campaign_id": "campaign", "position": 1, "to_number": NEXT,
                      "state": "waiting", "attempts": 0, "next_attempt_at": MOMENT}),
    ("calls", CALL | {"id": "single", "to_number": SINGLE, "state": "dialing"}),
    ("call_attempts", ATTEMPT | {"id": "a" * 32, "call_id": "campaign:0", "campaign_id": "campaign", "state": "placed",
                                 "to_number": LIVE_NUMBER, "call_sid": "CA0", "status": "ringing", "look_at": MOMENT,
                                 "placed_at": MOMENT}),
    ("call_attempts", ATTEMPT | {"id": "b" * 32, "call_id": "single", "state": "unknown", "to_number": SINGLE,
                                 "look_at": MOMENT, "error": "the answer was lost"}),
    ("call_gates", {"key": f"account:{ACCOUNT}", "next_free_at": MOMENT}),
    ("opt_outs", {"to_number": NOBODY, "source": "key", "text": "pressed 9", "created_at": MOMENT}),
]  # fmt: skip
FAILED = ("task_records", TASK | {
    "id": "failed", "name": "email.send_email", "category": "email", "state": "FAILURE", "relay_at": None,
    "started_at": MOMENT, "finished_at": MOMENT, "run": 1, "error": "It went nowhere.", "error_type": "PermanentError",
    "error_fingerprint": "f1",
})  # fmt: skip
COUNTED: list[tuple[str, Mapping[str, Any]]] = [("task_minutes", {
    "minute": MOMENT, "queue": queue, "created": created, "succeeded": 0, "failed": 0, "cancelled": 0, "waits": "[]",
    "runs": "[]",
}) for queue, created in (("", 0), ("email", 3))]  # fmt: skip
AGES = 1_000_000.0
SHARING = {"task_id": "bulk", "position": 2, "arguments": "{}", "as_first": '["to"]', "state": "waiting"}
"""A member that has all that it is from its parent's first one."""


def written_by(database: Database, version: str, rows: list[tuple[str, Mapping[str, Any]]]) -> list[Any]:
    """Make the schema of that time with these rows; returns all that lies in their tables."""
    upgrading.upgrade(database, version)

    def write(connection: Connection) -> None:
        for table, row in rows:
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), dict(row))

    database.write(write)
    return lying_in(database, rows)


def lying_in(database: Database, rows: list[tuple[str, Mapping[str, Any]]]) -> list[Any]:
    def read(connection: Connection) -> list[Any]:
        return [
            sorted(
                str({name: value for name, value in row.items() if value is not None})  # what came later holds nothing
                for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()
            )
            for table in dict.fromkeys(table for table, _ in rows)
        ]

    return database.read(read)


@pytest.fixture
def older(database_url: str) -> Iterator[Database]:
    """A database without a schema yet."""
    database = Database(database_url)
    yield database
    database.close()


def test_mails_of_a_database_without_calls_lie_there_after_its_upgrade_which_makes_room_for_calls(older: Database):
    before = written_by(older, "0022", MAIL_ROWS)
    assert schema.upgrade(older) == "0022"
    schema.prepare(older)
    assert lying_in(older, MAIL_ROWS) == before

    phones = Phones(older)
    assert phones.tasks.read("mail").kwargs == {"to": "a"}
    assert phones.tasks.read("bulk").members_total == 2
    assert phones.tasks.read("batch").parent_id == "bulk"
    assert phones.member_states("bulk") == {"waiting": 1, "delivered": 1}
    [call_id] = phones.campaign("campaign", [NEXT])
    phones.placed(call_id, "CA0")
    assert phones.live() == {"campaign": 1}


def test_calls_that_are_live_while_a_database_is_upgraded_stay_live_and_end(older: Database):
    before = written_by(older, "0023", CALL_ROWS)
    assert schema.upgrade(older) == "0023"
    assert lying_in(older, CALL_ROWS) == before

    phones = Phones(older)
    assert phones.live() == {"campaign": 1, "": 1}
    assert {one.id for one in phones.calls.take_looks()} == {"a" * 32, "b" * 32}
    phones.single("again", LIVE_NUMBER)
    assert isinstance(phones.grant("again"), NoRoom), "somebody calls that number"
    phones.tell("a" * 32, "CA0", "completed")
    phones.tell("b" * 32, "CA1", "completed")
    assert phones.live() == {}
    assert (phones.call("campaign:0").state, phones.call("single").state) == ("done", "done")
    phones.placed("campaign:1", "CA2", account_gap=0.1, at_once=2)
    assert phones.opt_outs.among([NOBODY, NEXT]) == {NOBODY}


def test_all_of_an_installation_without_a_dashboard_lies_there_after_its_upgrade_and_is_found_and_may_go_back(
    older: Database, monkeypatch: pytest.MonkeyPatch
):
    rows = [*MAIL_ROWS, *CALL_ROWS, FAILED, ("members", SHARING)]
    before = written_by(older, "0026", rows)
    assert schema.upgrade(older) == "0026"
    assert lying_in(older, rows) == before
    catch_up(older)
    for wanted, ids in (
        (Wanted(category="email"), {"mail", "bulk", "batch", "failed"}),
        (Wanted(parent="campaign"), {"step"}),
        (Wanted(states=frozenset({"FAILURE"}), fingerprint="f1"), {"failed"}),
        (Wanted(words=("nowhere",)), {"failed"}),
    ):
        assert {row["id"] for row in TaskLists(older).page(wanted, 10)} == ids, wanted
    assert lying_in(older, rows) == before
    monkeypatch.setattr(upgrading.command, "upgrade", downgrade)
    upgrading.upgrade(older, "0026")
    assert lying_in(older, rows) == before


def test_minutes_that_were_counted_before_anybody_looked_at_what_waits_lie_there_and_tell_nothing_of_it(
    older: Database, monkeypatch: pytest.MonkeyPatch
):
    before = written_by(older, "0035", COUNTED)
    assert schema.upgrade(older) == "0035"
    minutes = TaskMinutes(older)
    [row] = minutes.since(AGES)
    assert (row["created"], row["depth"], row["oldest_age_seconds"]) == (3, None, None)
    assert minutes.looks(AGES) == []
    assert lying_in(older, COUNTED) == before
    minutes.look()
    assert minutes.count_next()
    monkeypatch.setattr(upgrading.command, "upgrade", downgrade)
    upgrading.upgrade(older, "0035")
    found = lying_in(older, COUNTED)
    assert len(found[0]) == 3
    assert set(before[0]) < set(found[0])


def test_members_have_all_their_arguments_again_where_the_schema_goes_back(
    older: Database, monkeypatch: pytest.MonkeyPatch
):
    schema.prepare(older)
    items = [{"to": "a", "body": "b" * 300}, {"to": "b", "body": "b" * 300}, {"to": "c", "body": "other"}]
    older.write(lambda c: insert_members(c, "bulk", items))
    monkeypatch.setattr(upgrading.command, "upgrade", downgrade)
    upgrading.upgrade(older, "0025")
    kept = "SELECT arguments FROM members ORDER BY position"
    assert [json.loads(one) for one in older.read(lambda c: c.execute(text(kept)).scalars().all())] == items


def test_an_upgrade_may_think_for_longer_between_two_statements_than_other_transactions(
    postgresql: Any, monkeypatch: pytest.MonkeyPatch
):
    shown: list[str] = []

    def looks(config: Any, _: str) -> None:
        shown.append(_patience(config.attributes["connection"]))

    monkeypatch.setattr(upgrading.command, "upgrade", looks)
    database = Database(postgresql.fresh_database())
    upgrading.upgrade(database, schema.VERSION)
    assert (shown, database.read(_patience)) == (["1min"], "5s")
    database.close()


def _patience(connection: Connection) -> str:
    return str(connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one())
