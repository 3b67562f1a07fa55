"""Schedules as callers, the settings and the leader meet them."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from celery.schedules import BaseSchedule, crontab, schedule
from kombu import Queue
from sqlalchemy import update

from config.settings import Settings
from processors.errors import InvalidArgument, ServiceUnavailable, UnknownQueue, UnknownSchedule
from records.database import Database
from records.leadership import Lead, Leadership
from records.schedules import Schedules, schedules
from records.task_records import DUE_HEADER, TaskRecords
from services import beat, fires, monitoring, scheduling, settings_schedules, worker_steps
from services.celery_app import celery_app
from services.celery_schedule import schedule as own_schedule
from services.celery_service import celery_service
from services.settings_schedules import five_fields, wanted
from services.testing import InlineService
from services.wiring import parts

TASK = "cleanup.cleanup_old_tasks"


@celery_app.task(name="test.needs_account", bind=True, limited_by=lambda kwargs: [f"account:{kwargs['account']}"])
def needs_account(self, account: str = "a") -> None:
    """Stands for an adopter's task whose limits cannot be told from its defaults."""


@pytest.fixture(autouse=True)
def _no_schedules_are_left() -> Iterator[None]:
    yield
    remove_all()


def remove_all() -> None:
    parts().database.write(lambda c: c.execute(schedules.delete()))


def test_a_schedule_is_added_listed_changed_and_removed():
    added = celery_service.add_schedule("nightly", TASK, crontab="30 2 * * *", timezone="Europe/Berlin")

    assert celery_service.list_schedules() == [added]
    assert json.loads(json.dumps(added)) == added
    assert (added["queue"], added["priority"], added["catch_up"], added["source"]) == (
        "default",
        "normal",
        "latest",
        "database",
    )
    assert (added["paused"], added["last_fire_at"], added["last_task_id"], added["every"]) == (False, None, None, None)
    due = datetime.fromisoformat(added["next_at"])
    assert due.tzinfo is not None
    assert due > datetime.now(UTC)

    changed = celery_service.change_schedule("nightly", every=90, kwargs={"max_age_hours": 3})

    assert (changed["crontab"], changed["every"], changed["kwargs"]) == (None, 90.0, {"max_age_hours": 3})
    assert changed["timezone"] == "Europe/Berlin"
    assert celery_service.remove_schedule("nightly") is None
    assert celery_service.list_schedules() == []


def test_a_schedule_waits_in_its_tasks_own_queue_unless_told():
    assert celery_service.add_schedule("a", "email.send_email", every=60, kwargs=MAIL)["queue"] == "email"
    assert celery_service.add_schedule("b", TASK, every=60, queue="low_priority")["queue"] == "low_priority"
    assert celery_service.change_schedule("a", task=TASK, kwargs={})["queue"] == "default"
    assert celery_service.change_schedule("b", priority="high")["queue"] == "low_priority"
    assert celery_service.change_schedule("b", queue=None)["queue"] == "default"


MAIL = {"to_email": "a@example.com", "subject": "s", "body": "b"}


def test_a_paused_schedule_has_no_next_fire_time_until_it_is_resumed():
    celery_service.add_schedule("nightly", TASK, every=60)

    paused = celery_service.pause_schedule("nightly")
    assert (paused["paused"], paused["next_at"]) == (True, None)
    assert celery_service.pause_schedule("nightly")["paused"]
    resumed = celery_service.resume_schedule("nightly")
    assert resumed["paused"] is False
    assert celery_service.resume_schedule("nightly") == resumed


