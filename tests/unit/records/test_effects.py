"""Effects: one key has one effect, only the run that goes on may intend it, and what is in doubt is seen."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event, select, update
from sqlalchemy.exc import DataError, IntegrityError

from processors.doubt import doubt_seconds
from processors.errors import Cancelled, EffectInDoubt, InvalidArgument
from processors.interfaces import Run
from records import effects as module
from records.columns import Now
from records.effects import CLOSE, EffectRecords, _intention, effects
from records.grouped_writes import CommitUnknown
from records.prepared import statements
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers

FIRST, SECOND, OTHER = Run("t", 1), Run("t", 2), Run("u", 1)
FAILURE = Failure("it broke", "ValueError")


@pytest.fixture
def tasks(database) -> TaskRecords:
    return TaskRecords(database)


@pytest.fixture
def moves(database, tasks) -> TaskMoves:
    Workers(database).start("w1", "io@host", "host", 1, 0)
    moves = TaskMoves(database)
    for run in (FIRST, OTHER):
        tasks.open(Draft(run.task_id, "shop.charge", "shop", "default"))
        assert moves.start(run.task_id, 0, "w1", "io@host", None).run == run.number
    return moves


@pytest.fixture
def records(database, moves) -> EffectRecords:
    return EffectRecords(database)


def take_over(moves) -> None:
    """Let another run have the record."""
    assert moves.give_back("t", FIRST.number)
    assert moves.start("t", 0, "w1", "io@host", None).run == SECOND.number


def let_pass(database, seconds: float) -> None:
    """Let every effect have been intended so long ago."""
    database.write(lambda c: c.execute(update(effects).values(intended_at=Now(-seconds))))


def test_a_key_has_one_intent(records):
    assert records.intend("k", FIRST, 5)

    assert not records.intend("k", FIRST, 5)
    assert not records.intend("k", OTHER, 5)
    assert records.intend("another", OTHER, 5)
    found = records.find("k", OTHER)
    assert (found.task_id, found.run, found.state, found.outcome, found.error) == ("t", 1, "intended", None, None)


def test_of_many_who_intend_at_once_one_does(records):
    done = []

    def intend(run):
        if records.intend("k", run, 5):
            done.append(run)

    threads = [threading.Thread(target=intend, args=(run,)) for run in (FIRST, OTHER) * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(done) == 1


@pytest.mark.parametrize("how", ["cancelled", "taken over", "ended", "removed"])
def test_only_the_run_that_goes_on_intends_anything(records, moves, how):
    if how == "cancelled":
        moves.revoke("t")
    elif how == "taken over":
        take_over(moves)
    else:
        moves.fail("t", 1, FAILURE)
    if how == "removed":
        moves.remove(["t"])

    assert not records.intend("k", FIRST, 5)
    with pytest.raises(Cancelled):
        records.find("k", FIRST)
    assert records.find("k", OTHER) is None


def test_the_rest_of_the_doubt_is_told_by_the_databases_clock(database, records):
    records.intend("k", FIRST, 30)
    assert doubt_seconds(30) - 20 < records.find("k", FIRST).rest <= doubt_seconds(30)

    let_pass(database, doubt_seconds(30))
    assert records.find("k", FIRST).rest <= 0


def test_an_outcome_is_kept_and_a_second_one_of_the_run_replaces_what_was_concluded_meanwhile(records):
    records.intend("k", FIRST, 5)
    assert records.close("k", FIRST, {"id": "ch_1", "text": "NUL \0 surrogate \ud800"})
    found = records.find("k", OTHER)
    assert (found.state, found.outcome) == ("done", {"id": "ch_1", "text": "NUL \0 surrogate \ud800"})

    assert records.conclude(found, "unknown", error="nobody knew")
    assert records.close("k", FIRST, 2)
    found = records.find("k", FIRST)
    assert (found.state, found.outcome, found.error) == ("done", 2, None)


def test_an_outcome_of_a_run_that_another_has_replaced_changes_nothing(database, records, moves):
    records.intend("k", FIRST, 5)
    take_over(moves)
    let_pass(database, 100)
    assert records.take_over(records.find("k", SECOND), SECOND, 5)

    assert not records.close("k", FIRST, 1)
    assert records.find("k", SECOND).state == "intended"


def test_a_withdrawn_intent_is_gone_and_one_that_was_refused_may_be_intended_again(records):
    records.intend("k", FIRST, 5)
    records.withdraw("k", FIRST)
    assert records.find("k", FIRST) is None

    records.intend("k", FIRST, 5)
    records.note("k", FIRST, "the provider \0 says")
    records.refuse("k", FIRST, "no such card")
    assert (records.find("k", OTHER).state, records.find("k", OTHER).error) == ("refused", "no such card")

    assert records.intend("k", OTHER, 7)
    found = records.find("k", OTHER)
    assert (found.task_id, found.run, found.state, found.error) == ("u", 1, "intended", None)


def test_nobody_withdraws_refuses_or_notes_what_is_anothers_or_done(records):
    records.intend("k", FIRST, 5)
    for run in (OTHER, SECOND):
        records.withdraw("k", run)
        records.refuse("k", run, "x")
        records.note("k", run, "x")
    assert (records.find("k", FIRST).state, records.find("k", FIRST).error) == ("intended", None)

    records.close("k", FIRST, 1)
    records.withdraw("k", FIRST)
    records.refuse("k", FIRST, "x")
    assert records.find("k", FIRST).state == "done"


def test_of_two_who_look_at_once_one_acts_on_what_it_saw(database, records):
    records.intend("k", FIRST, 5)
    let_pass(database, 100)
    found = records.find("k", OTHER)

    assert records.take_over(found, OTHER, 5)

    assert not records.take_over(found, FIRST, 5)
    assert not records.conclude(found, "done", outcome=1)
    assert not records.take_over(replace(found, task_id="u", run=1), OTHER, 5), "it was intended at another time"


def test_a_run_that_is_over_takes_nothing_over(database, records, moves):
    records.intend("k", OTHER, 5)
    let_pass(database, 100)
    found = records.find("k", FIRST)
    take_over(moves)

    assert not records.take_over(found, FIRST, 5)


def test_an_intent_whose_commit_was_not_answered_is_in_doubt(records, monkeypatch):
    def lose(*_arguments, **_options):
        raise CommitUnknown("the connection broke")

    monkeypatch.setattr(records.database, "write", lose)

    with pytest.raises(EffectInDoubt) as lost:
        records.intend("k", FIRST, 5)
    assert lost.value.retry_after == doubt_seconds(5)


def test_what_goes_on_is_not_in_doubt_and_what_nobody_will_say_any_more_is_unknown(database, records, moves):
    records.intend("k", FIRST, 5)
    assert records.doubts(10) == []
    assert records.in_doubt("t"), "a retry by hand is not for what goes on either"

    moves.try_again("t", 1, 0, FAILURE)
    [one] = records.doubts(10)
    assert (one.key, one.kind, one.task_id, one.name, one.state) == ("k", "effect", "t", "shop.charge", "intended")

    moves.revoke("t")
    assert [one.state for one in records.doubts(10)] == ["intended"], "it may still be going on"
    let_pass(database, 100)
    assert [one.state for one in records.doubts(10)] == ["unknown"]


def test_an_effect_that_outlasts_its_deadline_is_in_doubt(database, records):
    records.intend("k", FIRST, 5)
    let_pass(database, 100)
    assert [one.state for one in records.doubts(10)] == ["intended"]


def test_a_person_settles_what_is_in_doubt_and_nothing_else(database, records, moves):
    for key in ("goes on", "lost", "unknown", "done"):
        records.intend(key, FIRST, 5)
    records.close("done", FIRST, 1)
    assert not records.settle("goes on", "done", outcome=2)
    assert not records.settle("done", "refused")
    assert not records.settle("nobody's", "done")

    let_pass(database, 100)
    assert records.conclude(records.find("unknown", FIRST), "unknown", error="no answer")
    assert records.settle("lost", "done", outcome={"seen": True})
    assert records.settle("unknown", "refused", error="it is not there")
    assert not records.settle("unknown", "done")

    assert (records.find("lost", FIRST).state, records.find("lost", FIRST).outcome) == ("done", {"seen": True})
    assert records.intend("unknown", OTHER, 5), "a retry may do it"


def test_a_tasks_own_effects_go_with_its_record_but_not_what_is_in_doubt_newer_or_the_business_named(
    database, records, moves
):
    for key in ("t:done", "t:refused", "t:lost", "t:later", "invoice:4711"):
        records.intend(key, FIRST, 5)
    records.intend("u:others", OTHER, 5)
    records.close("u:others", OTHER, 1)
    records.close("t:done", FIRST, 1)
    records.close("invoice:4711", FIRST, 1)
    records.refuse("t:refused", FIRST, "no")
    moves.fail("t", 1, FAILURE)
    later = update(effects).where(effects.c.key == "t:later").values(state="done", closed_at=Now(60))
    database.write(lambda c: c.execute(later))

    assert moves.remove(["t", "u"]) == 1

    with database.engine().connect() as connection:
        left = {row.key for row in connection.execute(effects.select())}
    assert left == {"t:lost", "t:later", "u:others", "invoice:4711"}
    assert [(one.key, one.name) for one in records.doubts(10)] == [("t:lost", None)]


def close_long_ago(database, *keys) -> None:
    old = update(effects).where(effects.c.key.in_(keys)).values(state="done", closed_at=Now(-31 * 86_400))
    database.write(lambda c: c.execute(old))


def keys_in(database) -> set[str]:
    with database.engine().connect() as connection:
        return set(connection.execute(select(effects.c.key)).scalars())


def test_what_is_known_of_a_removed_tasks_own_effects_is_pruned_and_nothing_else(database, records, moves):
    late, refused = "t:late", "t:refused"
    kept = ["t:new", "t:unknown", "t:intended", "invoice:4711", "tt:late", "t", "u:theirs"]
    for key in (late, refused, *kept):
        assert records.intend(key, OTHER if key == "u:theirs" else FIRST, 5)
    records.conclude(records.find("t:unknown", FIRST), "unknown", error="nobody knows")
    records.refuse(refused, FIRST, "no")
    moves.fail("t", 1, FAILURE)
    moves.remove(["t"])
    assert records.intend("u:other", OTHER, 5)
    for key in ("t:new", late):
        records.close(key, FIRST, 1)
    close_long_ago(database, late, "invoice:4711", "tt:late", "t", "u:theirs")
    whole = keys_in(database)

    assert records.prune(32) == 0
    assert records.prune(30) == 1

    assert keys_in(database) == whole - {late}
    assert {refused, *kept} & whole == {refused, *kept} & keys_in(database)
    assert {one.key for one in records.doubts(10)} >= {"t:unknown", "t:intended"}


def test_a_pruning_goes_on_behind_what_it_has_looked_at_and_begins_again(database, records, moves, monkeypatch):
    monkeypatch.setattr(module, "PRUNED_AT_ONCE", 3)
    for number in range(7):
        records.intend(f"t:{number}", FIRST, 5)
    moves.fail("t", 1, FAILURE)
    moves.remove(["t"])
    close_long_ago(database, *(f"t:{number}" for number in (1, 4, 5, 6)))

    assert [records.prune(30) for _ in range(4)] == [1, 2, 1, 0]
    assert keys_in(database) == {"t:0", "t:2", "t:3"}


def test_what_a_retry_has_just_taken_over_is_not_pruned_before_it_is_recorded(database, tasks, records, moves):
    records.intend("t:charge", FIRST, 5)
    close_long_ago(database, "t:charge")

    records.carry_over("t", "new")

    assert records.prune(30) == 0
    assert keys_in(database) == {"t:charge", "new:charge"}


def test_a_retry_by_hand_knows_what_was_done_under_its_own_keys(tasks, records, moves):
    for key in ("t:charge", "t:%", "tt:charge", "invoice:4711", "t:open"):
        records.intend(key, FIRST, 5)
        if key != "t:open":
            records.close(key, FIRST, {"of": key})
    tasks.open(Draft("new", "shop.charge", "shop", "default"))
    assert moves.start("new", 0, "w1", "io@host", None)

    records.carry_over("t", "new")
    records.carry_over("t", "new")

    new = Run("new", 1)
    assert records.find("new:charge", new).outcome == {"of": "t:charge"}
    assert records.find("new:%", new).state == "done"
    assert records.find("new:open", new) is None
    assert not records.intend("new:charge", new, 5)
    assert records.intend("newt:charge", new, 5)


def test_a_retry_by_hand_may_do_again_what_it_is_told_so(tasks, records):
    for key in ("t:sent", "t:refused"):
        records.intend(key, FIRST, 5)
        records.close(key, FIRST, {"state": key[2:]})
    records.intend("t:open", FIRST, 5)

    assert records.done("t") == {"t:sent": {"state": "sent"}, "t:refused": {"state": "refused"}}
    records.carry_over("t", "new", ["t:refused"])

    assert records.done("new") == {"new:sent": {"state": "sent"}}


def test_a_retry_by_hand_is_refused_before_a_key_grows_too_long(database, records):
    for length in (252, 253):
        assert records.intend("t:".ljust(length, "k"), FIRST, 5)
        assert records.close("t:".ljust(length, "k"), FIRST, 1)

    with pytest.raises(InvalidArgument, match="longer than 255 characters"):
        records.carry_over("t", "newer")
    with database.engine().connect() as connection:
        assert len(connection.execute(effects.select()).all()) == 2

    records.carry_over("t", "new")  # 255 at most
    with database.engine().connect() as connection:
        assert len(connection.execute(effects.select()).all()) == 4


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_key_that_is_too_long_is_refused_and_never_cut_off(records):
    with pytest.raises((DataError, IntegrityError)):
        records.intend("x" * 256, FIRST, 5)


@pytest.mark.parametrize("count", [1, 2])
def test_several_intents_and_ends_are_one_statement_with_the_same_effect(database, records, count):
    dialect, kind, keys = database.engine().dialect, database.kind, [f"k{n}" for n in range(count)]
    ends = {"task_id": "t", "of_run": 1}
    intents = [_intention(kind)(key=key, deadline=5, **ends) for key in keys]
    closes = [CLOSE(key=key, outcome={"of": key}, **ends) for key in keys]
    for bounds in (intents, closes):
        for bound in bounds:
            bound.bind(dialect)
        [statement] = statements(bounds)
        with database.engine().begin() as connection:
            rows = [tuple(row) for row in connection.exec_driver_sql(statement.text, statement.parameters).all()]
        assert sorted(rows) == [(key,) for key in keys]

    assert [records.find(key, FIRST).outcome for key in keys] == [{"of": key} for key in keys]


LOOKS = {
    "doubts": (lambda records: records.doubts(10), "ix_effects_open"),
    "in doubt": (lambda records: records.in_doubt("t"), "ix_effects_task_id"),
    "find": (lambda records: records.find("k", FIRST), "sqlite_autoindex_effects_1"),
    "intend": (lambda records: records.intend("k", FIRST, 5), "sqlite_autoindex_task_records_1"),
    "close": (lambda records: records.close("k", FIRST, 5), "sqlite_autoindex_effects_1"),
    "settle": (lambda records: records.settle("k", "done"), "sqlite_autoindex_effects_1"),
    "prune": (lambda records: records.intend("k", FIRST, 5) and records.prune(30), "sqlite_autoindex_effects_1"),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("look", LOOKS)
def test_no_look_reads_all_effects(database, records, look):
    said: list[tuple[str, object]] = []
    ask, index = LOOKS[look]

    def note(_connection, _cursor, statement, parameters, *_):
        said.append((statement, parameters))

    if look in {"intend", "close"}:
        bound = (
            _intention("sqlite")(key="k", task_id="t", of_run=1, deadline=5)
            if look == "intend"
            else CLOSE(key="k", task_id="t", of_run=1, outcome=None)
        )
        bound.bind(database.engine().dialect)
        said += [(one.text, one.parameters) for one in statements([bound])]
    else:
        event.listen(Engine, "before_cursor_execute", note)
        try:
            ask(records)
        finally:
            event.remove(Engine, "before_cursor_execute", note)

    with database.engine().connect() as connection:
        steps = [
            row[3]
            for statement, parameters in said
            if statement.startswith(("SELECT", "UPDATE", "INSERT", "DELETE"))
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        ]
    assert any(index in step for step in steps), steps
    assert [step for step in steps if step.startswith("SCAN")] == []
