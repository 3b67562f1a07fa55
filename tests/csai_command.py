"""`csai …` in the process of a test: its exit code, its output, its errors."""

import io
import sys
from typing import NamedTuple

import pytest

from cli import main


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    errors: str


@pytest.fixture
def csai(monkeypatch, capsys):
    """Run `csai …`; `given` is what comes on its standard input."""

    def run(*words: str, given: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["csai", *words])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        monkeypatch.setattr(main, "root", main.new_root())
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.run()
        said = capsys.readouterr()
        return Said(ended.value.code or 0, said.out, said.err)

    return run
