"""`csai users`: made, changed and kept out at a terminal, and their passwords printed once."""

import io
import json
import sys

import pytest

from cli import main
from cli.commands import users as command
from records.audit import WantedActs
from services import audit, passwords, users


@pytest.fixture
def csai(monkeypatch, capsys):
    """Run `csai …` in this process; returns exit code, output and errors."""
    monkeypatch.setattr(passwords, "COST", 2)
    monkeypatch.setattr(passwords, "PARALLELISM", 1)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["csai", *words])
        monkeypatch.setattr(main, "root", main.typer.Typer(name="csai"))
        with pytest.raises(SystemExit) as ended:
            main.run()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


def test_a_user_gets_a_password_that_is_printed_alone_once(csai):
    code, out, told = csai("users", "add", "cli-ann", "--role", "operator")
    assert code == 0
    assert users.log_in("cli-ann", out.strip())
    assert ("cli-ann (operator)" in told, out.strip() in told) == (True, False)
    code, out, _ = csai("users", "ls", "--json")
    found = {one["name"]: one for one in json.loads(out)}["cli-ann"]
    assert (code, found["role"], found["disabled_at"]) == (0, "operator", None)
    assert "cli-ann" in csai("users", "ls")[1]
    rows = audit.acts(WantedActs(act="user.add", target_id="cli-ann"), 9)
    assert [(row.origin, row.actor_kind) for row in rows] == [("cli", "user")]


def test_a_lost_password_is_replaced_and_a_user_kept_out_and_let_in(csai):
    first = json.loads(csai("users", "add", "cli-bob", "--json")[1])
    token = users.log_in("cli-bob", first["password"])
    second = csai("users", "set-password", "cli-bob")[1].strip()
    assert users.caller_of(token, active=False) is None
    assert users.log_in("cli-bob", first["password"]) is None
    assert users.log_in("cli-bob", second)
    assert csai("users", "set-role", "cli-bob", "admin")[1] == "The user cli-bob is admin.\n"
    assert csai("users", "disable", "cli-bob")[1] == "The user cli-bob is disabled.\n"
    assert users.log_in("cli-bob", second) is None
    assert "disabled 20" in csai("users", "ls")[1]
    assert json.loads(csai("users", "enable", "cli-bob", "--json")[1])["disabled_at"] is None
    assert users.log_in("cli-bob", second)


def test_a_password_of_ones_own_is_read_and_printed_nowhere(csai, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("a line of input\n"))
    code, out, told = csai("users", "add", "cli-own", "--ask")
    assert (code, "is set" in out, "a line" in out + told) == (0, True, False)
    assert users.log_in("cli-own", "a line of input")
    typed = iter(["typed by hand", "typed by hand", "typed by hand", "otherwise typed"])
    monkeypatch.setattr(command, "getpass", lambda _prompt: next(typed))
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    assert "password" not in json.loads(csai("users", "set-password", "cli-own", "--ask", "--json")[1])
    assert users.log_in("cli-own", "typed by hand")
    code, _, told = csai("users", "set-password", "cli-own", "--ask")
    assert (code, "differ" in told) == (2, True)
    assert users.log_in("cli-own", "typed by hand")


@pytest.mark.parametrize(
    ("words", "said", "exit_code"),
    [
        (("add", "Cli"), "name: must be", 2),
        (("add", "cli-x", "--role", "root"), "role: must be", 2),
        (("set-role", "never-was", "admin"), "There is no user 'never-was'", 3),
        (("set-password", "never-was"), "There is no user", 3),
        (("disable", "never-was"), "There is no user", 3),
    ],
    ids=range(5),
)
def test_what_cannot_be_is_one_line_and_an_exit_code_that_tells(csai, words, said, exit_code):
    code, out, told = csai("users", *words)
    assert (code, out, said in told, len(told.strip().splitlines())) == (exit_code, "", True, 1)
