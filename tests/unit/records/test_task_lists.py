"""Lists of tasks: every page is what the records are, whatever lies beside them."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event, select, text, update

from records import schema, task_following, upgrading
from records import task_lists as task_lists_module
from records import task_words_postgresql as by_postgresql
from records.columns import Now, metadata
from records.database import Database
from records.task_following import TaskFollowing
from records.task_list_rows import task_list_marks, task_lists
from records.task_lists import AT_WORK, FAILING, FINALS, Place, TaskLists, Wanted
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskRecords, columns, insert_drafts, task_records, to_record
from records.task_words import plain, text_of, words_of
from waiting import until

NAMES, QUEUES, TENANTS, TAGS = ("email.send", "ai.ask"), ("email", "ai"), (None, "a", "b"), ("x", 'y"%_,', ",")
SETTLED = {"sqlite": 0.002, "postgresql": 0.0}
"""No test has the time to wait until what it wrote is settled for sure; SQLite's clock tells milliseconds."""

WORDS = ("alpha", "Ünder", "o'neill@example.com", "100%")


def shown(_name, args):
    return args


def follow(database, limit=100):
    """Let the lists catch up with the records."""
    following = TaskFollowing(database)
    while following.created(limit) or following.ended(limit) or following.fill(limit) or following.words(limit, shown):
        pass


def everything(database):
    query = select(task_records).order_by(columns.created_at.desc(), columns.id.desc())
    return [to_record(row) for row in database.read(lambda c: c.execute(query).mappings().all())]


def fits(record, wanted):
    """Tell what the documentation of `Wanted` says, in Python."""
    between = (
        (wanted.created_from is None or record.created_at >= wanted.created_from)
        and (wanted.created_before is None or record.created_at < wanted.created_before)
        and (wanted.finished_from is None or (record.finished_at and record.finished_at >= wanted.finished_from))
        and (wanted.finished_before is None or (record.finished_at and record.finished_at < wanted.finished_before))
    )
    plainly = {"category": "category", "name": "name", "queue": "queue", "tenant": "tenant", "parent": "parent_id"}
    equal = all(getattr(wanted, a) in (None, getattr(record, b)) for a, b in plainly.items())
    worker = wanted.worker is None or (record.worker == wanted.worker and record.state in AT_WORK)
    error = wanted.error_type is None or (record.error_type == wanted.error_type and record.state in FAILING)
    like = wanted.fingerprint is None or (record.error_fingerprint == wanted.fingerprint and record.state in FAILING)
    row = {name: getattr(record, name) for name in ("name", "args", "kwargs", "result", "error", "error_type")}
    kept = text_of(row, shown)
    texts = set(wanted.words) <= set(words_of(kept)) and (wanted.part or "") in kept
    states = wanted.states is None or record.state in wanted.states
    return bool(
        between and equal and worker and error and like and texts and states
        and set(wanted.tags) <= set(record.tags or ())
    )  # fmt: skip


def pages(database, wanted, limit, between=lambda: None):
    """Return the ids of all pages, one after the other."""
    lists, found, after = TaskLists(database), [], None
    while True:
        page = lists.page(wanted, limit, after)
        found += [row["id"] for row in page]
        if len(page) < limit:
            return found
        after = Place(page[-1]["created_at"], page[-1]["id"])
        between()


@st.composite
def filters(draw):
    def maybe(*values):
        return draw(st.sampled_from([None, None, None, *values]))

    states = maybe("PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED", "some")
    some = frozenset(["PENDING", "FAILURE", "SUCCESS"]) if states == "some" else frozenset([states])
    return Wanted(
        states=None if states is None else some,
        category=maybe("email", "ai"),
        name=maybe(*NAMES),
        queue=maybe(*QUEUES),
        tenant=maybe("a", "b"),
        tags=draw(st.sampled_from([(), (), (), TAGS[:1], TAGS[1:2], TAGS[:2], TAGS[2:]])),
        worker=maybe("w1@h", "w2@h"),
        parent=maybe("p"),
        error_type=maybe("ValueError", "OSError"),
        fingerprint=maybe("f1"),
    )


