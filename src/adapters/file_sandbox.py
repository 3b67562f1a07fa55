"""Opens untrusted files in a warm child process without network, environment and rights, and with hard limits."""

import base64
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic_core import from_json

from adapters.local_files import opened
from config.child_process import die_with_parent
from processors.errors import ConfigurationError, FileError, TransientError
from processors.interfaces import Report, Room

MIB = 1024**2
FILES_PER_CHILD = 200
LOADING_SECONDS = 60.0
ENDING_SECONDS = 2.0
LOOK_SECONDS = 0.5
READ_BYTES = 1024**2
NEEDED = frozenset({"resource_limits", "no_new_privs", "seccomp"})
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # else ONNX Runtime reports to its maker, from a thread that starts with its import
    "PYTHONDONTWRITEBYTECODE": "1",
}
MODULE = "services.file_child"
GROUPS = {
    "document": "documents",
    "tables": "documents",
    "page_images": "documents",
    "identify": "documents",
    "archive": "documents",
    "pictures": "pictures",
    "image": "pictures",
    "video": "video",
    "video_scenes": "video",
    "video_frames": "video",
    **dict.fromkeys(("audio_sound", "audio_speech", "audio_transcript", "audio_piece", "audio_voices"), "sound"),
}
"""Which jobs share a child, with its formats and engines; any other job has a child of its own."""

KILLED = (
    "The child that opens files was killed: by somebody, or by the system, whose memory ran out: see "
    "FILE_MEMORY_LIMIT_MB and CELERY_WORKER_CONCURRENCY."
)
LONGEST_TOLD = 1_000
"""Characters of a message: what a parser says may quote the file, and what a taken-over child says may be anything."""

FIRST: tuple[float, str] = (0.0, "reading the file")
"""What is reported until the child reports."""


class _TooLate(Exception):
    """A child has said nothing by its deadline."""


class _Ended(Exception):
    """A child has ended."""


