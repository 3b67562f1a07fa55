"""One installation, started as a user starts it."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from config.settings import PROJECT_ROOT
from ports import free_port
from waiting import until

SCRIPT = [sys.executable, "scripts/start_celery.py"]


class Service:
    """One installation started as a user starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "terminal.txt"
        self.port, self.flower_port = free_port(), free_port()
        self.data = folder / "data"
        self.environment = {
            **os.environ,
            "DATA_DIR": str(self.data),
            "PORT": str(self.port),
            "FLOWER_PORT": str(self.flower_port),
            "IO_CONCURRENCY": "2",
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: dict[int, psutil.Process] = {}

    def start(self, *arguments: str) -> "Service":
        with self.log.open("ab") as log:
            command = [*SCRIPT, *(arguments or ("all",))]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment, cwd=PROJECT_ROOT)
        return self

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def until_ready(self) -> "Service":
        until(lambda: "Try it: make example" in self.said() or self.process.poll() is not None, 120, "it is ready")
        assert self.process.poll() is None, self.said()
        self.note_processes()
        return self

    def note_processes(self) -> None:
        for one in psutil.Process(self.process.pid).children(recursive=True):
            self.seen[one.pid] = one

    def living(self) -> list[psutil.Process]:
        return [one for one in self.seen.values() if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: PLW1510 - the caller looks at the code
            command, env=self.environment | more, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120
        )

    def get(self, port: int, path: str, **headers: str) -> tuple[int, str]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=names)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        _, alive = psutil.wait_procs(self.living(), 20)
        for one in alive:
            one.kill()
