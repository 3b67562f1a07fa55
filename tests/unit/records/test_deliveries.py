"""A mail's rows: whoever hands it over first has it, and what is known stays."""

import threading

import pytest
from sqlalchemy import Engine, event, update

from processors.errors import TransientError
from processors.interfaces import Outcome, Run
from records import deliveries as module
from records.columns import Now
from records.deliveries import ABANDONED_SECONDS, DeliveryRecords
from records.deliveries import deliveries as table
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers

FIRST, SECOND = Run("t", 1), Run("t", 2)


@pytest.fixture
def moves(database):
    TaskRecords(database).open(Draft("t", "email.send_email", "email", "email"))
    Workers(database).start("w1", "io@host", "host", 1, 0)
    moves = TaskMoves(database)
    assert moves.start("t", 0, "w1", "io@host", None).run == FIRST.number
    return moves


@pytest.fixture
def deliveries(database, moves):
    records = DeliveryRecords(database)
    records.open("t", {0: {"b@example.com": "to", "c@example.com": "cc"}})
    return records


def hand(deliveries, addresses, run, task_id="t", position=0) -> None:
    """Mark that a run hands a mail over."""
    deliveries.turn(task_id, [], [(position, address) for address in addresses], run)


def close(deliveries, outcomes, run, task_id="t", position=0) -> None:
    """Store what became of a mail."""
    deliveries.turn(task_id, [(position, address, outcome) for address, outcome in outcomes.items()], [], run)


def handed_ago(deliveries) -> float | None:
    return deliveries.open("t", {0: {}})[0]["b@example.com"].handed_ago


def take_over(moves) -> None:
    """Let another run have the record."""
    assert moves.give_back("t", FIRST.number)
    assert moves.start("t", 0, "w1", "io@host", None).run == SECOND.number


def states(deliveries) -> dict[str, str]:
    return {address: outcome.state for address, outcome in deliveries.outcomes("t", 0).items()}


def test_rows_that_exist_are_told_beside_new_ones_as_they_are(deliveries):
    hand(deliveries, ["b@example.com"], FIRST)

    rows = deliveries.open("t", {0: {"b@example.com": "to"}, 1: {"b@example.com": "to", "d@example.com": "to"}})

    assert {address: (row.outcome.state, row.attempts) for address, row in rows[0].items()} == {
        "b@example.com": ("handing", 1),
        "c@example.com": ("queued", 0),
    }
    assert {address: row.outcome.state for address, row in rows[1].items()} == {
        "b@example.com": "queued",
        "d@example.com": "queued",
    }


def test_new_rows_are_told_as_they_are_told_later(deliveries):
    mails = {place: {f"n{place}@example.com": "to", "x@example.com": "bcc"} for place in range(2, 60)}
    assert deliveries.open("t", mails) == deliveries.open("t", mails)


@pytest.mark.parametrize("state", ["handing", "accepted", "refused", "unknown"])
def test_a_run_that_wakes_up_hands_nothing_over_that_another_run_has_taken(deliveries, state):
    hand(deliveries, ["b@example.com"], FIRST)
    if state != "handing":
        close(deliveries, {"b@example.com": Outcome(state)}, FIRST)

    with pytest.raises(TransientError, match="another run"):
        hand(deliveries, ["b@example.com", "c@example.com"], FIRST)

    assert states(deliveries) == {"b@example.com": state, "c@example.com": "queued"}


def test_a_run_that_wakes_up_marks_nothing_once_another_has_the_record(deliveries, moves):
    take_over(moves)

    with pytest.raises(TransientError, match="another run"):
        hand(deliveries, ["b@example.com"], FIRST)

    hand(deliveries, ["b@example.com"], SECOND)
    assert states(deliveries)["b@example.com"] == "handing"


@pytest.mark.parametrize("outcome", ["queued", "deferred", "refused", "unknown"])
def test_what_a_run_that_wakes_up_says_changes_nothing_for_the_one_that_has_the_record(deliveries, moves, outcome):
    take_over(moves)
    hand(deliveries, ["b@example.com"], SECOND)

    close(deliveries, {"b@example.com": Outcome(outcome)}, FIRST)

    assert states(deliveries)["b@example.com"] == "handing"


def test_that_a_mail_was_accepted_is_stored_whoever_says_so(deliveries, moves):
    hand(deliveries, ["b@example.com"], FIRST)
    take_over(moves)

    close(deliveries, {"b@example.com": Outcome("accepted", 250)}, FIRST)

    assert states(deliveries)["b@example.com"] == "accepted"


