"""Files: documents, and files of any kind sent to the method for what they are."""

from processors.documents import DocumentProcessed, ProcessDocument
from processors.documents import process_document as read_document
from processors.files import FileProcessed, ProcessFile
from processors.files import process_file as route_file
from services.celery_tasks.base import RecordedTask, recorded_task


@recorded_task("file_processing.process_document", ProcessDocument)
def process_document(task: RecordedTask, request: ProcessDocument) -> DocumentProcessed:
    """Read a document."""
    return read_document(request, task.parts.document_tools(task.current.id), task.report)


@recorded_task("file_processing.process_file", ProcessFile)
def process_file(task: RecordedTask, request: ProcessFile) -> FileProcessed:
    """Process a file as what it is."""
    return route_file(request, task.parts.document_tools(task.current.id), task.report)
