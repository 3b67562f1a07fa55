"""Converts documents of the Office before 2007 with LibreOffice, in a process with few rights and hard limits.

Source: `soffice --help`; the settings of the profile are those of LibreOffice's registry (officecfg).
"""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from processors.errors import FileError
from processors.interfaces import Converted, Report

MIB = 1024**2
FILTERS = {
    "doc": ("docx", "MS Word 2007 XML"),
    "xls": ("xlsx", "Calc MS Excel 2007 XML"),
    "ppt": ("pptx", "Impress MS PowerPoint 2007 XML"),
}
LAUNCHER = "adapters.confined_program"
LOOK_SECONDS = 0.1
VERSION_SECONDS = 60.0
MOST_SAID_BYTES = 2_000
OPEN_FILES = 512
PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="MacroSecurityLevel" oor:op="fuse">
<value>3</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableMacrosExecution" oor:op="fuse">
<value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="BlockUntrustedRefererLinks"
oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Writer/Content/Update"><prop oor:name="Link" oor:op="fuse">
<value>0</value></prop></item>
<item oor:path="/org.openoffice.Office.Calc/Content/Update"><prop oor:name="Link" oor:op="fuse">
<value>2</value></prop></item>
</oor:items>
"""
"""No macro runs, no link is followed."""


class LibreOfficeConverter:
    """Fulfils `processors.interfaces.OfficeConverter`: one process for one file, with a profile that is thrown away.

    Args:
        program: the path of `soffice`.
        folder: where its temporary files lie, each conversion in a folder of its own that only this user may enter.
        memory_mb: address space of the process.
        cpu_seconds: processor time for one file.
        wall_seconds: time for one file.
        max_file_mb: the largest file, of all that the process writes together too.
    """

    name = "LibreOffice"

    def __init__(
        self,
        program: Path,
        folder: Path,
        *,
        memory_mb: int,
        cpu_seconds: int,
        wall_seconds: float,
        max_file_mb: int,
    ) -> None:
        self._program, self._folder = program, folder
        self._wall_seconds, self._max_bytes = wall_seconds, max_file_mb * MIB
        self._limits = {
            "AS": memory_mb * MIB,
            "CPU": cpu_seconds,
            "FSIZE": self._max_bytes,
            "NOFILE": OPEN_FILES,
            "CORE": 0,
        }

    @cached_property
    def version(self) -> str | None:
        """What the program says of its version, or None where it says nothing."""
        with self._own_folder() as folder:
            try:
                self._run(folder, ["--version"], VERSION_SECONDS, lambda: None)
            except FileError:
                return None
            words = _said(folder).split()
        return next((word for word in words if word[:1].isdigit()), None)

    @contextmanager
    def converted(self, path: Path, kind: str, sha256: str, report: Report) -> Generator[Converted]:
        """Convert a file; what was made is there until the context ends.

        Raises:
            FileError: it cannot be converted; `code` says why.
        """
        ending, filter_name = FILTERS[kind]
        with self._own_folder() as folder:
            source = folder / f"input.{kind}"
            _copy(path, source, sha256, self._max_bytes)
            arguments = ["--convert-to", f"{ending}:{filter_name}", "--outdir", str(folder / "out"), str(source)]
            held = self._run(
                folder, arguments, self._wall_seconds, lambda: report(0, "converting the document with LibreOffice")
            )
            made = folder / "out" / f"input.{ending}"
            self._check(made, folder)
            yield Converted(made, ending, held)

    @contextmanager
    def _own_folder(self) -> Generator[Path]:
        with tempfile.TemporaryDirectory(prefix="convert-", dir=self._folder) as name:
            folder = Path(name)
            user = folder / "profile" / "user"
            user.mkdir(parents=True)
            (user / "registrymodifications.xcu").write_text(PROFILE, encoding="utf-8")
            for inner in ("out", "tmp"):
                (folder / inner).mkdir()
            yield folder

    def _run(self, folder: Path, arguments: Sequence[str], seconds: float, look: Callable[[], None]) -> tuple[str, ...]:
        """Run the program until it ends or has to; returns the protections that held.

        Raises:
            FileError: it failed, or took too much of anything.
        """
        ours, theirs = os.pipe()
        switches = ["--headless", "--invisible", "--norestore", "--nologo", "--nolockcheck", "--nodefault"]
        program = [
            str(self._program),
            f"-env:UserInstallation={(folder / 'profile').absolute().as_uri()}",
            *switches,
            *arguments,
        ]
        launch = [sys.executable, "-I", "-m", LAUNCHER, str(os.getpid()), str(theirs), json.dumps(self._limits)]
        try:
            try:
                with (folder / "said").open("wb") as said:
                    process = subprocess.Popen(  # noqa: S603 - our own module, and the program that the settings name
                        [*launch, *program],
                        stdin=subprocess.DEVNULL,
                        stdout=said,
                        stderr=said,
                        cwd=folder,
                        env=_environment(folder),
                        pass_fds=[theirs],
                        start_new_session=True,
                    )
            finally:
                os.close(theirs)
            try:
                code = self._wait(process, folder, seconds, look)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            held = os.read(ours, MOST_SAID_BYTES)
        finally:
            os.close(ours)
        if code != 0:
            raise _failed(code, _said(folder))
        return tuple(json.loads(held))

    def _wait(self, process: subprocess.Popen[bytes], folder: Path, seconds: float, look: Callable[[], None]) -> int:
        """Return how the program ended."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK_SECONDS)
            look()
            if time.monotonic() >= deadline:
                raise FileError(f"LibreOffice took longer than {seconds:g} s: see FILE_TIME_LIMIT_SECONDS.", "timeout")
            self._check_size(folder)

    def _check(self, made: Path, folder: Path) -> None:
        """Check that what was made is a file of its own: a link would lead the reader elsewhere.

        Raises:
            FileError: there is none, or it is something else.
        """
        self._check_size(folder)
        try:
            status = made.lstat()
        except FileNotFoundError as error:
            said = _said(folder) or "it said nothing"
            raise FileError(f"LibreOffice cannot convert the document: {said}.", "corrupt") from error
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise FileError("LibreOffice made a link instead of a file, and it was not followed.", "crashed")

    def _check_size(self, folder: Path) -> None:
        if sum(_sizes(folder)) > self._max_bytes:
            most = self._max_bytes // MIB
            raise FileError(f"LibreOffice wrote more than {most} MB for the document: see MAX_FILE_MB.", "too_large")


