"""Names of files that came from outside are made safe, and places in the storage lead nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import stored_places
from processors.file_results import checked_place, name_in
from processors.stored_places import LONGEST_NAME, made_safe, place_of, uri_in

URI = f"store://sha256/{'0a' * 32}"


@pytest.mark.parametrize(
    ("given_name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.docx", "a.docx"),
        ("a\0b\r\nSet-Cookie: x.pdf", "abSet-Cookie: x.pdf"),
        ("\u202efdp.exe", "fdp.exe"),
        (" Größe 日本 \U0001f600.txt ", "Größe 日本 \U0001f600.txt"),
        ("x\ud800y", "xy"),
        ("", "otherwise"),
        ("..", "otherwise"),
        ("a/", "otherwise"),
        ("\0", "otherwise"),
        ("n" * 300 + ".docx", "n" * 195 + ".docx"),
        ("n" * 300, "n" * 200),
        ("." + "n" * 300, "." + "n" * 199),
        ("." * 300 + "n", "." * 198 + ".n"),
        ("." * 250 + "n" * 50, "otherwise"),
        ("n" * 199 + "  n" * 9, "n" * 199),
    ],
)
def test_a_name_is_made_safe(given_name, safe):
    assert made_safe(given_name, "otherwise") == safe


@given(st.text(max_size=400))
def test_any_name_is_made_one_that_a_place_may_have_and_says_again(name):
    safe = made_safe(name, "upload")
    assert 1 <= len(safe) <= LONGEST_NAME
    assert not stored_places.UNSEEN.search(safe)
    assert not stored_places.SEPARATORS.search(safe)
    assert made_safe(safe, "") == safe
    place = place_of(URI, safe)
    assert checked_place(place) == place
    assert (uri_in(place), name_in(place)) == (URI, safe)


@given(st.text(max_size=100))
def test_what_is_behind_a_digest_never_makes_it_another_one(behind):
    assert uri_in(f"{URI}{behind}") in {URI, None}
