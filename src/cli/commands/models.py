"""`csai models`: the model files that are here, and fetching those that are not."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from adapters.model_store import Stored
from processors.model_manifest import MEGABYTE, ModelFile
from services.models import model_store

COLOURS = {"present": "green", "missing": "yellow", "damaged": "red"}

Names = Annotated[list[str] | None, typer.Argument(help="Of these alone.", show_default=False)]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The model files in MODELS_DIR.", no_args_is_help=True)
    group.command("list")(show)
    group.command("fetch")(fetch)
    group.command("verify")(verify)
    root.add_typer(group, name="models")


def show(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models: what for, how large, under which licence, and whether they are here."""
    stored = model_store().listed()
    if as_json:
        print(json.dumps([_told(one) for one in stored], indent=2, ensure_ascii=False))
        return
    _print(stored)


def fetch(names: Annotated[list[str], typer.Argument(help="As `csai models list` shows them.")]) -> None:
    """Fetch models that are missing or damaged; only with ALLOW_MODEL_DOWNLOADS."""
    for name in names:
        print(f"{name} is at {_fetched(name)}.")


def verify(names: Names = None) -> None:
    """Compare sizes and hashes; exit code 1 where a model is damaged, or one that was named is missing."""
    stored = model_store().verify(names or ())
    _print(stored)
    bad = {"damaged", "missing"} if names else {"damaged"}
    if any(one.state in bad for one in stored):
        sys.exit(1)


def _fetched(name: str) -> Path:
    """Fetch one model, with a bar for each file on the standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    rows: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def progress(file: ModelFile, received: int) -> None:
            if file.name not in rows:
                rows[file.name] = bars.add_task(escape(file.name), total=file.bytes)
            bars.update(rows[file.name], completed=received)

        return model_store().fetch(name, progress)


def _print(stored: list[Stored]) -> None:
    table = Table("model", "", "MB", "licence", "for", Column("place", overflow="fold"), box=None, pad_edge=False)
    for one in stored:
        state = f"[{COLOURS[one.state]}]{one.state}[/]"
        size = f"{one.model.bytes / MEGABYTE:.1f}"
        texts = map(escape, (one.model.licence, one.model.purpose, str(one.path)))
        table.add_row(one.model.name, state, size, *texts)
    Console().print(table)


def _told(one: Stored) -> dict[str, str | int | list[str]]:
    return {
        "name": one.model.name,
        "state": one.state,
        "bytes": one.model.bytes,
        "licence": one.model.licence,
        "purpose": one.model.purpose,
        "path": str(one.path),
        "urls": [file.url for file in one.model.files],
    }
