"""Ends become tasks that tell them, each once for each endpoint, whatever ends, dies or comes late meanwhile."""

import threading
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event, select, update

from processors.webhooks import CATEGORY, TASK, Ended, wants, webhook_id
from records import webhook_following
from records.audit import Act, audit
from records.columns import Now
from records.leadership import Lead
from records.task_following import LeadLost
from records.task_moves import Failure, TaskMoves, ended
from records.task_records import Draft, TaskRecords, TaskState, columns, task_records
from records.webhook_bodies import WebhookBodies
from records.webhook_endpoints import FAILED_WHY, MOST, WebhookEndpoints, webhook_endpoints
from records.webhook_following import WebhookFollowing

ACT = Act("user", "ann", "webhook.add", "cli", "webhook", "w", 1)
LAST = {"sqlite": 0.0, "postgresql": 0.0}


def draft_of(endpoint_id: str, ended: Ended) -> Draft:
    arguments = {"endpoint_id": endpoint_id, "task_id": ended.id, "run": ended.run}
    return Draft(webhook_id(endpoint_id, ended.id, ended.run), TASK, CATEGORY, "default", kwargs=arguments)


def endpoint(database, endpoint_id: str = "w1", **wanted) -> str:
    values = {
        "id": endpoint_id, "url": f"https://{endpoint_id}.example.com/", "secret": "whsec_",
        "states": ["SUCCESS", "FAILURE", "REVOKED"], "category": None, "name": None, "tenant": None,
    }  # fmt: skip
    WebhookEndpoints(database).add(values | wanted, ACT)
    return endpoint_id


def follow(database, limit: int = 100, following: WebhookFollowing | None = None) -> None:
    following = following or WebhookFollowing(database, draft_of)
    while following.turn(limit):
        pass


def told(database) -> list[tuple[str, str]]:
    query = select(columns.kwargs).where(columns.category == CATEGORY)
    found = database.read(lambda c: c.execute(query).scalars().all())
    return sorted((one["endpoint_id"], one["task_id"]) for one in found)


def age(database, task_id: str) -> None:
    """Let a task have ended a second earlier."""
    database.write(lambda c: c.execute(update(task_records).where(columns.id == task_id).values(finished_at=Now(-1))))


class History:
    """Lets tasks end."""

    def __init__(self, database):
        self.database, self.ids = database, []
        self.tasks, self.moves = TaskRecords(database), TaskMoves(database)

    def end(self, state="SUCCESS", name="email.send", tenant=None, parent=None, count=1):
        ids = [f"t{len(self.ids) + number:04}" for number in range(count)]
        category = name.partition(".")[0]
        self.tasks.open_many(
            self.tasks.opening([Draft(i, name, category, "q", tenant=tenant, parent_id=parent) for i in ids])
        )
        for one in ids:
            if state == "REVOKED":
                self.moves.revoke(one)
                continue
            run = self.moves.start(one, 0, "w", "w@h", None).run
            if state == "SUCCESS":
                self.moves.succeed(one, run, {})
            elif state == "FAILURE":
                self.moves.fail(one, run, Failure("broke", "ValueError"))
        self.ids += ids
        return ids

    def wanted(self, endpoints):
        """What is to be told: by the documentation of `wants`, of all that has ended."""
        some = (
            columns.id,
            columns.run,
            columns.state,
            columns.category,
            columns.name,
            columns.tenant,
            columns.parent_id,
        )
        query = select(*some).where(columns.finished_at.is_not(None), columns.id.in_(self.ids))
        rows = [Ended(*row) for row in self.database.read(lambda c: c.execute(query).all())]
        return sorted((one.id, row.id) for one in endpoints for row in rows if wants(one.wanted, row))


@pytest.fixture
def database(emptied_database):
    return emptied_database


