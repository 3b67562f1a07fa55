"""What commands print: JSON for programs; for people tables and lines, on a terminal and through a pipe."""

import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from cli.exit_codes import FAILED

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]

PIPE_WIDTH = 100_000
"""Where nobody looks on, nothing is folded or cut."""

COLOURS = {
    "SUCCESS": "green",
    "FAILURE": "red",
    "REVOKED": "yellow",
    "RETRY": "yellow",
    "STARTED": "cyan",
    "PROGRESS": "cyan",
    "ok": "green",
    "wrong": "red",
    "paused": "yellow",
    "present": "green",
    "missing": "yellow",
    "damaged": "red",
}

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What would steer a terminal, or turn the order of what it shows, and what no encoding has."""

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def print_json(value: Any, *, line: bool = False) -> None:
    """Print one JSON document.

    Args:
        value: what is printed.
        line: as one line, at once: one item of several.
    """
    text = json.dumps(value, indent=None if line else 2, ensure_ascii=not _is_unicode(), default=str)
    print(UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=line)


def say(text: str) -> None:
    """Print a sentence for people on the standard error, where it is in no program's way."""
    print(safe(text), file=sys.stderr, flush=True)


def safe(text: str) -> str:
    """Return a text in which what would steer a terminal is written as its escape."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def print_line(*words: str | Text) -> None:
    """Print words in a line of their own; coloured on a terminal."""
    told = [word if isinstance(word, Text) else Text(_in_a_line(word)) for word in words if word]
    Console(highlight=False).print(Text(" ").join(told), soft_wrap=True)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, nothing: str = "", right: Collection[str] = ()
) -> None:
    """Print a table: nothing of it is cut, and through a pipe each row is one line without colours.

    Args:
        columns: their names.
        rows: a value for each column.
        nothing: what is said where there is no row.
        right: the columns of numbers.
    """
    told = [list(row) for row in rows]
    if not told and nothing:
        print(nothing)
        return
    console = Console(highlight=False)
    seen = console.is_terminal
    table = Table(
        *(Column(name, justify="right" if name in right else "left", overflow="fold") for name in columns),
        box=box.SIMPLE_HEAD if seen else None,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    for row in told:
        table.add_row(*(_cell(value, folded=seen) for value in row))
    _print(console, table)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print names and values, one below the other; what is a list or an object as indented JSON."""
    console = Console(highlight=False)
    table = Table("", Column(overflow="fold"), show_header=False, box=None, pad_edge=False)
    for name, value in fields.items():
        table.add_row(Text(name, style="bold"), _cell(value, folded=True, indent=2))
    _print(console, table)


def state(name: str, more: str = "") -> Text:
    """Return a state in its colour."""
    return Text(f"{name} {more}".rstrip(), style=COLOURS.get(name, ""))


def local(moment: str | None) -> str:
    """Return a moment in this machine's time, with its offset."""
    if moment is None:
        return "-"
    try:
        return datetime.fromisoformat(moment).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):  # a moment that no clock of this machine shows
        return moment


def span(seconds: float | None) -> str:
    """Return how long something is, in a unit that people count in."""
    if seconds is None:
        return "-"
    for size, unit in UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"  # noqa: PLR2004 - two digits


def tell(told: Mapping[str, Any], sentence: str, *, as_json: bool) -> None:
    """Print what an act came to, as JSON or as a sentence."""
    if as_json:
        print_json(told)
    else:
        print(safe(sentence))


def confirm(question: str) -> None:
    """Ask on the standard error whether something is to be done; anything but yes ends the command with exit code 1."""
    print(f"{safe(question)} [y/N]: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        say("Nothing was done.")
        raise typer.Exit(FAILED)


def _print(console: Console, table: Table) -> None:
    if console.is_terminal:
        console.print(table)
        return
    console.width = PIPE_WIDTH
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def _cell(value: Any, *, folded: bool, indent: int | None = None) -> Text:
    if isinstance(value, Text):
        return value
    if value is None or value == "":
        text = "-"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    return Text(safe(text) if folded else _in_a_line(text))


def _in_a_line(text: str) -> str:
    return safe(" ".join(text.split("\n")).replace("\t", " "))


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
