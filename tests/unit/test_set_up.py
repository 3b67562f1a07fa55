"""The set-up: it refuses what cannot work in one line, and does nothing twice."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def set_up():
    spec = importlib.util.spec_from_file_location("set_up", ROOT / "scripts" / "set_up.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def venv(tmp_path):
    """A folder that looks like an environment whose Python says what a test wants."""
    (tmp_path / "bin").mkdir()

    def says(version: tuple[int, int], prefix: Path = tmp_path) -> Path:
        python = tmp_path / "bin" / "python"
        python.write_text(f"#!/bin/sh\necho '{json.dumps([version, str(prefix)])}'\n")
        python.chmod(0o755)
        return tmp_path

    return says


def test_a_python_too_old_is_one_line_with_the_cure(set_up):
    with pytest.raises(set_up.SetUpError, match=r"this is Python 3.10.4, 3.11 or newer is needed.*PYTHON=python3.12"):
        set_up.check_version((3, 10, 4))


def test_an_environment_of_another_python_is_one_line_with_the_cure(set_up, venv):
    with pytest.raises(
        set_up.SetUpError, match=r"was made by Python 3.9, this is Python .*; remove .* make setup again"
    ):
        set_up.check_venv(venv((3, 9)))


def test_an_environment_that_was_moved_is_one_line_with_the_cure(set_up, venv):
    with pytest.raises(set_up.SetUpError, match=r"belongs to /elsewhere; remove"):
        set_up.check_venv(venv(sys.version_info[:2], Path("/elsewhere")))


def test_an_environment_whose_python_is_gone_is_one_line_with_the_cure(set_up, tmp_path):
    with pytest.raises(set_up.SetUpError, match=r"does not run any more .*remove"):
        set_up.check_venv(tmp_path)


def test_an_environment_that_is_up_to_date_is_left_alone(set_up, venv, capsys):
    folder = venv(sys.version_info[:2])
    (folder / ".set-up-run").write_text(set_up.fingerprint(ROOT / "requirements.lock"))
    set_up.set_up(folder, dev=False)
    assert capsys.readouterr().out == ""


def test_a_failed_step_is_one_line_and_the_exit_code_tells(set_up, capsys, monkeypatch):
    def fail(*_, **__):
        raise set_up.SetUpError("the packages cannot be installed.")

    monkeypatch.setattr(set_up, "set_up", fail)
    assert set_up.main([]) == 1
    assert capsys.readouterr().err == "Set-up stopped: the packages cannot be installed.\n"
    with pytest.raises(set_up.SetUpError, match="no luck"):
        set_up.call([sys.executable, "-c", "raise SystemExit(3)"], "no luck")


def test_without_the_weights_the_set_up_goes_on_and_says_how_to_have_them_later(set_up, venv, capsys, monkeypatch):
    def fail_for_weights(command, failed):
        if str(set_up.WEIGHTS) in command:
            raise set_up.SetUpError(f"{failed}.")

    monkeypatch.setattr(set_up, "call", fail_for_weights)
    folder = venv(sys.version_info[:2])
    set_up.set_up(folder, dev=False)
    said = capsys.readouterr().err
    assert "The set-up goes on: the weights for faces, voices and embeddings cannot be installed. Later: " in said
    assert f"--no-deps --require-hashes -r {set_up.WEIGHTS}" in said
    assert (folder / ".set-up-run").read_text() == set_up.fingerprint(ROOT / "requirements.lock")


def test_other_weights_make_the_environment_anew(set_up, tmp_path, monkeypatch):
    before = set_up.fingerprint(ROOT / "requirements.lock")
    monkeypatch.setattr(set_up, "WEIGHTS", tmp_path / "other.txt")
    set_up.WEIGHTS.write_text("other==1\n")
    assert set_up.fingerprint(ROOT / "requirements.lock") != before


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements.lock", "requirements-dev.txt", "requirements-weights.txt"]
)
def test_the_lock_files_pin_exactly_and_name_no_index(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"https?://|--index|--find-links|--extra", text)
    pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#", "-e"))]
    assert all("==" in line for line in pins)
    if name != "requirements.txt":
        assert text.count("--hash=sha256:") >= len(pins)


def test_the_plain_list_is_the_lock_without_hashes_and_the_project():
    def pins(name: str) -> set[str]:
        lines = (line.split(" ")[0] for line in (ROOT / name).read_text().splitlines() if "==" in line)
        return {re.sub(r"\[.*?\]", "", line) for line in lines}

    assert pins("requirements.txt") == pins("requirements.lock")
    assert pins("requirements.lock") <= pins("requirements-dev.txt")
    assert (ROOT / "requirements.txt").read_text().splitlines()[-1] == "-e ."


def test_every_dependency_has_its_line_in_the_decisions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = [re.match(r"[\w-]+", one)[0] for one in wanted]
    told = set(re.findall(r"[\w-]+", (ROOT / "docs" / "decisions" / "0005-dependencies.md").read_text()))
    assert set(names) - told == set()


def test_every_decision_is_listed_in_order():
    decisions = ROOT / "docs" / "decisions"
    listed = re.findall(r"\((\d.*?\.md)\)", (decisions / "README.md").read_text())
    assert listed == sorted(path.name for path in decisions.glob("0*.md"))


def test_nothing_that_belongs_to_an_installation_is_in_git():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in listed if name.startswith(("var/", ".venv/")) or name == ".env"]
