"""Doing the faults, one kind each."""

import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import psutil

from cli.chaos.installation import CUT_OFF_WORKER, Installation
from cli.chaos.plan import BEATS, WORKERS, Done, Fault
from processors.errors import ConfigurationError

BEYOND_LEASE_SECONDS = 12.0
"""A worker is dead after 8 s of silence; the rest is for the others to take its tasks back meanwhile."""

LONGEST_OUTAGE_SECONDS = 2.0

LEAD_SECONDS = 10.0
"""In which somebody leads again, whoever was killed."""

FIRE_SHARE = 0.5
FIRE_SECONDS = 0.3
"""A leader looks five times a second for what is to be fired."""

PAUSE_SECONDS = 0.1


class Faults:
    """Does faults to one installation.

    Args:
        installation: what they are done to.
        chance: decides on whom.
        wait: lets time pass while the installation is watched.
    """

    def __init__(self, installation: Installation, chance: random.Random, wait: Callable[[float], None]) -> None:
        self._installation = installation
        self._chance = chance
        self._wait = wait
        self._ways: dict[Fault, Callable[[str], Done]] = {
            Fault.CHILD: self._kill_child,
            Fault.WORKER: self._kill_worker,
            Fault.PUBLISHER: self._kill_publisher,
            Fault.BROKER: self._restart_broker,
            Fault.FREEZE: self._freeze,
            Fault.PARTITION: self._cut_off,
            Fault.BROKER_DATA: self._lose_data,
            Fault.BEAT: self._kill_beat,
        }

    def target(self, kind: Fault) -> str:
        """Return the worker that the next fault of this kind hits."""
        drawn = self._chance.choice(WORKERS)
        return CUT_OFF_WORKER if kind is Fault.PARTITION else drawn

    def do(self, kind: Fault, target: str) -> Done:
        """Do one fault; what it killed is started again before this returns."""
        return self._ways[kind](target)

    def _kill_child(self, target: str) -> Done:
        worker = self._installation.workers[target]
        pool = worker.pool()
        if not pool:
            raise ConfigurationError(f"The worker {target} has no process to kill: {worker.last_words()}.")
        busy = [process for process in pool if self._installation.ledger.running[process.pid]]
        victim = self._chance.choice(sorted(busy or pool, key=lambda process: process.pid))
        victim.kill()
        return Done(Fault.CHILD, time.monotonic(), pid=victim.pid)

    def _kill_worker(self, target: str) -> Done:
        worker = self._installation.workers[target]
        worker.kill()
        done = Done(Fault.WORKER, time.monotonic(), main=worker.pid)
        self._installation.start_worker(target)
        return done

    def _kill_publisher(self, _: str) -> Done:
        self._installation.publisher.kill()
        done = Done(Fault.PUBLISHER, time.monotonic())
        self._installation.start_publisher()
        return done

    def _kill_beat(self, _: str) -> Done:
        """Kill the beat that leads, half of the times while it fires; where a worker's leader leads, kill that one."""
        installation = self._installation
        aimed, spare = self._chance.random() < FIRE_SHARE, self._chance.choice(BEATS)
        after = self._chance.uniform(0, FIRE_SECONDS)
        deadline = time.monotonic() + LEAD_SECONDS
        while installation.leader() is None and time.monotonic() < deadline:
            self._wait(PAUSE_SECONDS)
        if aimed and (fire := installation.records.next_fire()):
            self._wait(max(0.0, fire.timestamp() - time.time()) + after)
        leader = installation.leader()
        beat = installation.beat_of(leader) if leader else spare
        if leader and beat is None:
            with suppress(psutil.Error):
                leader.kill()
        elif beat is not None:
            installation.beats[beat].kill()
        done = Done(Fault.BEAT, time.monotonic(), at_work=leader is not None)
        if beat is not None:
            installation.start_beat(beat)
        return done

    def _restart_broker(self, _: str) -> Done:
        broker = self._installation.broker
        kill = self._chance.random() < 0.5  # noqa: PLR2004 - one of two ways
        outage = self._chance.uniform(0, LONGEST_OUTAGE_SECONDS)
        broker.end(kill=kill)
        at = time.monotonic()
        self._wait(outage)
        broker.start()
        return Done(Fault.BROKER, at, away=time.monotonic() - at)

    def _lose_data(self, _: str) -> Done:
        broker = self._installation.broker
        broker.end(kill=True)
        at = time.monotonic()
        broker.lose_data()
        broker.start()
        return Done(Fault.BROKER_DATA, at, away=time.monotonic() - at)

    def _freeze(self, target: str) -> Done:
        worker = self._installation.workers[target]
        worker.freeze()
        done = Done(Fault.FREEZE, time.monotonic(), main=worker.pid)
        held = self._installation.records_are_held()
        self._wait(BEYOND_LEASE_SECONDS)
        worker.signal(signal.SIGCONT)
        return replace(done, away=time.monotonic() - done.at) if held else done

    def _cut_off(self, target: str) -> Done:
        network = self._installation.network
        if network is None:
            raise ConfigurationError("There is no network to cut.")
        network.cut()
        done = Done(Fault.PARTITION, time.monotonic(), main=self._installation.workers[target].pid)
        self._wait(BEYOND_LEASE_SECONDS)
        network.heal()
        return done
