"""The count of chaos sees a loss, a duplicate and a late one; a tool that cannot see a loss proves nothing."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.chaos.installation import Installation
from cli.chaos.lead import LeadWatch
from cli.chaos.ledger import Ledger
from cli.chaos.outcome import Outcome, judge
from cli.chaos.plan import AppendOnly, Broker, Done, Fault, Plan, Pool, Transport, fault_kinds
from cli.chaos.processes import Processes
from cli.chaos.report import print_table
from cli.chaos.told import QUARANTINED, UNKNOWN, Records, Told
from cli.commands import chaos as command
from cli.main import new_root
from processors.errors import InvalidArgument
from processors.interfaces import Run
from records.effects import EffectRecords
from records.leadership import Leader
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers
from services.chaos.effects import TASK_NAME
from services.chaos.journal import Event, Kind, parse, tells
from services.chaos.numbers import can_be_looked_up, delay_of, effect_key, has_effect, lingers, number_of
from waiting import until

WORKER, OTHER, PUBLISHER = 10, 20, 30
ADDED = datetime(2026, 1, 2, 3, 4, 3, 900_000, UTC)
SECOND = "2026-01-02T03:04:05.900000+00:00"
PLAIN = Plan(seed=1, tasks=3, kills=1, records=False)
RECORDED = Plan(seed=1, tasks=3, kills=1)
PLAIN_ONE, DELAYED, LOOKED_UP, BLIND, OTHER_BLIND = 1, 7, 8, 4, 12
"""A task with nothing about it, one with a delay, one whose effect can be looked up, and two whose effects cannot."""


def ledger(*events: Event) -> Ledger:
    found = Ledger(Path("/nowhere"))
    for event in events:
        found.add(event)
    return found


def accepted(*numbers: int, at: float = 0.0) -> list[Event]:
    kinds = (Kind.SENT, Kind.ACCEPTED)
    return [Event(kind, number, 0, at, PUBLISHER, PUBLISHER) for number in numbers for kind in kinds]


def run(number: int, *, at: float, main: int = WORKER, run: int = 0, until: Kind = Kind.FINISHED) -> list[Event]:
    """What a worker writes about one run, as far as it got."""
    kinds = [Kind.RECEIVED, Kind.STARTED, Kind.DONE, Kind.FINISHED]
    kinds = kinds[: kinds.index(until) + 1]
    return [Event(kind, number, run, at + step / 100, main, main + 1) for step, kind in enumerate(kinds)]


ONE_DONE = [*accepted(1), *run(1, at=1)]


def judged(plan: Plan, events: list[Event], done: tuple[Done, ...] = (), **told) -> Outcome:
    """Judge a run of just these tasks."""
    found = ledger(*events)
    of_these = replace(plan, tasks=max(plan.kills, len(found.accepted)))
    return judge(of_these, found, done, told=Told(**told), ended_by_themselves=[], seconds=1.0)


def test_an_accepted_task_without_an_effect_is_lost_and_named():
    found = judged(PLAIN, [*accepted(1, 2, 3), *run(1, at=1), *run(3, at=1)])
    assert (found.accepted, found.done, found.lost) == (3, 2, [2])
    assert found.problems == ["1 accepted tasks were lost: 2."]


@pytest.fixture
def handlers() -> Iterator[None]:
    """Let the handlers of signals be afterwards what they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("kept", "code"), [((1, 2), 0), ((1,), 1)])
@pytest.mark.usefixtures("handlers")
def test_the_command_fails_on_a_loss(monkeypatch, kept: tuple[int, ...], code: int):
    events = [*accepted(1, 2), *[event for number in kept for event in run(number, at=1)]]
    monkeypatch.setattr(command, "_run", lambda _plan, *, keep: judged(PLAIN, events))
    root = new_root()
    root.callback()(lambda: None)
    command.register(root)
    done = CliRunner().invoke(root, ["chaos", "--no-records"])
    assert (done.exit_code, "1 accepted tasks were lost: 2." in done.output) == (code, bool(code))


def test_a_start_without_its_end_is_no_effect():
    assert judged(PLAIN, [*accepted(1), *run(1, at=1, until=Kind.STARTED)]).lost == [1]


