"""The README's commands do what it says."""

import importlib.util
import os
import re
import shlex
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
RECORDER = importlib.util.spec_from_file_location("record_session", PROJECT_ROOT / "scripts" / "record_session.py")
recorder = importlib.util.module_from_spec(RECORDER)
RECORDER.loader.exec_module(recorder)
PICTURES = re.findall(r"!\[.+?\]\((docs/[\w.-]+)\)", README)
BIGGEST_PICTURE = 150_000
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


@pytest.mark.parametrize("command", [step.command for step in recorder.SESSION])
def test_what_was_recorded_at_a_terminal_is_shown_and_can_still_be_typed(csai, command):
    words = shlex.split(command)[1:]
    options = [word for word in words if word.startswith("--")]
    named = words[: words.index(options[0])] if options else words
    said = csai(*[word for word in named if word != "TASK_ID"], "--help")
    assert (said.code, [option for option in options if option not in said.out]) == (0, [])
    assert re.search(rf"^\$ {re.escape(command).replace('TASK_ID', recorder.ID.pattern)}$", README, re.MULTILINE)


def test_a_recording_has_the_lines_of_a_terminal_and_of_a_bar_each_of_its_words():
    written = "id\r\n\x1b[?25l\r\x1b[2K\x1b[1mwaits\x1b[0m      0%\r\x1b[2Kreading ━━  50%\r\x1b[2Kreading ━━━ 60%"
    written += "\r\x1b[2KSUCCESS ━━━━ 100%\r\n\x1b[?25h\r\x1b[1A\x1b[2K{}\r\n"
    assert recorder.shown(written) == ["id", "waits      0%", "reading ━━━ 60%", "SUCCESS ━━━━ 100%", "{}", ""]


def test_the_recorder_presses_ctrl_c_where_nothing_more_comes(monkeypatch):
    monkeypatch.setattr(recorder, "QUIET_SECONDS", 0.1)
    lines = recorder.shown(recorder.run(["sh", "-c", "echo begun; exec cat"], goes_on=True))
    assert lines[0] == "begun"
    assert recorder.trimmed([*"abcdef", ""], recorder.Step("", 2, 1)) == ["a", "b", "…", "f"]


def test_its_pictures_are_there_and_small():
    assert len(PICTURES) >= 2
    assert {name: 0 < (PROJECT_ROOT / name).stat().st_size < BIGGEST_PICTURE for name in PICTURES} == dict.fromkeys(
        PICTURES, True
    )


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