def test_a_mail_that_was_cancelled_while_it_went_out_still_gets_its_outcome(deliveries, moves):
    hand(deliveries, ["b@example.com"], FIRST)
    assert moves.revoke("t")

    close(deliveries, {"b@example.com": Outcome("refused", 550)}, FIRST)

    assert states(deliveries)["b@example.com"] == "refused"


def test_a_cancelled_mail_is_not_handed_over(deliveries, moves):
    assert moves.revoke("t")

    with pytest.raises(TransientError, match="cancelled"):
        hand(deliveries, ["b@example.com"], FIRST)

    assert states(deliveries)["b@example.com"] == "cancelled"


def test_a_mail_of_a_cancelled_bulk_is_not_handed_over_though_its_batch_goes_on(database, deliveries, moves):
    TaskRecords(database).open(Draft("bulk", "email.send_bulk_emails", "email", "email", is_parent=True))
    deliveries.open("bulk", {3: {"b@example.com": "to"}})
    hand(deliveries, ["b@example.com"], FIRST, "bulk", 3)
    close(deliveries, {"b@example.com": Outcome("deferred", 451)}, FIRST, "bulk", 3)
    assert moves.revoke("bulk")

    with pytest.raises(TransientError, match="cancelled"):
        hand(deliveries, ["b@example.com"], FIRST, "bulk", 3)
    with pytest.raises(TransientError, match="cancelled"):
        deliveries.open("bulk", {4: {"b@example.com": "to"}}, FIRST)
    assert deliveries.outcomes("bulk", 4) == {}


def test_what_was_put_off_may_be_handed_over_again(deliveries):
    hand(deliveries, ["b@example.com"], FIRST)
    close(deliveries, {"b@example.com": Outcome("deferred", 451)}, FIRST)
    hand(deliveries, ["b@example.com"], FIRST)
    assert states(deliveries)["b@example.com"] == "handing"


def test_an_outcome_that_is_known_stays(deliveries):
    hand(deliveries, ["b@example.com"], FIRST)
    close(deliveries, {"b@example.com": Outcome("accepted", 250)}, FIRST)
    close(deliveries, {"b@example.com": Outcome("deferred", 451)}, FIRST)
    assert states(deliveries)["b@example.com"] == "accepted"


def test_who_learns_late_that_a_mail_was_accepted_tells_it_although_a_later_run_could_not_find_out(deliveries, moves):
    hand(deliveries, ["b@example.com"], FIRST)
    take_over(moves)
    close(deliveries, {"b@example.com": Outcome("unknown")}, SECOND)
    close(deliveries, {"b@example.com": Outcome("deferred", 451)}, FIRST)
    assert states(deliveries)["b@example.com"] == "unknown"

    close(deliveries, {"b@example.com": Outcome("accepted", 250)}, FIRST)

    assert states(deliveries)["b@example.com"] == "accepted"


def let_pass(database, seconds: float) -> None:
    """Let what is being handed over have been marked so long ago."""
    database.write(lambda c: c.execute(update(table).values(handed_at=Now(-seconds))))


def test_the_database_tells_how_long_ago_a_mail_was_last_marked(database, deliveries):
    assert handed_ago(deliveries) is None

    hand(deliveries, ["b@example.com"], FIRST)
    assert 0 <= handed_ago(deliveries) < 60

    let_pass(database, 1000)
    assert handed_ago(deliveries) > 999


def test_the_database_tells_when_one_who_was_put_off_is_tried_again_and_how_often_that_was(deliveries):
    hand(deliveries, ["b@example.com"], FIRST)
    close(deliveries, {"b@example.com": Outcome("deferred", 451, retry_after=300.0)}, FIRST)

    rows = deliveries.open("t", {0: {}})[0]

    assert 240 < rows["b@example.com"].wait <= 300
    assert (rows["b@example.com"].attempts, rows["b@example.com"].outcome.code) == (1, 451)
    assert (rows["c@example.com"].attempts, rows["c@example.com"].wait) == (0, 0.0)


def test_a_try_that_ended_before_the_content_counts_as_one(deliveries):
    close(deliveries, {"b@example.com": Outcome("deferred", 450, retry_after=0.0)}, FIRST)
    close(deliveries, {"c@example.com": Outcome("queued")}, FIRST)
    rows = deliveries.open("t", {0: {}})[0]
    assert (rows["b@example.com"].attempts, rows["c@example.com"].attempts) == (1, 0)

    hand(deliveries, ["b@example.com"], FIRST)
    close(deliveries, {"b@example.com": Outcome("deferred", 451, retry_after=0.0)}, FIRST)
    assert deliveries.open("t", {0: {}})[0]["b@example.com"].attempts == 2