ACTS = st.one_of(
    st.tuples(
        st.just("open"), st.sampled_from(NAMES), st.sampled_from(QUEUES), st.sampled_from(TENANTS),
        st.lists(st.sampled_from(TAGS), unique=True), st.sampled_from((None, "p")), st.integers(1, 6),
        st.sampled_from(WORDS),
    ),
    st.tuples(st.sampled_from(["start", "succeed", "fail", "retry", "revoke", "remove"]), st.integers(0, 30)),
    st.tuples(st.sampled_from(["created", "ended", "fill", "words"]), st.integers(1, 5)),
    st.tuples(st.just("compare")),
)  # fmt: skip


class History:
    """Lets things happen."""

    def __init__(self, database):
        self.database, self.ids, self.runs = database, [], {}
        self.tasks, self.moves, self.following = TaskRecords(database), TaskMoves(database), TaskFollowing(database)

    def do(self, act, *given):
        getattr(self, act)(*given)

    def open(self, name, queue, tenant, tags, parent, count, word):
        ids = [f"t{len(self.ids) + number:03}" for number in range(count)]
        drafts = [
            Draft(
                i, name, name.partition(".")[0], queue, tenant=tenant, tags=tags, parent_id=parent, kwargs={"w": word}
            )
            for i in ids
        ]
        self.tasks.open_many(self.tasks.opening(drafts))
        self.ids += ids

    def of(self, number):
        return self.ids[number % len(self.ids)] if self.ids else "none"

    def start(self, number):
        record = self.tasks.read(self.of(number))
        if record:
            run = self.moves.start(record.id, record.attempt, "w", f"w{number % 2 + 1}@h", None)
            self.runs |= {record.id: run.run} if run else {}

    def succeed(self, number):
        self.moves.succeed(self.of(number), self.runs.get(self.of(number), 0), {"r": f"result{number}"})

    def failure(self, number):
        return Failure(f"broke {number}", ("ValueError", "OSError")[number % 2], fingerprint=f"f{number % 3}")

    def fail(self, number):
        self.moves.fail(self.of(number), self.runs.get(self.of(number), 0), self.failure(number))

    def retry(self, number):
        self.moves.try_again(self.of(number), self.runs.get(self.of(number), 0), 0, self.failure(number))

    def revoke(self, number):
        self.moves.revoke(self.of(number))

    def remove(self, number):
        self.moves.remove([self.of(number)])

    def created(self, limit):
        self.following.created(limit)

    def ended(self, limit):
        self.following.ended(limit)

    def fill(self, limit):
        self.following.fill(limit)

    def words(self, limit):
        self.following.words(limit, shown)

    def compare(self):
        self.following.compare(None, 100)


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_pages_of_any_filter_are_what_a_naive_filter_finds(shared_database, data, monkeypatch):
    database = emptied(shared_database)
    with monkeypatch.context() as patch:
        patch.setattr(task_following, "SETTLED_SECONDS", SETTLED)
        few = data.draw(st.sampled_from([1, 3, 1_000]))
        for module, name in ((task_lists_module, "FEW"), (task_lists_module, "FEW_ENDS"), (by_postgresql, "FEW")):
            patch.setattr(module, name, few)
        patch.setattr(by_postgresql, "WINDOW", few)
        history = History(database)
        for act in data.draw(st.lists(ACTS, max_size=25)):
            history.do(*act)
        records = everything(database)
        moments = [record.created_at for record in records] + [r.finished_at for r in records if r.finished_at]
        for _ in range(6):
            wanted = data.draw(filters())
            for name in ("created_from", "created_before", "finished_from", "finished_before"):
                if moments and data.draw(st.integers(0, 4)) == 0:
                    wanted = replace(wanted, **{name: data.draw(st.sampled_from(moments))})
            limit = data.draw(st.integers(1, 7))
            assert pages(database, wanted, limit) == [r.id for r in records if fits(r, wanted)]
        follow(database, 3)
        for word in WORDS:
            wanted = replace(data.draw(filters()), words=tuple(words_of(word)))
            assert pages(database, wanted, 2) == [r.id for r in records if fits(r, wanted)]
            wanted = replace(data.draw(filters()), part=plain(word[1:-1]))
            assert pages(database, wanted, 2) == [r.id for r in records if fits(r, wanted)]


def emptied(database):
    def work(c):
        for table in metadata.sorted_tables:
            c.execute(delete(table))
        c.execute(text("DELETE FROM task_words"))

    database.write(work)
    return database


