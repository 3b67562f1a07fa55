"""Cursors: they lead on, and nothing else does."""

import contextlib

import pytest

from processors.errors import InvalidArgument
from services import cursors


def test_a_cursor_leads_to_its_place():
    place = ["2026-01-05T10:00:00+00:00", 7, None]
    assert cursors.opened(cursors.sealed(place, "a list"), "a list") == place


def test_a_cursor_with_any_character_changed_added_or_removed_is_none():
    cursor = cursors.sealed(["2026-01-05T10:00:00+00:00", 7], "a list")
    changed = {cursor[:at] + letter + cursor[at + 1 :] for at in range(len(cursor)) for letter in "Aa0_-=é\0"}
    changed |= {cursor[:length] for length in range(len(cursor))} | {cursor + more for more in ("A", "==", "\n", " ")}
    taken = []
    for one in changed - {cursor}:
        with contextlib.suppress(InvalidArgument):
            taken.append((one, cursors.opened(one, "a list")))
    assert taken == []


@pytest.mark.parametrize("of", ["another list", "", "a list\0"])
def test_a_cursor_of_another_list_is_none(of):
    with pytest.raises(InvalidArgument):
        cursors.opened(cursors.sealed([1], "a list"), of)


def test_a_seal_does_not_slide_between_the_list_and_the_place():
    text = cursors.sealed([1], "a\0")
    with pytest.raises(InvalidArgument):
        cursors.opened(text, "a")


def test_a_cursor_that_was_made_up_is_none():
    for made_up in ("", "null", "W10", "A" * 5_000, "..", "%00"):
        with pytest.raises(InvalidArgument):
            cursors.opened(made_up, "a list")
