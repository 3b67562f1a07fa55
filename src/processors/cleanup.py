"""Clean-up: what is old goes, and `dry_run` lists exactly what would."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from processors.interfaces import FileCleaner, ObjectStorage, OldRecords, OldUploads, Report
from processors.results import Request, Result

LISTED = 1_000
BATCH = 500
MOST_KEPT = 500
HOUR = 3_600.0
LONGEST_HOURS = 100 * 366 * 24

Hours = Annotated[float, Field(ge=0, le=LONGEST_HOURS, allow_inf_nan=False)]
Folder = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]


class CleanupOldTasks(Request):
    """Remove the records of tasks that ended more than so many hours ago."""

    max_age_hours: Hours = 24


class CleanupOldFiles(Request):
    """Remove files below a directory that are older than so many hours."""

    directory: Folder
    max_age_hours: Hours = 168
    dry_run: bool = False


class CleanupOldLogs(Request):
    """Remove logs older than so many hours; `logs` means the service's own folder of logs."""

    log_directory: Folder = "logs"
    max_age_hours: Hours = 168


class CleanedUp(Result):
    """What went, or would go: the first 1 000 by name."""

    deleted_count: int = 0
    bytes: int = 0
    items: list[str] = []
    errors: list[str] = []
    dry_run: bool = False


def clean_files(request: CleanupOldFiles, cleaner: FileCleaner, report: Report) -> CleanedUp:
    """Remove old files below the request's directory."""
    return _clean(request.directory, request.max_age_hours, cleaner, report, dry_run=request.dry_run)


def clean_logs(request: CleanupOldLogs, cleaner: FileCleaner, report: Report) -> CleanedUp:
    """Remove old logs, and nothing else that may lie beside them."""
    return _clean(request.log_directory, request.max_age_hours, cleaner, report, wanted=_is_log)


def clean_tasks(request: CleanupOldTasks, records: OldRecords, storage: ObjectStorage, report: Report) -> CleanedUp:
    """Remove final records that finished long ago, with their results and artefacts; never others.

    Artefacts go first: where this ends midway, the records that are left still lead to the rest. So does the record of
    a task whose artefacts cannot be removed; after many of these nothing more is tried.
    """
    result = CleanedUp()
    kept: set[str] = set()
    while len(kept) < MOST_KEPT and (old := records.final_before(request.max_age_hours, BATCH + len(kept))):
        ids = [task_id for task_id in old if task_id not in kept]
        if not ids:
            break
        for task_id in ids:
            try:
                result.bytes += storage.remove(task_id)
            except OSError as error:
                kept.add(task_id)
                result.errors.append(f"artefacts of {task_id}: {error.strerror}")
        gone = [task_id for task_id in ids if task_id not in kept]
        result.deleted_count += records.remove(gone)
        result.items += gone[: LISTED - len(result.items)]
        report(50, f"{result.deleted_count} removed")
    return result


def clean_uploads(uploads: OldUploads, storage: ObjectStorage, report: Report) -> CleanedUp:
    """Remove uploads whose time is over: their bytes first, unless a task has them, then what is known of them.

    Where this ends midway, the next one does the rest. One whose bytes cannot be removed is left, and told.
    """
    result = CleanedUp()
    after = ""
    while old := uploads.expired(after, BATCH):
        after = old[-1].id
        freed: list[str] = []
        for upload in old:
            try:
                result.bytes += storage.remove(upload.reference)
            except OSError as error:
                result.errors.append(f"the bytes of {upload.reference}: {error.strerror}")
            else:
                freed.append(upload.id)
        gone = uploads.remove(freed)
        result.deleted_count += len(gone)
        result.items += [one.reference for one in old if one.id in gone][: LISTED - len(result.items)]
        report(90, f"{result.deleted_count} uploads removed")
    return result


def together(first: CleanedUp, second: CleanedUp) -> CleanedUp:
    """Return what went in both."""
    return CleanedUp(
        deleted_count=first.deleted_count + second.deleted_count,
        bytes=first.bytes + second.bytes,
        items=(first.items + second.items)[:LISTED],
        errors=first.errors + second.errors,
        dry_run=first.dry_run,
    )


def _clean(
    directory: str,
    hours: float,
    cleaner: FileCleaner,
    report: Report,
    *,
    dry_run: bool = False,
    wanted: Callable[[Path], bool] = lambda _: True,
) -> CleanedUp:
    folder = Path(directory)
    found = [file for file in cleaner.find(folder, hours * HOUR) if wanted(file.path)]
    result = CleanedUp(dry_run=dry_run, errors=[_printable(error) for error in cleaner.errors[:LISTED]])
    for index, file in enumerate(found):
        report(100 * index / len(found), f"{index} of {len(found)} files")
        try:
            gone = dry_run or cleaner.remove(folder, file)
        except OSError as error:
            result.errors.append(_printable(f"{file.path}: {error.strerror}"))
            continue
        if gone:
            result.deleted_count += 1
            result.bytes += file.size
            result.items += [_printable(str(file.path))][: LISTED - len(result.items)]
    return result


def _printable(name: str) -> str:
    """Return a name as every reader of the result can take it: bytes that are no UTF-8 as escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_log(path: Path) -> bool:
    """Tell a log by its name; the file that a part writes to now (`worker.log`) was changed just now and stays."""
    return path.name.endswith((".log", ".log.gz"))
