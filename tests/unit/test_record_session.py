"""The recorder of the README's session ends, whatever a command does."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "record_session.py"


@pytest.fixture(scope="module")
def recorder():
    spec = importlib.util.spec_from_file_location("record_session", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_a_command_that_does_not_end_is_ended_and_named(recorder):
    with pytest.raises(SystemExit, match="sleep 600 goes on after 0 s"):
        recorder.run(["sleep", "600"], goes_on=False, seconds=0.0)


def test_what_a_command_writes_is_returned(recorder):
    assert recorder.run(["echo", "done"], goes_on=False) == "done\r\n"


def test_a_command_that_goes_on_until_it_is_interrupted_is_interrupted(recorder, monkeypatch):
    monkeypatch.setattr(recorder, "QUIET_SECONDS", 0.0)
    assert recorder.run(["sh", "-c", "echo here; exec sleep 600"], goes_on=True).startswith("here")
