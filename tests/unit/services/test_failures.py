"""How failures are told apart."""

import pytest

from services.failures import failure_of


def fingerprint(sentence: str) -> str:
    return failure_of(ValueError(sentence)).fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("after 3 tries", "after 12 tries"),
        ("no such file: 'a b.txt'", "no such file: 'c.txt'"),
        ('no field "x"', 'no field "y z"'),
        ("cannot read /tmp/a", "cannot read /var/b/c"),
        ("refused by a@example.org", "refused by b@example.net"),
        ("no task deadbeef01", "no task 00c0ffee99"),
        ("key='a' was 1", "key='b' was 2"),
    ],
)
def test_failures_that_differ_in_their_particulars_are_one_kind(one: str, other: str):
    assert fingerprint(one) == fingerprint(other)


def test_failures_that_say_something_else_are_two_kinds():
    assert fingerprint("it is full") != fingerprint("it is empty")


@pytest.mark.parametrize("piece", ["x", "'", '"', "x ", "'\"", "/", "a@", "1", "f"])
def test_a_failure_of_any_length_is_told_apart(piece: str):
    assert fingerprint(piece * 500_000) == fingerprint(piece * 500_000)
