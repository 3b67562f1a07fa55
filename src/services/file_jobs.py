"""What the sandboxed children can do: one child for each group of jobs, which shares its formats and its engines.

A loader runs before the child gives up its rights and starts no thread, since the kernel binds threads one by one; what
starts threads, such as the engines, is loaded by the first job that needs it, inside the sandbox.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, BinaryIO, NoReturn

from processors.errors import FileError
from processors.interfaces import Report

Job = Callable[[BinaryIO, Mapping[str, Any], Report], dict[str, Any]]
Loader = Callable[[Mapping[str, Any]], dict[str, Job]]


def load_documents(_loading: Mapping[str, Any]) -> dict[str, Job]:
    """Load every format of documents."""
    return {"document": import_module("processors.document_reading").read_document}


def load_pictures(_loading: Mapping[str, Any]) -> dict[str, Job]:
    """Load the formats of pictures; the reader of text and its models are loaded by the first picture."""
    if find_spec("onnxruntime") is None:
        return {"pictures": read_no_pictures}
    reading = import_module("processors.document_reading")
    import_module("numpy")
    engines = import_module("services.file_engines").Engines()

    def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
        return reading.read_pictures(file, options, report, engines.reader)

    return {"pictures": read}


def read_no_pictures(_file: BinaryIO, _options: Mapping[str, Any], _report: Report) -> NoReturn:
    """Say why pictures are not read on a machine for which a package is missing."""
    raise FileError("text in pictures cannot be read on this machine: it has no onnxruntime.", "dependency_missing")


LOADERS: dict[str, Loader] = {"documents": load_documents, "pictures": load_pictures}
