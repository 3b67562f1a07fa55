"""Answering a file that was read before, in the same way, by what was found then (CACHE_RESULTS)."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, TypeVar, cast

from config.settings import Settings, settings
from processors.errors import PermanentError
from processors.file_results import FileRequest
from processors.interfaces import ObjectStorage, Report
from processors.results import Result
from records.cached_results import CachedResult
from services.celery_tasks.base import RecordedTask

AnyResult = TypeVar("AnyResult", bound=Result)

PRIVATE = ("password", "face_recognition")
"""Options whose results are for their own task alone: what a password opened, and whom somebody was taken for."""

STORED_RESULT = "member_result"
"""The kind of an artefact that is a result itself: nobody looks for the artefacts that only it names."""

SHAPING = (
    *("allow_", "face_", "file_", "inline_", "libreoffice", "max_", "model", "object_", "ocr_", "openai_base_url"),
    "speech_",
)
"""How settings begin that shape results. One that does not is at most the cause of reading a file once more."""


def may_be_shared(request: FileRequest) -> bool:
    """Tell whether what is found may answer another task."""
    asked = request.model_dump()
    asked |= asked.get("processing_options") or {}
    return not any(asked.get(name) for name in PRIVATE)


def answered(
    task: RecordedTask, request: FileRequest, path: Path, schema: str, read: Callable[[], AnyResult], report: Report
) -> AnyResult | dict[str, Any]:
    """Return what was found for another task in the same file, or read it and keep what is found.

    Args:
        task: whose run it is; it gets references to the artefacts, so that they stay for it.
        request: what is asked for.
        path: the file.
        schema: the name of the result's schema.
        read: does the work.
        report: told how far it is.

    Returns:
        What `read` returned, or the JSON form of another task's result whose `provenance` ends with `cache`.
    """
    files = import_module("adapters.local_files")  # on first use: a worker that reads no files loads no adapter
    digest = files.digest_of(path, settings.max_file_mb * files.MIB, report)
    key = _key_of(task, schema, request, digest)
    found = task.parts.cached_results.find(key)
    if found is not None and _referred(found.result, task.parts.storage, task.current.id):
        return _marked(found)
    result = read()
    told = result.as_json()
    same = _envelope(told).get("input", {}).get("sha256") == digest  # the file may have changed meanwhile
    if told["status"] == "ok" and same and all(one["kind"] != STORED_RESULT for one in _artefacts(told)):
        task.parts.cached_results.keep(key, task.current.id, told)
    return result


def _key_of(task: RecordedTask, schema: str, request: FileRequest, digest: str) -> str:
    """Return the digest of whose a result is and of all that shapes it.

    The file's name does, because it decides between kinds of text. No tenant is told what another one has read.
    """
    shaping = {name for name in Settings.model_fields if name.startswith(SHAPING)}
    record = task.parts.tasks.read(task.current.id)
    told = {
        "tenant": record.tenant if record else None,
        "method": task.name,
        "schema": schema,
        "file": [digest, request.name],
        "options": request.effective_options(),
        "settings": settings.model_dump(include=shaping),
        "models": sorted(_model_files()),
        "packages": _packages(),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _model_files() -> Iterator[tuple[str, int, int]]:
    """Yield the path, size and time of all model files: another model of the same shape has the same size."""
    places = {settings.models_dir, settings.whisper_folder, settings.models_dir / (settings.object_model or "")}
    for path in {file for place in places for file in (place, *place.rglob("*"))}:
        with suppress(OSError):  # none is there, it went just now, or its path leads in a circle or through a file
            status = path.stat()
            yield str(path), status.st_size, status.st_mtime_ns


@cache
def _packages() -> list[str]:
    """Return all packages that are installed, this project among them: each may be an engine, or a part of one."""
    return sorted(f"{one.name} {one.version}" for one in distributions())


def _referred(result: dict[str, Any], storage: ObjectStorage, task_id: str) -> bool:
    """Let a task refer to all artefacts of another one's result; False where one of them is gone."""
    try:
        for artefact in _artefacts(result):
            storage.refer(str(artefact["uri"]), task_id)
    except PermanentError:
        return False
    return True


def _artefacts(value: Any) -> Iterator[dict[str, Any]]:
    """Return all artefacts of a result, also those of results inside it."""
    if isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _artefacts(inner)
    elif isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if isinstance(made := fields.get("artefacts"), list):  # a tag of a sound may have any name
            yield from cast("list[dict[str, Any]]", made)
        for inner in fields.values():
            yield from _artefacts(inner)


def _marked(found: CachedResult) -> dict[str, Any]:
    """Return a result that says whose it was."""
    mark = {"step": "cache", "cached": True, "of_task": found.task_id}
    _envelope(found.result)["provenance"].append(mark)
    return found.result


def _envelope(result: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a result that tells its input and provenance: itself, or the result that it is around."""
    return result if "input" in result else result.get("detail") or {}
