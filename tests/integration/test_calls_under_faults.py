"""Phone calls while processes die, answers are lost and the broker or the database is away: nobody is called twice."""

import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import exists, func, select

from adapters.phone_simulator.callees import Callee
from adapters.phone_simulator.faults import Faults
from call_faults import ACCOUNT_LIVE, END_SECONDS, NOBODY, PERSON, CallService, calling
from calling import account, variables
from cli.chaos.processes import Processes
from config.settings import settings
from installation import Installation, Part
from lives import Life, said
from postgresql import PostgresqlServer
from processors.campaigns import ORDERS_AT_ONCE
from records.call_tables import LIVE, calls
from records.members import INSERT_ROWS, members
from records.task_records import WAITING
from records.task_records import columns as tasks
from redis_server import RedisServer, bundled
from services.celery_service import celery_service
from services.wiring import parts
from small_disks import SmallInstallation
from waiting import until
from wrong_clocks import Clock

pytestmark = pytest.mark.timeout(240)

MEMBERS = 6
LONG = Callee(rings=120.0)
"""It rings for 6 s of the machine's."""


@pytest.fixture(scope="module")
def running(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallService]:
    """To start a worker takes longer than most of these tests do."""
    with calling(CallService(installation, tmp_path_factory.mktemp("held"))) as service:
        yield service


@pytest.fixture
def service(running: CallService) -> Iterator[CallService]:
    yield running
    running.twilio.faults = Faults()
    for path in running.folder.iterdir():
        path.unlink()


POINTS = ["granted", "stored"]
"""Before an order and after it; a broker sees no difference to the others."""

OTHER_POINTS = [
    pytest.param(point, marks=pytest.mark.any_broker) for point in ("granting", "ordered", "answered", "looked")
]


@pytest.mark.parametrize("point", [*POINTS, *OTHER_POINTS])
def test_whoever_was_to_be_called_is_called_once_though_the_worker_is_killed(service: CallService, point: str):
    numbers, [single] = service.numbers(MEMBERS), service.numbers(1)
    before = service.twilio.measures.posts
    if point == "ordered":  # the provider makes the call, and its answer comes when nobody waits for it any more
        service.twilio.faults = Faults(create="late", create_times=1, late_seconds=20)
    if point == "looked":
        service.twilio.faults = Faults(lose=1.0)
    campaign_id = service.campaign(numbers, delay_seconds=1)
    single_id = celery_service.queue_outbound_call(single, ring_seconds=5, delay_seconds=1)
    if point != "ordered":
        service.hold(point)  # once both are recorded: who stands at `granting` keeps SQLite's lock
    if point == "ordered":
        until(lambda: service.twilio.measures.posts > before, what="an order is at the provider")
    else:
        service.until_held(point)
    service.kill_worker()
    service.installation.start_worker()
    service.until_over(campaign_id)
    service.until_over(single_id)

    service.check(campaign_id, numbers, {"done": MEMBERS})
    service.check_single(single_id, single)


CREATES = {
    "201 late, the call exists": Faults(create="late", late_seconds=2.0),
    "201 cut in half": Faults(create="cut"),
    "201 drips": Faults(create="drip", late_seconds=3.0),
    "500, the call exists": Faults(create="error_made"),
    "500, no call": Faults(create="error"),
    "502 with a page": Faults(create="html"),
    "connection reset, the call exists": Faults(create="reset_made"),
    "connection reset, no call": Faults(create="reset"),
    "429": Faults(create="too_many"),
    "429 with Retry-After": Faults(create="too_many_retry_after"),
}
SPOILT = 3


MADE = ("late", "cut", "drip", "error_made", "reset_made")
"""Faults after which there is a call, which tells of itself where its callbacks are not lost."""


@pytest.mark.any_broker
@pytest.mark.parametrize(
    ("fault", "told"),
    [(what, told) for what, faults in CREATES.items() for told in (False, True) if not told or faults.create in MADE],
)
def test_an_order_whose_answer_is_lost_or_bad_is_one_call(service: CallService, fault: str, told: bool):
    numbers = service.numbers(4, PERSON if told else NOBODY)
    lose = 0.0 if told else 1.0
    service.twilio.faults = Faults(**vars(CREATES[fault]) | {"create_times": SPOILT, "lose": lose})
    campaign_id = service.campaign(numbers)
    service.until_over(campaign_id)

    service.check(campaign_id, numbers, {"done" if told else "failed": 4})


