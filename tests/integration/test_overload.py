"""Twice as much arrives as is served: memory stays where it is, what waits tells its age, and all is done after."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from cli.chaos.processes import Processes, ProcessGroup
from lives import Life, figures, lasting, pacing
from records.task_records import TaskRecords
from redis_server import RedisServer, bundled
from waiting import until

OVERLOAD_SECONDS = lasting(16, 600)
TASK_SECONDS = 0.25
SLOTS = 2
EVERY_SECONDS = TASK_SECONDS / SLOTS / 2
GROWTH_BYTES = 16 * 1024**2
"""What a process may need more at the end than while it was new: its first tasks load what they need."""


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    with ExitStack() as stack:
        redis = RedisServer(bundled()).start()
        stack.callback(redis.stop)
        made = Life(tmp_path, stack.enter_context(Processes(tmp_path)), redis.url)
        stack.callback(made.close)
        yield made


def memory(group: ProcessGroup) -> int:
    """Return the bytes of a process and of its largest child."""
    own = psutil.Process(group.pid)
    return own.memory_info().rss + max((child.memory_info().rss for child in own.children()), default=0)


def slope(samples: list[tuple[float, int]]) -> float:
    """Return by how many MB an hour the memory grows: the line through the samples."""
    middle = sum(at for at, _ in samples) / len(samples)
    mean = sum(size for _, size in samples) / len(samples)
    over = sum((at - middle) * (size - mean) for at, size in samples)
    return over / sum((at - middle) ** 2 for at, _ in samples) * 3600 / 1e6


def test_twice_what_is_served_fills_no_memory_and_drains_afterwards(life: Life):
    leader, worker, submitter = life.leader(), life.worker(slots=SLOTS), life.submitter()
    life.until_ready(worker, submitter)
    numbers = range(int(OVERLOAD_SECONDS / EVERY_SECONDS))
    parts = {"worker": worker, "leader": leader}
    samples: dict[str, list[tuple[float, int]]] = {name: [] for name in parts}
    ages: list[float] = []

    def look() -> None:
        ages.append(TaskRecords(life.database).queue_figures().get("default", {}).get("oldest_age_seconds") or 0.0)
        for name, part in parts.items():
            samples[name].append((time.monotonic(), memory(part)))

    def loaded() -> bool:
        look()
        return not load.is_alive()

    with pacing(submitter, numbers, EVERY_SECONDS, (TASK_SECONDS,)) as load:
        until(lambda: life.counts("done").total() >= 10, what="it works under load")
        until(loaded, OVERLOAD_SECONDS + 60, "all is submitted", every=0.5)
    submitter.until_answered(len(numbers))
    submitted = time.monotonic()
    waiting = len(numbers) - life.counts("done").total()
    records = life.until_final(numbers, 60 + 3 * OVERLOAD_SECONDS)
    drained = time.monotonic() - submitted
    look()

    growth = {name: ends[-1][1] - ends[0][1] for name, ends in samples.items()}
    figures(
        f"twice what is served arrives for {OVERLOAD_SECONDS:g} s",
        tasks=len(numbers),
        waiting_at_its_end=waiting,
        oldest_age_at_its_end=max(ages),
        drained_after=drained,
        **{f"{name}_mb": size / 1e6 for name, size in growth.items()},
        **{f"{name}_slope_mb_per_hour": slope(ends) for name, ends in samples.items()},
    )
    assert {record.state for record in records.values()} == {"SUCCESS"}
    assert set(life.counts("done").values()) == {1}
    assert waiting > len(numbers) / 5, "more arrived than was served"
    third = len(ages) // 3
    assert max(ages[:third]) < max(ages[third : 2 * third]) < max(ages[2 * third :]), "the oldest age grows"
    assert ages[-1] == 0, "and is gone at the end"
    assert max(growth.values()) <= GROWTH_BYTES