def test_a_schedules_task_runs_now_paused_or_not():
    celery_service.add_schedule("nightly", TASK, every=60, kwargs={"max_age_hours": 7}, priority="low", tenant="t")
    celery_service.pause_schedule("nightly")

    first, second = celery_service.run_schedule_now("nightly"), celery_service.run_schedule_now("nightly")

    record = parts().tasks.read(first)
    assert first != second
    assert (record.name, record.kwargs, record.origin) == (TASK, {"max_age_hours": 7}, "schedule:nightly")
    assert (record.priority, record.tenant, record.root_id, record.queue) == ("low", "t", first, "default")
    assert celery_service.list_schedules()[0]["last_task_id"] is None, "it is no fire time"
    for task_id in (first, second):
        celery_service.cancel_task(task_id)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "exactly one of the two must be given; got neither"),
        ({"crontab": "0 0 30 2 *"}, "crontab: must be five fields"),
        ({"every": 0}, "every: .*greater than or equal to 1; got 0"),
        ({"every": "60"}, "every: .*valid number; got '60'"),
        ({"every": 60, "timezone": "Mars/Base"}, "timezone: must be an IANA name"),
        ({"every": 60, "task": "cleanup.nothing"}, "task: no task is named 'cleanup.nothing'; did you mean"),
        ({"every": 60, "task": "email.send_bulk_emails"}, "task: email.send_bulk_emails is moved by its members' rows"),
        ({"every": 60, "task": "celery.backend_cleanup"}, "task: no task is named 'celery.backend_cleanup'"),
        ({"every": 60, "kwargs": {"max_age_hours": -1}}, "max_age_hours: .*; got -1"),
        ({"every": 60, "kwargs": {"hours": 1}}, "hours: Extra inputs"),
        ({"every": 60, "args": [5]}, "args: cleanup.cleanup_old_tasks takes keyword arguments only"),
        ({"every": 60, "kwargs": {"a": datetime(2026, 1, 1, tzinfo=UTC)}}, "must be JSON values"),
        ({"every": 60, "kwargs": {"a": float("nan")}}, "must be JSON values"),
        ({"every": 60, "kwargs": {"a": "x" * 1_000_001}}, "has 10000.. of the 10000.. bytes of all arguments"),
        ({"every": 60, "queue": "mail"}, "queue: no queue is named 'mail'"),
        ({"every": 60, "name": "x" * 10_000}, "name: .*at most 200"),
        ({"every": 60, "task": "test.needs_account", "kwargs": {}}, "limited_by of test.needs_account cannot tell"),
    ],
    ids=range(17),
)
def test_what_cannot_be_a_schedule_is_refused_in_one_sentence_and_not_kept(given, words):
    with pytest.raises(InvalidArgument, match=words) as refused:
        celery_service.add_schedule(**{"name": "nightly", "task": TASK} | given)
    assert "\n" not in str(refused.value)
    assert celery_service.list_schedules() == []


def test_a_secret_in_a_schedules_arguments_is_neither_told_nor_listed():
    with pytest.raises(InvalidArgument) as refused:
        celery_service.add_schedule("s", "file_processing.process_document", every=60, kwargs={"password": 4711})
    assert "4711" not in str(refused.value)

    kwargs = {"file_path": "/tmp/x.pdf", "password": "hunter2"}
    added = celery_service.add_schedule("s", "file_processing.process_document", every=60, kwargs=kwargs)

    assert added["kwargs"]["password"] == "***"
    assert parts().schedules.read("s").kwargs == kwargs


def test_positional_arguments_are_checked_against_what_the_task_takes():
    @celery_app.task(name="test.of_two", bind=True)
    def of_two(self, x, y=1):
        return x + y

    try:
        assert celery_service.add_schedule("a", "test.of_two", every=60, args=[1, 2])["args"] == [1, 2]
        with pytest.raises(InvalidArgument, match=r"do not fit test\.of_two: .*keyword argument 'z'"):
            celery_service.add_schedule("b", "test.of_two", every=60, args=[1], kwargs={"z": 1})
        with pytest.raises(InvalidArgument, match="missing a required argument: 'x'"):
            celery_service.add_schedule("b", "test.of_two", every=60)
    finally:
        celery_app.tasks.pop("test.of_two")


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.change_schedule("nobody", every=5),
        lambda s: s.pause_schedule("nobody"),
        lambda s: s.resume_schedule("nobody"),
        lambda s: s.remove_schedule("nobody"),
        lambda s: s.run_schedule_now("nobody"),
    ],
    ids=range(5),
)
def test_a_name_that_no_schedule_has_is_told_apart(call):
    with pytest.raises(UnknownSchedule, match="no schedule is named 'nobody'") as unknown:
        call(celery_service)
    assert isinstance(unknown.value, LookupError)
    assert isinstance(unknown.value, InvalidArgument)


@pytest.mark.parametrize("name", [5, None, "a\0b", "a\ud800"], ids=range(4))
def test_a_name_that_is_none_is_refused(name):
    for method in ("pause_schedule", "resume_schedule", "remove_schedule", "run_schedule_now", "change_schedule"):
        with pytest.raises(InvalidArgument, match="name: must be the name of a schedule"):
            getattr(celery_service, method)(name)