def test_one_turn_stores_and_marks_all_of_it_or_nothing(deliveries):
    hand(deliveries, ["b@example.com"], FIRST)
    accepted = [(0, "b@example.com", Outcome("accepted", 250))]

    with pytest.raises(TransientError, match="another run"):
        deliveries.turn("t", accepted, [(0, "c@example.com"), (0, "b@example.com")], FIRST)
    assert states(deliveries) == {"b@example.com": "handing", "c@example.com": "queued"}

    deliveries.turn("t", accepted, [(0, "c@example.com")], FIRST)
    assert states(deliveries) == {"b@example.com": "accepted", "c@example.com": "handing"}


def test_a_mail_in_doubt_is_listed_until_a_person_has_settled_it(deliveries):
    hand(deliveries, ["b@example.com", "c@example.com"], FIRST)
    assert deliveries.doubts(10) == []
    lost = Outcome("unknown", text="the answer was lost")
    close(deliveries, {"b@example.com": lost, "c@example.com": lost}, FIRST)

    [first, second] = sorted(deliveries.doubts(10), key=lambda doubt: doubt.key)
    assert (first.key, first.kind, first.state) == ("mail:t:0:b@example.com", "mail", "unknown")
    assert (first.task_id, first.name, first.error) == ("t", "email.send_email", "the answer was lost")
    assert second.key == "mail:t:0:c@example.com"

    assert deliveries.settle("t", 0, "b@example.com", Outcome("accepted", text="seen in the log"))
    assert not deliveries.settle("t", 0, "b@example.com", Outcome("deferred")), "it is settled"
    assert deliveries.settle("t", 0, "c@example.com", Outcome("deferred"))
    assert deliveries.doubts(10) == []
    assert not deliveries.in_doubt("t")
    assert states(deliveries) == {"b@example.com": "accepted", "c@example.com": "deferred"}


