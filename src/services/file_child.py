"""The child that opens untrusted files: `python -I -m services.file_child <socket> <kind>`; one file at a time.

It loads what it needs, gives up everything else, and answers jobs. A job is one line of JSON with the file's descriptor
beside it; the answers are lines of JSON: progress, then a result or an error.
"""

import gc
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from processors.errors import FileError
from processors.interfaces import Report
from services import child_protections

Job = Callable[[BinaryIO, Mapping[str, Any], Report], dict[str, Any]]
MIB = 1024**2
LONGEST_LINE = MIB


def load_document() -> Job:
    """Load every format."""
    return import_module("processors.document_reading").read_document


def load_pictures() -> Job:
    """Load the reader of pictures, its models and its runtime."""
    if find_spec("onnxruntime") is None:
        return read_no_pictures
    reading = import_module("processors.document_reading")
    reader = import_module("engines.rapidocr_reader").RapidOcrReader()
    import_module("numpy")

    def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
        return reading.read_pictures(file, options, report, reader)

    return read


def read_no_pictures(_file: BinaryIO, _options: Mapping[str, Any], _report: Report) -> NoReturn:
    """Say why pictures are not read on a machine for which a package is missing."""
    raise FileError("text in pictures cannot be read on this machine: it has no onnxruntime.", "dependency_missing")


LOADERS: dict[str, Callable[[], Job]] = {"document": load_document, "pictures": load_pictures}


def main() -> None:
    """Serve the parent until it closes the socket."""
    os.set_blocking(sys.stderr.fileno(), False)  # nobody reads it until the child ends: what is too much is lost
    connection = socket.socket(fileno=int(sys.argv[1]))
    kind = sys.argv[2]
    job = LOADERS[kind]() if kind in LOADERS else _named(kind)
    gc.collect()
    gc.freeze()
    held = child_protections.protect(_readable())
    serve(connection, job, held)


def serve(connection: socket.socket, job: Job, held: list[str]) -> None:
    """Say that it is ready, then answer one job after another."""
    _send(connection, {"ready": held})
    while True:
        line, descriptors, _, _ = socket.recv_fds(connection, LONGEST_LINE, 1)
        if not line:
            return
        while not line.endswith(b"\n"):
            line += connection.recv(LONGEST_LINE)
        request: dict[str, Any] = json.loads(line)
        with os.fdopen(descriptors[0], "rb") as file:
            _send(connection, answer(connection, job, file, request))
        gc.collect()


def answer(connection: socket.socket, job: Job, file: BinaryIO, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do one job; whatever goes wrong is an answer too."""

    def report(percent: float, text: str) -> None:
        _send(connection, {"progress": [percent, text]})

    child_protections.limit(int(request["memory_mb"]) * MIB, int(request["cpu_seconds"]))
    try:
        return {"result": job(file, request["options"], report)}
    except FileError as error:
        return {"error": {"code": error.code, "message": str(error)}}
    except MemoryError:
        return {
            "error": {"code": "memory_limit", "message": "The file needs more memory than FILE_MEMORY_LIMIT_MB allows."}
        }
    except Exception as error:  # noqa: BLE001 - what a parser raises at a bad file is the file's fault, and its answer
        return {"error": {"code": "corrupt", "message": f"The file cannot be read: {type(error).__name__}: {error}."}}


def _named(kind: str) -> Job:
    """Return a job by `module:function`: how tests bring files that hang, crash or reach out."""
    module, _, function = kind.partition(":")
    return getattr(import_module(module), function)


def _readable() -> list[Path]:
    """Return the folders that Python itself still reads from: itself, its packages, this project's code, fonts."""
    folders = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parents[1]}
    return [folder for folder in folders if folder.is_dir()]


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    line = memoryview(json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    while line:
        line = line[os.write(connection.fileno(), line) :]


if __name__ == "__main__":
    main()