def test_what_a_killed_publisher_had_not_confirmed_is_never_lost():
    sent = [Event(Kind.SENT, number, 0, 0, PUBLISHER, PUBLISHER) for number in (1, 2)]
    found = judged(PLAIN, [*sent, *run(2, at=1), *accepted(3), *run(3, at=1)])
    assert (found.accepted, found.lost, found.unconfirmed, found.unconfirmed_done) == (1, [], 2, 1)
    assert found.problems == []


def test_an_effect_that_nobody_sent_is_told():
    assert judged(PLAIN, [*ONE_DONE, *run(9, at=1)]).problems == ["1 effects are of tasks that were never sent."]


def test_an_effect_too_many_is_counted_and_compared_with_what_the_faults_explain():
    events = [*accepted(1), *run(1, at=1), *run(1, at=2, main=OTHER)]
    kill = Done(Fault.WORKER, 1.5, main=WORKER)
    assert judged(PLAIN, events).problems == ["1 effects were one too many; the faults explain 0."]
    explained = judged(PLAIN, events, (kill,))
    assert (explained.duplicated, explained.per_kill, explained.most_duplicates) == (1, 1.0, 2 + 64)
    assert explained.problems == []


def test_a_killed_publisher_explains_no_second_effect():
    events = [*accepted(1), *run(1, at=1), *run(1, at=2)]
    assert judged(PLAIN, events, (Done(Fault.PUBLISHER, 1.5),)).most_duplicates == 0


def test_the_worst_wait_of_a_dead_workers_task_is_told_and_has_a_bound():
    kill = Done(Fault.WORKER, 2.0, main=WORKER)
    events = [
        *accepted(1, 2),
        *run(1, at=1, until=Kind.STARTED),
        *run(2, at=1, until=Kind.RECEIVED),
        *run(1, at=5, main=OTHER),
        *run(2, at=12.5, main=OTHER),
    ]
    found = judged(PLAIN, events, (kill,))
    assert (found.in_hand, found.late) == (2, pytest.approx(10.51))
    assert found.problems == ["Task 2, in hand at the worker fault of 2.00, waited 10.5 s; 10 s are promised."]


def test_the_time_in_which_no_broker_answered_makes_nobody_late():
    kill = Done(Fault.WORKER, 2.0, main=WORKER)
    before, meanwhile = Done(Fault.BROKER, 1.0, away=1.5), Done(Fault.BROKER, 5.0, away=4.0)
    events = [*accepted(1), *run(1, at=0.5, until=Kind.STARTED), *run(1, at=14.25, main=OTHER)]
    found = judged(PLAIN, events, (before, kill, meanwhile))
    assert (found.late, found.away) == (pytest.approx(12.26 - 0.5 - 4.0), 5.5)


def test_a_task_whose_next_worker_was_hit_too_may_wait_once_more():
    kills = [Done(Fault.WORKER, 2.0, main=WORKER), Done(Fault.FREEZE, 6.0, main=OTHER), Done(Fault.WORKER, 30.0)]
    events = [*accepted(1), *run(1, at=1, until=Kind.STARTED), *run(1, at=18.0, main=OTHER)]
    found = judged(PLAIN, events, tuple(kills))
    assert (found.late, found.longest) == (pytest.approx(12.01), pytest.approx(16.01))


def test_what_was_received_again_and_not_begun_waits_still():
    kill = Done(Fault.WORKER, 2.0, main=WORKER)
    events = [*accepted(1), *run(1, at=1, until=Kind.STARTED), Event(Kind.RECEIVED, 1, 0, 3.0, OTHER, OTHER)]
    events += [Event(Kind.STARTED, 1, 0, 11.0, OTHER, OTHER + 1), Event(Kind.DONE, 1, 0, 11.1, OTHER, OTHER + 1)]
    assert judged(PLAIN, events, (kill,)).late == pytest.approx(9.0)


@pytest.mark.parametrize(("accepted_tasks", "tasks", "right"), [(3, 53, True), (3, 54, False), (0, 9, False)])
def test_a_run_of_which_fewer_were_accepted_than_the_faults_explain_is_told(accepted_tasks, tasks, right):
    numbers = range(1, accepted_tasks + 1)
    found = ledger(*accepted(*numbers), *[event for number in numbers for event in run(number, at=1)])
    faults = (Done(Fault.PUBLISHER, 0.5),)
    plan = Plan(seed=1, tasks=tasks, kills=1, records=False)
    outcome = judge(plan, found, faults, told=Told(), ended_by_themselves=[], seconds=1.0)
    wrong = f"{accepted_tasks} of {tasks} were accepted, fewer than the faults explain."
    assert outcome.problems == ([] if right else [wrong])


