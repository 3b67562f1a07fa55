"""The envelope of results: what is told beside a result itself, and JSON values that can be stored everywhere."""

import base64
import math
from typing import Any, Literal, cast

from pydantic import ConfigDict, Field

from processors.interfaces import ObjectStorage, Report
from processors.results import UNSTORABLE, Result


class Timing(Result):
    """How long the work took, in seconds."""

    run_s: float


class Limits(Result):
    """Which limits were hit, and how many pages were left out for them."""

    hit: list[str] = []
    pages_skipped: int = 0


class Artefact(Result):
    """A file that this task made; beside these keys, what its kind has: `width`, `height`, `page`, `t`, `member`."""

    model_config = ConfigDict(extra="allow")

    kind: str
    uri: str
    mime: str
    bytes: int


class Envelope(Result):
    """What every result of files and AI is wrapped in; each method adds its `schema`, its `input` and its `result`."""

    schema_name: str = Field(serialization_alias="schema")
    status: Literal["ok", "partial"]
    options: dict[str, Any]
    provenance: list[dict[str, Any]]
    warnings: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    limits: Limits = Limits()
    artefacts: list[Artefact] = []
    timing: Timing


def stored(storage: ObjectStorage, task_id: str, kind: str, content: bytes, mime: str, **more: Any) -> Artefact:
    """Store bytes as an artefact of a task; `more` is what its kind has beside."""
    uri = storage.put(content, mime=mime, task_id=task_id)
    return Artefact.model_validate({"kind": kind, "uri": uri, "mime": mime, "bytes": len(content)} | more)


def packed(kind: str, content: bytes, mime: str, **more: Any) -> dict[str, Any]:
    """Return an artefact as a child hands it to its parent, as JSON values."""
    return {"kind": kind, "mime": mime, "data": base64.b64encode(content).decode()} | more


def warning(code: str, message: str, **more: Any) -> dict[str, Any]:
    """Return one entry of `warnings` or `errors`."""
    return {"code": code, "message": message} | more


def part_of(report: Report, start: float, end: float) -> Report:
    """Return a report whose 0 to 100 per cent lie between two of the whole."""

    def within(percent: float, text: str) -> None:
        report(start + (end - start) * max(0.0, min(100.0, percent)) / 100, text)

    return within


def clean(value: Any) -> Any:
    """Return JSON values whose texts can be stored and sent everywhere: what cannot becomes U+FFFD, no number null."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value) if "\0" in value or not value.isascii() else value
    if isinstance(value, dict):
        return {clean(key): clean(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [clean(inner) for inner in cast("list[Any]", value)]
    return value
