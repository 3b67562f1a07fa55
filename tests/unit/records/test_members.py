"""The rows of a parent's parts: each ends once, and many end together or not at all."""

from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update

from processors.errors import ServiceUnavailable
from processors.interfaces import MemberEnd, Outcome, Run
from records import members as rooms
from records import parents
from records.columns import Now
from records.database import Database
from records.deliveries import ABANDONED_SECONDS, DeliveryRecords, deliveries
from records.members import MemberRecords, insert_members, members
from records.parents import Parents
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers


@pytest.fixture
def rows(database: Database) -> MemberRecords:
    database.write(lambda c: insert_members(c, "bulk", [{"text": f"t{number}"} for number in range(12)]))
    database.write(lambda c: insert_members(c, "other", [{"text": "another's"}]))
    return MemberRecords(database)


def end(position: int, state: str = "done", **outcome) -> MemberEnd:
    return MemberEnd(position, state, outcome)


def test_many_members_end_at_once_each_with_its_own_state_and_outcome(rows):
    rows.close_all("bulk", [end(2, row=0), end(0, "refused", code="content_filtered"), end(1, row=1)])

    assert rows.ends("bulk", 0, 4) == [
        MemberEnd(0, "refused", {"code": "content_filtered"}),
        MemberEnd(1, "done", {"row": 1}),
        MemberEnd(2, "done", {"row": 0}),
        MemberEnd(3, "waiting", None),
    ]
    assert [one.position for one in rows.waiting("bulk", 0, 5)] == [3, 4]
    assert rows.tally("other") == {"waiting": 1}


def test_a_member_that_has_ended_stays_as_it_is(rows):
    rows.close_all("bulk", [end(0, row=0)])
    rows.close_all("bulk", [end(0, "refused", code="late"), end(1, row=5)])
    assert rows.ends("bulk", 0, 2) == [end(0, row=0), end(1, row=5)]


def test_none_of_them_ends_where_one_cannot(rows):
    with pytest.raises(TypeError, match="not JSON serializable"):
        rows.close_all("bulk", [end(0, row=0), end(1, row=object())])
    assert rows.tally("bulk") == {"waiting": 12}


@pytest.mark.parametrize("some", [[3], [0, 1, 2]])
def test_a_run_that_another_one_has_followed_ends_no_member(database, rows, some):
    moves, ends = TaskMoves(database), [end(at, "deferred") for at in some]
    TaskRecords(database).open(Draft("part", "email.send_batch", "email", "email"))
    Workers(database).start("w1", "io@host", "host", 1, 0)
    frozen = moves.start("part", 0, "w1", "io@host", None).run
    moves.give_back("part", frozen)
    following = moves.start("part", 0, "w1", "io@host", None).run

    rows.close_all("bulk", ends, Run("part", frozen))
    assert rows.tally("bulk") == {"waiting": 12}
    rows.close_all("bulk", ends, Run("gone", frozen))
    assert rows.tally("bulk") == {"waiting": 12}
    rows.close_all("bulk", ends, Run("part", following))
    assert rows.tally("bulk") == {"waiting": 12 - len(some), "deferred": len(some)}


def test_to_end_nobody_is_no_error(rows):
    rows.close_all("bulk", [])
    assert rows.tally("bulk") == {"waiting": 12}


def test_all_members_are_read_in_their_order_page_by_page(rows, monkeypatch):
    monkeypatch.setattr(rooms, "PAGE_ROWS", 5)
    rows.close_all("bulk", [end(11, row=3)])
    read = list(rows.all_ends("bulk"))
    assert [one.position for one in read] == list(range(12))
    assert read[11] == end(11, row=3)


# --- What no task has ended -------------------------------------------------------------------------------------------


