"""How failures are told apart."""

import pytest

from services.failures import TRACEBACK_CHARACTERS, failure_of


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


@pytest.mark.parametrize("said", ["cannot reach https://user:planted@host/x", "got {'tokens': [['a'], 'planted']}"])
def test_a_failure_shows_no_secret_in_its_sentence_or_its_traceback(said: str):
    error = ValueError(f"again: {said}")
    error.__cause__ = RuntimeError(said)
    failure = failure_of(error)

    assert failure.error.startswith("again: ")
    assert failure.error_type == "ValueError"
    assert "***" in failure.error
    assert failure.traceback
    assert "RuntimeError" in failure.traceback
    assert "planted" not in failure.error + failure.traceback


def test_where_a_long_traceback_is_cut_no_secret_loses_its_name():
    for length in range(TRACEBACK_CHARACTERS - 60, TRACEBACK_CHARACTERS):
        failure = failure_of(ValueError("x://user:planted@h " + "-" * length))
        assert failure.traceback
        assert "planted" not in failure.traceback


def test_failures_that_differ_in_a_secret_are_one_kind():
    one, other = ({"password": secret, "n": 1} for secret in ("x", ["y", {"z": 1}]))
    assert fingerprint(f"got {one}") == fingerprint(f"got {other}")
