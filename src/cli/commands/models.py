"""`csai models`: the model files that are here, and fetching those that are not."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from adapters.model_store import Stored
from cli.acts import note
from cli.output import AsJson, print_json, print_table, state
from processors.model_manifest import MEGABYTE, ModelFile
from services.models import model_store

Names = Annotated[list[str] | None, typer.Argument(help="Of these alone.", show_default=False)]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The model files in MODELS_DIR.")
    group.callback(invoke_without_command=True)(models)
    group.command("list")(show)
    group.command("fetch")(fetch)
    group.command("verify")(verify)
    root.add_typer(group, name="models")


def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models."""
    if context.invoked_subcommand is None:
        show(as_json)


def show(as_json: AsJson = False) -> None:
    """List the models: what for, how large, under which licence, and whether they are here."""
    _print(model_store().listed(), as_json=as_json)


def fetch(
    names: Annotated[list[str], typer.Argument(help="As `csai models list` shows them.")], as_json: AsJson = False
) -> None:
    """Fetch models that are missing or damaged; only with ALLOW_MODEL_DOWNLOADS."""
    fetched: list[dict[str, str]] = []
    for name in names:
        path = _fetched(name)
        note("model.fetch", ("model", name))
        fetched.append({"name": name, "path": str(path)})
        if not as_json:
            print(f"{name} is at {path}.")
    if as_json:
        print_json(fetched)


def verify(names: Names = None, as_json: AsJson = False) -> None:
    """Compare sizes and hashes; exit code 1 where one is damaged, or was named and is missing."""
    stored = model_store().verify(names or ())
    _print(stored, as_json=as_json)
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


def _print(stored: list[Stored], *, as_json: bool) -> None:
    if as_json:
        print_json([_told(one) for one in stored])
        return
    rows = [
        (
            one.model.name,
            state(one.state),
            f"{one.model.bytes / MEGABYTE:.1f}",
            one.model.licence,
            one.model.purpose,
            str(one.path),
        )
        for one in stored
    ]
    print_table(("model", "", "MB", "licence", "for", "place"), rows, right={"MB"})


def _told(one: Stored) -> dict[str, Any]:
    return {
        "name": one.model.name,
        "state": one.state,
        "bytes": one.model.bytes,
        "licence": one.model.licence,
        "purpose": one.model.purpose,
        "path": str(one.path),
        "urls": [file.url for file in one.model.files],
    }