@dataclass
class _Child:
    """A child that waits for the files of one group of jobs."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    protections: list[str] = field(default_factory=list[str])
    files: int = 0
    received: bytearray = field(default_factory=bytearray)
    lines: deque[bytes] = field(default_factory=deque[bytes])


class _Made:
    """The files that one job makes; what it may make is checked here, because a file may have taken the child over."""

    def __init__(self, room: Room | None) -> None:
        self._room, self._bytes = room, 0

    def add(self, number: int, content: bytes) -> None:
        """Write the next bytes of one of them.

        Raises:
            FileError: it is more than there is room for.
        """
        room = self._room
        self._bytes += len(content)
        if room is None or not 0 <= number < room.max_files or self._bytes > room.max_bytes:
            raise FileError("The file made its reader hand over more than was asked for.", "too_large")
        with (room.folder / str(number)).open("ab") as file:
            file.write(content)


class ChildSandbox:
    """Fulfils `processors.interfaces.FileSandbox`: a warm child per group of jobs, replaced after 200 files or a fault.

    Each thread has children of its own, which end with it: that is how the kernel ties a child to its parent.

    Args:
        memory_mb: address space of the child.
        cpu_seconds: processor time for one file.
        wall_seconds: time for one file.
        output_mb: the largest answer.
        max_file_mb: the largest file.
        allow_unsandboxed: go on where the kernel's protections cannot be had.
        loading: JSON values for what a child loads; `readable` are further folders that it may read from.
    """

    def __init__(
        self,
        *,
        memory_mb: int,
        cpu_seconds: int,
        wall_seconds: float,
        output_mb: int,
        max_file_mb: int,
        allow_unsandboxed: bool = False,
        loading: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._memory_mb, self._cpu_seconds, self._wall_seconds = memory_mb, cpu_seconds, wall_seconds
        self._output_bytes, self._max_file_bytes = output_mb * MIB, max_file_mb * MIB
        self._allow_unsandboxed = allow_unsandboxed
        self._loading = json.dumps(dict(loading))
        self._of_threads: dict[int, dict[str, _Child]] = {}
        self._pid = os.getpid()

    def run(
        self, job: str, path: Path, options: Mapping[str, Any], report: Report, room: Room | None = None
    ) -> dict[str, Any]:
        """Open `path` here, once, and let a child do the job on it.

        The files that the job makes come in pieces, as lines beside its progress, and are written here. The child
        itself can write nothing: its file size limit of 0 holds for a memfd too (memfd_create(2) has no exception),
        and memory that both map could change after it was looked at.

        Raises:
            FileError: the file cannot be opened, or the child said so, ended, or took too much of anything.
            TransientError: the child was killed from outside, or was not ready in time; another attempt may succeed.
            ConfigurationError: this machine cannot sandbox, and ALLOW_UNSANDBOXED is not set, or lacks a package.
        """
        descriptor = opened(path, self._max_file_bytes)
        group = GROUPS.get(job, job)
        request = {
            "job": job,
            "options": dict(options),
            "memory_mb": self._memory_mb,
            "cpu_seconds": self._cpu_seconds,
        }
        try:
            child = self._child(group, report)
            try:
                answer = self._ask(child, descriptor, request, report, room)
            except BaseException:
                self._end(group)
                raise
        finally:
            os.close(descriptor)
        child.files += 1
        if child.files >= FILES_PER_CHILD or answer.get("fault"):
            self._end(group)
        if "error" in answer:
            raise FileError(answer["error"]["message"], answer["error"]["code"])
        return {**answer["result"], "sandbox": child.protections}

    def close(self) -> None:
        """End every child of this thread."""
        for group in list(self._children):
            self._end(group)

    @property
    def _children(self) -> dict[str, _Child]:
        """This thread's children, by their group."""
        if self._pid != os.getpid():
            self._of_threads, self._pid = {}, os.getpid()  # a fork's children are its parent's
        return self._of_threads.setdefault(threading.get_ident(), {})

    def _child(self, group: str, report: Report) -> _Child:
        child = self._children.get(group)
        if child is None or child.process.poll() is not None:
            self._end(group)
            child = self._children[group] = _start(group, self._loading)
            try:
                child.protections = list(self._ready(child, report))
            except BaseException:
                self._end(group)
                raise
        return child

    def _ready(self, child: _Child, report: Report) -> list[str]:
        """Return which protections hold; until they do no file is looked at, so that none is to blame for an end."""
        try:
            line = self._line(child, time.monotonic() + LOADING_SECONDS, lambda: report(*FIRST))
        except _TooLate as error:
            raise TransientError(
                f"The child that opens files was not ready within {LOADING_SECONDS:g} s: the machine is too busy."
            ) from error
        except _Ended as error:
            raise self._unready(child) from error
        message: dict[str, Any] = json.loads(line)
        if threads := message.get("threads"):
            raise ConfigurationError(
                f"Files cannot be opened safely: what opens them has started {threads} threads before it gave up its "
                "rights, and these would keep theirs."
            )
        held: list[str] = message["ready"]
        if not set(held) >= NEEDED and not self._allow_unsandboxed:
            raise ConfigurationError(
                f"This machine cannot open files safely: of {', '.join(sorted(NEEDED))} it has "
                f"{', '.join(held) or 'none'}; set ALLOW_UNSANDBOXED=1 to open them all the same."
            )
        return held

    def _ask(
        self, child: _Child, descriptor: int, request: dict[str, Any], report: Report, room: Room | None
    ) -> dict[str, Any]:
        deadline = time.monotonic() + self._wall_seconds
        made = _Made(room)
        try:
            socket.send_fds(child.connection, [json.dumps(request).encode() + b"\n"], [descriptor])
        except BrokenPipeError as error:
            raise self._ended(child) from error
        last: tuple[float, str] = FIRST

        def look() -> None:
            report(*last)

        try:
            while True:
                message = _understood(self._line(child, deadline, look))
                if "piece" in message:
                    made.add(*message["piece"])
                elif "progress" in message:
                    last = message["progress"]
                    report(*last)
                else:
                    return message
        except _TooLate as error:
            raise FileError(
                f"The file took longer than {self._wall_seconds:g} s: see FILE_TIME_LIMIT_SECONDS.", "timeout"
            ) from error
        except _Ended as error:
            raise self._ended(child) from error

    def _line(self, child: _Child, deadline: float, look: Callable[[], None]) -> bytes:
        """Return the child's next line; `look` is called while there is none, so that a cancellation is noticed.

        Raises:
            FileError: it is longer than FILE_OUTPUT_LIMIT_MB.
            _TooLate: there is none by the deadline.
            _Ended: there will be none.
        """
        while not child.lines:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _TooLate
            if not select.select([child.connection], [], [], min(LOOK_SECONDS, left))[0]:
                look()
                continue
            try:
                chunk = child.connection.recv(READ_BYTES)
            except ConnectionResetError:  # it ended before it had read its job
                chunk = b""
            if not chunk:
                raise _Ended
            child.received += chunk
            if len(child.received) > self._output_bytes:
                raise FileError(
                    f"The file's content is larger than {self._output_bytes // MIB} MB: see FILE_OUTPUT_LIMIT_MB.",
                    "too_large",
                )
            if b"\n" in chunk:
                *whole, rest = child.received.split(b"\n")
                child.lines.extend(map(bytes, whole))
                child.received = rest
        return child.lines.popleft()

    def _unready(self, child: _Child) -> ConfigurationError | TransientError:
        """Say why a child ended before it was ready."""
        code = child.process.wait()
        if code == -signal.SIGKILL:
            return TransientError(KILLED)
        return ConfigurationError(
            f"The child that opens files ended while it started ({code}): {_last_words(child) or 'it said nothing'}; "
            "where a package is missing, run `make setup`."
        )

    def _ended(self, child: _Child) -> FileError | TransientError:
        """Say why a child ended in the middle of a file."""
        try:
            code = child.process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return FileError("The file made its reader hang up, and not end.", "crashed")
        if code == -signal.SIGXCPU:
            return FileError(
                f"The file needed more than {self._cpu_seconds} s of processor time: see FILE_CPU_LIMIT_SECONDS.",
                "timeout",
            )
        if code == -signal.SIGKILL:
            return TransientError(KILLED)
        unsaid = f"it is damaged, or needs more than {self._memory_mb} MB, see FILE_MEMORY_LIMIT_MB"
        return FileError(f"The file made its reader end ({code}): {_last_words(child) or unsaid}.", "crashed")

    def _end(self, group: str) -> None:
        child = self._children.pop(group, None)
        if child is None:
            return
        child.connection.close()
        child.process.kill()
        child.process.wait()
        if child.process.stderr is not None:
            child.process.stderr.close()