def test_a_change_is_checked_like_a_new_schedule_and_an_unknown_keyword_is_a_type_error():
    before = celery_service.add_schedule("nightly", TASK, every=60)

    for changes, words in (
        ({"crontab": "nonsense"}, "crontab: must be five fields"),
        ({"every": None}, "got neither"),
        ({"crontab": "* * * * *", "every": 5}, "got both"),
        ({"task": "cleanup.nothing"}, "no task is named"),
        ({"kwargs": {"max_age_hours": "x"}}, "max_age_hours"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            celery_service.change_schedule("nightly", **changes)
    with pytest.raises(UnknownQueue):
        celery_service.change_schedule("nightly", queue="mail")
    with pytest.raises(TypeError, match="unexpected keyword argument 'interval'"):
        celery_service.change_schedule("nightly", interval=5)
    assert celery_service.list_schedules() == [before]


def test_a_name_is_taken_once():
    celery_service.add_schedule("nightly", TASK, every=60)

    with pytest.raises(InvalidArgument, match="there is a schedule named 'nightly'"):
        celery_service.add_schedule("nightly", TASK, every=60)


# --- From the settings ------------------------------------------------------------------------------------------


@pytest.fixture
def leading(inline_service: InlineService) -> Iterator[Lead]:
    """The lead of a database that nobody else leads."""
    lead = Lead("test", parts().leadership.take("test", "host", 1))
    yield lead
    parts().leadership.give_up("test")


def test_the_schedules_of_the_settings_are_all_taken_over(leading, monkeypatch):
    monkeypatch.setitem(celery_app.conf, "beat_schedule", own_schedule(Settings()))

    assert settings_schedules.adopt(leading)

    listed = {one["name"]: one for one in celery_service.list_schedules()}
    assert set(listed) == set(own_schedule(Settings()))
    assert all(one["source"] == "settings" for one in listed.values())
    assert listed["cleanup-old-tasks"]["kwargs"] == {"max_age_hours": 30 * 24}
    assert listed["process-pending-tasks"]["every"] == 60
    for name in listed:
        assert scheduling.check_task(listed[name]["task"])
        with pytest.raises(InvalidArgument, match=f"SCHEDULE_{name.replace('-', '_').upper()}=false switches it off"):
            celery_service.remove_schedule(name)


def test_a_schedule_of_the_settings_is_paused_resumed_and_run_but_neither_changed_nor_removed(leading, monkeypatch):
    monkeypatch.setitem(celery_app.conf, "beat_schedule", {"own": {"task": TASK, "schedule": 60}})
    settings_schedules.adopt(leading)

    for refused in (celery_service.remove_schedule, lambda name: celery_service.change_schedule(name, every=5)):
        with pytest.raises(InvalidArgument, match=r"of the settings.*celery_app\.conf\.beat_schedule"):
            refused("own")
    assert celery_service.pause_schedule("own")["paused"]
    celery_service.cancel_task(celery_service.run_schedule_now("own"))
    settings_schedules.adopt(leading)
    assert celery_service.list_schedules()[0]["paused"], "a pause outlives a change of leader"
    assert not celery_service.resume_schedule("own")["paused"]


def test_celerys_own_forms_are_understood():
    entries = {
        "seconds": {"task": TASK, "schedule": 30},
        "timedelta": {"task": TASK, "schedule": timedelta(minutes=5), "kwargs": {"max_age_hours": 3}},
        "interval": {"task": TASK, "schedule": schedule(90)},
        "crontab": {"task": "a.b", "schedule": crontab(minute=30, hour="2"), "args": (1, 2)},
        "options": {"task": TASK, "schedule": 30, "options": {"queue": Queue("email"), "priority": 0}},
    }
    found = {one.name: one for one in wanted(entries)}

    assert {name: one.every_seconds for name, one in found.items()} == {
        "seconds": 30.0,
        "timedelta": 300.0,
        "interval": 90.0,
        "crontab": None,
        "options": 30.0,
    }
    assert (found["crontab"].crontab, found["crontab"].timezone) == ("30 2 * * *", "UTC")
    assert (found["crontab"].task, found["crontab"].args) == ("a.b", [1, 2]), "its task may be another program's"
    assert (found["options"].queue, found["options"].priority) == ("email", "high")


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        (crontab(), "* * * * *"),
        (crontab(minute="*/15"), "*/15 * * * *"),
        (crontab(minute="0", hour="*/3,8-17"), "0 0,3,6,8,9,10,11,12,13,14,15,16,17,18,21 * * *"),
        (crontab(minute=0, hour=7, day_of_week="mon-fri"), "0 7 * * 1,2,3,4,5"),
        (crontab(minute=0, hour=7, day_of_week="fri-mon"), "0 7 * * 0,1,5,6"),
        (crontab(minute=0, hour=7, day_of_week={0, 3}), "0 7 * * 0,3"),
        (crontab(minute=0, hour=0, day_of_month="1-3,15-16", month_of_year="*/3"), "0 0 1,2,3,15,16 */3 *"),
        (crontab(minute=0, hour=0, day_of_month="1-31", day_of_week="mon"), "0 0 * * 1"),
        (crontab(minute=0, hour=0, day_of_month="*/2", day_of_week="mon"), "0 0 */2 * 1"),
    ],
    ids=range(9),
)  # fmt: skip
def test_celerys_crontab_is_said_in_five_fields(given, fields):
    assert five_fields(given) == fields