def test_more_quarantined_tasks_than_the_faults_explain_are_told():
    kills = [Done(Fault.WORKER, at, main=WORKER) for at in (1.0, 2.0, 3.0)]
    for numbers, wrong in (
        ((1, 2), []),
        ((1, 2, 3), ["3 were quarantined, more than the faults explain: 1, 2, 3."]),
    ):
        plan = Plan(seed=1, tasks=3, kills=3)
        found = judge(
            plan,
            ledger(*accepted(1, 2, 3), *[one for n in {1, 2, 3} - {*numbers} for one in run(n, at=1)]),
            kills,
            told=Told(quarantined={*numbers}),
            ended_by_themselves=[],
            seconds=1.0,
        )
        assert found.problems == wrong


def test_faults_that_all_hit_somebody_at_rest_prove_nothing():
    rest, work = (Done(Fault.WORKER, 2.0, main=WORKER, at_work=at_work) for at_work in (False, True))
    assert judged(PLAIN, ONE_DONE, (rest,)).problems == ["Each fault hit somebody at rest, and proves nothing."]
    assert judged(PLAIN, ONE_DONE, (rest, work)).problems == []


def test_killed_workers_explain_no_batch_that_was_not_accepted():
    plan = Plan(seed=1, tasks=50, kills=1, records=False)
    found = judge(
        plan,
        ledger(*ONE_DONE),
        (Done(Fault.WORKER, 2.0, main=WORKER),),
        told=Told(),
        ended_by_themselves=[],
        seconds=1.0,
    )
    assert found.problems == ["1 of 50 were accepted, fewer than the faults explain."]


def test_what_somebody_had_done_before_the_kill_is_not_in_the_dead_workers_hand():
    kill = Done(Fault.WORKER, 3.0, main=WORKER)
    events = [*accepted(1), *run(1, at=1, until=Kind.RECEIVED), *run(1, at=2, main=OTHER)]
    assert judged(PLAIN, events, (kill,)).in_hand == 0


def test_what_a_worker_received_and_passed_over_was_not_in_its_hand():
    kill = Done(Fault.FREEZE, 3.0, main=WORKER)
    copy, waits = run(1, at=1, until=Kind.RECEIVED), run(3, at=2.9, until=Kind.RECEIVED)
    events = [*accepted(1, 2, 3), *copy, *run(2, at=2), *waits, *run(1, at=15, main=OTHER), *run(3, at=11, main=OTHER)]
    found = judged(PLAIN, events, (kill,))
    assert (found.in_hand, found.late) == (1, pytest.approx(8.01))


def test_only_the_killed_process_of_a_pool_had_its_task_in_hand():
    kill = Done(Fault.CHILD, 2.0, pid=WORKER + 1)
    started = Event(Kind.STARTED, 1, 0, 1, WORKER, WORKER + 1)
    neighbour = Event(Kind.STARTED, 2, 0, 1, WORKER, WORKER + 2)
    again = Event(Kind.STARTED, 1, 0, 4, WORKER, WORKER + 2)
    found = judged(PLAIN, [*accepted(1, 2), started, neighbour, again], (kill,))
    assert (found.in_hand, found.late) == (1, pytest.approx(2.0))


def test_a_broker_that_lost_the_message_that_was_given_back_begins_the_time_anew():
    events = [*accepted(1), *run(1, at=1, until=Kind.STARTED), *run(1, at=17, main=OTHER)]
    kill, lost = Done(Fault.WORKER, 2.0, main=WORKER), Done(Fault.BROKER_DATA, 10.0, away=1.0)
    assert judged(RECORDED, events, (kill, lost)).late == pytest.approx(8.0)