def mails_of(database, **states: str) -> DeliveryRecords:
    """Write the rows of the first mails of the bulk: of each its recipients' states."""
    mails = DeliveryRecords(database)
    mails.open("bulk", {int(at[1:]): dict.fromkeys(some.split(), "to") for at, some in states.items()})
    stated = update(deliveries).values(state=deliveries.c.address, handed_at=Now())
    database.write(lambda c: c.execute(stated.where(deliveries.c.address != "abandoned")))
    old = update(deliveries).where(deliveries.c.address == "abandoned")
    database.write(lambda c: c.execute(old.values(state="handing", handed_at=Now(-ABANDONED_SECONDS))))
    return mails


def test_what_is_left_is_told_page_by_page_with_what_is_known_of_its_mail(database, rows):
    mails = mails_of(database, m0="accepted queued", m1="handing", m2="abandoned refused", m3="queued", m4="unknown")
    rows.close_all("bulk", [end(5)])
    assert rows.left("bulk", limit=3) == [(0, "accepted"), (1, "unknown"), (2, "unknown")]
    assert rows.left("bulk", 2, 3) == [(3, None), (4, "unknown"), (6, None)]
    assert [at for at, _ in rows.left("bulk", 4)] == [6, 7, 8, 9, 10, 11]
    assert mails.handing("bulk") == {1}, "nobody hands the other one over any more"


def test_members_that_are_closed_for_their_tasks_leave_nobody_of_their_mails_waiting(database, rows):
    mails = mails_of(database, m0="accepted deferred", m1="queued", m2="handing queued", m4="queued")
    rows.close_left("bulk", [end(0, "sent"), end(1, "cancelled")])
    rows.close_left("bulk", [end(3, "cancelled")])
    rows.close_left("bulk", [])
    assert rows.tally("bulk") == {"sent": 1, "cancelled": 2, "waiting": 9}
    told = {at: {a: one.state for a, one in mails.outcomes("bulk", at).items()} for at in range(5)}
    assert told[0] == {"accepted": "accepted", "deferred": "cancelled"}
    assert told[1] == {"queued": "cancelled"}
    assert told[2] == {"handing": "handing", "queued": "queued"}
    assert told[4] == {"queued": "queued"}


def test_who_is_left_of_a_mail_that_no_task_ended_says_whether_it_expired_or_failed_and_why(database, rows):
    mails = mails_of(database, m0="queued", m1="queued", m2="queued")
    rows.close_left("bulk", [end(0, "expired"), end(1, "deferred", text="It ran too long."), end(2, "cancelled")])
    assert [mails.outcomes("bulk", at)["queued"] for at in range(3)] == [
        Outcome("expired", text="Its task ended before it."),
        Outcome("refused", text="It ran too long."),
        Outcome("cancelled", text="Its task ended before it."),
    ]


def test_those_that_ended_in_some_states_are_read_page_by_page(rows, monkeypatch):
    monkeypatch.setattr(rooms, "PAGE_ROWS", 2)
    ends = [end(at, "refused" if at % 2 else "unknown" if at % 3 else "sent", at=at) for at in range(11)]
    rows.close_all("bulk", ends)
    assert list(rows.ended_in("bulk", ("refused", "unknown"))) == [one for one in ends if one.state != "sent"]
    assert list(rows.ended_in("bulk", ("invalid",))) == []


def test_of_those_that_ended_as_unknown_it_is_told_whose_mail_arrived(database, rows):
    mails_of(database, m0="accepted", m1="unknown", m2="accepted unknown", m3="accepted")
    rows.close_all("bulk", [end(at, "unknown") for at in range(3)])
    assert rows.arrived("bulk") == {0, 2}


def test_of_those_that_ended_as_deferred_it_is_told_whose_mail_arrived(database, rows):
    mails_of(database, m0="accepted", m1="deferred", m2="unknown")
    rows.close_all("bulk", [end(at, "deferred") for at in range(3)])
    assert rows.arrived("bulk") == {0}


# --- Members that are written before their parent ---------------------------------------------------------------------


def parent_of(count: int, task_id: str = "large") -> Draft:
    return Draft(task_id, "email.send_bulk_emails", "email", "email", is_parent=True, members_total=count)