@pytest.mark.parametrize("number", range(6))
def test_the_five_fields_fire_when_celerys_crontab_would(number):
    given = [
        crontab(minute="*/15", hour="8-17", day_of_week="mon-fri"),
        crontab(minute=5, hour="*/5", day_of_month="*/2", day_of_week="1,3"),
        crontab(minute="1,31", hour=0, day_of_month="28-31"),
        crontab(minute=0, hour=12, month_of_year="2-12/2", day_of_month="13"),
        crontab(minute=0, hour=12, day_of_week="*/3"),
        crontab(minute="*/7", hour="*/7"),
    ][number]
    timing = scheduling.requested(name="n", task="t", crontab=five_fields(given)).timing(
        datetime(2026, 1, 1, tzinfo=UTC)
    )
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(300):
        moment = timing.after(moment)
        matches = (
            moment.minute in given.minute
            and moment.hour in given.hour
            and moment.day in given.day_of_month
            and moment.month in given.month_of_year
            and moment.isoweekday() % 7 in given.day_of_week
        )
        assert matches, moment


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"task": TASK, "schedule": crontab(0, 0, day_of_month="13", day_of_week="fri")}, "both restricted"),
        ({"task": TASK, "schedule": BaseSchedule()}, "must be seconds, a timedelta or a crontab; got BaseSchedule"),
        ({"task": TASK, "schedule": 0.2}, "every: .*greater than or equal to 1"),
        ({"task": TASK, "schedule": None}, "got NoneType"),
        ({"schedule": 60}, "task: "),
        ({"task": TASK, "schedule": 60, "kwargs": {"when": datetime}}, "must be JSON values"),
        ({"task": TASK, "schedule": 60, "options": {"queue": "mail"}}, "no queue is named 'mail'"),
        ({"task": TASK, "schedule": 60, "options": {"priority": [1]}}, "unhashable"),
        ({"task": TASK, "schedule": 60, "options": 5}, "not iterable"),
        ("every minute", "must be a dict with task and schedule"),
    ],
    ids=range(10),
)
def test_an_entry_that_cannot_be_a_schedule_is_told_and_the_others_come(entry, words, caplog):
    entries = {"odd": entry, "good": {"task": TASK, "schedule": 60}}

    assert [one.name for one in wanted(entries)] == ["good"]
    assert "schedule_refused" in caplog.text
    assert re.search(words, caplog.text)


def test_options_that_a_schedule_has_not_are_told(caplog):
    [one] = wanted({"a": {"task": TASK, "schedule": 60, "options": {"expires": 5}, "relative": True}})

    assert one.every_seconds == 60
    assert "schedule_options_ignored" in caplog.text
    assert "expires" in caplog.text


def test_a_name_that_is_taken_is_told_and_stays_whose_it_is(leading, monkeypatch, caplog):
    own = celery_service.add_schedule("a", TASK, every=60)
    monkeypatch.setitem(celery_app.conf, "beat_schedule", {"a": {"task": TASK, "schedule": 5}})

    assert settings_schedules.adopt(leading)
    assert celery_service.list_schedules() == [own]
    assert "its name is taken" in caplog.text