def test_a_frozen_worker_that_ends_its_task_by_itself_was_late_too():
    freeze = Done(Fault.FREEZE, 2.0, main=WORKER)
    end = Event(Kind.DONE, 1, 0, 14.0, WORKER, WORKER + 1)
    assert judged(PLAIN, [*accepted(1), *run(1, at=1, until=Kind.STARTED), end], (freeze,)).late == pytest.approx(12.0)


def test_a_later_run_after_a_recorded_success_is_told():
    events = [*accepted(1), *run(1, at=1, run=1), *run(1, at=2, run=2, main=OTHER)]
    found = judged(RECORDED, events)
    assert found.again_after_finish == [1]
    assert found.problems == ["1 tasks ran again after their success was recorded."]


def test_an_older_run_that_wakes_up_after_a_newer_ones_success_is_no_second_start():
    frozen = [Event(Kind.STARTED, 1, 1, 9.0, WORKER, WORKER + 1), Event(Kind.DONE, 1, 1, 9.1, WORKER, WORKER + 1)]
    found = judged(RECORDED, [*accepted(1), *run(1, at=5, run=2, main=OTHER), *frozen])
    assert (found.duplicated, found.again_after_finish, found.problems) == (1, [], [])


def test_a_record_without_an_end_is_told_and_a_quarantined_task_is_not_lost():
    kills = tuple(Done(Fault.WORKER, at, main=OTHER) for at in (2.0, 3.0, 4.0))
    found = judged(RECORDED, [*accepted(1, 2), *run(1, at=1)], kills, quarantined={2}, unfinished={1})
    assert (found.lost, found.quarantined, found.unfinished) == ([], [2], [1])
    assert found.problems == ["1 tasks had their effect, and their record has no end."]


def test_an_effect_that_happened_twice_is_told_and_a_plain_task_may_be_done_again():
    events = [
        *accepted(PLAIN_ONE, LOOKED_UP),
        *run(PLAIN_ONE, at=1, run=1, until=Kind.DONE),
        *run(PLAIN_ONE, at=2, run=2, main=OTHER),
        *run(LOOKED_UP, at=1, run=1, until=Kind.DONE),
        *run(LOOKED_UP, at=2, run=2, main=OTHER),
    ]
    found = judged(RECORDED, events)
    assert (found.effects.count, found.effects.twice) == (1, [LOOKED_UP])
    assert found.problems == [f"1 effects happened more than once: {LOOKED_UP}."]


def test_an_effect_of_which_nobody_knows_is_neither_lost_nor_wrong_where_it_is_listed():
    events = [*accepted(BLIND, OTHER_BLIND), *run(BLIND, at=1, until=Kind.DONE)]
    both = {BLIND, OTHER_BLIND}
    found = judged(RECORDED, events, unknown=both, listed=both)
    assert (found.effects.listed, found.lost, found.done, found.problems) == ([BLIND, OTHER_BLIND], [], 1, [])


def test_an_unknown_effect_that_is_not_listed_is_told():
    events = [*accepted(BLIND, OTHER_BLIND), *run(BLIND, at=1, until=Kind.DONE)]
    found = judged(RECORDED, events, unknown={BLIND, OTHER_BLIND}, listed=set())
    assert found.lost == [OTHER_BLIND]
    assert found.problems == [
        f"1 accepted tasks were lost: {OTHER_BLIND}.",
        f"2 tasks failed as unknown, and get_effects_in_doubt does not list their effect: {BLIND}, {OTHER_BLIND}.",
    ]


def test_an_effect_that_could_have_been_looked_up_and_one_that_is_known_must_not_be_unknown():
    events = [*accepted(LOOKED_UP, BLIND), *run(LOOKED_UP, at=1, until=Kind.DONE), *run(BLIND, at=1)]
    assert judged(RECORDED, events, unknown={LOOKED_UP}, listed={LOOKED_UP, BLIND}).problems == [
        f"1 effects were given up as unknown although there is a look-up: {LOOKED_UP}.",
        f"1 effects are listed as unknown, and their tasks' records say SUCCESS: {BLIND}.",
    ]


