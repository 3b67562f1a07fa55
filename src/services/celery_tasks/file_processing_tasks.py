"""Files: documents, pictures, sounds, films, and files of any kind sent to the method for what they are."""

from processors.audio import AudioProcessed, ProcessAudio
from processors.audio import process_audio as read_audio
from processors.documents import DocumentProcessed, ProcessDocument
from processors.documents import process_document as read_document
from processors.files import FileProcessed, ProcessFile
from processors.files import process_file as route_file
from processors.images import ImageProcessed, ProcessImage
from processors.images import process_image as read_image
from processors.people import EnrollPerson, PersonEnrolled
from processors.people import enroll_person as enroll
from processors.video import ProcessVideo, VideoProcessed
from processors.video import process_video as watch_video
from services.celery_tasks.base import RecordedTask, recorded_task
from services.file_tools import audio_tools, document_tools, enroll_tools, image_tools, route_tools, video_tools
from services.file_work import local, with_file


@recorded_task("file_processing.process_document", ProcessDocument)
def process_document(task: RecordedTask, request: ProcessDocument) -> DocumentProcessed:
    """Read a document."""
    return with_file(task, request, document_tools, read_document)


@recorded_task("file_processing.process_image", ProcessImage)
def process_image(task: RecordedTask, request: ProcessImage) -> ImageProcessed:
    """Read a picture."""
    return with_file(task, request, image_tools, read_image)


@recorded_task("file_processing.process_audio", ProcessAudio)
def process_audio(task: RecordedTask, request: ProcessAudio) -> AudioProcessed:
    """Read a sound."""
    return with_file(task, request, audio_tools, read_audio)


@recorded_task("file_processing.process_file", ProcessFile)
def process_file(task: RecordedTask, request: ProcessFile) -> FileProcessed:
    """Process a file as what it is."""
    return with_file(task, request, route_tools, route_file)


@recorded_task("file_processing.process_video", ProcessVideo)
def process_video(task: RecordedTask, request: ProcessVideo) -> VideoProcessed:
    """Process a film."""
    return with_file(task, request, video_tools, watch_video)


@recorded_task("file_processing.enroll_person", EnrollPerson)
def enroll_person(task: RecordedTask, request: EnrollPerson) -> PersonEnrolled:
    """Store the encoding of a face; never answered from another task's result."""
    with local(task.parts, request.file_path, task.report) as path:
        return enroll(request, enroll_tools(task.parts, path), task.report)
