"""`csai artefact URI`: a file that a task made, on the standard output."""

import sys
from typing import Annotated

import typer

from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("artefact")(artefact)


def artefact(uri: Annotated[str, typer.Argument(help="As the `artefacts` of a result name it.")]) -> None:
    """Write a file that a task made to the standard output: `csai artefact store://sha256/… > thumbnail.webp`."""
    sys.stdout.buffer.write(celery_service.get_artefact(uri))