def test_a_run_that_left_its_effect_in_doubt_has_it_not_in_hand():
    kill = Done(Fault.WORKER, 2.0, main=WORKER)
    left = Event(Kind.LEFT, BLIND, 2, 1.5, WORKER, WORKER + 1)
    events = [*accepted(BLIND), *run(BLIND, at=1, run=2, until=Kind.STARTED), left]
    assert judged(RECORDED, events, (kill,)).in_hand == 0
    assert ledger(*events).running[WORKER] == set()
    assert ledger(*events).missing() == {BLIND}
    again = Event(Kind.RECEIVED, BLIND, 0, 1.8, WORKER, WORKER)
    assert judged(RECORDED, [*events, again], (kill,)).in_hand == 1


def test_a_delayed_task_that_begins_before_it_is_due_is_told():
    delay = delay_of(DELAYED)
    early = [*accepted(DELAYED, at=1), *run(DELAYED, at=1 + delay - 0.1)]
    found = judged(RECORDED, early)
    assert (found.delays.count, found.delays.early) == (1, [DELAYED])
    assert found.problems == [f"1 tasks began before they were due: {DELAYED}."]
    sent = Event(Kind.SENT, DELAYED, 0, 1, PUBLISHER, PUBLISHER)
    assert judged(RECORDED, [sent, *early[2:]]).delays.early == [DELAYED], "also where a killed publisher sent it"
    assert judged(RECORDED, [*accepted(DELAYED, at=1), *run(DELAYED, at=1.01 + delay)]).problems == []


def test_the_lateness_of_a_delayed_task_counts_where_no_fault_has_touched_it():
    began = 1.25 + delay_of(DELAYED)
    events = [*accepted(DELAYED, at=1), *run(DELAYED, at=began - 0.01)]
    assert judged(RECORDED, events).delays.late == [pytest.approx(0.25)]
    assert judged(RECORDED, events, (Done(Fault.PUBLISHER, began - 0.1),)).delays.lateness == "0.25 s, 0.25 s (of 1)"
    for fault in (Done(Fault.WORKER, began - 0.1), Done(Fault.WORKER, -8.9), Done(Fault.BROKER, -9.5, away=1.0)):
        assert judged(RECORDED, events, (fault,)).delays.lateness == "-"
    for fault in (Done(Fault.WORKER, began + 0.1), Done(Fault.WORKER, -9.1)):
        assert len(judged(RECORDED, events, (fault,)).delays.late) == 1


def fired(*fires: tuple[int, float], task: str = "t") -> list[Event]:
    """What workers write about tasks of schedules: seconds from fire to fire, and from the start to the fire time."""
    return [
        Event(
            Kind.FIRED, every, 1, 5.0, WORKER, WORKER + 1, ((ADDED + timedelta(seconds=at)).isoformat(), f"{task}{at}")
        )
        for every, at in fires
    ]


def schedules(one: float | None, two: float | None) -> dict:
    """What the records say about the schedules of every second and every other: their last fire times."""
    return {
        every: (ADDED, None if last is None else ADDED + timedelta(seconds=last))
        for every, last in ((1, one), (2, two))
    }


def test_a_fire_time_that_is_left_out_is_told():
    whole = fired((1, 1), (1, 2), (1, 3), (2, 2))
    told = {"schedules": schedules(one=3, two=3)}
    found = judged(RECORDED, [*ONE_DONE, *whole], **told)
    assert (found.schedules.count, found.schedules.leaderless, found.problems) == (4, None, [])
    assert judged(RECORDED, [*ONE_DONE, *fired((1, 1), (1, 3))], **told).problems == [
        f"2 fire times of schedules were left out: {SECOND} (every 1 s), {SECOND} (every 2 s)."
    ]


def test_a_fire_time_with_two_tasks_is_told_and_one_task_may_run_again():
    told = {"schedules": schedules(one=2, two=2)}
    events = [*ONE_DONE, *fired((1, 1), (1, 2), (2, 2))]
    assert judged(RECORDED, [*events, *fired((1, 1))], **told).problems == []
    assert judged(RECORDED, [*events, *fired((1, 1), task="u")], **told).problems == [
        "1 fire times of schedules became more than one task: 2026-01-02T03:04:04.900000+00:00 (every 1 s)."
    ]


def test_a_task_of_no_fire_time_and_a_schedule_that_never_fires_are_told():
    found = judged(RECORDED, [*ONE_DONE, *fired((1, 1), (1, 1.5))], schedules=schedules(one=1, two=None))
    assert found.problems == [
        "The schedule of every 2 s never fired.",
        "1 tasks of schedules are of no fire time: 2026-01-02T03:04:05.400000+00:00 (every 1 s).",
    ]