@pytest.fixture
def few_rows(monkeypatch):
    """Take five members for many."""
    monkeypatch.setattr(rooms, "INSERT_ROWS", 5)
    monkeypatch.setattr(parents, "INSERT_ROWS", 5)
    monkeypatch.setattr(rooms, "OTHERS_SECONDS", 0.0)


@pytest.mark.parametrize("count", [6, 10, 11, 12, 23])
def test_the_members_of_a_large_parent_are_written_before_it_and_completed_with_it(database, few_rows, count):
    rows, items = MemberRecords(database), [{"n": number} for number in range(count)]
    rows.write_before("large", items)
    assert TaskRecords(database).read("large") is None
    assert count - 5 <= rows.tally("large")["waiting"] < count
    Parents(database).open(parent_of(count), items, [])
    assert [member.arguments for member in rows.waiting("large", 0, 100)] == items


def test_members_whose_parent_was_not_written_are_removed_by_the_second_prune_that_finds_them(database, few_rows):
    rows, items = MemberRecords(database), [{"n": number} for number in range(23)]
    for task_id in ("lost", "late", "large"):
        rows.write_before(task_id, items)
    Parents(database).open(parent_of(23), items, [])
    assert rows.prune() == 0, "its submit may still be under way"
    Parents(database).open(parent_of(23, "late"), items, [])
    assert rows.prune() == 1
    assert (rows.tally("lost"), rows.tally("late"), rows.tally("large")) == ({}, {"waiting": 23}, {"waiting": 23})
    assert rows.prune() == 0


def test_a_pruning_that_takes_too_long_is_gone_on_with_by_the_next(database, few_rows, monkeypatch):
    rows = MemberRecords(database)
    rows.write_before("lost", [{}] * 23)
    rows.prune()
    clock = iter([0.0, 0.5, 1.5])
    monkeypatch.setattr(rooms, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None))
    assert (rows.prune(), rows.tally("lost")) == (0, {"waiting": 15})
    monkeypatch.undo()
    assert (rows.prune(), rows.tally("lost")) == (1, {})


def test_pruning_goes_on_behind_the_parents_it_has_looked_at(database, few_rows, monkeypatch):
    monkeypatch.setattr(rooms, "PRUNED_AT_ONCE", 2)
    rows = MemberRecords(database)
    for task_id in "abcde":
        rows.write_before(task_id, [{}] * 6)
    assert sum(rows.prune() for _ in range(8)) == 5
    assert rows.prune() == 0


def test_a_parent_is_whole_though_some_of_its_members_were_removed_before_it_was_written(database, few_rows):
    rows, items = MemberRecords(database), [{"n": number} for number in range(23)]
    rows.write_before("large", items)
    database.write(lambda c: c.execute(delete(members).where(members.c.position >= 10)))
    Parents(database).open(parent_of(23), items, [])
    assert [member.arguments for member in rows.waiting("large", 0, 100)] == items


def test_a_parent_of_which_members_are_missing_in_the_middle_is_not_written(database, few_rows):
    rows, items = MemberRecords(database), [{"n": number} for number in range(23)]
    rows.write_before("large", items)
    database.write(lambda c: c.execute(delete(members).where(members.c.position.between(5, 9))))
    with pytest.raises(ServiceUnavailable, match="large was not recorded"):
        Parents(database).open(parent_of(23), items, [])
    assert TaskRecords(database).read("large") is None


