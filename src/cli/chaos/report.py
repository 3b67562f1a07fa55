"""What a person reads: a line while it runs, a table at the end."""

import time
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.chaos.delays import Delays
from cli.chaos.effects import Effects
from cli.chaos.installation import Installation
from cli.chaos.outcome import Outcome
from cli.chaos.plan import Broker, Plan
from cli.chaos.schedules import Schedules
from cli.output import print_line
from cli.output import print_table as print_rows

REFRESH_SECONDS = 0.2


class ProgressLine:
    """One line on a terminal, nothing elsewhere; drawn by whoever calls it, because a thread would outlive forks."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        columns = (
            TextColumn(escape(f"seed {plan.seed}, {plan.title}")),
            BarColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        console = Console(stderr=True)
        self._progress = Progress(
            *columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal
        )
        self._task = self._progress.add_task("starts", total=plan.tasks)
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, installation: Installation, faults: int) -> None:
        """Draw how far it is, a few times a second."""
        if time.monotonic() - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = time.monotonic()
        ledger = installation.ledger
        text = f"accepted {len(ledger.accepted)}, done {len(ledger.done)}, faults {faults} of {self._plan.kills}"
        self._progress.update(self._task, completed=len(ledger.done), description=text)
        self._progress.refresh()


def print_table(outcomes: Sequence[Outcome]) -> None:
    """Print one column per run, then what is not as promised and what ended by itself."""
    runs = [_rows(outcome) for outcome in outcomes]
    columns = ("", *(f"{number}." for number, _ in enumerate(outcomes, 1)))
    rows = [(name, *(run.get(name, "-") for run in runs)) for name in max(runs, key=len)]
    print_rows(columns, rows, right=set(columns) - {""})
    for outcome in outcomes:
        for problem in outcome.problems:
            print_line(f"seed {outcome.plan.seed}, {outcome.plan.title}: {problem}")
        for words in outcome.ended_by_themselves:
            print_line(f"seed {outcome.plan.seed}, {outcome.plan.title}: ended by itself: {words}")


def told(outcome: Outcome) -> dict[str, Any]:
    """Return one run for programs: all its figures, and what is not as promised."""
    found: dict[str, Any] = {one.name: getattr(outcome, one.name) for one in fields(outcome)}
    figures = {name: asdict(value) if is_dataclass(value) else value for name, value in found.items()}  # pyright: ignore[reportArgumentType] - of instances
    return figures | {"problems": outcome.problems, "as_promised": not outcome.problems}


def _rows(outcome: Outcome) -> dict[str, str]:
    """Return the rows of one run; those of its parts only where it has them."""
    plan = outcome.plan
    disk = "" if plan.broker is Broker.RABBITMQ else f", appendonly {plan.appendonly}"
    return {
        "run": plan.title,
        "seed": str(plan.seed),
        "broker": f"{plan.broker}{disk}",
        "accepted": str(outcome.accepted),
        "done": str(outcome.done),
        "lost": str(len(outcome.lost)),
        "lost by the broker": str(len(outcome.excused)),
        "quarantined": str(len(outcome.quarantined)) if plan.records else "-",
        "duplicated": str(outcome.duplicated),
        "  per kill": f"{outcome.per_kill:.2f}",
        "  within the promise": "-" if outcome.most_duplicates is None else f"{outcome.most_duplicates}",
        "ran again after its recorded end": str(len(outcome.again_after_finish)) if plan.records else "-",
        **_effects(outcome.effects),
        **_delays(outcome.delays),
        **_schedules(outcome.schedules),
        "in hand at a fault": str(outcome.in_hand),
        "late, at worst": "-" if outcome.late is None else f"{outcome.late:.1f} s",
        "  whatever else was hit": "-" if outcome.longest is None else f"{outcome.longest:.1f} s",
        "broker or records away": f"{outcome.away:.1f} s",
        "not accepted (done all the same)": f"{outcome.unconfirmed} ({outcome.unconfirmed_done})",
        "faults": ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.faults.items())) or "none",
        "  on somebody at rest": str(outcome.at_rest),
        "ended by themselves": str(len(outcome.ended_by_themselves)),
        "time": f"{outcome.seconds:.0f} s",
        "as promised": "no" if outcome.problems else "yes",
    }


def _effects(effects: Effects | None) -> dict[str, str]:
    if effects is None:
        return {}
    return {
        "with an effect": str(effects.count),
        "  twice": str(len(effects.twice)),
        "  unknown, listed": str(len(effects.listed)),
    }


def _delays(delays: Delays | None) -> dict[str, str]:
    if delays is None:
        return {}
    return {
        "with a delay": str(delays.count),
        "  begun early": str(len(delays.early)),
        "  late untouched: median, worst": delays.lateness,
    }


def _schedules(schedules: Schedules | None) -> dict[str, str]:
    if schedules is None:
        return {}
    return {
        "fire times of schedules": str(schedules.count),
        "  left out, twice": f"{len(schedules.missing)}, {len(schedules.doubled)}",
        "without a leader, at worst": "-" if schedules.leaderless is None else f"{schedules.leaderless:.1f} s",
    }
