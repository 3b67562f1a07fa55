"""Measure ours, stock Celery and five other task queues side by side.

.venv/bin/python benchmarks/run.py --rounds 3
"""

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import measurements
import psutil
import report
from entrants import WORKS, Entrant
from environments import Environment
from measurements import Bench, Outcome, WrongEffects
from plot import digits
from processes import Processes, ProcessFailed
from rich.console import Console
from servers import Postgresql, RedisServer, fsync_milliseconds, postgresql_binaries

from config.settings import PROJECT_ROOT, settings

SCRATCH = settings.data_dir / "bench"
PAGES = PROJECT_ROOT / "docs"
OWN = "ours"
console = Console(width=max(Console().width, 150))


def main() -> int:
    """Measure what the command line names; 1 where a measurement went wrong."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    works = {key: _entrants(key, arguments.systems) for key in arguments.only or WORKS}
    try:
        with ExitStack() as stack:
            bench = _bench(stack, _distinct(works), quick=arguments.quick)
            facts = _facts(bench, arguments.rounds, _distinct(works))
            console.print_json(data=facts)
            outcomes = {key: _measure(bench, key, entrants, arguments.rounds) for key, entrants in works.items()}
            facts["machine"]["load before and after (1 minute)"] += f", {os.getloadavg()[0]:.1f}"
    except KeyboardInterrupt:
        console.print("Stopped; every process that was started has ended.")
        return 130
    report.show(console, outcomes)
    for path in report.write(arguments.output, facts, outcomes):
        console.print(f"Written: {path}", soft_wrap=True)
    failures = report.failures(outcomes)
    for failure in failures:
        console.print(f"Failed: {failure}", markup=False, soft_wrap=True)
    return 1 if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each system takes its turn (3)")
    parser.add_argument("--only", nargs="+", choices=list(WORKS), help="the works to do (all)")
    systems = sorted({entrant.system for work in WORKS.values() for entrant in work.entrants})
    parser.add_argument("--systems", nargs="+", choices=systems, default=systems, help="who takes part (all)")
    parser.add_argument("--quick", action="store_true", help="200 tasks, one round: to try the benchmark itself")
    parser.add_argument(
        "--output", type=Path, help="the folder of the page; docs/ after a whole run, else below DATA_DIR/bench"
    )
    arguments = parser.parse_args()
    whole = not arguments.quick and not arguments.only and arguments.systems == systems
    arguments.output = arguments.output or (PAGES if whole else SCRATCH / "output")
    if arguments.quick:
        arguments.rounds = 1
    return arguments


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """Stop in order; a second Ctrl-C must not disturb the ending of processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _entrants(key: str, systems: list[str]) -> list[Entrant]:
    return [entrant for entrant in WORKS[key].entrants if entrant.system in systems]


def _distinct(works: dict[str, list[Entrant]]) -> list[Entrant]:
    """Return one entrant for each adapter, environment and kind of records that takes part."""
    found = [entrant for entrants in works.values() for entrant in entrants]
    return list({(one.adapter, one.system, one.records): one for one in found}.values())


def _bench(stack: ExitStack, entrants: list[Entrant], *, quick: bool) -> Bench:
    """Make the environments and start the servers."""
    environments = {one.system: Environment(one.system, SCRATCH) for one in entrants if one.system != OWN}
    for environment in environments.values():
        environment.make()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=SCRATCH, prefix="run-")))
    (folder / "servers").mkdir()
    redis = RedisServer(stack.enter_context(Processes({"PATH": os.defpath, "LANG": "C.UTF-8"}, folder / "servers")))
    binaries = postgresql_binaries() if any(one.records == "postgresql" for one in entrants) else None
    postgresql = stack.enter_context(Postgresql(binaries)) if binaries else None
    return Bench(folder, redis, postgresql, environments, quick)


def _measure(bench: Bench, key: str, entrants: list[Entrant], rounds: int) -> dict[str, list[Outcome]]:
    """Do one work: every entrant takes its turn, round after round."""
    work = WORKS[key]
    outcomes: dict[str, list[Outcome]] = {entrant.name: [] for entrant in entrants}
    for number in range(1, rounds + 1):
        for entrant in entrants:
            began = time.monotonic()
            outcome = _attempt(bench, work.measure, entrant)
            outcomes[entrant.name].append(outcome)
            said = outcome.get("absent") or outcome.get("failed") or f"{digits(outcome['value'])} {work.unit}"
            said = f"{key} {number}/{rounds} {entrant.name}: {said} [{time.monotonic() - began:.1f} s]"
            console.print(said, markup=False, soft_wrap=True)
    return outcomes


def _attempt(bench: Bench, measure: str, entrant: Entrant) -> Outcome:
    if entrant.records == "postgresql" and bench.postgresql is None:
        return {"absent": "PostgreSQL is not installed"}
    try:
        return getattr(measurements, measure)(bench, entrant)
    except (WrongEffects, ProcessFailed) as error:
        return {"failed": str(error)}


def _facts(bench: Bench, rounds: int, entrants: list[Entrant]) -> dict[str, Any]:
    """Return where and with what this is measured."""
    postgresql = bench.postgresql
    versions: dict[str, dict[str, str]] = {}
    for one in entrants:
        versions.setdefault(one.system, {}).update(measurements.versions(bench, one))
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "rounds": rounds,
        "quick": bench.quick,
        "machine": {
            "processors": f"{os.cpu_count()} ({platform.machine()})",
            "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
            "system": f"{platform.system()} {platform.release()}",
            "Python": platform.python_version(),
            "Redis": bench.redis.version,
            "PostgreSQL": postgresql.version if postgresql else "-",
            "fsync, where SQLite's file lies": f"{fsync_milliseconds(bench.folder):.2f} ms",
            "fsync, where PostgreSQL's files lie": postgresql.fsync if postgresql else "-",
            "load before and after (1 minute)": f"{os.getloadavg()[0]:.1f}",
        },
        "versions": versions,
    }


if __name__ == "__main__":
    sys.exit(main())
