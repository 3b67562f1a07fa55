"""Many tasks of one name at once: each checked as `submit` checks it, all recorded or none, once for a key."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from processors.errors import IdempotencyConflict, InvalidArgument, ServiceUnavailable, UnknownQueue, UnknownTaskName
from records import submit_keys
from records.database import Database
from records.grouped_writes import CommitUnknown
from records.limits import TURN
from records.task_records import TaskRecord, columns
from services import celery_service as facade
from services import limiting, submission
from services.celery_app import celery_app
from services.celery_service import MOST_AT_ONCE, celery_service
from services.wiring import Parts

NAME = "test.many_add"
TYPED = "ai_processing.extract_text"
MANY = [{"x": number, "y": 1} for number in range(1_100)]
"""More than two statements have rows."""

publish_for_true = submission.publish


@celery_app.task(name=NAME)
def add(x: int, y: int) -> int:
    return x + y


@pytest.fixture(autouse=True)
def service(database: Database, monkeypatch) -> Parts:
    """What the facade writes to: a database that no leader and no worker looks at, and a broker that is not asked."""
    made = Parts(database)
    made.__dict__["publisher"] = SimpleNamespace(check=lambda: None, prepare=list)
    for module in (facade, limiting, submission):
        monkeypatch.setattr(module, "parts", lambda: made)
    return made


@pytest.fixture(autouse=True)
def published(monkeypatch) -> list[str]:
    """The ids of what is handed to the broker."""
    found: list[str] = []

    def publish(drafts, *_, **__):
        found.extend(draft.id for draft in drafts)

    monkeypatch.setattr(submission, "publish", publish)
    return found


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    """A session of an application that shares the database."""
    engine = create_engine(database_url)
    with Session(engine) as session:
        yield session
    engine.dispose()


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is decided before a database is asked."""

keyed = pytest.mark.parametrize("key", [{}, {"idempotency_key": "k"}], ids=["no key", "key"])


def recorded(service: Parts) -> dict[str, TaskRecord]:
    return {one.id: one for one in service.tasks._select(columns.id.is_not(None))}


# --- What is recorded -------------------------------------------------------------------------------------------


@keyed
def test_all_are_recorded_and_published_in_their_order_with_the_options_of_all(service, published, key):
    options = {"priority": "high", "tags": ["a"], "expires_at": "2199-01-01", "queue": "low_priority"}
    ids = celery_service.submit_many(NAME, MANY, **options, **key)

    assert published == ids
    found = recorded(service)
    assert [found[one].kwargs for one in ids] == MANY
    assert len(found) == len(MANY)
    told = {(one.name, one.priority, tuple(one.tags), one.queue, one.expires_at.year) for one in found.values()}
    assert told == {(NAME, "high", ("a",), "low_priority", 2199)}


@on_sqlite
def test_one_alone_and_the_defaults_of_a_request_are_as_submit_has_them(service):
    [many] = celery_service.submit_many(TYPED, [{"content": "a"}])
    one, many = service.tasks.read(celery_service.submit(TYPED, content="a")), service.tasks.read(many)
    assert (many.name, many.kwargs, many.queue, many.priority) == (one.name, one.kwargs, one.queue, one.priority)
    assert many.root_id == many.id


@pytest.mark.parametrize("when", [{"delay_seconds": 60}, {"due_at": datetime.now(UTC) + timedelta(days=1)}])
def test_what_is_due_later_is_published_by_nobody_now(service, published, when):
    ids = celery_service.submit_many(NAME, MANY[:3], **when)
    assert (published, set(recorded(service))) == ([], set(ids))


def test_of_a_tenant_only_those_go_out_whose_turn_it_is(service, published):
    ids = celery_service.submit_many(NAME, MANY, tenant="acme")
    held = {one.id for one in recorded(service).values() if one.held}
    assert {one.hold for one in recorded(service).values() if one.held} == {f"{TURN}default"}
    assert 0 < len(published) < len(ids)
    assert set(published) == set(ids) - held


