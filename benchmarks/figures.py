"""Figures of a benchmark: ratios of ours to something else's, and the page of docs/ that tells them."""

import json
import os
import platform
import statistics
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import psutil

from config.settings import PROJECT_ROOT

CORES = sorted(os.sched_getaffinity(0))
HEAD = ("ours", "against", "ratio (least-greatest)", "must", "reached", "ours", "theirs", "made")


def now() -> str:
    """Return the time, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")


@dataclass(frozen=True)
class Figure:
    """What was measured: ratios of ours to the other, one a round, what must be reached, and when it was made."""

    name: str
    other: str
    must: float
    ratios: list[float]
    ours: str
    theirs: str
    at_most: bool = False
    made: str = field(default_factory=now)

    @property
    def median(self) -> float:
        """The ratio that counts."""
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool:
        """Whether it is as it must be."""
        return self.median <= self.must if self.at_most else self.median >= self.must

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands under `HEAD`."""
        ratio = f"{self.median:.2f} ({min(self.ratios):.2f}-{max(self.ratios):.2f})"
        must = f"{'≤' if self.at_most else '≥'} {self.must:g}"
        reached = "yes" if self.reached else "**no**"
        return self.name, self.other, ratio, must, reached, self.ours, self.theirs, self.made

    def __str__(self) -> str:
        name, other, ratio, must, reached, ours, theirs, _ = self.cells
        return f"{name} / {other}: {ratio}, must {must}, reached: {reached}; {ours}; {theirs}"


@dataclass(frozen=True)
class Page:
    """A page of docs/ and, beside it, its data.

    Attributes:
        file: its name, without a suffix.
        title: what stands above it.
        command: what writes it.
        how: how the figures were made.
    """

    file: str
    title: str
    command: str
    how: str

    def with_others(self, figures: list[Figure]) -> list[Figure]:
        """Return the figures of the page, with those that were measured now in the places of the ones before."""
        data = (PROJECT_ROOT / "docs" / self.file).with_suffix(".json")
        kept = json.loads(data.read_text())["figures"] if data.exists() else []
        names = {one.name for one in fields(Figure)}
        before = [Figure(**{name: value for name, value in one.items() if name in names}) for one in kept]
        return list({(one.name, one.other): one for one in (*before, *figures)}.values())

    def write(self, figures: list[Figure], facts: Mapping[str, Any]) -> None:
        """Write the page and its data."""
        path = PROJECT_ROOT / "docs" / self.file
        data = [asdict(one) | {"median": one.median, "reached": one.reached} for one in figures]
        path.with_suffix(".json").write_text(json.dumps({"facts": facts, "figures": data}, indent=1) + "\n")
        lines = (HEAD, ("---",) * len(HEAD), *(one.cells for one in figures))
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        said = "\n".join(f"- {name}: {value}" for name, value in facts.items())
        page = f"# {self.title}\n\nWritten by `{self.command}`.\n\n{said}\n\n{table}\n\n{self.how}"
        path.with_suffix(".md").write_text(page)


def parser(text: str | None, names: Collection[str]) -> ArgumentParser:
    """Return what reads a command line: which measurements, and how many rounds of them."""
    found = ArgumentParser(description=text, formatter_class=RawDescriptionHelpFormatter)
    found.add_argument("--only", nargs="+", choices=list(names), default=list(names))
    found.add_argument("--rounds", type=int, default=5)
    return found


def run(page: Page | None, measurements: Mapping[str, Callable[[], list[Figure]]], only: list[str], rounds: int) -> int:
    """Measure, say each figure, and write the page if there is one; returns 1 where a figure is not reached."""
    before, found = os.getloadavg()[0], list[Figure]()
    for name in only:
        for figure in measurements[name]():
            found.append(figure)
            print(figure, flush=True)
    if page is not None:
        machine = (
            f"{len(CORES)} processors ({platform.machine()}), {platform.release()}, Python {platform.python_version()}"
        )
        facts = {
            "machine": machine,
            "rounds of the last run": rounds,
            "load before and after it": f"{before:.1f}, {os.getloadavg()[0]:.1f}",
        }
        page.write(found if only == list(measurements) else page.with_others(found), facts)
    return 0 if all(figure.reached for figure in found) else 1


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def pinned(cores: list[int], work: Callable[[], float]) -> float:
    """Do work on these processors only, as do all processes that it starts."""
    before = os.sched_getaffinity(0)
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    for one in mine:
        one.cpu_affinity(cores)
    try:
        return work()
    finally:
        for one in mine:
            if one.is_running():
                one.cpu_affinity(sorted(before))
