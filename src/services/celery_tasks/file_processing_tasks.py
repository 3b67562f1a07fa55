"""Files: documents, and files of any kind sent to the method for what they are."""

from processors.documents import DocumentProcessed, ProcessDocument
from processors.documents import process_document as read_document
from processors.files import FileProcessed, ProcessFile
from processors.files import process_file as route_file
from services.celery_tasks.base import RecordedTask, recorded_task
from services.file_tools import document_tools
from services.file_work import with_file


@recorded_task("file_processing.process_document", ProcessDocument)
def process_document(task: RecordedTask, request: ProcessDocument) -> DocumentProcessed:
    """Read a document."""
    return with_file(task, request, document_tools, read_document)


@recorded_task("file_processing.process_file", ProcessFile)
def process_file(task: RecordedTask, request: ProcessFile) -> FileProcessed:
    """Process a file as what it is."""
    return with_file(task, request, document_tools, route_file)