@pytest.mark.any_broker
def test_a_call_that_lists_and_reads_show_late_is_found_and_not_made_again(service: CallService):
    numbers = service.numbers(4, NOBODY)
    late = Faults(create="error_made", create_times=2, lose=1.0, list_lag=3.2, fetch_missing=3.2)
    service.twilio.faults = late
    campaign_id = service.campaign(numbers)
    service.until_over(campaign_id)

    service.check(campaign_id, numbers, {"failed": 4})


def test_campaigns_of_which_there_are_more_than_slots_let_others_have_their_turn(service: CallService):
    many = [service.numbers(1, Callee(rings=300.0)) for _ in range(3)]
    ids = [service.campaign(numbers, ring_seconds=500) for numbers in many]
    for numbers in many:
        until(lambda numbers=numbers: service.calls_to(numbers), what="each campaign calls")
    [single] = service.numbers(1)
    single_id = celery_service.queue_outbound_call(single)
    until(lambda: parts().tasks.read(single_id).final, what="the single call is made")
    assert {parts().tasks.read(one).final for one in ids} == {False}, "the campaigns go on"
    for campaign_id, numbers in zip(ids, many, strict=True):
        service.until_over(campaign_id)
        service.check(campaign_id, numbers, {"done": 1})


@pytest.mark.any_broker
def test_a_provider_that_lets_calls_wait_gets_no_more_until_it_has_caught_up(service: CallService):
    numbers = service.numbers(2)
    service.twilio.faults = Faults(queue_seconds=2.5)
    campaign_id = service.campaign(numbers, delay_between_calls=1)
    service.until_over(campaign_id)

    service.check(campaign_id, numbers, {"done": 2})
    first, second = service.attempts(campaign_id)
    assert (first["queue_seconds"], second["queue_seconds"]) == (2.5, 2.5)
    assert (second["sending_at"] - first["placed_at"]).total_seconds() >= 2.4


@pytest.mark.any_broker
def test_a_login_that_is_refused_in_mid_campaign_pauses_it_and_costs_no_member(service: CallService):
    numbers = service.numbers(12)
    campaign_id = service.campaign(numbers, delay_between_calls=0.1)
    until(lambda: service.calls_to(numbers), what="calls are made")
    service.twilio.faults = Faults(login_refused=True)
    until(lambda: parts().task_pauses.paused(campaign_id), what="the campaign is paused")
    service.twilio.faults = Faults()
    assert 1 <= len(untaken(service, campaign_id)) <= ORDERS_AT_ONCE
    assert celery_service.resume_campaign(campaign_id)
    service.until_over(campaign_id)

    service.check(campaign_id, numbers, {"done": 12})


@pytest.mark.any_broker
@pytest.mark.slow
def test_a_service_that_starts_anew_with_all_calls_live_that_its_account_may_have_takes_them_up(service: CallService):
    live, later = service.numbers(ACCOUNT_LIVE, LONG), service.numbers(4)
    service.twilio.faults = Faults(lose=0.5)
    campaign_id = service.campaign(live + later, max_concurrent_calls=ACCOUNT_LIVE + 4, ring_seconds=400)
    until(lambda: untaken(service, campaign_id), what="the account takes no more")
    assert all(call.status != "completed" for call in service.calls_to(live))
    service.kill_worker()
    service.installation.leader.kill()
    service.installation.leader.start()
    service.installation.start_worker()
    service.until_over(campaign_id)

    service.check(campaign_id, live + later, {"done": ACCOUNT_LIVE + 4})
    assert all("10004" in row["error"] for row in untaken(service, campaign_id))
    assert service.twilio.measures.live_most == ACCOUNT_LIVE


def untaken(service: CallService, campaign_id: str) -> list[Mapping[str, Any]]:
    return [row for row in service.attempts(campaign_id) if row["state"] == "not_taken"]


SUBMIT_HALF = """
import sys, time
from pathlib import Path
from records import members
from services.celery_service import celery_service
first, count, held = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
insert, pages = members.insert, []

def page(table):
    pages.append(1)
    if len(pages) == 3:  # two are written, and with SQLite committed
        held.touch()
        time.sleep(600)
    return insert(table)

members.insert = page
celery_service.queue_bulk_calls([f"+1{first + at}" for at in range(count)], delay_between_calls=0)
"""