def test_a_large_parent_is_removed_with_all_that_is_known_of_it_but_its_doubts_in_bounded_transactions(
    database, few_rows, monkeypatch
):
    rows, mails, moves = MemberRecords(database), DeliveryRecords(database), TaskMoves(database)
    for task_id in ("large", "other"):
        Parents(database).open(parent_of(23, task_id), [{}] * 23, [])
        mails.open(task_id, {at: {"a@example.com": "to"} for at in range(23)})
    doubt = update(deliveries).where(deliveries.c.task_id == "large", deliveries.c.position == 7)
    database.write(lambda c: c.execute(doubt.values(state="unknown")))
    moves.revoke("large")
    left, write = [], database.write

    def noting(work, **options):
        done = write(work, **options)
        left.append(sum(rows.tally("large").values()))
        return done

    monkeypatch.setattr(database, "write", noting)
    assert moves.remove(["large", "other"]) == 1, "the other one has not ended"
    assert left == [23, 20, 15, 10, 5, 0]
    told = {at: mails.outcomes("large", at) for at in range(23)}
    assert [at for at in told if told[at]] == [7]
    assert (rows.tally("other"), len(mails.outcomes("other", 22))) == ({"waiting": 23}, 1)


BODY, PAGE = "What is new. " * 400, "<p>What is new.</p>" * 400
LONG = st.sampled_from([BODY, PAGE, BODY.lower(), "b" * 256, "b" * 255])
ARGUMENTS = st.dictionaries(
    st.sampled_from("abcd"), LONG | st.none() | st.booleans() | st.integers(0, 1) | st.text(), max_size=4
)


def letters(count: int) -> list[dict[str, str]]:
    return [{"to_email": f"reader{number}@example.com", "body": BODY, "html_body": PAGE} for number in range(count)]


def characters(database: Database, parent_id: str) -> int:
    kept = func.sum(func.length(members.c.arguments)).filter(members.c.task_id == parent_id)
    return database.read(lambda c: c.execute(select(kept)).scalar_one())


@pytest.mark.parametrize("before", [False, True])
def test_a_text_that_all_members_have_is_kept_once(database, few_rows, before):
    rows, items = MemberRecords(database), letters(23)
    if before:
        rows.write_before("large", items)
    Parents(database).open(parent_of(23), items, [])

    assert characters(database, "large") < len(BODY + PAGE) + 23 * 60
    assert [member.arguments for member in rows.waiting("large", 0, 100)] == items


def test_members_that_are_one_and_the_same_object_keep_its_text_once(database):
    rows, one = MemberRecords(database), {"text": BODY}
    Parents(database).open(parent_of(23), [one] * 23, [])

    assert characters(database, "large") < len(BODY) + 23 * 60
    assert [member.arguments for member in rows.waiting("large", 0, 100)] == [one] * 23


def test_every_reader_of_members_gets_the_texts_that_are_kept_once(database):
    rows, items = MemberRecords(database), letters(3)
    Parents(database).open(parent_of(3), items, [])
    rows.close_all("large", [end(1, "refused")])
    DeliveryRecords(database).open("large", {2: {"reader2@example.com": "to"}})
    database.write(
        lambda c: c.execute(update(deliveries).where(deliveries.c.task_id == "large").values(state="unknown"))
    )

    assert [one.arguments for one in rows.waiting("large", 1, 5)] == [items[2]]
    assert [one.arguments for one in rows.waiting_after("large", 0, 5)] == [items[2]]
    assert [one["arguments"] for one in rows.page("large", 0, 5)] == items[1:]
    assert [one["arguments"] for one in rows.outcomes("large", ["refused"], 5)] == [items[1]]
    assert [one["arguments"] for one in rows.in_doubt("large", 5)] == [items[2]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(items=st.lists(ARGUMENTS, min_size=1, max_size=7))
def test_members_are_read_as_they_were_given(database, items):
    rows = MemberRecords(database)
    database.write(lambda c: c.execute(delete(members)))
    database.write(lambda c: insert_members(c, "drawn", items))
    assert [repr(sorted(one.arguments.items())) for one in rows.waiting("drawn", 0, 9)] == [
        repr(sorted(one.items())) for one in items
    ]


def test_members_of_a_parent_that_is_being_removed_are_not_read_without_their_first_one(database):
    rows = MemberRecords(database)
    database.write(lambda c: insert_members(c, "going", letters(3)))
    database.write(lambda c: c.execute(delete(members).where(members.c.position == 0)))
    assert rows.waiting("going", 0, 5) == []
