"""What a submit may say beside its task's arguments: checked before anything is written, the same for every method."""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from processors.errors import IdempotencyConflict, InvalidArgument
from records.database import Database
from records.members import MemberRecords
from records.task_records import TaskRecord, columns
from services import bulk, submission
from services import celery_service as facade
from services.celery_service import CeleryService, celery_service
from services.facade_methods import methods
from services.submit_options import MAX_DELAY_SECONDS, NO_OPTIONS, Options, SubmitOptions
from services.wiring import Parts

SOON = datetime.now(UTC) + timedelta(days=1)
JUST_NOW = datetime.now(UTC) - timedelta(minutes=5)
PAST = datetime.fromisoformat("2020-01-01")
MAIL = {"to_email": "ann@example.com", "subject": "s", "body": "b"}


@pytest.fixture(autouse=True)
def service(database: Database, monkeypatch) -> Parts:
    """What the facade writes to: a database that no leader and no worker looks at, and a broker that is not asked."""
    made = Parts(database)
    made.__dict__["publisher"] = SimpleNamespace(check=lambda: None)
    for module in (bulk, facade, submission):
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


def of_bulk(service: Parts, bulk_id: str) -> list[TaskRecord]:
    """The tasks of a bulk, the first one first."""
    return sorted(service.tasks._select(columns.parent_id == bulk_id), key=lambda one: one.due_at)


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is decided before a database is asked."""


# --- Checks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": "urgent"}, "priority: must be low, normal or high; got 'urgent'"),
        ({"priority": None}, "priority: must be low"),
        ({"idempotency_key": ""}, r"idempotency_key: must be a text of 1 to 255 characters.*; got 0 characters"),
        ({"idempotency_key": "x" * 10_000}, r"idempotency_key: .*; got 10000 characters"),
        ({"idempotency_key": "a\0b"}, "idempotency_key: .*without NUL"),
        ({"idempotency_key": "a\ud800"}, "idempotency_key: .*lone surrogates"),
        ({"idempotency_key": 5}, "idempotency_key: .*; got 5"),
        ({"idempotency_key": b"k"}, "idempotency_key: .*; got b'k'"),
        ({"idempotency_key": True}, "idempotency_key: .*; got True"),
        ({"delay_seconds": -1}, f"delay_seconds: must be seconds, 0 to {MAX_DELAY_SECONDS}; got -1"),
        ({"delay_seconds": MAX_DELAY_SECONDS + 1}, "delay_seconds"),
        ({"delay_seconds": 10**400}, "delay_seconds"),
        ({"delay_seconds": float("nan")}, "delay_seconds: .*; got nan"),
        ({"delay_seconds": float("inf")}, "delay_seconds"),
        ({"delay_seconds": True}, "delay_seconds: .*; got True"),
        ({"delay_seconds": "5"}, "delay_seconds: .*; got '5'"),
        ({"delay_seconds": timedelta(5)}, "delay_seconds"),
        ({"due_at": "soon"}, "due_at: must be a datetime, or an ISO 8601 text"),
        ({"due_at": 5}, "due_at"),
        ({"due_at": "10000-01-01T00:00:00Z"}, "due_at"),
        ({"due_at": datetime(2026, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))}, "due_at: the clocks of Europe/Be"),
        ({"due_at": SOON, "delay_seconds": 0}, "due_at: give either delay_seconds or due_at; got both"),
        ({"expires_at": "never"}, "expires_at: must be a datetime"),
        ({"expires_at": PAST}, r"expires_at: must lie after now and after the due time, .*; got 2020"),
        ({"expires_at": SOON, "due_at": SOON}, "expires_at: must lie after"),
        ({"expires_at": SOON, "delay_seconds": 2 * 86_400}, "expires_at: must lie after"),
        ({"tenant": ""}, "tenant: must be a text of 1 to 248"),
        ({"tenant": "x" * 249}, "tenant: .*; got 249 characters"),
        ({"tenant": 7}, "tenant"),
        ({"tags": "one"}, "tags: must be a list of at most 20 texts; got 'one'"),
        ({"tags": {"a", "b"}}, "tags: must be a list"),
        ({"tags": ["x"] * 21}, "tags: must be a list of at most 20"),
        ({"tags": ["x" * 101]}, "tags: must be a text of 1 to 100 characters"),
        ({"tags": [""]}, "tags: must be a text"),
        ({"tags": [1]}, "tags: must be a text"),
        ({"tags": [None]}, "tags: must be a text"),
    ],
    ids=range(36),
)
@on_sqlite
def test_a_bad_option_is_one_sentence_and_nothing_is_recorded(service, options, words):
    with pytest.raises(InvalidArgument, match=words) as error:
        celery_service.health_check(**options)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert service.tasks._select(columns.id.is_not(None)) == []


@on_sqlite
def test_none_is_as_good_as_nothing():
    names = SubmitOptions.__optional_keys__ - {"priority"}
    assert Options.of(**dict.fromkeys(names)) == Options.of() == NO_OPTIONS


@on_sqlite
def test_options_are_taken_as_what_they_are():
    given = Options.of(
        due_at="2099-01-31T09:00:00", expires_at="2099-02-01T00:00:00+01:00", tags=["a", "b"], tenant="ü"
    )
    assert given.due_at == datetime(2099, 1, 31, 9, tzinfo=UTC), "naive is UTC, as Celery takes it"
    assert given.expires_at == datetime(2099, 1, 31, 23, tzinfo=UTC)
    assert (given.tags, given.tenant, given.priority) == (("a", "b"), "ü", "normal")
    assert Options.of(delay_seconds=90 * 24 * 3600).delay == 90 * 24 * 3600.0
    assert Options.of(idempotency_key="k" * 255).idempotency_key == "k" * 255
    assert Options.of(due_at="2020-01-01").due_at.year == 2020, "the database's clock says whether it has passed"


@on_sqlite
@pytest.mark.parametrize("method", sorted(set(methods()) - {"submit", "submit_many"}))  # which take a task's name
def test_every_submitting_method_takes_every_option_and_refuses_another_keyword_as_python_does(method):
    taken = inspect.signature(getattr(CeleryService, method)).parameters
    needed = {name: "x" for name, one in taken.items() if one.default is one.empty and name not in ("self", "options")}
    assert taken["options"].kind is inspect.Parameter.VAR_KEYWORD

    with pytest.raises(TypeError) as error:
        getattr(celery_service, method)(**needed, prioritty="high")
    assert str(error.value) == f"CeleryService.{method}() got an unexpected keyword argument 'prioritty'"
    with pytest.raises(InvalidArgument, match="tags: must be a list"):
        getattr(celery_service, method)(**needed, tags=5)


@on_sqlite
def test_importing_the_facade_loads_no_sessions():
    code = "import services.celery_service, sys; print('sqlalchemy.orm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- What becomes of them ---------------------------------------------------------------------------------------


def test_what_a_submit_says_is_seen_in_the_status(published):
    task_id = celery_service.send_email(
        **MAIL, priority="high", delay_seconds=90 * 24 * 3600, expires_at="2199-01-01", tenant="acme", tags=("a", "b")
    )

    status = celery_service.get_task_status(task_id)
    assert (status["status"], status["info"]["waits_for"], status["priority"]) == ("PENDING", "due", "high")
    due = datetime.fromisoformat(status["due_at"]) - datetime.fromisoformat(status["created_at"])
    assert timedelta(days=89, hours=23) < due < timedelta(days=90, hours=1)
    assert status["expires_at"] == "2199-01-01T00:00:00+00:00"
    assert (status["tenant"], status["tags"]) == ("acme", ["a", "b"])
    assert published == []


def test_what_is_due_later_is_published_by_nobody_now_and_what_is_due_now_at_once(service, published):
    now = celery_service.health_check(delay_seconds=0)
    for options in ({"delay_seconds": 60}, {"due_at": SOON}, {"due_at": SOON.isoformat()}):
        celery_service.health_check(**options)
    past = celery_service.health_check(due_at=PAST)

    assert published == [now]
    assert [due.id for due in service.moves.claim(10)] == [past]


def test_the_same_key_gives_the_same_id_and_only_the_first_is_published(published):
    first = celery_service.send_email(**MAIL, idempotency_key="k")

    assert celery_service.send_email(**MAIL, idempotency_key="k", priority="low", tags=["x"], delay_seconds=5) == first
    assert celery_service.send_email(**MAIL, idempotency_key="k") == first
    assert published == [first]
    assert celery_service.send_email(**MAIL, idempotency_key="k", tenant="acme") != first
    with pytest.raises(IdempotencyConflict, match=f"'k'.*{first}"):
        celery_service.send_email(**MAIL | {"subject": "other"}, idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        celery_service.health_check(idempotency_key="k")


def test_a_bulk_with_a_key_is_one_bulk_whose_tasks_are_its_tenants(service):
    mails = [MAIL | {"to_email": f"r{number}@example.com"} for number in range(3)]
    said = {"idempotency_key": "k", "tenant": "acme", "tags": ["news"], "expires_at": "2199-01-01"}
    first = celery_service.send_bulk_emails(mails, batch_size=2, **said)

    assert celery_service.send_bulk_emails(mails, batch_size=2, **said) == first
    with pytest.raises(IdempotencyConflict):
        celery_service.send_bulk_emails(mails[:2], batch_size=2, **said)
    batches = of_bulk(service, first)
    assert len(batches) == 2
    assert {(one.tenant, tuple(one.tags), one.expires_at.year) for one in batches} == {("acme", ("news",), 2199)}
    assert MemberRecords(service.database).tally(first) == {"waiting": 3}


@pytest.mark.parametrize(
    "when", [{"delay_seconds": 3600}, {"due_at": SOON}, {"due_at": PAST}, {"due_at": JUST_NOW}], ids=range(4)
)
def test_the_batches_of_a_bulk_start_one_after_the_other_from_its_due_time_on(service, when):
    from_now = datetime.now(UTC) + timedelta(seconds=when.get("delay_seconds", 0))
    bulk_id = celery_service.send_bulk_emails([MAIL, MAIL], batch_size=1, delay_between_batches=600, **when)

    first, second = of_bulk(service, bulk_id)
    expected = SOON if when == {"due_at": SOON} else from_now
    assert abs((first.due_at - expected).total_seconds()) < 300
    assert abs((second.due_at - first.due_at).total_seconds() - 600) < 30


def test_whether_a_bulks_due_time_has_passed_is_decided_by_the_databases_clock(service, monkeypatch):
    class Fast(datetime):
        """The clock of a machine that is an hour ahead."""

        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(hours=1)

    monkeypatch.setattr(bulk, "datetime", Fast)
    due_at = datetime.now(UTC) + timedelta(minutes=30)
    bulk_id = celery_service.send_bulk_emails([MAIL, MAIL], batch_size=1, delay_between_batches=600, due_at=due_at)

    assert [one.due_at - due_at for one in of_bulk(service, bulk_id)] == [timedelta(), timedelta(minutes=10)]


def test_a_bulk_whose_last_batches_would_be_due_after_the_last_year_is_refused():
    with pytest.raises(InvalidArgument, match="due_at: the last batches would be due after the year 9999"):
        celery_service.send_bulk_emails([MAIL, MAIL], batch_size=1, due_at="9999-12-31T23:59:59.5Z")


# --- A caller's own transaction ---------------------------------------------------------------------------------


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    """A session of an application that shares the database."""
    engine = create_engine(database_url)
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_a_task_of_a_session_is_left_to_the_relay_and_to_the_callers_commit(service, session, published):
    service.publisher.check = lambda: pytest.fail("the broker is not asked")
    gone = celery_service.send_email(**MAIL, session=session)
    session.rollback()
    kept = celery_service.send_email(**MAIL, session=session)
    later = celery_service.health_check(session=session, delay_seconds=60)
    bulk_id = celery_service.send_bulk_emails([MAIL], session=session)
    assert celery_service.get_task_status(kept)["status"] == "UNKNOWN"
    session.commit()

    assert published == []
    states = [celery_service.get_task_status(one)["status"] for one in (gone, kept, later, bulk_id)]
    assert states == ["UNKNOWN", "PENDING", "PENDING", "PROGRESS"]
    assert {due.id for due in service.moves.claim(10)} == {kept, of_bulk(service, bulk_id)[0].id}


def test_a_session_and_a_key_hold_together(session, published):
    gone = celery_service.send_email(**MAIL, session=session, idempotency_key="k")
    session.rollback()
    kept = celery_service.send_email(**MAIL, session=session, idempotency_key="k")
    session.commit()

    assert gone != kept
    assert celery_service.send_email(**MAIL, idempotency_key="k") == kept
    assert published == []


@on_sqlite
def test_what_is_no_session_of_this_database_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="session: must be an SQLAlchemy Session or Connection; got str"):
        celery_service.health_check(session="s")
    engine = create_engine(f"sqlite:///{tmp_path}/other.db")
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE orders (number INTEGER)"))
        with pytest.raises(InvalidArgument, match="session: must be one of the record database"):
            celery_service.health_check(session=connection)
    engine.dispose()