@pytest.mark.any_broker
def test_a_campaign_whose_submit_dies_in_the_middle_of_its_pages_leaves_nothing_and_calls_nobody(
    service: CallService, tmp_path: Path
):
    first, count = 5559000000, 3 * INSERT_ROWS + 1
    c = members.c
    orphans = select(func.count(c.task_id)).where(~exists().where(tasks.id == c.task_id))
    campaigns = select(func.count(tasks.id)).where(tasks.name == "twilio_calls.queue_bulk_calls")

    def counted(query: Any) -> int:
        return parts().database.read(lambda connection: connection.execute(query).scalar_one())

    before, held = counted(campaigns), tmp_path / "held"
    command = [sys.executable, "-c", SUBMIT_HALF, str(first), str(count), str(held)]
    program = Part("submit", command, tmp_path / "submit.txt")
    program.start()
    until(held.exists, what="it is in the middle of its pages")
    program.kill()
    assert counted(orphans) == (2 * INSERT_ROWS if parts().database.is_sqlite else 0)
    other = service.campaign([f"+1{first}"])
    service.until_over(other)
    assert counted(campaigns) == before + 1
    for _ in range(2):  # as the leader does each day
        parts().members.prune()
    assert counted(orphans) == 0
    rung = {call.plan.to for call in service.twilio.calls if call.plan.to.startswith("+15559")}
    assert rung == {f"+1{first}"}
    service.check(other, [f"+1{first}"], {"done": 1})


@pytest.mark.parametrize("how", [pytest.param("flushed", marks=pytest.mark.any_broker), "killed with its data"])
def test_a_broker_that_forgets_everything_in_mid_campaign_costs_no_call(service: CallService, how: str):
    numbers = service.numbers(12)
    campaign_id = service.campaign(numbers, delay_between_calls=0.1)
    until(lambda: len(service.calls_to(numbers)) >= 3, what="calls are made")
    [step] = steps_of(campaign_id)
    service.kill_worker()
    # It waits as RETRY where it had just left its slot to others when its worker was killed.
    until(lambda: (one := parts().tasks.read(step)).state in WAITING and one.published_at, what="it is at the broker")
    broker = service.installation.broker
    if how == "flushed":
        with closing(broker._client()) as client:
            client.flushall()
    else:
        broker.lose_data()
        broker.start()
    service.installation.start_worker()
    service.until_over(campaign_id)

    service.check(campaign_id, numbers, {"done": 12})


def test_messages_that_come_several_times_at_once_and_late_make_no_second_call(service: CallService):
    numbers, [single] = service.numbers(10), service.numbers(1)
    service.hold("answered")
    single_id = celery_service.queue_outbound_call(single)
    campaign_id = service.campaign(numbers, delay_between_calls=0.1)
    service.until_held("answered")
    ids = [single_id, *steps_of(campaign_id)]
    publish_thrice(ids)
    service.let_go("answered")
    service.until_over(campaign_id)
    service.until_over(single_id)
    publish_thrice(ids)
    last = celery_service.queue_outbound_call(service.numbers(1)[0])
    service.until_over(last)  # its message was behind those

    service.check(campaign_id, numbers, {"done": 10})
    service.check_single(single_id, single)


def steps_of(campaign_id: str) -> list[str]:
    query = select(tasks.id).where(tasks.parent_id == campaign_id)
    return list(parts().database.read(lambda c: c.execute(query).scalars().all()))


def publish_thrice(ids: list[str]) -> None:
    records = [record for one in ids if (record := parts().tasks.read(one)) is not None]
    assert records
    for _ in range(3):
        parts().publisher.publish(records)


@pytest.mark.any_broker
def test_another_leader_goes_on_where_one_dies_and_two_ask_no_more_than_one(service: CallService):
    numbers = service.numbers(8, Callee(rings=60.0))
    service.twilio.faults = Faults(lose=1.0, create="error_made", create_times=2)
    leader = service.installation.leader
    second = Part("leader2", leader.command, leader.log.with_name("leader2.txt"), leader.variables)
    second.start()
    try:
        campaign_id = service.campaign(numbers, ring_seconds=400)
        until(lambda: len(service.calls_to(numbers)) == 8, what="all are called")
        leader.kill()
        service.until_over(campaign_id)
    finally:
        leader.start()
        second.kill()

    service.check(campaign_id, numbers, {"done": 8})


@pytest.mark.any_broker
def test_a_task_that_is_told_to_end_in_its_order_leaves_a_call_that_is_known(service: CallService):
    [number] = service.numbers(1)
    service.hold("answered")
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    task_id = celery_service.schedule_call(number, schedule_time=soon)  # its soft time limit is a second here
    service.until_held("answered")
    service.until_over(task_id)

    service.check_single(task_id, number)
    assert not (service.folder / "answered.go").exists()


