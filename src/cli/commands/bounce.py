"""`csai bounce`: a mail server's report, from a file or from a pipe."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from processors.errors import InvalidArgument
from services.celery_service import celery_service


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("bounce")(bounce)


def bounce(file: Annotated[Path | None, typer.Argument(help="The mail; left out: the standard input.")] = None) -> None:
    """Take a bounce or a complaint as it came: in Postfix's aliases, `bounces: "|csai bounce"`."""
    try:
        message = sys.stdin.buffer.read() if file is None else file.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"The file {file} cannot be read: {error.strerror}.") from error
    print(json.dumps(celery_service.receive_bounce(message), indent=2, ensure_ascii=False))
