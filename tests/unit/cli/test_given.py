"""What is given at a terminal: names with values, and moments that have passed."""

import pytest

from cli.given import list_of, object_of, pairs_of, seconds_ago
from processors.errors import InvalidArgument


def test_pairs_are_json_by_their_names_and_texts_where_they_are_none(tmp_path):
    file = tmp_path / "body.json"
    file.write_text('{"a": "ü"}')
    given = ["number=5", "to=ann@example.com", 'list=["a"]', f"body=@{file}", "equals=a=b", "nothing=null", "empty="]
    assert pairs_of("--set", given) == {
        "number": 5,
        "to": "ann@example.com",
        "list": ["a"],
        "body": {"a": "ü"},
        "equals": "a=b",
        "nothing": None,
        "empty": "",
    }
    assert pairs_of("--set", []) is None


@pytest.mark.parametrize("given", [["number"], ["=5"], ["a=1", "a=2"], ["a=@/nowhere"]])
def test_what_is_no_pair_is_refused(given):
    with pytest.raises(InvalidArgument, match=r"--set|a: the file"):
        pairs_of("--set", given)


@pytest.mark.parametrize(("value", "seconds"), [("90s", 90), ("5m", 300), ("1.5 h", 5_400), ("7d", 604_800)])
def test_how_long_ago_is_read_in_units(value, seconds):
    assert seconds_ago("--since", value) == seconds


def test_a_moment_that_has_passed_is_as_good():
    assert seconds_ago("--since", "2020-01-01T00:00:00+01:00") > 5 * 365 * 86_400


@pytest.mark.parametrize("value", ["soon", "-5m", "5 parsecs", "2990-01-01", "", "\0"])
def test_what_has_not_passed_or_is_no_moment_is_refused(value):
    with pytest.raises(InvalidArgument, match="--since: "):
        seconds_ago("--since", value)


def test_an_object_is_no_list():
    assert object_of("kwargs", '{"a": 1}') == {"a": 1}
    assert list_of("args", "[1]") == [1]
    assert list_of("args", None) is None
    with pytest.raises(InvalidArgument, match="args: must be a list in JSON"):
        list_of("args", '{"a": 1}')
    with pytest.raises(InvalidArgument, match="kwargs: must be an object in JSON"):
        object_of("kwargs", "[1]")
