"""Ranges and conditions by RFC 9110: one range is a part, nonsense is the whole, nothing is ever beyond the body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.ranges import Part, Unsatisfiable, matches, part_of

TAG = "ab12"


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-", Part(0, 10)),
        ("bytes=0-0", Part(0, 1)),
        ("bytes=3-5", Part(3, 3)),
        ("bytes=3-99", Part(3, 7)),
        ("bytes=9-", Part(9, 1)),
        ("bytes=-1", Part(9, 1)),
        ("bytes=-10", Part(0, 10)),
        ("bytes=-99", Part(0, 10)),
        ("Bytes = 3-5 ", Part(3, 3)),
        (f"bytes=3-{'9' * 5000}", Part(3, 7)),
        (f"bytes=-{'9' * 5000}", Part(0, 10)),
        ("bytes=0000000000000000000000003-5", Part(3, 3)),
    ],
)
def test_one_range_is_a_part(wanted, part):
    assert part_of(wanted, None, TAG, 10) == part


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=0-1,3-4",
        "bytes=0-1,",
        "bytes=5-3",
        f"bytes={'9' * 5000}-3",
        f"bytes={'9' * 5000}-{'8' * 5000}",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1.0-2",
        "bytes=١-٢",
        "items=0-1",
        "bytes 0-1",
        "bytes=0x1-2",
    ],
)
def test_several_ranges_and_nonsense_are_the_whole(wanted):
    assert part_of(wanted, None, TAG, 10) is None


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-20", "bytes=-0", f"bytes={'9' * 5000}-", "bytes=99-"])
def test_what_has_no_byte_of_the_body_is_unsatisfiable(wanted):
    with pytest.raises(Unsatisfiable):
        part_of(wanted, None, TAG, 10)


def test_an_empty_body_has_no_part():
    for wanted in ("bytes=0-", "bytes=0-0", "bytes=-0"):
        with pytest.raises(Unsatisfiable):
            part_of(wanted, None, TAG, 0)
    assert part_of("bytes=-5", None, TAG, 0) is None


@pytest.mark.parametrize(
    ("if_range", "whole"),
    [(f'"{TAG}"', False), (f' "{TAG}" ', False), (f'W/"{TAG}"', True), ('"other"', True), ("", True), (TAG, True)],
)
def test_a_part_of_another_body_is_never_given(if_range, whole):
    assert (part_of("bytes=0-1", if_range, TAG, 10) is None) == whole
    assert (part_of("bytes=99-", "Sat, 29 Oct 1994 19:43:31 GMT", TAG, 10)) is None


@pytest.mark.parametrize(
    ("given_tags", "same"),
    [
        (None, False),
        ("*", True),
        (f'"{TAG}"', True),
        (f'W/"{TAG}"', True),
        (f'"x", W/"y,z" , "{TAG}"', True),
        ('"x"', False),
        (TAG, False),
        (f'"x{TAG}"', False),
        ("", False),
        ('"', False),
    ],
)
def test_a_body_that_is_there_already_is_known_by_its_tag(given_tags, same):
    assert matches(given_tags, TAG) is same


@given(st.text(alphabet="bytes=-,0123456789 ", max_size=30), st.integers(0, 20))
def test_a_part_is_never_empty_nor_beyond_the_body(wanted, size):
    try:
        part = part_of(wanted, None, TAG, size)
    except Unsatisfiable:
        return
    if part is not None:
        assert part.count >= 1
        assert 0 <= part.first <= part.first + part.count <= size


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 20))
def test_a_part_is_what_a_slice_is(first, last, size):
    body = bytes(range(size))
    wanted = f"bytes={first}-{last}"
    if last < first:
        assert part_of(wanted, None, TAG, size) is None
    elif first >= size:
        with pytest.raises(Unsatisfiable):
            part_of(wanted, None, TAG, size)
    else:
        part = part_of(wanted, None, TAG, size)
        assert body[part.first : part.first + part.count] == body[first : last + 1]
        assert part.content_range(size) == f"bytes {first}-{min(last, size - 1)}/{size}"
