"""`csai bounce`: a mail server's report, from a file or from a pipe."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.acts import note
from cli.output import AsJson, print_json
from processors.errors import InvalidArgument
from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("bounce")(bounce)


def bounce(
    file: Annotated[Path | None, typer.Argument(help="The mail; left out: the standard input.")] = None,
    _as_json: AsJson = False,
) -> None:
    """Take a bounce or a complaint as it came: in Postfix's aliases, `bounces: "|csai bounce"`.

    What it told is printed as JSON, with or without --json.
    """
    try:
        message = sys.stdin.buffer.read() if file is None else file.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"The file {file} cannot be read: {error.strerror}.") from error
    found = celery_service.receive_bounce(message)
    note("bounce.receive", count=len(found))
    print_json(found)
