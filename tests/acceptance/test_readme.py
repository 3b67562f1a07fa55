"""The README's commands do what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import PROJECT_ROOT
from service import Service

README = (PROJECT_ROOT / "README.md").read_text()
LINES = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
ACTIVATE = ". .venv/bin/activate"
STARTED_ELSEWHERE = (Path(__file__).parent / "test_document_commands.py").read_text()


def test_there_are_commands_and_each_is_tried_by_some_test():
    here = ("make ", "csai ", "curl ", ACTIVATE)
    assert len(LINES) > 10
    assert [line for line in LINES if not line.startswith(here) and f'"{line}"' not in STARTED_ELSEWHERE] == []


def test_a_fresh_terminal_finds_every_command_once_the_environment_is_active():
    assert LINES[0] == ACTIVATE
    named = sorted({line.split()[0] for line in LINES if line.startswith(("csai", "celery", "python"))})
    script = f"{ACTIVATE} && command -v {' '.join(named)}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=PROJECT_ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [f"{PROJECT_ROOT}/.venv/bin/{name}" for name in named]


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_every_make_target_exists(line):
    done = subprocess.run([*line.split(), "--dry-run"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_terminals_and_the_webs_commands_work_on_a_running_service(tmp_path: Path):
    service = Service(tmp_path)
    try:
        service.start().until_ready()
        binaries = Path(sys.executable).parent
        environment = {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
        task_id = ""
        for line in LINES:
            if not line.startswith(("csai ", "curl ")):
                continue
            command = line.replace("TASK_ID", task_id).replace("var/run", str(service.data / "run"))
            command = command.replace(":8001", f":{service.port}").replace("curl ", "curl --silent --fail ")
            done = service.run("bash", "-c", command, **environment)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            if line.startswith("csai submit"):
                task_id = done.stdout.split()[0]
    finally:
        service.end()
