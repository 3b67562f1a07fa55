"""Files: documents, pictures, sounds, films, and files of any kind sent to the method for what they are."""

from __future__ import annotations  # the modules that these name are imported on first use

from typing import TYPE_CHECKING

from services.celery_tasks.base import RecordedTask, recorded_task
from services.on_first_use import on_first_use

if TYPE_CHECKING:
    from processors import audio, documents, files, images, people, video
    from services import file_tools, file_work
else:
    audio, documents, files = on_first_use("processors", "audio", "documents", "files")
    images, people, video = on_first_use("processors", "images", "people", "video")
    file_tools, file_work = on_first_use("services", "file_tools", "file_work")


@recorded_task("file_processing.process_document", "processors.documents:ProcessDocument")
def process_document(task: RecordedTask, request: documents.ProcessDocument) -> documents.DocumentProcessed:
    """Read a document."""
    return file_work.with_file(task, request, file_tools.document_tools, documents.process_document)


@recorded_task("file_processing.process_image", "processors.images:ProcessImage")
def process_image(task: RecordedTask, request: images.ProcessImage) -> images.ImageProcessed:
    """Read a picture."""
    return file_work.with_file(task, request, file_tools.image_tools, images.process_image)


@recorded_task("file_processing.process_audio", "processors.audio:ProcessAudio")
def process_audio(task: RecordedTask, request: audio.ProcessAudio) -> audio.AudioProcessed:
    """Read a sound."""
    return file_work.with_file(task, request, file_tools.audio_tools, audio.process_audio)


@recorded_task("file_processing.process_file", "processors.files:ProcessFile")
def process_file(task: RecordedTask, request: files.ProcessFile) -> files.FileProcessed:
    """Process a file as what it is."""
    return file_work.with_file(task, request, file_tools.route_tools, files.process_file)


@recorded_task("file_processing.process_video", "processors.video:ProcessVideo")
def process_video(task: RecordedTask, request: video.ProcessVideo) -> video.VideoProcessed:
    """Process a film."""
    return file_work.with_file(task, request, file_tools.video_tools, video.process_video)


@recorded_task("file_processing.enroll_person", "processors.people:EnrollPerson")
def enroll_person(task: RecordedTask, request: people.EnrollPerson) -> people.PersonEnrolled:
    """Store the encoding of a face; never answered from another task's result."""
    file_work.keep_stored(task, request.file_path)
    with file_work.local(task.parts, request.file_path, task.report) as path:
        return people.enroll_person(request, file_tools.enroll_tools(task.parts, path), task.report)
