"""What writes JSON quickly writes what `json` does."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.json_text import writing

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
ENCODERS = (
    json.JSONEncoder(),
    json.JSONEncoder(separators=(",", ":"), allow_nan=False),
    json.JSONEncoder(sort_keys=True, default=repr),
)


@pytest.mark.parametrize("encoder", ENCODERS)
@given(value=VALUES)
def test_it_is_the_same_text(encoder: json.JSONEncoder, value):
    assert writing(encoder)(value) == encoder.encode(value)


def test_what_json_does_not_write_is_refused_alike():
    write = writing(json.JSONEncoder(allow_nan=False))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write([math.nan])
    with pytest.raises(TypeError, match="not JSON serializable"):
        write({"a": object()})


def test_a_value_that_contains_itself_is_a_recursion_error():
    value: list[object] = []
    value.append(value)
    with pytest.raises(RecursionError):
        writing(json.JSONEncoder())(value)
