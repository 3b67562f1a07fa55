"""Contacts, the inbox and digests as rows: nothing is written twice, lost to whoever comes at once, or another's."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, func, select, text, update
from sqlalchemy.orm import Session

from processors.digests import Gathered
from processors.errors import IdempotencyConflict
from records.columns import Now
from records.contacts import ContactRecords
from records.database import Database
from records.digests import Digests, Gathering, digest_entries
from records.identity import identity
from records.inbox import InboxRecords, inbox
from records.members import members
from records.submit_keys import SubmitKeys
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords, columns, task_records
from waiting import until

HOUR = 3_600


@pytest.fixture
def contacts(database: Database) -> ContactRecords:
    return ContactRecords(database)


@pytest.fixture
def items(database: Database) -> InboxRecords:
    return InboxRecords(database)


def test_a_contact_is_changed_in_place_and_deleted_whole(contacts):
    contacts.change("u1", lambda known: {**known, "email": "a@example.com"})
    contacts.change("u1", lambda known: {**known, "phone": "+491"})
    assert contacts.read("u1") == {"email": "a@example.com", "phone": "+491"}
    assert contacts.read("u2") is None
    assert (contacts.delete("u1"), contacts.delete("u1"), contacts.read("u1")) == (True, False, None)


def test_who_changes_one_contact_at_once_loses_nobodys_change(contacts):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: contacts.change("u1", lambda known: {**known, f"k{n}": n}), range(24)))
    assert len(contacts.read("u1")) == 24


def test_a_change_that_fails_leaves_no_new_contact(contacts):
    with pytest.raises(ZeroDivisionError):
        contacts.change("u1", lambda _: 1 / 0)
    assert contacts.read("u1") is None


def test_a_notification_is_written_once_for_its_key_whoever_writes_it_at_once(items):
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: items.write("task-1", "u1", "welcome", "Hi", "There", None), range(16)))
    assert len(ids) == 1
    assert [one.title for one in items.items("u1", 10)] == ["Hi"]


def test_a_reader_finds_the_newest_first_page_by_page_and_no_one_elses(items):
    ids = [items.write(f"t{n}", "u1", "news", f"n{n}", "", None) for n in range(5)]
    items.write("other", "u2", "news", "theirs", "", "https://example.com/a")
    first = items.items("u1", 2)
    assert [one.title for one in first] == ["n4", "n3"]
    assert [one.title for one in items.items("u1", 9, before=first[-1].id)] == ["n2", "n1", "n0"]
    assert items.mark("u2", ids, "read") == 0
    assert items.counts("u1") == (5, 5)
    assert items.items("u2", 9)[0].url == "https://example.com/a"


def test_marks_are_kept_apart_and_the_first_moment_stays(items):
    one, two, three = (items.write(f"t{n}", "u1", "news", f"n{n}", "", None) for n in range(3))
    assert items.mark("u1", [one, two], "seen") == 2
    seen_at = {item.id: item.seen_at for item in items.items("u1", 9)}
    assert (items.counts("u1"), seen_at[three]) == ((1, 3), None)
    items.mark("u1", [one], "read")
    read = {item.id: item for item in items.items("u1", 9)}[one]
    assert read.seen_at == seen_at[one]
    assert read.read_at >= read.seen_at
    assert items.mark("u1", [one], "read") == 1
    assert {item.id: item for item in items.items("u1", 9)}[one].read_at == read.read_at
    assert [item.id for item in items.items("u1", 9, unread_only=True)] == [three, two]
    items.mark("u1", [one], "unread")
    assert items.counts("u1") == (1, 3)
    items.mark("u1", [two], "archived")
    assert [item.id for item in items.items("u1", 9)] == [three, one]
    assert [item.id for item in items.items("u1", 9, archived=True)] == [two]
    assert items.counts("u1") == (1, 2)


def test_old_notifications_are_pruned_and_younger_ones_stay(items, database):
    old, young = (items.write(f"t{n}", "u1", "news", f"n{n}", "", None) for n in range(2))
    database.write(lambda c: c.execute(update(inbox).where(inbox.c.id == old).values(created_at=Now(-91 * 86_400))))
    assert items.prune(90) == 1
    assert [one.id for one in items.items("u1", 9)] == [young]


def gathering(words: str, key: str, name: str = "u1/news", seconds: int = HOUR) -> Gathering:
    def tasks(parent: Draft) -> Sequence[Draft]:
        return [
            Draft(id=f"{parent.id}-0", name="t", category="t", queue="q", parent_id=parent.id, due_at=parent.due_at)
        ]

    return Gathering(name, seconds, key, Gathered(words, ""), [{"channel": "inbox"}], tasks)


def parent(**more) -> Draft:
    return Draft(id="", name="p", category="t", queue="q", is_parent=True, members_total=1, **more)


def texts(database: Database, task_id: str) -> list[str]:
    return [one.title for one in Digests(database).close(task_id)]


def test_what_gathers_in_a_window_is_one_notification_that_is_due_when_the_window_closes(database):
    submits = SubmitKeys(database)
    ids = {submits.gather(parent(), gathering(f"n{n}", f"k{n}")) for n in range(3)}
    (task_id,) = ids
    record = TaskRecords(database).read(f"{task_id}-0")
    assert record.due_at.timestamp() % HOUR == 0
    assert datetime.now(UTC) < record.due_at <= datetime.now(UTC) + timedelta(seconds=HOUR)
    rows = select(func.count()).select_from(members).where(members.c.task_id == task_id)
    assert database.read(lambda c: c.execute(rows).scalar_one()) == 1
    assert texts(database, task_id) == ["n0", "n1", "n2"]
    assert texts(database, task_id) == ["n0", "n1", "n2"], "a part that runs again reads the same"


def test_the_id_of_a_window_cannot_be_reckoned_without_the_database(database):
    submits = SubmitKeys(database)
    first = submits.gather(parent(), gathering("a", "k1", seconds=10**9))
    database.write(lambda connection: connection.execute(update(identity).values(database_id=str(uuid4()))))
    assert submits.gather(parent(), gathering("b", "k2", seconds=10**9)) != first


def test_other_names_and_other_lengths_gather_apart(database):
    submits = SubmitKeys(database)
    ids = {
        submits.gather(parent(), gathering("a", "1")),
        submits.gather(parent(), gathering("b", "2", name="u2/news")),
        submits.gather(parent(), gathering("c", "3", name="u1/news/day", seconds=24 * HOUR)),
    }
    assert len(ids) == 3


def test_what_comes_after_the_close_goes_into_the_next_window(database):
    submits = SubmitKeys(database)
    first = submits.gather(parent(), gathering("a", "1"))
    assert texts(database, first) == ["a"]
    second = submits.gather(parent(), gathering("b", "2"))
    assert second != first
    tasks = TaskRecords(database)
    later = tasks.read(f"{second}-0").due_at - tasks.read(f"{first}-0").due_at
    assert later == timedelta(seconds=HOUR)
    assert (texts(database, first), texts(database, second)) == (["a"], ["b"])


def test_a_window_that_was_cancelled_takes_no_more(database):
    submits = SubmitKeys(database)
    first = submits.gather(parent(), gathering("a", "1"))
    assert TaskMoves(database).revoke(first)
    second = submits.gather(parent(), gathering("b", "2"))
    assert second != first
    assert texts(database, second) == ["b"]


def test_submits_that_race_with_each_other_and_with_the_close_are_each_in_one_digest(database):
    submits, closed, start = SubmitKeys(database), [], threading.Barrier(9)

    def submit(worker: int) -> list[tuple[str, str]]:
        start.wait()
        found = []
        for number in range(6):
            text = f"{worker}-{number}"
            found.append((text, submits.gather(parent(), gathering(text, f"k{text}"))))
        return found

    def close() -> None:
        start.wait()
        windows = select(columns.id).where(columns.is_parent)
        for _ in range(8):
            found = database.read(lambda c: c.execute(windows).scalars().all())
            closed.extend((task_id, texts(database, task_id)) for task_id in found)

    with ThreadPoolExecutor(9) as pool:
        closing = pool.submit(close)
        told = [pair for future in [pool.submit(submit, n) for n in range(8)] for pair in future.result()]
        closing.result()
    windows = sorted({task_id for _, task_id in told})
    sent = {task_id: texts(database, task_id) for task_id in windows}
    assert sorted(text for found in sent.values() for text in found) == sorted(text for text, _ in told)
    assert all(text in sent[task_id] for text, task_id in told), "a submit returns the notification that it is in"
    assert all(found == sent[task_id] for task_id, found in closed if found), "nothing came in after a close"


def test_a_key_gathers_once_and_is_refused_to_other_words(database):
    submits = SubmitKeys(database)
    ids = [submits.gather(parent(idempotency_key="k"), gathering("a", f"s{n}")) for n in range(3)]
    assert len(set(ids)) == 1
    assert texts(database, ids[0]) == ["a"]
    with pytest.raises(IdempotencyConflict):
        submits.gather(parent(idempotency_key="k"), gathering("b", "s9"))
    again = submits.gather(parent(idempotency_key="k"), gathering("a", "s10"))
    assert again == ids[0], "also when its window has closed"
    assert texts(database, ids[0]) == ["a"]


def test_a_submit_that_is_written_again_because_its_commits_answer_was_lost_is_in_it_once(database):
    submits = SubmitKeys(database)
    same = gathering("a", "1")
    first = submits.gather(parent(), same)
    texts(database, first)
    assert submits.gather(parent(), same) == first
    assert texts(database, first) == ["a"]


def test_what_was_gathered_goes_with_the_record(database):
    task_id = SubmitKeys(database).gather(parent(), gathering("a", "1"))
    moves = TaskMoves(database)
    moves.revoke(task_id)
    database.write(
        lambda c: c.execute(update(task_records).where(columns.id == task_id).values(finished_at=Now(-10_000)))
    )
    assert moves.remove([task_id]) == 1
    left = select(func.count()).select_from(digest_entries)
    assert database.read(lambda c: c.execute(left).scalar_one()) == 0


def test_what_a_callers_transaction_adds_is_in_the_digest_once_it_is_committed(database):
    engine = create_engine(database.url)
    submits = SubmitKeys(database)
    with Session(engine) as session:
        submits.gather(parent(idempotency_key="k"), gathering("undone", "1"), session)
        session.rollback()
    with Session(engine) as session:
        first = submits.gather(parent(idempotency_key="k"), gathering("a", "2"), session)
        assert submits.gather(parent(idempotency_key="k"), gathering("a", "3"), session) == first
        assert submits.gather(parent(), gathering("b", "4"), session) == first
        session.commit()
    engine.dispose()
    assert texts(database, first) == ["a", "b"]


def test_a_close_waits_for_who_is_adding(database):
    if database.is_sqlite:
        pytest.skip("who adds holds the whole database")
    engine, submits = create_engine(database.url), SubmitKeys(database)
    first = submits.gather(parent(), gathering("a", "1"))
    with ThreadPoolExecutor(1) as pool:
        with Session(engine) as session:
            assert submits.gather(parent(), gathering("b", "2"), session) == first
            closing = pool.submit(texts, database, first)
            waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            until(lambda: database.read(lambda c: c.execute(waits).scalar()), what="the close waits")
            session.commit()
        assert closing.result() == ["a", "b"]
    engine.dispose()
