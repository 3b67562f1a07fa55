"""The child that opens untrusted files, one at a time: `python -I -m services.file_child <socket> <loading> <group>`.

It loads what it needs, gives up everything else, and answers jobs. A job is one line of JSON with the file's descriptor
beside it; the answers are lines of JSON: progress and pieces of files that the job makes, then a result or an error.
"""

import base64
import gc
import json
import os
import socket
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import to_json

from processors.envelopes import clean
from processors.errors import FileError
from services import child_protections
from services.file_jobs import LOADERS, Job

MIB = 1024**2
LONGEST_LINE = MIB


def main() -> None:
    """Serve the parent until it closes the socket."""
    os.set_blocking(sys.stderr.fileno(), False)  # nobody reads it until the child ends: what is too much is lost
    connection = socket.socket(fileno=int(sys.argv[1]))
    loading: dict[str, Any] = json.loads(sys.argv[2])
    group = sys.argv[3]
    jobs = LOADERS[group](loading) if group in LOADERS else {group: _named(group)}
    gc.collect()
    gc.freeze()
    if threads := child_protections.other_threads():
        _send(connection, {"ready": [], "threads": threads})
        return
    held = child_protections.protect(_readable(loading))
    serve(connection, jobs, held)


def serve(connection: socket.socket, jobs: Mapping[str, Job], held: list[str]) -> None:
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
            _send(connection, answer(connection, jobs[request["job"]], file, request))
        gc.collect()


class ParentReport:
    """Fulfils `processors.interfaces.JobReport`: each call is a line to the parent."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def __call__(self, percent: float, text: str) -> None:
        """Tell how far the job is."""
        _send(self._connection, {"progress": [percent, clean(text)]})

    def piece(self, number: int, content: bytes) -> None:
        """Hand over the next bytes of a file that the job makes."""
        _send(self._connection, {"piece": [number, base64.b64encode(content).decode()]})


def answer(connection: socket.socket, job: Job, file: BinaryIO, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do one job; whatever goes wrong is an answer too."""
    report = ParentReport(connection)
    child_protections.limit(int(request["memory_mb"]) * MIB, int(request["cpu_seconds"]))
    try:
        return {"result": job(file, request["options"], report)}
    except FileError as error:
        return {"error": {"code": error.code, "message": clean(str(error))}, "fault": False}
    except MemoryError:
        message = "The file needs more memory than FILE_MEMORY_LIMIT_MB allows."
        return {"error": {"code": "memory_limit", "message": message}, "fault": True}
    except Exception as error:  # noqa: BLE001 - what a parser raises at a bad file is the file's fault, and its answer
        message = clean(f"The file cannot be read: {type(error).__name__}: {error}.")
        return {"error": {"code": "corrupt", "message": message}, "fault": True}


def _named(kind: str) -> Job:
    """Return a job by `module:function`: how tests bring files that hang, crash or reach out."""
    module, _, function = kind.partition(":")
    return getattr(import_module(module), function)


def _readable(loading: Mapping[str, Any]) -> list[Path]:
    """Return the folders that Python and the engines still read from: Python, packages, this project, models."""
    folders = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parents[1]}
    folders |= {Path(folder) for folder in loading.get("readable", [])}
    return [folder for folder in folders if folder.is_dir()]


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    line = memoryview(to_json(message) + b"\n")  # several times as fast as json, which counts for a long text
    while line:
        line = line[os.write(connection.fileno(), line) :]


if __name__ == "__main__":
    main()