def test_the_longest_time_without_a_leader_leaves_out_that_in_which_nobody_could_lead():
    gaps = [(1.0, 6.5), (10.0, 22.0), (30.0, 34.0)]
    found = judge(RECORDED, ledger(), (), told=Told(), ended_by_themselves=[], seconds=1.0, gaps=gaps)
    assert found.schedules.leaderless == 12.0
    faults = (Done(Fault.FREEZE, 9.0, away=12.0), Done(Fault.BROKER, 1.0, away=5.0))
    found = judge(RECORDED, ledger(), faults, told=Told(), ended_by_themselves=[], seconds=1.0, gaps=gaps)
    assert found.schedules.leaderless == 5.5


def test_the_time_between_two_terms_is_noted_and_no_renewal_is(monkeypatch):
    def leader(term: int, second: int) -> Leader:
        return Leader("holder", "host", 1, term, ADDED + timedelta(seconds=second), yields=False)

    seen = [leader(1, 0), leader(1, 3), None, leader(2, 8), leader(2, 20)]
    clock = iter(range(100, 200, 10))
    monkeypatch.setattr("cli.chaos.lead.time.monotonic", lambda: next(clock))
    watch = LeadWatch(iter(seen).__next__)
    for _ in seen:
        watch.look()
    assert watch.gaps == [(125.0, 130)]


def test_without_records_nothing_is_said_of_effects_and_delays(capsys):
    plain = judged(PLAIN, [*accepted(DELAYED, BLIND), *run(DELAYED, at=0.1), *run(BLIND, at=1), *run(BLIND, at=2)])
    assert (plain.effects, plain.delays, plain.schedules) == (None, None, None)
    print_table([plain])
    assert "effect " not in (alone := capsys.readouterr().out)
    assert "delay" not in alone
    print_table([judged(RECORDED, [*accepted(1), *run(1, at=1)]), plain])
    assert [line.split()[-2:] for line in capsys.readouterr().out.splitlines() if "with an effect" in line] == [
        ["0", "-"]
    ]


def test_of_a_run_half_of_what_takes_a_while_has_an_effect_and_half_of_these_can_be_looked_up():
    numbers = range(1, 1681)
    effects = [number for number in numbers if has_effect(number)]
    slow = [number for number in numbers if lingers(number)]
    assert (len(effects), len(slow)) == (420, 168)
    assert sum(map(can_be_looked_up, numbers)) == 210
    assert sum(map(has_effect, slow)) == 84
    assert sum(map(can_be_looked_up, slow)) == 42
    assert Counter(map(delay_of, numbers)) == {0.0: 1440} | dict.fromkeys((0.5, 1.0, 1.5, 2.0, 2.5, 3.0), 40)
    assert number_of(effect_key(28)) == 28
    assert [number_of(key) for key in ("chaos:", "chaos:x", "mail:1", "28")] == [None] * 4


def test_the_records_tell_what_was_given_up_what_is_listed_and_what_has_no_end(database, database_url):
    tasks, moves, effects = TaskRecords(database), TaskMoves(database), EffectRecords(database)
    Workers(database).start("w", "io@host", "host", 1, 0)
    ends = {1: QUARANTINED, 4: UNKNOWN, 8: None, 12: UNKNOWN, 16: "ValueError"}
    for number, error_type in ends.items():
        tasks.open(Draft(f"t{number}", TASK_NAME, "chaos", "default", {"number": number}))
        started = moves.start(f"t{number}", 0, "w", "io@host", None)
        if error_type == UNKNOWN:
            intended = Run(f"t{number}", started.run)
            assert effects.intend(effect_key(number), intended, 2)
            found = effects.find(effect_key(number), intended)
            assert effects.conclude(found, "unknown" if number == 4 else "done")
        if error_type:
            assert moves.fail(f"t{number}", started.run, Failure("it broke", error_type))
    tasks.open(Draft("later", TASK_NAME, "chaos", "default", {"number": 7}, delay=60))
    assert effects.intend(effect_key(8), Run("t8", 1), 2)
    assert moves.give_back("t8", 1), "its task looks for its effect itself"

    records = Records(database_url)
    assert records.told() == Told(quarantined={1}, unknown={4, 12}, listed={4}, unfinished={7, 8})
    assert records.given_up() == {1, 4, 12}
    assert not records.all_ended()
    assert moves.fail_waiting("t8", Failure("it broke", "ValueError"))
    assert not records.all_ended(), "what is not due yet has no end either"
    assert moves.fail_waiting("later", Failure("it broke", "ValueError"))
    assert records.all_ended()
    records.close()


