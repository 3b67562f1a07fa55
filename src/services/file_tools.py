"""What each method for files needs from outside, made of the settings and parts."""

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypedDict

from config.settings import settings
from processors.audio import AudioProcessed, AudioTools, ProcessAudio, process_audio
from processors.documents import DocumentTools
from processors.file_results import FileTools
from processors.files import RouteTools
from processors.images import ImageTools
from processors.interfaces import FileSandbox, ObjectStorage, Report
from processors.people import EnrollTools
from processors.video import VideoTools
from services.speech_choice import speech_choice
from services.wiring import Parts

MIB = 1024**2
CHILD_SHARE = 0.4
"""Of the time that a child may take for a file: when no further page of a picture is read, so that none of those that
were read is lost with the child."""

FILM_SHARE, SPEECH_SHARE, OCR_SHARE, MEMBERS_SHARE = 0.4, 0.7, 0.7, 0.8
"""Of a task's time until its soft limit: when no further part of a film is looked at, no further piece of speech is
turned into text, no further page is read as a picture, and no member of an archive is processed any more. What was
begun by then, and the rest, still ends before the limit takes all of it. Each counts from the task's beginning: a
file that was fetched, or lies behind others in an archive, has less of it left."""


def _left(share: float, began: float | None, soft_limit: float | None) -> float:
    """Return the seconds that are left of a share of a task's time.

    Args:
        share: of its time until the soft limit.
        began: the monotonic second at which the task began; None: just now.
        soft_limit: its seconds; None: those of tasks for files.
    """
    gone = 0.0 if began is None else monotonic() - began
    return max(0.0, share * (soft_limit or settings.celery_task_soft_time_limit) - gone)


class _Common(TypedDict):
    path: Path
    sandbox: FileSandbox
    storage: ObjectStorage
    task_id: str
    inline_text_kb: int


def document_tools(
    parts: Parts, path: Path, task_id: str, began: float | None = None, soft_limit: float | None = None
) -> DocumentTools:
    """Return what processing a document needs, for one task."""
    return DocumentTools(
        **_common(parts, path, task_id),
        max_pages=settings.max_pages,
        max_characters=settings.max_characters,
        max_page_images=settings.max_page_images,
        converter=parts.converter,
        side_by_side=parts.side_by_side,
        ocr_seconds=_left(OCR_SHARE, began, soft_limit),
    )


def audio_tools(
    parts: Parts, path: Path, task_id: str, began: float | None = None, soft_limit: float | None = None
) -> AudioTools:
    """Return what processing a sound needs, for one task."""
    return AudioTools(
        **_common(parts, path, task_id),
        speech=speech_choice(settings),
        max_media_seconds=settings.max_media_seconds,
        speech_seconds=_left(SPEECH_SHARE, began, soft_limit),
    )


def image_tools(
    parts: Parts, path: Path, task_id: str, began: float | None = None, soft_limit: float | None = None
) -> ImageTools:
    """Return what processing a picture needs, for one task."""
    return ImageTools(
        **_common(parts, path, task_id),
        max_pixels=settings.max_pixels,
        max_pages=settings.max_pages,
        text_seconds=min(
            CHILD_SHARE * min(settings.file_cpu_limit_seconds, settings.file_time_limit_seconds),
            _left(OCR_SHARE, began, soft_limit),
        ),
        people=parts.people,
    )


def video_tools(
    parts: Parts, path: Path, task_id: str, began: float | None = None, soft_limit: float | None = None
) -> VideoTools:
    """Return what processing a film needs, for one task."""
    return VideoTools(
        **_common(parts, path, task_id),
        listen=partial(_listen, audio_tools(parts, path, task_id, began, soft_limit), monotonic()),
        threads=settings.file_engine_threads,
        run_seconds=min(settings.file_cpu_limit_seconds, settings.file_time_limit_seconds) / 3,
        max_media_seconds=settings.max_media_seconds,
        video_seconds=_left(FILM_SHARE, began, soft_limit),
    )


def _listen(tools: AudioTools, began: float, file_path: str, report: Report) -> AudioProcessed:
    """Process the sound of a film, in the time that its pictures have left of it."""
    left = max(0.0, tools.speech_seconds - (monotonic() - began))
    return process_audio(ProcessAudio(file_path=file_path), replace(tools, speech_seconds=left), report)


TOOLS: dict[str, Callable[[Parts, Path, str, float | None, float | None], FileTools]] = {
    "document": document_tools,
    "image": image_tools,
    "audio": audio_tools,
    "video": video_tools,
}
"""What makes the tools of each of `processors.files.METHODS`."""


def route_tools(
    parts: Parts, path: Path, task_id: str, began: float | None = None, soft_limit: float | None = None
) -> RouteTools:
    """Return what sending a file to its method needs, for one task."""
    began = monotonic() if began is None else began
    return RouteTools(
        **_common(parts, path, task_id),
        tools_of=lambda route, place: TOOLS[route](parts, place, task_id, began, soft_limit),
        folder=partial(folder, "archive-"),
        max_members=settings.max_archive_members,
        max_bytes=settings.max_archive_mb * MIB,
        members_seconds=_left(MEMBERS_SHARE, began, soft_limit),
    )


@contextmanager
def folder(prefix: str) -> Generator[Path]:
    """Make a folder that only its owner can read, and remove it with all that lies there."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=settings.tmp_dir) as name:
        yield Path(name)


def enroll_tools(parts: Parts, path: Path) -> EnrollTools:
    """Return what enrolling a person needs, for one task."""
    return EnrollTools(path=path, sandbox=parts.sandbox, people=parts.people, max_pixels=settings.max_pixels)


def _common(parts: Parts, path: Path, task_id: str) -> _Common:
    return _Common(
        path=path,
        sandbox=parts.sandbox,
        storage=parts.storage,
        task_id=task_id,
        inline_text_kb=settings.inline_text_kb,
    )