# --- The leader's duty ------------------------------------------------------------------------------------------


@pytest.fixture
def room(database: Database, monkeypatch) -> Schedules:
    """The schedules of a database of its own, for what the leader does."""
    service = SimpleNamespace(schedules=Schedules(database), tasks=TaskRecords(database), database=database)
    service.database_id = "d-1"
    for module in (fires, scheduling):
        monkeypatch.setattr(module, "parts", lambda: service)
    return service.schedules


@pytest.fixture
def lead(database: Database) -> Lead:
    return Lead("leader", Leadership(database).take("leader", "host", 1))


def add_late(database: Database, name: str, **values) -> None:
    """Let a schedule have come due some seconds ago."""
    celery_service.add_schedule(name, TASK, every=3600)
    late = datetime.now(UTC) - timedelta(seconds=5)
    columns = {"next_at": late, "anchor_at": late - timedelta(hours=1)} | values
    database.write(lambda c: c.execute(update(schedules).where(schedules.c.name == name).values(columns)))


def test_a_fire_time_is_one_task_with_an_id_made_from_both(database, room, lead):
    add_late(database, "nightly", tenant="t", kwargs={"max_age_hours": 9})
    due = room.read("nightly").next_at

    assert fires.Fires().fire(lead) is False

    schedule = room.read("nightly")
    record = TaskRecords(database).read(scheduling.fire_id("nightly", due))
    assert (schedule.last_task_id, schedule.last_fire_at) == (record.id, due)
    assert (record.name, record.category, record.kwargs) == (TASK, "cleanup", {"max_age_hours": 9})
    assert (record.origin, record.tenant) == ("schedule:nightly", "t")
    assert record.message["headers"] == {
        scheduling.FIRE_HEADER: due.isoformat(),
        DUE_HEADER: [due.isoformat(), 0.0],
    }
    fires.Fires().fire(lead)
    assert room.read("nightly") == schedule


@pytest.mark.parametrize(
    "odd",
    [
        {"task": "gone.away"},
        {"task": "email.send_bulk_emails"},
        {"crontab": "nonsense", "every_seconds": None},
        {"timezone": "Mars/Base", "crontab": "* * * * *", "every_seconds": None},
        {"every_seconds": 0.0},
    ],
    ids=range(5),
)
def test_a_schedule_that_cannot_be_fired_is_told_once_a_minute_and_holds_up_no_other(
    database, room, lead, odd, caplog, monkeypatch
):
    add_late(database, "odd", **odd, next_at=datetime(2026, 1, 1, tzinfo=UTC))
    add_late(database, "good")
    duty = fires.Fires()

    for _ in range(3):
        duty.fire(lead)

    assert room.read("good").last_task_id is not None
    assert room.read("odd").last_task_id is None
    assert caplog.text.count("schedule_failed") == 1
    monkeypatch.setattr(duty, "_silent", {"odd": 0.0})
    duty.fire(lead)
    assert caplog.text.count("schedule_failed") == 2


def test_what_the_database_refuses_of_one_schedule_is_no_others(database, room, lead, caplog, monkeypatch):
    for name in ("a", "odd", "b"):
        add_late(database, name)
    record = room.fire

    def refuse(lead, all_of_them):
        if any(fire.schedule.name == "odd" for fire in all_of_them):
            raise ValueError("no database takes it")
        return record(lead, all_of_them)

    monkeypatch.setattr(room, "fire", refuse)

    fires.Fires().fire(lead)

    assert [room.read(name).last_task_id is not None for name in ("a", "odd", "b")] == [True, False, True]
    assert "no database takes it" in caplog.text


def test_a_database_that_is_away_is_no_fault_of_a_schedule(database, room, lead, monkeypatch):
    add_late(database, "nightly")

    def away(*_):
        raise ServiceUnavailable("it does not answer")

    monkeypatch.setattr(room, "fire", away)
    duty = fires.Fires()

    with pytest.raises(ServiceUnavailable):
        duty.fire(lead)
    assert duty._silent == {}


