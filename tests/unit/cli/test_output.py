"""What commands print: whole through a pipe, harmless on a terminal, JSON that any program reads."""

import io
import json
import os
import sys
import time

import pytest
from rich.console import Console

from cli import output
from cli.output import local, print_fields, print_json, print_line, print_table, safe, span, state

HOSTILE = "a\x1b[31mred\x1b]0;title\x07 \u202edlrow\u2066 [bold]not[/bold] \ud800"


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 40 columns."""
    monkeypatch.setattr(output, "Console", lambda **more: Console(**more, force_terminal=True, width=40))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_through_a_pipe_a_row_is_a_line_with_every_value_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("id", "state", "text"), [("x" * 300, state("FAILURE"), "one\ntwo"), ("y", None, {"a": ["ü"]})])
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["id", "state", "text"]
    assert first.split() == ["x" * 300, "FAILURE", "one", "two"]
    assert second.split() == ["y", "-", '{"a":', '["ü"]}']
    assert first == first.rstrip()


def test_a_terminal_gets_colours_and_folded_values_and_nothing_is_cut(capsys, terminal):
    print_table(("id", "state"), [("x" * 90, state("SUCCESS"))])
    out = capsys.readouterr().out
    assert "\x1b[32m" in out
    assert out.count("x") == 90
    assert "…" not in out


@pytest.mark.parametrize("where", ["pipe", "terminal"])
def test_what_would_steer_a_terminal_is_shown_as_its_escape(capsys, request, where):
    if where == "terminal":
        request.getfixturevalue("terminal")
    print_line(HOSTILE)
    print_table((" ",), [(HOSTILE,)])
    print_fields({"error": HOSTILE})
    out = capsys.readouterr().out + safe(HOSTILE)
    for words in ("\x1b[31m", "\x1b]", "\x07", "\u202e", "\u2066", "\ud800"):
        assert words not in out
    folded = "".join(out.split())
    for words in ("\\x1b[31mred", "\\u202edlrow", "[bold]not[/bold]", "\\ud800"):
        assert folded.count(words) == 4, words


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_json_is_read_back_as_it_was_in_any_encoding(monkeypatch, encoding):
    value = {"a": HOSTILE, "ü": [1, None, "\0", "\x9b2J\x7f"]}
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    print_json(value, line=True)
    text = written.getvalue().decode(encoding)
    assert text.count("\n") == 1
    assert json.loads(text) == value
    assert not output.UNSAFE.search(text)


@pytest.mark.usefixtures("berlin")
def test_moments_are_shown_in_the_machines_time_with_their_offset():
    assert local("2026-01-31T23:30:00.123456+00:00") == "2026-02-01 00:30:00+01:00"
    assert local("2026-07-01T10:00:00+00:00") == "2026-07-01 12:00:00+02:00"
    assert local(None) == "-"
    assert local("9999-12-31T23:59:59+00:00") == "9999-12-31T23:59:59+00:00", "no clock here shows it"


def test_spans_are_in_units_that_people_count_in():
    spans = {None: "-", 0: "0 s", 0.25: "0.2 s", 59: "59 s", 150: "2 min", 7_200: "2 h", 200_000: "2 d"}
    assert {seconds: span(seconds) for seconds in spans} == spans


def test_colours_can_be_switched_off(capsys, terminal, monkeypatch):
    monkeypatch.setitem(os.environ, "NO_COLOR", "1")
    print_line(state("FAILURE"))
    assert "\x1b[31m" not in capsys.readouterr().out