def test_the_outside_world_is_asked_by_whole_numbers(tmp_path: Path):
    (tmp_path / "10-11-1").write_bytes(b"started 12 1 1.5\ndone 12 1 1.6\nstarted 1 1 1.7\n")
    (tmp_path / "10-12-1").write_bytes(b"done 3 1 1.5\n")
    assert [number for number in (1, 2, 3, 12) if tells(tmp_path, Kind.DONE, number)] == [3, 12]


@pytest.mark.parametrize(
    ("appendonly", "accepted_at", "lost"),
    [
        (AppendOnly.ALWAYS, 9.5, [1]),
        (AppendOnly.EVERYSEC, 9.5, []),
        (AppendOnly.EVERYSEC, 5.0, [1]),
        (AppendOnly.NO, 5.0, []),
        (AppendOnly.NO, 10.5, [1]),
    ],
)
def test_a_killed_redis_excuses_only_what_it_had_not_promised_to_keep(appendonly, accepted_at, lost):
    plan = Plan(seed=1, tasks=1, kills=1, records=False, appendonly=appendonly, faults=(Fault.BROKER,))
    found = judged(plan, accepted(1, at=accepted_at), (Done(Fault.BROKER, 10.0),))
    assert found.lost == lost
    assert found.excused == ([] if lost else [1])


def test_rabbitmq_and_a_record_excuse_no_loss():
    for plan in (
        Plan(seed=1, tasks=1, kills=1, records=False, broker=Broker.RABBITMQ, faults=(Fault.BROKER,)),
        Plan(seed=1, tasks=1, kills=1, faults=(Fault.BROKER,)),
    ):
        assert judged(plan, accepted(1, at=9.5), (Done(Fault.BROKER, 10.0),)).lost == [1]


def test_a_line_that_is_not_whole_waits_for_its_rest(tmp_path: Path):
    file = tmp_path / "10-11-1"
    found = Ledger(tmp_path)
    file.write_bytes(b"sent 1 0 1.5\nfired 2 1 1.5 2026-01-02T03:04:05+00:00 t\naccepted 1 0 1.6\ndone 1 ")
    found.update()
    assert (found.accepted, dict(found.done)) == ({1: 1.6}, {})
    assert dict(found.fired) == {(2, "2026-01-02T03:04:05+00:00"): {"t"}}
    with file.open("ab") as more:
        more.write(b"0 2.5\n")
    found.update()
    found.update()
    assert dict(found.done) == {1: 1}
    assert found.events[1] == [Event(Kind.DONE, 1, 0, 2.5, 10, 11)]


@pytest.mark.parametrize("line", ["eaten 1 0 1.0", "done one 0 1.0", "done 1 1.0"])
def test_a_line_that_nobody_of_ours_wrote_is_refused(line):
    with pytest.raises(ValueError, match=r"eaten|one|unpack"):
        parse("10-11-1", line)


def test_the_same_seed_makes_the_same_faults_and_every_kind_has_its_share():
    plan = Plan(seed=7, tasks=1_000, kills=31, faults=(Fault.WORKER, Fault.CHILD, Fault.BROKER))
    drawn = plan.schedule(random.Random(7))
    assert drawn == plan.schedule(random.Random(7))
    assert drawn != plan.schedule(random.Random(8))
    assert sorted(Counter(drawn).values()) == [10, 10, 11]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tasks": 0}, "--tasks: must be 1 or more; got 0"),
        ({"kills": 4}, "--kills: must be from 0 to the number of tasks, 3; got 4"),
        ({"faults": ()}, "--faults: must name at least one"),
        ({"transport": Transport.STOCK}, "--transport stock: stock Celery has no records; add --no-records"),
        ({"faults": (Fault.CHILD,), "pool": Pool.THREADS}, "--faults child: threads cannot be killed"),
        ({"faults": (Fault.BROKER_DATA,), "records": False}, "--faults broker-data: .*add --records"),
        ({"faults": (Fault.BEAT,), "records": False}, "--faults beat: .*add --records"),
        ({"faults": (Fault.PARTITION,), "broker": Broker.EMBEDDED}, "--faults partition: the embedded Redis"),
    ],
    ids=range(8),
)
def test_options_that_contradict_each_other_are_one_line_with_the_cure(more, words):
    with pytest.raises(InvalidArgument, match=words):
        Plan(**{"seed": 1, "tasks": 3, "kills": 1} | more)