def test_more_than_a_page_is_due_in_one_round_and_who_lost_the_lead_stops(database, room, lead, monkeypatch):
    monkeypatch.setattr(fires, "PAGE", 2)
    for number in range(5):
        add_late(database, f"s{number}")
    duty = fires.Fires()

    assert duty.fire(Lead("leader", 99)) is False
    assert [duty.fire(lead) for _ in range(3)] == [True, True, False]
    assert all(schedule.last_task_id for schedule in room.listed())


def test_many_missed_fire_times_become_tasks_in_portions(database, room, lead, monkeypatch):
    monkeypatch.setattr(fires, "TIMES_AT_ONCE", 3)
    monkeypatch.setattr(fires, "TASKS_AT_ONCE", 5)
    portions = []
    record = room.fire
    monkeypatch.setattr(
        room, "fire", lambda lead, ready: portions.append([len(one.drafts) for one in ready]) or record(lead, ready)
    )
    for number in range(3):
        late = {"catch_up": "all", "every_seconds": 1.0}
        add_late(database, f"s{number}", **late, next_at=datetime.now(UTC) - timedelta(seconds=4))
    duty = fires.Fires()

    assert duty.fire(lead) is True
    assert duty.fire(lead) in (True, False)

    assert portions[0] == [3, 3]
    assert sum(portions[1]) <= 6


def test_the_health_check_names_a_schedule_that_is_overdue(database, room):
    add_late(database, "slow")
    service = SimpleNamespace(schedules=room)
    probe = monitoring.probes(service)["schedules"]
    assert probe() == "none is overdue"

    add_late(database, "late", next_at=datetime.now(UTC) - timedelta(seconds=90))

    with pytest.raises(ServiceUnavailable, match=r"1 schedules are overdue, 'late' by \d+ s"):
        probe()


# --- Beat -------------------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch) -> list[list[str]]:
    """The commands of the processes that were started; each runs until it is terminated."""
    commands = list[list[str]]()

    class Process:
        def __init__(self, command):
            commands.append(command)
            self.ended = None

        def poll(self):
            return self.ended

        def terminate(self):
            self.ended = -signal.SIGTERM

        def wait(self, _seconds):
            return self.ended

    monkeypatch.setattr(worker_steps.subprocess, "Popen", Process)
    return commands


def test_beat_keeps_one_leader_that_stands_by_and_starts_the_next_one_when_it_ends(started):
    scheduler = beat.RecordScheduler(app=celery_app)

    for _ in range(3):
        assert scheduler.tick() == worker_steps.LEADER_CHECK_SECONDS
    assert len(started) == 1
    assert started[0][:3] == [sys.executable, "-m", "services.leader"]
    assert started[0][3].startswith("--beside=")
    scheduler._keeper._process.ended = 1
    scheduler.tick()
    assert len(started) == 2
    scheduler.close()
    assert scheduler._keeper._process.ended == -signal.SIGTERM


def test_beat_has_no_schedule_of_its_own_and_says_where_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scheduler = beat.RecordScheduler(app=celery_app, lazy=True)

    assert scheduler.schedule == {}
    assert "in the records" in scheduler.info
    assert celery_app.conf.beat_scheduler == "services.beat:RecordScheduler"
    assert list(tmp_path.iterdir()) == []


def test_a_supervised_beat_starts_no_leader_beside_the_supervisors(started):
    scheduler = beat.LeaderlessScheduler(app=celery_app)

    scheduler.tick()
    scheduler.close()

    assert started == []


def test_a_leader_that_is_busy_or_frozen_does_not_outlive_who_started_it(monkeypatch):
    monkeypatch.setattr(worker_steps, "LEADER_STOP_SECONDS", 0.1)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    keeper = worker_steps.LeaderKeeper()
    keeper._process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert keeper._process.stdout.readline() == b"deaf\n"

    try:
        keeper.stop()
        assert keeper._process.poll() == -signal.SIGKILL
    finally:
        keeper._process.kill()
        keeper._process.communicate()


def test_the_id_of_a_fire_time_is_the_same_for_every_beat_and_cannot_be_reckoned_without_the_database(monkeypatch):
    at = datetime(2026, 5, 4, 12, tzinfo=UTC)
    first = scheduling.fire_id("nightly", at)
    assert scheduling.fire_id("nightly", at) == first
    monkeypatch.setitem(parts().__dict__, "database_id", "another")
    assert scheduling.fire_id("nightly", at) != first