@pytest.mark.any_broker
@pytest.mark.slow
def test_a_database_that_is_gone_between_the_order_and_its_storing_makes_no_second_call(service: CallService):
    if not parts().database.is_sqlite:
        pytest.skip("holds SQLite's lock")
    worker, numbers = service.installation.worker, service.numbers(3)
    away = worker.count("database_away")
    service.hold("answered")
    campaign_id = service.campaign(numbers)
    service.until_held("answered")
    with closing(sqlite3.connect(settings.data_dir / "records.db", isolation_level=None, timeout=30)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        service.let_go("answered")
        until(lambda: worker.count("database_away") > away, what="nothing can be written")
    service.until_over(campaign_id)

    service.check(campaign_id, numbers, {"done": 3})


@pytest.mark.any_broker
def test_a_campaign_that_is_paused_in_a_burst_makes_no_call_until_it_goes_on(service: CallService):
    numbers = service.numbers(40)
    campaign_id = service.campaign(numbers, delay_between_calls=0.05)
    until(lambda: len(service.calls_to(numbers)) >= 5, what="calls are made")
    assert celery_service.pause_campaign(campaign_id)
    kept = len(service.attempts(campaign_id))
    until(lambda: not any(row["state"] in LIVE for row in service.attempts(campaign_id)), what="live calls have ended")
    assert len(service.attempts(campaign_id)) == len(service.calls_to(numbers)) == kept < len(numbers)
    assert celery_service.resume_campaign(campaign_id)
    service.until_over(campaign_id)

    service.check(campaign_id, numbers, {"done": 40})


@pytest.mark.any_broker
def test_a_campaign_that_is_cancelled_while_nobody_knows_of_a_call_ends_that_call(service: CallService):
    numbers = service.numbers(1, Callee(rings=590.0))
    service.twilio.faults = Faults(create="error_made", lose=1.0)
    campaign_id = service.campaign(numbers, ring_seconds=600)
    until(lambda: [row["state"] for row in service.attempts(campaign_id)] == ["unknown"], what="it is not known")
    assert celery_service.cancel_campaign(campaign_id)
    service.until_over(campaign_id)

    [call] = service.calls_to(numbers)
    assert (call.status, call.answered_at) == ("canceled", None)
    service.check(campaign_id, numbers, {"cancelled": 1})


@pytest.mark.any_broker
def test_who_opts_out_while_it_rings_hears_nothing_and_is_called_by_nobody_else(service: CallService):
    [number] = service.numbers(1, Callee(rings=60.0))
    campaign_id = service.campaign([number], ring_seconds=400)
    [call] = until(lambda: service.calls_to([number]), what="it is called")
    until(lambda: call.status == "ringing", what="it rings")
    assert celery_service.add_opt_out(number)
    other_id = service.campaign([number])
    service.until_over(campaign_id)
    service.until_over(other_id)

    assert [what for _, what in call.history if what.startswith("hears")] == ["hears Hangup"]
    assert service.twilio.measures.rung[number] == 1
    assert celery_service.get_campaign(other_id)["counts"] == {"opted_out": 1}


def unheard(service: CallService) -> dict[str, str]:
    """Return the variables of who calls by a service's simulator, and takes no webhooks."""
    return variables(account(twilio_base_url=service.twilio.url, webhook_base_url="http://127.0.0.1:9"))


@pytest.fixture
def elsewhere(tmp_path: Path, running: CallService) -> Iterator[tuple[Life, dict[str, str]]]:
    """An installation with PostgreSQL, and the variables of its processes; nobody takes its webhooks."""
    with ExitStack() as stack:
        redis = RedisServer(bundled()).start()
        stack.callback(redis.stop)
        server = PostgresqlServer()
        server.start()
        stack.callback(server.stop)
        life = Life(tmp_path, stack.enter_context(Processes(tmp_path)), redis.url, server.fresh_database())
        stack.callback(life.close)
        yield life, unheard(running) | {"HELD_CALLS": str(tmp_path)}


SUBMIT = """
import json, sys
from services.celery_service import celery_service
numbers, hours = json.loads(sys.argv[1])
print(celery_service.queue_bulk_calls(numbers, delay_between_calls=0, calling_hours=hours))
"""
BERLIN = ZoneInfo("Europe/Berlin")


def in_berlin(minutes: int) -> str:
    return (datetime.now(BERLIN) + timedelta(minutes=minutes)).strftime("%H:%M")


@pytest.mark.any_broker
@pytest.mark.services
def test_calling_hours_go_by_the_clock_of_the_database_whatever_that_of_the_worker_shows(
    elsewhere: tuple[Life, dict[str, str]], running: CallService, tmp_path: Path
):
    life, given = elsewhere
    clock = Clock(tmp_path / "clock", -300)
    life.leader(**given)
    worker = life.worker(options=["-I", "held_calls"], **given, **clock.variables)
    life.until_ready(worker)
    open_now, open_later = ["+4930123450001"], ["+4930123450002"]

    def submit(numbers: list[str], start: int, end: int) -> None:
        wanted = json.dumps([numbers, {"start": in_berlin(start), "end": in_berlin(end)}])
        done = life.start(f"submit{start}", [sys.executable, "-c", SUBMIT, wanted], **given)
        until(lambda: not done.alive(), what="it is submitted")
        assert done.ended_well(), done.last_words()

    def states(number: str) -> list[tuple[str, str]]:
        query = select(calls.c.state, calls.c.reason).where(calls.c.to_number == number)
        return [tuple(row) for row in life.database.read(lambda c: c.execute(query).all())]

    submit(open_now, -2, 240)  # by the worker's clock they have not begun
    until(lambda: running.calls_to(open_now), what="who may be called now is called")
    clock.set(+300)
    submit(open_later, 4, 240)  # by the worker's clock they have begun
    until(lambda: states(open_later[0]), what="the campaign has taken its member up")

    assert states(open_later[0]) == [("waiting", "waits for its calling hours")]
    until(lambda: states(open_now[0])[0][0] not in {"waiting", "dialing"}, what="the first call is over")
    assert states(open_later[0]) == [("waiting", "waits for its calling hours")]
    assert running.calls_to(open_later) == []
    assert running.twilio.measures.rung[open_now[0]] == 1


@pytest.fixture
def small(tmp_path: Path, running: CallService) -> Iterator[SmallInstallation]:
    """An installation whose records have a small disk; nobody takes its webhooks."""
    with ExitStack() as stack:
        yield SmallInstallation(tmp_path, stack, ["-I", "held_calls"], HELD_CALLS=str(tmp_path), **unheard(running))


SUBMIT_MANY = """
import json, sys
from services.celery_service import celery_service
print(celery_service.queue_bulk_calls(json.loads(sys.argv[1]), delay_between_calls=0.1, max_concurrent_calls=20))
"""
REPORT = """
import json, sys
from sqlalchemy import exists, func, select
from records.call_tables import call_attempts
from services.celery_service import celery_service
from services.wiring import parts
c = call_attempts.c
rows = parts().database.read(lambda connection: connection.execute(select(c.id, c.call_sid, c.state)).all())
print(json.dumps([celery_service.get_campaign(sys.argv[1])["counts"], [list(row) for row in rows]]))
"""


@pytest.mark.any_broker
def test_a_campaign_whose_records_have_no_room_for_a_while_calls_everybody_once_and_ends(
    small: SmallInstallation, running: CallService
):
    numbers, measures = running.numbers(30), running.twilio.measures
    before = set(measures.posts_by_attempt)
    campaign_id = small.run("submit", SUBMIT_MANY, json.dumps(numbers))
    until(lambda: len(running.calls_to(numbers)) >= 5, what="calls are made")
    small.pragma("wal_checkpoint(TRUNCATE)")  # what SQLite had room for already would still be written
    with small.disks.full(small.folders["records"]):
        until(lambda: said(small.worker, "make room on its disk"), what="nothing can be written")
        until(lambda: all(call.ended for call in running.calls_to(numbers)), what="what was ordered is over")
        assert len(running.calls_to(numbers)) < len(numbers)
    until(lambda: small.states([campaign_id]) == ["SUCCESS"], END_SECONDS, "the campaign has ended", every=0.5)

    counts, attempts = json.loads(small.run("report", REPORT, campaign_id))
    assert counts == {"done": len(numbers)}
    assert {measures.rung[number] for number in numbers} == {1}
    assert {measures.posts_by_attempt[one] for one, _, _ in attempts} <= {0, 1}
    assert set(measures.posts_by_attempt) - before <= {one for one, _, _ in attempts}, "no order without its attempt"
    made = {call.plan.attempt: call.sid for call in running.calls_to(numbers)}
    assert {one: sid for one, sid, _ in attempts if sid} == made
    assert {state for _, _, state in attempts}.isdisjoint(LIVE)
    assert small.check_records() == "ok"