def test_a_mail_whose_task_has_ended_long_since_without_a_word_is_in_doubt(database, deliveries, moves):
    hand(deliveries, ["b@example.com"], FIRST)
    let_pass(database, ABANDONED_SECONDS)
    assert deliveries.doubts(10) == [], "its task goes on"

    assert moves.revoke("t")

    assert [doubt.key for doubt in deliveries.doubts(10)] == ["mail:t:0:b@example.com"]
    assert deliveries.settle("t", 0, "b@example.com", Outcome("accepted"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_looking_for_mails_in_doubt_does_not_read_all_mails(database, deliveries):
    said: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, *_):
        said.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        deliveries.doubts(10)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    [(statement, parameters)] = [one for one in said if one[0].startswith("SELECT")]
    with database.engine().connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()

    assert any("ix_deliveries_doubt" in row[3] for row in plan), plan


def test_a_mail_in_doubt_outlives_its_record(deliveries, moves):
    hand(deliveries, ["b@example.com"], FIRST)
    close(deliveries, {"b@example.com": Outcome("unknown")}, FIRST)
    assert moves.succeed("t", FIRST.number, None)

    assert moves.remove(["t"]) == 1

    assert states(deliveries) == {"b@example.com": "unknown"}
    assert [doubt.name for doubt in deliveries.doubts(10)] == [None]


def test_what_a_server_says_is_kept_whatever_it_sends(deliveries):
    hand(deliveries, ["b@example.com"], FIRST)
    close(deliveries, {"b@example.com": Outcome("accepted", 250, None, "ok\0 \ud800")}, FIRST)

    assert deliveries.outcomes("t", 0)["b@example.com"] == Outcome("accepted", 250, None, "ok\\x00 \\ud800")


def test_a_mail_is_carried_over_to_its_new_position_without_the_others(deliveries):
    deliveries.open("t", {1: {"d@example.com": "to"}, 2: {"e@example.com": "to", "f@example.com": "to"}})
    for position, address in ((1, "d@example.com"), (2, "e@example.com")):
        hand(deliveries, [address], FIRST, position=position)
        close(deliveries, {address: Outcome("accepted")}, FIRST, position=position)

    deliveries.carry_over("t", "new", (2, 0))

    assert [list(deliveries.outcomes("new", position)) for position in range(3)] == [["e@example.com"], [], []]


def test_what_was_settled_after_its_record_was_removed_is_pruned_and_nothing_else(database, deliveries, moves):
    addresses = ["b@example.com", "c@example.com"]
    hand(deliveries, addresses, FIRST)
    close(deliveries, dict.fromkeys(addresses, Outcome("unknown")), FIRST)
    assert moves.fail("t", FIRST.number, Failure("It is in doubt.", "WorkFailed"))
    assert moves.remove(["t"]) == 1
    assert deliveries.settle("t", 0, "b@example.com", Outcome("accepted"))
    deliveries.carry_over("t", "new")
    aged = update(table).where(table.c.task_id == "t").values(closed_at=Now(-31 * 86_400))
    database.write(lambda c: c.execute(aged))

    assert deliveries.prune(32) == 0
    assert deliveries.prune(30) == 1

    assert states(deliveries) == {"c@example.com": "unknown"}
    assert deliveries.outcomes("new", 0)["b@example.com"].state == "accepted"  # a retry is about to be recorded


def test_a_pruning_leaves_the_mails_of_a_task_that_has_its_record(database, deliveries):
    hand(deliveries, ["b@example.com"], FIRST)
    close(deliveries, {"b@example.com": Outcome("accepted")}, FIRST)
    database.write(lambda c: c.execute(update(table).values(closed_at=Now(-31 * 86_400))))

    assert deliveries.prune(30) == 0
    assert states(deliveries)["b@example.com"] == "accepted"


def test_a_pruning_goes_on_behind_the_rows_it_has_looked_at_and_begins_again(database, deliveries, monkeypatch):
    monkeypatch.setattr(module, "PRUNED_AT_ONCE", 2)
    for number in range(5):
        deliveries.open(f"gone{number}", {0: {"b@example.com": "to"}})
    gone = update(table).where(table.c.task_id != "t").values(state="accepted", closed_at=Now(-31 * 86_400))
    database.write(lambda c: c.execute(gone))

    assert [deliveries.prune(30) for _ in range(5)] == [2, 2, 1, 0, 0]
    assert states(deliveries) == {"b@example.com": "queued", "c@example.com": "queued"}


def test_nothing_goes_out_of_a_bulk_whose_cancelling_was_answered(database):
    """Who cancels, and then sends the rest again, mails somebody twice: the row says `cancelled` to the second."""
    if database.is_sqlite:
        pytest.skip("one writer at a time")
    TaskRecords(database).open(Draft("t", "email.send_email", "email", "email"))
    Workers(database).start("w1", "io@host", "host", 1, 0)
    moves, rows = TaskMoves(database), DeliveryRecords(database)
    assert moves.start("t", 0, "w1", "io@host", None).run == 1
    rows.open("t", {0: {"b@example.com": "to"}})
    seen = []

    def cancel():
        if moves.revoke("t"):
            seen.append(rows.outcomes("t", 0)["b@example.com"].state)

    original, other = database._write_pooled, threading.Thread(target=cancel)

    def slow_commit(work, *more):
        def then_waits(connection):
            result = work(connection)
            if threading.current_thread() is not other and not other.ident:
                other.start()
                other.join(3)  # a commit takes as long on a busy disk, or with a synchronous standby
            return result

        return original(then_waits, *more)

    database._write_pooled = slow_commit
    went = True
    try:
        rows.turn("t", [], [(0, "b@example.com")], Run("t", 1))
    except TransientError:
        went = False
    other.join(10)
    assert not (went and seen == ["cancelled"]), "it goes out, and was told as not sent"


def test_rows_are_listed_mail_by_mail_and_address_by_address_a_page_at_a_time(deliveries):
    deliveries.open("t", {1: {"a@example.com": "to"}, 10: {"a@example.com": "to"}})
    deliveries.open("u", {0: {"a@example.com": "to"}})
    hand(deliveries, ["c@example.com"], FIRST)
    close(deliveries, {"c@example.com": Outcome("refused", 550, "5.1.1", "Nobody.")}, FIRST)
    rows, after = [], None
    while page := deliveries.listed("t", None, 2, after):
        rows += page
        after = page[-1]["position"], page[-1]["address"]
    assert [(row["position"], row["address"], row["role"], row["state"]) for row in rows] == [
        (0, "b@example.com", "to", "queued"),
        (0, "c@example.com", "cc", "refused"),
        (1, "a@example.com", "to", "queued"),
        (10, "a@example.com", "to", "queued"),
    ]
    (refused,) = deliveries.listed("t", ["refused", "invalid"], 100, None)
    assert (refused["code"], refused["enhanced"], refused["text"]) == (550, "5.1.1", "Nobody.")
    assert refused["attempts"] == 1
    assert refused["handed_at"] <= refused["closed_at"]
    assert deliveries.listed("nobody", None, 100, None) == []