def _last_words(child: _Child) -> str:
    """Return the last line that a child has written to its standard error."""
    said = child.process.stderr.read() if child.process.stderr else b""
    return " ".join(said.decode("utf-8", "replace").strip().splitlines()[-1:])[:LONGEST_TOLD]


def _understood(line: bytes) -> dict[str, Any]:
    """Return what a child says of its job; a child that a file has taken over may say anything.

    Raises:
        FileError: it is none.
    """
    try:
        message: Any = from_json(line)
        if "progress" in message:
            percent, text = message["progress"]
            return {"progress": (max(0.0, min(100.0, float(percent))), str(text)[:LONGEST_TOLD])}
        if "piece" in message:
            number, content = message["piece"]
            return {"piece": (int(number), base64.b64decode(content, validate=True))}
        if "error" in message:
            said = {name: str(message["error"][name])[:LONGEST_TOLD] for name in ("code", "message")}
            return {"error": said, "fault": bool(message.get("fault", True))}
        return {"result": dict(message["result"])}
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise FileError("The file made its reader say what nobody understands.", "crashed") from error


def _start(group: str, loading: str) -> _Child:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-I", "-m", MODULE, str(theirs.fileno()), loading, group],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=ENVIRONMENT,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),  # noqa: PLW1509 - one prctl, nothing that another thread could hold
        )
    return _Child(process, ours)