# --- What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        (TYPED, {"content": 5}, r"^many\[17\]\.content: Input should be a valid string"),
        (TYPED, {}, r"^many\[17\]\.content: Field required"),
        (TYPED, {"content": "x" * 1_000_001}, r"^many\[17\]\.content: must have at most"),
        (NAME, {"x": 1}, r"^many\[17\]: The arguments do not fit test.many_add: missing a required argument: 'y'"),
        (NAME, {"x": 1, "y": {1}}, r"^many\[17\]: The arguments of test.many_add must be JSON values"),
        (NAME, {"x": 1, "y": "y" * 1_000_001}, r"^many\[17\]\.y: has"),
        (NAME, "x", r"^many\[17\]: must be a dict of the task's arguments; got str"),
        (NAME, None, r"^many\[17\]: must be a dict"),
    ],
    ids=range(8),
)
@on_sqlite
def test_a_bad_one_in_the_middle_is_named_by_its_place_and_nothing_is_recorded(service, published, name, bad, words):
    good = {"content": "a"} if name == TYPED else MANY[0]
    with pytest.raises(InvalidArgument, match=words):
        celery_service.submit_many(name, [good] * 17 + [bad, good], idempotency_key="k")
    assert (recorded(service), published) == ({}, [])
    assert celery_service.submit_many(name, [good], idempotency_key="k"), "the key is free"


@pytest.mark.parametrize(
    ("many", "words"),
    [
        ([], "many: must have the arguments of 1 to 10000 tasks; got 0"),
        ([MANY[0]] * (MOST_AT_ONCE + 1), "of 1 to 10000 tasks; got 10001"),
        ({"x": 1}, "many: must be a list of dicts, the arguments of each task; got dict"),
        ("text", "got str"),
        (None, "got NoneType"),
        (iter(MANY), "got list_iterator"),
    ],
    ids=range(6),
)
@on_sqlite
def test_how_many_they_may_be_is_said(service, many, words):
    with pytest.raises(InvalidArgument, match=words):
        celery_service.submit_many(NAME, many)
    assert recorded(service) == {}


@on_sqlite
def test_name_queue_and_options_are_checked_as_those_of_a_submit(service):
    with pytest.raises(UnknownTaskName):
        celery_service.submit_many("test.nowhere", MANY)
    with pytest.raises(InvalidArgument, match="use the method of the facade"):
        celery_service.submit_many("email.send_bulk_emails", MANY)
    with pytest.raises(UnknownQueue):
        celery_service.submit_many(NAME, MANY, queue="mine")
    with pytest.raises(InvalidArgument, match="tags: must be a list"):
        celery_service.submit_many(NAME, MANY, tags=5)
    with pytest.raises(TypeError, match=r"CeleryService.submit_many\(\) got an unexpected keyword argument 'colour'"):
        celery_service.submit_many(NAME, MANY, colour=1)
    assert recorded(service) == {}


# --- The same key again -----------------------------------------------------------------------------------------


def test_the_same_key_gives_the_same_ids_and_only_the_first_are_published(service, published):
    first = celery_service.submit_many(NAME, MANY, idempotency_key="k")

    assert celery_service.submit_many(NAME, MANY, idempotency_key="k", priority="low", delay_seconds=5) == first
    assert published == first
    assert len(set(first)) == len(MANY)
    assert [UUID(one).version for one in first] == [4] + [5] * (len(MANY) - 1)
    for other in (MANY[:-1], MANY[::-1], [*MANY, MANY[0]], MANY[:1]):
        with pytest.raises(IdempotencyConflict) as told:
            celery_service.submit_many(NAME, other, idempotency_key="k")
        assert told.value.task_id == first[0]
    with pytest.raises(IdempotencyConflict):
        celery_service.submit_many(TYPED, [{"content": "a"}], idempotency_key="k")
    assert len(recorded(service)) == len(MANY)
    assert not set(celery_service.submit_many(NAME, MANY, idempotency_key="k", tenant="acme")) & set(first)


@on_sqlite
def test_a_key_of_one_submit_is_not_that_of_many_with_its_arguments_alone(service):
    one = celery_service.submit(NAME, arguments=MANY[0], idempotency_key="k")
    with pytest.raises(IdempotencyConflict) as told:
        celery_service.submit_many(NAME, MANY[:1], idempotency_key="k")
    assert told.value.task_id == one
    [many] = celery_service.submit_many(NAME, MANY[:1], idempotency_key="other")
    with pytest.raises(IdempotencyConflict) as told:
        celery_service.submit(NAME, arguments=MANY[0], idempotency_key="other")
    assert told.value.task_id == many
    assert set(recorded(service)) == {one, many}


@on_sqlite
def test_a_repeated_key_makes_no_messages(service):
    prepared: list[int] = []
    service.publisher.prepare = lambda drafts: prepared.append(len(drafts)) or []
    for _ in range(3):
        celery_service.submit_many(NAME, MANY, idempotency_key="k")
    assert prepared == [len(MANY)]