def test_an_unknown_fault_is_named_with_those_that_there_are():
    assert fault_kinds(" worker,child, worker") == (Fault.WORKER, Fault.CHILD)
    with pytest.raises(InvalidArgument, match=r"no fault is named 'flood'; the faults are child, worker"):
        fault_kinds("worker,flood")


class Part:
    """A part of an installation that has ended, or takes work."""

    def __init__(self, pid: int, *, ends: bool) -> None:
        self.pid = pid
        self.ends = ends

    def alive(self) -> bool:
        return not self.ends

    def kill(self) -> None:
        assert self.ends

    def last_words(self, lines: int = 1) -> str:
        return f"{self.pid} gave up"


class Parts:
    """Starts parts of which the first two end at once."""

    def __init__(self) -> None:
        self.started: list[Part] = []

    def start(self, *_, **__) -> Part:
        self.started.append(Part(len(self.started) + 1, ends=len(self.started) < 2))
        return self.started[-1]


def test_a_worker_that_gave_up_while_its_broker_was_away_is_started_again_and_told(tmp_path: Path):
    parts = Parts()
    installation = Installation(PLAIN, tmp_path, parts, None)
    installation.ledger.ready[3] = 1.0
    installation.start_worker("w1")

    installation.wait_for_workers(["w1"])

    assert installation.workers["w1"].pid == 3
    assert installation.ended_by_themselves == ["w1: 1 gave up", "w1: 2 gave up"]


def test_a_worker_that_is_frozen_amid_a_commit_is_seen_to_hold_the_records(tmp_path: Path):
    installation = Installation(RECORDED, tmp_path, Parts(), None)
    with closing(sqlite3.connect(tmp_path / "data" / "records.db", isolation_level=None)) as frozen:
        frozen.execute("CREATE TABLE t (x)")
        assert not installation.records_are_held()
        frozen.execute("BEGIN IMMEDIATE")
        assert installation.records_are_held()


SYNCING = """
import os, sys, threading

def write(path):
    with open(path, "ab", buffering=0) as file:
        while True:
            os.pwrite(file.fileno(), os.urandom(4096), 0)
            os.fsync(file.fileno())

os.fork()
for number in range(3):
    threading.Thread(target=write, args=(f"{sys.argv[1]}/{os.getpid()}.{number}",)).start()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the state of a thread")
def test_of_a_frozen_group_no_thread_of_any_process_is_still_within_a_system_call(tmp_path: Path):
    with Processes(tmp_path) as processes:
        group = processes.start("writers", [sys.executable, "-c", SYNCING, str(tmp_path)], dict(os.environ))
        until(lambda: len(list(tmp_path.glob("*.[0-2]"))) == 6)
        for _ in range(200):
            group.freeze()
            pids = {name.stem for name in tmp_path.glob("*.[0-2]")}
            stats = [place.read_text() for pid in pids for place in Path(f"/proc/{pid}/task").glob("*/stat")]
            assert (len(stats), {stat.rpartition(") ")[2][:1] for stat in stats}) == (8, {"T"})
            group.signal(signal.SIGCONT)


@pytest.mark.parametrize("broker", ["redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"])
def test_what_runs_without_records_is_ours_on_either_broker_and_the_stock_one_is_not(broker):
    code = "print(app.connection_for_write().get_transport_cls().__module__)"
    found = [
        subprocess.run(
            [sys.executable, "-c", f"from services.chaos.{name}_app import app;{code}"],
            env=os.environ | {"CELERY_BROKER_URL": broker},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split(".")[0]
        for name in ("transport", "stock")
    ]
    assert found == ["broker", "kombu"]
