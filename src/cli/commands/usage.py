"""`csai usage`: what AI calls took, by day, provider and model."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Any

import typer

from cli.output import AsJson, print_json, print_table
from processors.ai_usage import PARTS
from services.celery_service import celery_service

OFTEN_NOTHING = ("cached_tokens", "reasoning_tokens", "estimated")
"""Columns that are shown only where they hold something."""

BLANK = " "
LEGEND = "input, output: tokens. cost: by the prices in AI_PROVIDERS; a model without a price counts as 0."

Days = Annotated[int, typer.Option(help="Days of UTC, today among them.")]
By = Annotated[str, typer.Option(help=f"A line for each of these, comma-separated: {', '.join(PARTS)}.")]


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("usage")(usage)


def usage(
    days: Days = 1,
    by: By = "day,provider,model",
    as_json: AsJson = False,
) -> None:
    """Show what AI calls took: how many there were, their tokens and their cost."""
    lines = celery_service.get_ai_usage(days=days, by=[part.strip() for part in by.split(",")])
    if as_json:
        print_json(lines)
        return
    period = "today (UTC)" if days == 1 else f"in the last {days} days (UTC)"
    if not lines:
        print(f"No provider of AI was asked {period}.")
        return
    print(f"Calls to providers of AI {period}:")
    _print(lines)
    print(LEGEND)


def _print(lines: Sequence[dict[str, Any]]) -> None:
    """Print the lines, and their sum below them; names are never cut."""
    hidden = {name for name in OFTEN_NOTHING if not any(line[name] for line in lines)} | {"currency"}
    names = [name for name in lines[0] if name not in hidden]
    rows = [[_shown(name, line) for name in names] for line in lines]
    if len(lines) > 1:
        sums = [_sum(name, lines) if name not in PARTS else ["all" if name == names[0] else BLANK] for name in names]
        rows += map(list, zip_longest(*sums, fillvalue=BLANK))
    columns = [name.removesuffix("_tokens") for name in names]
    print_table(columns, rows, right=set(columns) - set(PARTS))


def _sum(name: str, lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return what stands below a column: of costs a sum for each currency."""
    if name == "estimated":
        return [BLANK]
    sums = dict[str, float]()
    for line in lines:
        unit = line["currency"] if name == "cost" else ""
        sums[unit] = sums.get(unit, 0) + line[name]
    return [_shown(name, {name: amount, "currency": unit}) for unit, amount in sorted(sums.items())]


def _shown(name: str, line: dict[str, Any]) -> str:
    value = line[name]
    if value is None:
        return "-"
    if name in PARTS:
        return str(value)
    if name == "estimated":
        return f"{value:.0%}"
    return f"{value:.6f} {line['currency']}" if name == "cost" else f"{value:,}".replace(",", " ")