@on_sqlite
def test_names_in_arguments_that_are_no_texts_are_compared_as_json_has_them():
    many = [{"x": {1: "a", "b": 2}, "y": 0}, {"x": {2: "a", "b": 2}, "y": 0}]
    first = celery_service.submit_many(NAME, many, idempotency_key="k")
    assert celery_service.submit_many(NAME, many, idempotency_key="k") == first


def test_of_many_threads_with_one_key_all_get_the_ids_of_one(service, published):
    together = threading.Barrier(6)

    def submit(_: int) -> tuple[str, ...]:
        together.wait(timeout=60)
        return tuple(celery_service.submit_many(NAME, MANY, idempotency_key="k"))

    with ThreadPoolExecutor(6) as pool:
        told = set(pool.map(submit, range(6)))

    [ids] = told
    assert set(recorded(service)) == set(ids)
    assert sorted(published) == sorted(ids)


# --- A caller's own transaction ---------------------------------------------------------------------------------


@keyed
def test_those_of_a_session_are_left_to_the_relay_and_to_the_callers_commit(service, session, published, key):
    service.publisher.check = lambda: pytest.fail("the broker is not asked")
    celery_service.submit_many(NAME, MANY, session=session, **key)
    session.rollback()
    assert recorded(service) == {}
    ids = celery_service.submit_many(NAME, MANY, session=session, **key)
    assert recorded(service) == {}
    session.commit()

    assert published == []
    assert {due.id for due in service.moves.claim(10_000)} == set(ids) == set(recorded(service))
    if key:
        assert celery_service.submit_many(NAME, MANY, session=session, **key) == ids
        assert len(recorded(service)) == len(MANY)


# --- Faults -----------------------------------------------------------------------------------------------------


@keyed
def test_while_the_database_is_away_nothing_is_recorded_or_published(service, published, monkeypatch, key):
    def away(*_, **__):
        raise ServiceUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", away)
        with pytest.raises(ServiceUnavailable, match="gone"):
            celery_service.submit_many(NAME, MANY, **key)
    assert (recorded(service), published) == ({}, [])
    assert celery_service.submit_many(NAME, MANY, **key) == published


def test_what_breaks_off_half_way_leaves_neither_a_record_nor_the_key(service, published, monkeypatch):
    insertion = submit_keys.insertion

    class Half:
        def __init__(self, kind, drafts, **more) -> None:
            self.half = insertion(kind, drafts[: len(drafts) // 2], **more)
            self.bind = self.half.bind

        def __call__(self, connection):
            self.half(connection)
            raise ServiceUnavailable("broke off")

    with monkeypatch.context() as patch:
        patch.setattr(submit_keys, "insertion", Half)
        with pytest.raises(ServiceUnavailable, match="broke off"):
            celery_service.submit_many(NAME, MANY, idempotency_key="k")
    assert (recorded(service), published) == ({}, [])
    assert celery_service.submit_many(NAME, MANY[:5], idempotency_key="k") == published


@keyed
def test_a_commit_whose_answer_was_lost_is_repeated_and_changes_nothing(service, published, monkeypatch, key):
    write, lost = Database.write, []

    def losing(self, work, **more):
        found = write(self, work, **more)
        if not lost:
            lost.append(found)
            raise CommitUnknown("the answer was lost")
        return found

    monkeypatch.setattr(Database, "write", losing)
    ids = celery_service.submit_many(NAME, MANY, **key)
    assert len(lost) == 1
    assert published == ids
    assert set(recorded(service)) == set(ids)


def test_while_the_broker_is_away_all_are_left_to_the_relay(service, monkeypatch):
    monkeypatch.setattr(submission, "publish", publish_for_true)
    service.publisher.publish = lambda *_: []
    monkeypatch.setattr(service.moves, "published", lambda *_, **__: pytest.fail("nothing was published"))
    ids = celery_service.submit_many(NAME, MANY, idempotency_key="k")
    found = recorded(service)
    assert set(found) == set(ids)
    assert all(one.relay_at is not None for one in found.values())
    assert celery_service.submit_many(NAME, MANY, idempotency_key="k") == ids


def test_arguments_that_are_too_large_together_are_refused_before_anything_is_written(service, published):
    part = 500_000
    fits, over = facade.MOST_BYTES_AT_ONCE // (part + 20), facade.MOST_BYTES_AT_ONCE // part
    many = [{"x": number, "y": "m" * part} for number in range(over)]
    with pytest.raises(InvalidArgument, match=f"many: the arguments of the first {over} tasks have .* several parts"):
        celery_service.submit_many(NAME, many)
    assert (recorded(service), published) == ({}, [])
    assert celery_service.submit_many(NAME, many[:fits]) == published