@pytest.fixture
def at_once(monkeypatch):
    """Let what was just written be settled."""
    monkeypatch.setattr(task_following, "SETTLED_SECONDS", SETTLED)


@pytest.fixture
def history(shared_database):
    return History(emptied(shared_database))


def some_past(history):
    """Let tasks be opened, run and ended, some of them before anything is listed."""
    for number in range(4):
        history.open(NAMES[number % 2], QUEUES[number % 2], TENANTS[number % 3], TAGS[:2], "p", 3, WORDS[number])
        history.start(number * 3)
        (history.succeed, history.fail)[number % 2](number * 3)
        if number == 1:
            follow(history.database)


SOME = [
    Wanted(name=NAMES[0]), Wanted(states=FINALS), Wanted(states=FINALS, queue="ai"), Wanted(tags=TAGS[:1], tenant="a"),
    Wanted(worker="w1@h"), Wanted(error_type="OSError"), Wanted(parent="p", states=frozenset(["PENDING"])),
]  # fmt: skip


def check(history):
    records = everything(history.database)
    for wanted in SOME:
        assert pages(history.database, wanted, 2) == [r.id for r in records if fits(r, wanted)], wanted


class Killed(Exception):
    pass


def test_a_follower_that_is_killed_at_any_statement_leaves_lists_that_are_right_and_goes_on(history, at_once):
    some_past(history)
    left = [0]

    def kill(_connection, _cursor, statement, *_):
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed(statement)

    kills = 0
    event.listen(Engine, "before_cursor_execute", kill)
    try:
        for number in range(1, 60):
            left[0] = number
            try:
                follow(history.database, 2)
            except Killed:
                kills += 1
            left[0] = None
            check(history)
    finally:
        event.remove(Engine, "before_cursor_execute", kill)
    follow(history.database)
    assert kills > 10
    listed = history.database.read(lambda c: c.execute(select(task_lists.c.id)).scalars().all())
    assert sorted(listed) == sorted(history.ids)
    assert pages(history.database, Wanted(words=("alpha",)), 2) == ["t002", "t001", "t000"]


def test_two_who_follow_at_once_list_each_task_once(history, at_once):
    some_past(history)
    one, other = TaskFollowing(history.database), TaskFollowing(history.database)
    write = one._write
    one._write = lambda work: (follow(history.database), write(work))
    assert other is not one
    for look in (lambda: one.created(2), lambda: one.ended(2), lambda: one.fill(2), lambda: one.words(2, shown)):
        history.open(NAMES[0], "email", None, [], None, 2, "alpha")
        look()
    follow(history.database)
    check(history)


def test_pages_that_are_read_while_tasks_change_show_none_twice_and_none_that_stays_never(history, at_once):
    some_past(history)
    before = {r.id for r in everything(history.database)}
    numbers = iter(range(100))

    def change():
        number = next(numbers)
        history.open(NAMES[0], "email", "a", TAGS[:1], None, 1, "new")
        history.start(number)
        history.succeed(number)
        follow(history.database, 1 + number % 3)

    found = pages(history.database, Wanted(parent="p"), 2, change)
    assert len(found) == len(set(found))
    assert set(found) == before


def test_what_no_look_saw_is_found_by_the_comparison_and_what_is_gone_goes(history, at_once):
    some_past(history)
    follow(history.database)
    gone = history.ids[0]
    history.database.write(lambda c: c.execute(text("DELETE FROM task_lists WHERE id = :id"), {"id": history.ids[5]}))
    history.database.write(lambda c: c.execute(text("UPDATE task_lists SET state = 0 WHERE state = 1")))
    history.database.write(lambda c: c.execute(text("DELETE FROM task_records WHERE id = :id"), {"id": gone}))
    following, place = TaskFollowing(history.database), None
    for _ in range(20):
        place = following.compare(place, 2)
        if place is None:
            break
    check(history)
    listed = history.database.read(lambda c: c.execute(select(task_lists.c.id)).scalars().all())
    assert sorted(listed) == sorted(history.ids[1:])