@pytest.fixture
def history(database):
    return History(database)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Let nothing be looked at again because it may have come late: what does is found without that."""
    monkeypatch.setattr(webhook_following, "OVERLAP_SECONDS", LAST)


# --- Who is told ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["email SUCCESS", "email FAILURE", "email REVOKED", "email of a"]),
        ({"states": ["FAILURE"]}, ["email FAILURE"]),
        ({"tenant": "a"}, ["email of a"]),
        ({"category": "email"}, ["email SUCCESS", "email FAILURE", "email REVOKED", "email of a", "part"]),
        ({"category": "cleanup"}, ["cleanup"]),
        ({"name": "monitoring.look"}, ["monitoring"]),
        ({"category": "email", "name": "cleanup.old"}, []),
        ({"name": TASK}, []),
        ({"category": "webhook"}, []),
    ],
)
def test_who_is_told_of_what(database, history, wanted, expected):
    endpoint(database, **wanted)
    ids = {
        "email SUCCESS": history.end(), "email FAILURE": history.end("FAILURE"),
        "email REVOKED": history.end("REVOKED"), "email of a": history.end(tenant="a"),
        "part": history.end(parent="p"), "cleanup": history.end(name="cleanup.old"),
        "monitoring": history.end(name="monitoring.look"), "waiting": history.end("PENDING"),
    }  # fmt: skip
    follow(database)
    assert told(database) == sorted(("w1", ids[one][0]) for one in expected)
    database.write(lambda c: c.execute(update(task_records).where(columns.category == CATEGORY).values(_success())))
    before = told(database)
    follow(database)
    assert told(database) == before  # of what tells nobody is told


def _success():
    return ended(TaskState.SUCCESS)


def test_a_new_endpoint_is_told_of_what_ends_from_then_on_and_a_disabled_one_of_nothing(database, history):
    before = history.end()
    endpoint(database)
    age(database, before[0])  # SQLite's clock counts milliseconds
    then = history.end()
    follow(database)
    assert told(database) == [("w1", then[0])]
    endpoints = WebhookEndpoints(database)
    assert endpoints.disable("w1", "why")
    assert not endpoints.disable("w1", "again")
    missed = history.end()
    follow(database)
    age(database, missed[0])
    changed = endpoints.change("w1", {}, ACT, enabled=True)
    assert (changed.disabled_at, changed.disabled_why, changed.failing_since) == (None, None, None)
    after = history.end()
    follow(database)
    assert told(database) == [("w1", then[0]), ("w1", after[0])]


def test_to_enable_one_that_is_enabled_skips_nothing(database, history):
    endpoint(database)
    ids = history.end()
    WebhookEndpoints(database).change("w1", {}, ACT, enabled=True)
    follow(database)
    assert told(database) == [("w1", ids[0])]


def test_an_endpoint_that_comes_while_others_are_looked_for_misses_nothing(database, history):
    endpoint(database)
    history.end(count=6)
    following = WebhookFollowing(database, draft_of)
    assert following.turn(2)
    endpoint(database, "w2")
    late = history.end(count=2)
    follow(database, 2, following)
    assert [one for one in told(database) if one[0] == "w2"] == [("w2", one) for one in late]
    assert len([one for one in told(database) if one[0] == "w1"]) == 8


# --- Once, whatever happens -------------------------------------------------------------------------------------

ACTS = st.one_of(
    st.tuples(
        st.just("end"), st.sampled_from(["SUCCESS", "FAILURE", "REVOKED", "PENDING"]),
        st.sampled_from(["email.send", "cleanup.old", TASK]), st.sampled_from([None, "a"]),
        st.sampled_from([None, "p"]), st.integers(1, 4),
    ),
    st.tuples(st.just("look"), st.integers(1, 5)),
    st.tuples(st.just("die"), st.integers(1, 5), st.integers(0, 12)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("begin late")),
    st.tuples(st.just("commit late")),
)  # fmt: skip


class Killed(Exception):
    pass


class Kill:
    """Ends whoever does so many statements more."""

    left: int | None = None

    def __call__(self, _connection, _cursor, statement, *_):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed(statement)


@pytest.fixture
def kill():
    one = Kill()
    event.listen(Engine, "before_cursor_execute", one)
    yield one
    event.remove(Engine, "before_cursor_execute", one)


def died(following, limit, kill, statements) -> bool:
    kill.left = statements
    try:
        following.turn(limit)
    except Killed:
        return True
    finally:
        kill.left = None
    return False


class Late:
    """A transaction that ends a task and is committed much later; only PostgreSQL lets others write meanwhile."""

    def __init__(self, history):
        self.history, self.open = history, []

    def begin(self):
        if self.history.database.is_sqlite or self.open:  # the pool has few connections
            return
        [task_id] = self.history.end("PENDING")
        connection = self.history.database.engine().connect()
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.execute(update(task_records).where(columns.id == task_id).values(_success()))
        self.open.append(connection)

    def commit(self):
        for connection in self.open:
            connection.commit()
            connection.close()
        self.open = []


@given(acts=st.lists(ACTS, max_size=20), limit=st.integers(1, 5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_over_any_history_every_end_that_is_wanted_becomes_one_task(shared_database, kill, acts, limit):
    database = shared_database
    database.write(lambda c: [c.execute(delete(table)) for table in (task_records, webhook_endpoints)])
    history, following = History(database), WebhookFollowing(database, draft_of)
    late = Late(history)
    endpoint(database)
    endpoint(database, "w2", states=["FAILURE"], category="email")
    endpoint(database, "w3", tenant="a")
    try:
        for act, *given_ in acts:
            if act == "end":
                state, name, tenant, parent, count = given_
                history.end(state, name, tenant, parent, count)
            elif act == "look":
                following.turn(given_[0])
            elif act == "die":
                died(following, given_[0], kill, given_[1])
            elif act == "restart":
                following = WebhookFollowing(database, draft_of)
            elif act == "begin late":
                late.begin()
            else:
                late.commit()
    finally:
        kill.left = None
        late.commit()
    follow(database, limit, following)
    follow(database, limit, following)  # the pass before may have begun before something was committed late
    assert told(database) == history.wanted(WebhookEndpoints(database).listed())


def test_one_that_is_killed_at_any_statement_goes_on_and_nothing_is_told_twice_or_never(database, history, kill):
    endpoint(database)
    endpoint(database, "w2", states=["FAILURE"])
    kills = 0
    for number in range(12):
        history.end("FAILURE" if number % 2 else "SUCCESS", count=3)
        kills += died(WebhookFollowing(database, draft_of), 2, kill, number)
        assert set(told(database)) <= set(history.wanted(WebhookEndpoints(database).listed()))
    follow(database, 2)
    assert kills >= 4
    assert told(database) == history.wanted(WebhookEndpoints(database).listed())


@pytest.mark.parametrize("shared_database", ["postgresql"], indirect=True)
def test_what_is_committed_long_after_it_ended_is_told_all_the_same(database, history):
    endpoint(database)
    late, following = Late(history), WebhookFollowing(database, draft_of)
    late.begin()
    soon = history.end(count=3)
    follow(database, 2, following)
    follow(database, 2, following)
    assert [one for _, one in told(database)] == soon
    late.commit()
    follow(database, 2, following)
    assert len(told(database)) == 4


@pytest.mark.parametrize("shared_database", ["postgresql"], indirect=True)
def test_a_strangers_endless_transaction_does_not_keep_all_that_ended_since_from_being_done_with(
    database, history, monkeypatch
):
    endpoint(database)
    late = Late(history)
    late.begin()
    history.end(count=3)
    began = _now(database)
    monkeypatch.setattr(webhook_following, "LONGEST_TRANSACTION_SECONDS", 0)
    try:
        follow(database)
        assert WebhookEndpoints(database).read("w1").seen_to > began
    finally:
        late.commit()


def test_others_write_while_tasks_are_made_of_ends(database, history):
    endpoint(database)
    history.end(count=3)
    written = []

    def slow_draft_of(endpoint_id, ended_):
        other = threading.Thread(target=lambda: written.append(history.end("FAILURE", parent="p")), daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive()
        return draft_of(endpoint_id, ended_)

    assert not WebhookFollowing(database, slow_draft_of).turn(10)
    assert (len(told(database)), len(written)) == (3, 3)


def test_a_turn_opens_no_more_than_are_written_in_moments(database, history):
    for number in range(4):
        endpoint(database, f"w{number}")
    history.end(count=60)
    following = WebhookFollowing(database, draft_of)
    assert following.turn(200)
    assert len(told(database)) == 52
    follow(database, 200, following)
    assert len(told(database)) == 240


def test_many_ends_of_one_moment_are_told_a_page_at_a_time(database, history):
    endpoint(database)
    ids = history.end("PENDING", count=500)
    history.moves.revoke_all()
    one_moment = select(columns.finished_at).limit(1).scalar_subquery()
    database.write(lambda c: c.execute(update(task_records).values(finished_at=one_moment)))
    follow(database, 7)
    assert told(database) == [("w1", one) for one in ids]


def test_what_ended_while_nobody_led_for_two_days_is_told_the_oldest_first(database, history):
    endpoint(database)
    ids = history.end(count=4)
    past = update(webhook_endpoints).values(seen_to=Now(-2 * 86_400))
    database.write(lambda c: c.execute(past))
    for hours, one in enumerate(ids):
        moved = update(task_records).where(columns.id == one).values(finished_at=Now(-3600 * (40 - hours)))
        database.write(lambda c, moved=moved: c.execute(moved))
    assert WebhookFollowing(database, draft_of).turn(2)
    assert told(database) == [("w1", one) for one in ids[:2]]
    follow(database, 2)
    assert told(database) == [("w1", one) for one in ids]


def test_a_clock_that_was_set_back_hides_nothing_that_ends_from_then_on(database, history):
    endpoint(database)
    ahead = update(webhook_endpoints).values(seen_to=Now(3600))
    database.write(lambda c: c.execute(ahead))
    following = WebhookFollowing(database, draft_of)
    follow(database, 100, following)
    assert WebhookEndpoints(database).read("w1").seen_to < _now(database) + timedelta(seconds=1)
    ids = history.end()
    follow(database, 100, following)
    assert told(database) == [("w1", ids[0])]


def _now(database):
    return database.read(lambda c: c.execute(select(Now())).scalar_one())


def test_who_leads_no_more_tells_nothing_and_moves_nothing(database, history):
    endpoint(database)
    history.end()
    before = WebhookEndpoints(database).read("w1")
    with pytest.raises(LeadLost):
        WebhookFollowing(database, draft_of).turn(10, Lead("nobody", 1))
    assert (told(database), WebhookEndpoints(database).read("w1")) == ([], before)


def test_without_an_endpoint_a_look_is_one_statement(database, history):
    history.end(count=3)
    said = []

    def note(_connection, _cursor, statement, *_):
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        follow(database)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len([one for one in said if one != "BEGIN"]) == 1


def test_what_is_seen_again_is_opened_no_second_time(database, history, monkeypatch):
    monkeypatch.setattr(webhook_following, "OVERLAP_SECONDS", dict.fromkeys(LAST, 60.0))
    endpoint(database)
    history.database.write(lambda c: c.execute(update(webhook_endpoints).values(seen_to=Now(-120))))
    history.end(count=3)
    made = []

    def noted(endpoint_id, ended_):
        made.append(ended_.id)
        return draft_of(endpoint_id, ended_)

    following = WebhookFollowing(database, noted)
    for _ in range(3):
        follow(database, 2, following)
    assert made == history.ids
    follow(database)
    assert len(told(database)) == 3


def test_looks_find_ends_by_their_index(database, history):
    endpoint(database)
    history.end(count=3)
    said = []

    def note(_connection, _cursor, statement, parameters, *_):
        if "finished_at" in statement and statement.lstrip().startswith("SELECT"):
            said.append((statement, parameters))

    following = WebhookFollowing(database, draft_of)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        while following.turn(2):
            pass
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(said) >= 4
    with database.engine().connect() as connection:
        if database.is_sqlite:
            plans = [
                row[3]
                for one, values in said
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {one}", values)
            ]
            assert not [step for step in plans if "SCAN task_records" in step or "TEMP B-TREE" in step], plans
        else:
            connection.exec_driver_sql("SET enable_seqscan = off")
            plans = [
                step for one, values in said for step in connection.exec_driver_sql(f"EXPLAIN {one}", values).scalars()
            ]
            assert not [step for step in plans if "Seq Scan on task_records" in step], plans
        connection.rollback()
    assert any("finished_at" in step for step in plans), plans


# --- Endpoints --------------------------------------------------------------------------------------------------


def test_an_endpoint_that_takes_nothing_for_five_days_is_disabled_and_one_that_takes_something_begins_anew(database):
    endpoint(database)
    endpoints = WebhookEndpoints(database)

    def days_ago(days):
        moved = update(webhook_endpoints).values(failing_since=Now(-86_400 * days))
        database.write(lambda c: c.execute(moved))

    assert not endpoints.failed("w1")
    days_ago(4.9)
    assert not endpoints.failed("w1")
    endpoints.took("w1")
    assert endpoints.read("w1").failing_since is None
    assert not endpoints.failed("w1")
    days_ago(5.1)
    assert endpoints.failed("w1")
    assert not endpoints.failed("w1")
    found = endpoints.read("w1")
    assert (found.disabled_why, found.disabled_at is None) == (FAILED_WHY, False)


def test_there_are_a_hundred_at_most_and_what_is_not_made_is_in_no_audit(database):
    endpoints = WebhookEndpoints(database)
    for number in range(MOST):
        endpoint(database, f"w{number}")
    endpoint(database, "w100")
    assert len(endpoints.listed()) == MOST
    assert database.read(lambda c: len(c.execute(select(audit.c.id)).all())) == MOST
    assert endpoints.read("w100") is None
    assert "whsec_" not in repr(endpoints.listed())
    assert not endpoints.remove("w100", ACT)
    assert endpoints.remove("w99", ACT)


# --- Bodies -----------------------------------------------------------------------------------------------------


def test_a_body_is_kept_as_it_was_first_and_goes_with_the_task_that_tells_it(database, history):
    [task_id], bodies = history.end(), WebhookBodies(database)
    assert bodies.read(task_id) is None
    bodies.keep(task_id, b'{"text":"\\u0000\\ud83d"}')
    bodies.keep(task_id, b"{}")
    assert bodies.read(task_id) == b'{"text":"\\u0000\\ud83d"}'
    assert history.moves.remove([task_id]) == 1
    assert bodies.read(task_id) is None
