"""The benchmark itself, as far as it needs no environment of a peer."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from entrants import WORKS
from measurements import EFFECTS_KEY, Bench, Cell, WrongEffects, drain, moments
from processes import Processes, ProcessFailed
from report import failures, verdicts
from servers import RedisServer
from thresholds import THRESHOLDS

from config.settings import PROJECT_ROOT
from waiting import until

RUN = [sys.executable, "benchmarks/run.py", "--quick", "--systems", "ours", "--only", "far_drain"]
OURS = WORKS["far_drain"].entrants[0]


def test_a_quick_run_counts_every_task_and_writes_its_figures(tmp_path: Path) -> None:
    done = subprocess.run(
        [*RUN, "--output", str(tmp_path)], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (outcome,) = json.loads((tmp_path / "benchmarks.json").read_text())["outcomes"]["far_drain"][OURS.name]
    assert outcome["tasks"] == 200
    assert outcome["value"] > 0
    assert outcome["round_trip_ms"] >= 2
    assert OURS.name in (tmp_path / "benchmarks.md").read_text()
    assert (tmp_path / "benchmarks.svg").read_text().startswith("<svg")


def test_ctrl_c_ends_every_process_that_was_started(tmp_path: Path) -> None:
    with (tmp_path / "said.txt").open("wb") as said:
        run = subprocess.Popen([*RUN, "--output", str(tmp_path)], cwd=PROJECT_ROOT, stdout=said, stderr=said)
    seen: dict[int, psutil.Process] = {}

    def works() -> bool:
        seen.update({one.pid: one for one in psutil.Process(run.pid).children(recursive=True)})
        return sum("plain_worker" in words(one) for one in seen.values()) > 1

    try:
        until(works, 60, "the workers run", every=0.005)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130, (tmp_path / "said.txt").read_text()
        until(lambda: not any(words(one) for one in seen.values()), 20, "every process has ended")
    finally:
        run.kill()
        run.wait(60)
        for one in (process for process in seen.values() if process.is_running()):
            one.kill()


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended, whether or not anybody has asked about it
        return []


def test_a_task_that_is_missing_or_ran_twice_makes_a_run_wrong(tmp_path: Path) -> None:
    with Processes({}, tmp_path) as processes:
        bench = Bench(tmp_path, RedisServer(processes), None, {}, quick=True)
        cell = Cell(bench, OURS, tmp_path, processes, processes)
        bench.redis.effects.rpush(EFFECTS_KEY, "0 1.5", "2 1.25", "2 1.75")
        with pytest.raises(WrongEffects, match="of 3 tasks 1 are missing and 1 ran again"):
            moments(cell, 3)
        bench.redis.effects.rpush(EFFECTS_KEY, "1 1.0")
        with pytest.raises(WrongEffects, match="of 3 tasks 0 are missing and 1 ran again"):
            moments(cell, 3)
        bench.redis.effects.lrem(EFFECTS_KEY, 1, "2 1.75")
        assert moments(cell, 3) == [1.0, 1.25, 1.5]
        bench.redis.client.close()
        bench.redis.effects.close()


def test_a_worker_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    broken = replace(OURS, workers=(("python", "-c", "raise SystemExit('it knows no such option')"),))
    with Processes({}, tmp_path) as processes:
        bench = Bench(tmp_path, RedisServer(processes), None, {}, quick=True)
        with pytest.raises(ProcessFailed, match="it knows no such option"):
            drain(bench, broken)
        bench.redis.client.close()
        bench.redis.effects.close()


def test_stock_celery_is_measured_in_the_versions_that_we_use() -> None:
    ours, stock = (
        pins(PROJECT_ROOT / name) for name in ("requirements.lock", "benchmarks/peers/celery/requirements.txt")
    )
    assert {name: stock[name] for name in ("celery", "kombu", "billiard", "redis")}.items() <= ours.items()


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock.read_text(), re.MULTILINE))


def test_a_ratio_is_the_median_of_the_rounds_against_the_best_of_the_others() -> None:
    rounds = {
        "ours, 2 x 10 threads": [{"value": 200.0}, {"value": 300.0}, {"value": 130.0}],
        "Dramatiq, 2 x 8 threads": [{"value": 100.0}, {"value": 100.0}, {"value": 100.0}],
        "RQ, 2 SimpleWorkers": [{"value": 10.0}, {"value": 10.0}, {"value": 10.0}],
        "taskiq, 2 processes": [{"failed": "tasks are missing"}] * 3,
        "floor: Redis alone": [{"value": 9000.0}] * 3,
    }
    verdict = next(one for one in verdicts({"drain": rounds}) if one.threshold.ours == "ours, 2 x 10 threads")
    assert (verdict.rival, verdict.ratio) == ("Dramatiq, 2 x 8 threads", 2.0)
    assert (verdict.least, verdict.greatest) == (1.3, 3.0)
    assert (verdict.reached, verdict.aim_reached) == (True, True)
    assert len(failures({"drain": rounds})) == 3


def test_a_figure_that_is_not_there_gives_no_verdict() -> None:
    rounds = {"ours, send_many": [{"absent": "not built"}], "RQ, enqueue_many": [{"value": 10.0}]}
    verdict = next(one for one in verdicts({"publish_bulk": rounds}) if one.threshold.ours == "ours, send_many")
    assert (verdict.ratio, verdict.reached, verdict.aim_reached) == (None, None, None)


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda threshold: threshold.title)
def test_every_threshold_names_rows_that_exist(threshold) -> None:
    names = [entrant.name for entrant in WORKS[threshold.work].entrants]
    assert threshold.ours in names
    for against in (threshold.against, threshold.aim_against or threshold.against):
        assert any(name.startswith(against) for name in names)


def test_no_benchmark_stands_before_a_room_or_a_module_of_python() -> None:
    """Its folder comes first on the path of what it starts: a benchmark named `api` kept the web process away."""
    ours = {one.stem for one in (PROJECT_ROOT / "src").glob("[a-z]*")}
    benchmarks = {one.stem for one in (PROJECT_ROOT / "benchmarks").glob("[a-z]*")}
    assert benchmarks & (ours | sys.stdlib_module_names) == set()