def test_what_is_removed_leaves_nothing_beside_the_records(history, at_once):
    some_past(history)
    follow(history.database)
    for state in ("SUCCESS", "FAILURE"):
        history.moves.remove([r.id for r in everything(history.database) if r.state == state])
    left = {r.id for r in everything(history.database)}
    assert set(history.database.read(lambda c: c.execute(select(task_lists.c.id)).scalars().all())) == left
    number = "rowid" if history.database.is_sqlite else "number"
    words = f"SELECT count(*) FROM task_words WHERE {number} NOT IN (SELECT number FROM task_lists)"
    assert history.database.read(lambda c: c.execute(text(words)).scalar_one()) == 0


def test_many_tasks_of_one_moment_are_each_on_one_page(history, at_once):
    history.open(NAMES[0], "email", None, [], None, 300, "alpha")
    history.database.write(
        lambda c: c.execute(
            update(task_records).values(created_at=select(columns.created_at).limit(1).scalar_subquery())
        )
    )
    follow(history.database)
    found = pages(history.database, Wanted(name=NAMES[0]), 7)
    assert found == sorted(history.ids, reverse=True)


PLANNED = [*SOME, Wanted(), Wanted(states=frozenset(["PENDING", "RETRY"])), Wanted(category="ai", queue="ai"),
           Wanted(fingerprint="f1"), Wanted(words=("alpha",)), Wanted(part="alph"),
           Wanted(words=("alpha",), tenant="a")]  # fmt: skip


@pytest.mark.parametrize(("ended", "few"), [(False, 1_000), (True, 1_000), (False, 1), (True, 1)])
def test_no_look_for_a_page_reads_all_records_or_all_rows(history, at_once, ended, few, monkeypatch):
    monkeypatch.setattr(task_lists_module, "FEW", few)
    monkeypatch.setattr(task_lists_module, "FEW_ENDS", few)
    some_past(history)
    follow(history.database)
    moment = everything(history.database)[0].created_at
    said = []

    def note(_connection, _cursor, statement, parameters, *_):
        said.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for wanted in PLANNED:
            given = replace(wanted, finished_from=moment) if ended and not wanted.texts else wanted
            TaskLists(history.database).page(given, 2)
            TaskLists(history.database).page(given, 2, Place(moment, "t"))
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    with history.database.engine().connect() as connection:
        if history.database.is_sqlite:
            bad = [
                (row[3], statement)
                for statement, values in said
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                if row[3] in ("SCAN task_records", "SCAN task_lists", "SCAN task_list_tags")
                and "SELECT min(" not in statement  # where the newest 100 000 begin
            ]
        else:
            connection.exec_driver_sql("SET enable_seqscan = off")
            bad = [
                (step, statement)
                for statement, values in said
                if statement.lstrip().startswith(("SELECT", "WITH"))
                for step in connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars()
                if "Seq Scan on task_records" in step or "Seq Scan on task_list" in step
            ]
        connection.rollback()
    assert len(said) > 40
    assert bad == []


def test_a_text_is_kept_short_and_with_room_for_its_result():
    row = {"name": "n", "error": None, "error_type": None, "args": [], "kwargs": {"a": "x " * 50_000}, "result": "end"}
    kept = text_of(row, shown)
    assert len(kept.encode()) <= 20_000
    assert kept.endswith("end")
    assert len(text_of(row | {"kwargs": {"a": "é€" * 50_000}}, shown).encode()) <= 20_000
    assert words_of("Ünder O'Neill_x 12%") == ["under", "o", "neill", "x", "12"]
    assert text_of(row | {"kwargs": {"password": "planted", "a": "b\0\ud800c"}}, shown).split() == [
        "n",
        "b",
        "c",
        "end",
    ]


def listed_ids(database):
    return set(database.read(lambda c: c.execute(select(task_lists.c.id)).scalars().all()))


@pytest.mark.parametrize("shared_database", ["postgresql"], indirect=True)
def test_what_postgresql_commits_late_is_on_its_page_and_is_listed(history, at_once):
    some_past(history)
    follow(history.database)
    with history.database.engine().connect() as connection:
        insert_drafts(connection, [Draft("late", NAMES[0], "email", "email")])
        history.open(NAMES[0], "email", None, [], None, 3, "alpha")
        follow(history.database)
        check(history)
        connection.commit()
    check(history)
    follow(history.database)
    assert listed_ids(history.database) == {*history.ids, "late"}


