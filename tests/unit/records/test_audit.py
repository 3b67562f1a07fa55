"""The audit: every act is there once, in its order, however they are paged through, until it is old."""

import pytest
from sqlalchemy import text, update

from records.audit import PRUNED_AT_ONCE, Act, Audit, WantedActs, audit
from records.columns import SECONDS_PER_DAY, Now
from records.database import Database
from waiting import until


@pytest.fixture
def rows(database: Database) -> Audit:
    return Audit(database)


def act(number: int = 0, **more) -> Act:
    return Act("key", f"actor {number % 3}", f"queue.{'purge' if number % 2 else 'pause'}", "api", **more)


def test_pages_hold_every_act_once_also_where_many_have_one_moment(rows):
    for number in range(23):
        rows.add(act(number, target_kind="queue", target_id=str(number)))
    rows.database.write(lambda c: c.execute(update(audit).where(audit.c.id > 5).values(at=Now(-5))))
    rows.database.write(
        lambda c: c.execute(text("UPDATE audit SET at = (SELECT max(at) FROM audit WHERE id > 5) WHERE id > 5"))
    )
    seen, after = [], None
    while page := rows.listed(WantedActs(), 4, after):
        seen += [int(one.target_id) for one in page]
        after = page[-1].at, page[-1].id
    assert sorted(seen) == list(range(23))
    assert seen[5:] == list(range(22, 4, -1))


def test_acts_are_filtered_by_actor_act_and_target(rows):
    for number in range(12):
        rows.add(act(number, target_kind="queue" if number < 6 else "key", target_id="x"))
    counts = {
        WantedActs(actor="actor 1"): 4,
        WantedActs(act="queue.purge"): 6,
        WantedActs(target_kind="queue", target_id="x"): 6,
        WantedActs(target_id="x' OR 1=1 --%"): 0,
        WantedActs(actor="actor %"): 0,
        WantedActs("actor 1", "queue.purge", "queue", "x"): 1,
    }
    assert {wanted: len(rows.listed(wanted, 100)) for wanted in counts} == counts


def test_acts_are_filtered_by_time_from_a_moment_on_and_before_another(rows):
    for number in range(4):
        rows.add(act(number))
        rows.database.write(lambda c, n=number: c.execute(update(audit).where(audit.c.id > n).values(at=Now(n - 100))))
    first, second, third, fourth = (one.at for one in rows.listed(WantedActs(), 9)[::-1])
    found = {
        WantedActs(at_from=second): [fourth, third, second],
        WantedActs(at_before=second): [first],
        WantedActs(at_from=second, at_before=fourth): [third, second],
        WantedActs(at_from=fourth, at_before=fourth): [],
    }
    assert {wanted: [one.at for one in rows.listed(wanted, 9)] for wanted in found} == found


@pytest.mark.parametrize("details", [None, {"state": "FAILURE", "text": "\0\ud800 ü"}])
def test_an_act_is_read_as_it_was_written_at_once_or_soon(rows, details):
    written = act(count=2**40, target_kind="bulk", target_id="\0 ü", details=details, outcome="failed")
    rows.add(written)
    rows.add_later(written)
    rows.add_later(act(1))
    first, *_, last = until(lambda: len(found := rows.listed(WantedActs(), 9)) == 3 and found, what="all are there")
    assert first.id > last.id
    for one in rows.listed(WantedActs(act="queue.pause"), 9):
        assert (one.count, one.target_id, one.details) == (2**40, "\\x00 ü", details)
        assert (one.actor_kind, one.origin, one.outcome) == ("key", "api", "failed")


def test_old_acts_go_however_many_they_are(rows, monkeypatch):
    monkeypatch.setattr("records.audit.PRUNED_AT_ONCE", 2)
    for number in range(7):
        rows.add(act(number))
    rows.database.write(lambda c: c.execute(update(audit).where(audit.c.id <= 5).values(at=Now(-2 * SECONDS_PER_DAY))))
    assert rows.prune(1) == 5
    assert len(rows.listed(WantedActs(), 10)) == 2
    assert rows.prune(1) == 0
    assert PRUNED_AT_ONCE > 2


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ("actor = 'a'", "ix_audit_actor"),
        ("act = 'a'", "ix_audit_act"),
        ("target_kind = 'a' AND target_id = 'b'", "ix_audit_target"),
        ("at <= '2026-01-01' ", "ix_audit_at"),
    ],
)
def test_a_page_of_a_large_audit_is_found_by_an_index(tmp_path, wanted, index):
    from records import schema, upgrading  # noqa: PLC0415

    database = Database(f"sqlite:///{tmp_path}/r.db")
    upgrading.upgrade(database, schema.VERSION)
    query = f"EXPLAIN QUERY PLAN SELECT * FROM audit WHERE {wanted} ORDER BY at DESC, id DESC LIMIT 100"
    plan = database.read(lambda c: str(c.execute(text(query)).all()))
    database.close()
    assert index in plan
    assert "TEMP B-TREE" not in plan