def _copy(path: Path, target: Path, sha256: str, max_bytes: int) -> None:
    """Copy the file that was looked at in the sandbox.

    Raises:
        FileError: it cannot be read, or is another one now.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileError(f"The file {path} cannot be opened: {error.strerror}.", "not_found") from error
    digest, size = hashlib.sha256(), 0
    with os.fdopen(descriptor, "rb") as source, target.open("wb") as copy:
        while (chunk := source.read(MIB)) and size <= max_bytes:
            size += len(chunk)
            digest.update(chunk)
            copy.write(chunk)
    if digest.hexdigest() != sha256:
        raise FileError(f"The file {path} was changed while it was read.", "corrupt")


def _environment(folder: Path) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SAL_USE_VCLPLUGIN": "svp",
        "TMPDIR": str(folder / "tmp"),
    }


def _sizes(folder: Path) -> Generator[int]:
    """Yield the sizes of all that lies in a folder now; what vanishes meanwhile has none."""
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118 - many of them, all the time


def _said(folder: Path) -> str:
    """Return the last line that the program wrote."""
    with (folder / "said").open("rb") as said:
        said.seek(max(0, said.seek(0, os.SEEK_END) - MOST_SAID_BYTES))
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else ""


def _failed(code: int, said: str) -> FileError:
    if code == -signal.SIGXCPU:
        return FileError(
            "LibreOffice needed too much processor time for the document: see FILE_CPU_LIMIT_SECONDS.", "timeout"
        )
    if code == -signal.SIGXFSZ:
        return FileError("LibreOffice wrote too much for the document: see MAX_FILE_MB.", "too_large")
    ended = f"by signal {-code}" if code < 0 else f"with {code}"
    return FileError(f"LibreOffice ended {ended} at the document: {said or 'it said nothing'}.", "crashed")