@pytest.mark.parametrize("shared_database", ["sqlite"], indirect=True)
def test_what_sqlite_commits_between_a_look_and_its_writing_is_on_its_page_and_is_listed(history, at_once):
    some_past(history)
    follow(history.database)
    history.open(NAMES[0], "email", None, [], None, 1, "alpha")
    [earlier] = [r.created_at for r in everything(history.database) if r.id == history.ids[-1]]
    history.open(NAMES[0], "email", None, [], None, 2, "alpha")
    until(lambda: _now(history.database) > earlier + timedelta(milliseconds=20), what="it is settled")
    following = TaskFollowing(history.database)
    write = following._write

    def late(work):
        history.open(NAMES[0], "email", None, [], None, 1, "late")
        moved = update(task_records).where(columns.id == history.ids[-1]).values(created_at=earlier)
        history.database.write(lambda c: c.execute(moved))
        write(work)

    following._write = late
    following.created(100)
    assert history.ids[-1] not in listed_ids(history.database)
    check(history)
    follow(history.database)
    assert listed_ids(history.database) == set(history.ids)


def _now(database):
    return database.read(lambda c: c.execute(select(Now())).scalar_one())


def test_a_full_database_that_is_upgraded_is_listed_bit_by_bit_and_its_pages_are_right_all_the_while(
    database_url, at_once
):
    database = Database(database_url)
    upgrading.upgrade(database, "0025")
    before = History(database)
    before.tasks.open_many(before.tasks.opening([Draft(f"t{n:02}", NAMES[n % 2], "x", "email") for n in range(12)]))
    before.ids = [f"t{n:02}" for n in range(12)]
    assert schema.upgrade(database) == "0025"
    check(before)
    following = TaskFollowing(database)
    assert following.created(5) == 1
    turns = 0
    while following.fill(5):
        turns += 1
        check(before)
    assert turns > 1
    follow(database)
    assert listed_ids(database) == set(before.ids)
    assert pages(database, Wanted(words=("send",)), 5) == [f"t{n:02}" for n in range(10, -1, -2)]
    database.close()


def test_filters_that_meet_nowhere_or_seldom_are_read_side_by_side(history, at_once, monkeypatch):
    monkeypatch.setattr(task_lists_module, "FEW", 1)
    some_past(history)
    for tags in (TAGS[:1], TAGS[1:2], TAGS[:2], TAGS[:1]):
        history.open(NAMES[0], "email", "b", tags, "p", 2, "alpha")
    follow(history.database)
    records = everything(history.database)
    for wanted in (
        Wanted(tags=TAGS[:2]),
        Wanted(tags=TAGS[:2], name=NAMES[0]),
        Wanted(name=NAMES[0], category="ai"),
        Wanted(name=NAMES[0], queue="email", tenant="b", states=frozenset(["PENDING", "SUCCESS", "FAILURE"])),
    ):
        assert pages(history.database, wanted, 2) == [r.id for r in records if fits(r, wanted)]


def test_what_took_long_is_found_by_its_end_among_many(history, at_once, monkeypatch):
    monkeypatch.setattr(task_lists_module, "FEW_ENDS", 1)
    for number in range(4):
        history.open(NAMES[number % 2], "email", None, TAGS[:1], "p", 2, "alpha")
        for one in (number * 2, number * 2 + 1):
            history.start(one)
            history.succeed(one)
    late = [r.id for r in everything(history.database) if r.finished_at][::2]
    ends = {"finished_at": Now(7_200)}
    history.database.write(lambda c: c.execute(update(task_records).where(columns.id.in_(late)).values(ends)))
    follow(history.database)
    history.database.write(lambda c: c.execute(update(task_list_marks).values(ended_to=Now(10_000))))
    records = everything(history.database)
    begun = min(r.finished_at for r in records if r.id in late)
    for first in (begun, begun - timedelta(hours=3)):
        for other in ({}, {"name": NAMES[0]}, {"tags": TAGS[:1]}, {"parent": "p", "states": frozenset(["SUCCESS"])}):
            wanted = Wanted(finished_from=first, finished_before=begun + timedelta(hours=1), **other)
            found = pages(history.database, wanted, 1)
            assert found == [r.id for r in records if fits(r, wanted)]
            assert found
