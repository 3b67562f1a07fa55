"""What writes JSON quickly writes what `json` does."""

import json
import math
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

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


def test_a_value_that_contains_itself_is_refused_at_once():
    value: list[object] = ["x" * 100_000]
    value.append(value)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="Circular reference detected"):
            writing(json.JSONEncoder())(value)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_threads_may_write_one_value_at_once():
    both = threading.Barrier(2)
    write = writing(json.JSONEncoder(default=lambda _: both.wait(20) * 0))
    value = [object()]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(write, [value] * 2)) == ["[0]", "[0]"]


def test_a_value_is_written_after_it_was_refused():
    write, value = writing(json.JSONEncoder()), list[object]([object()])
    with pytest.raises(TypeError):
        write(value)
    value[0] = 1
    assert write(value) == "[1]"
