"""What the sandboxed child looks at before a file is sent to a method: its kind, and whether a film has pictures."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, BinaryIO

from processors.demuxers import DEMUXERS, ONLY_THIS_FILE
from processors.errors import FileError
from processors.file_types import MIME, VIDEO, sniff
from processors.interfaces import Report

AV: Any = import_module("av")
"""PyAV, which has no types for what is used here; loaded with this module, because the child cannot read the system's
libraries that it needs once it has given up its rights."""


def identify(file: BinaryIO, options: Mapping[str, Any], _report: Report) -> dict[str, Any]:
    """Tell what a file is.

    Args:
        file: open, seekable, read-only.
        options: `name`, the file's own name.

    Returns:
        `kind`, `mime`, and `streams`: what a film's container holds (`audio`, `video`, `subtitle`, `data`), a cover
        picture not counted; None where the file is none, or so damaged that only its method can say more.
        A file that nothing here reads has only `code` and `why`: that is told and not raised, because a job that raises
        costs its child, and an archive may have hundreds of such members.
    """
    try:
        kind = sniff(file, str(options["name"]))
    except FileError as error:
        return {"code": error.code, "why": str(error)}
    return {"kind": kind, "mime": MIME[kind], "streams": _streams(file, DEMUXERS[kind] if kind in VIDEO else None)}


def _streams(file: BinaryIO, reader: str | None) -> list[str] | None:
    """Return the types of a container's streams, or None where they cannot be told."""
    if reader is None:
        return None
    cover = AV.stream.Disposition.attached_pic
    try:
        with AV.open(file, format=reader, options=ONLY_THIS_FILE, metadata_errors="replace") as container:
            return sorted({stream.type for stream in container.streams if not stream.disposition & cover})
    except AV.FFmpegError:
        return None
