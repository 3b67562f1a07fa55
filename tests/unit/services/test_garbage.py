"""The collector is off while any bulk is being made, and as it was afterwards."""

import gc
from collections.abc import Iterator

import pytest

from services.garbage import collector_paused


@pytest.fixture(params=[True, False], ids=["on", "off"])
def was_on(request) -> Iterator[bool]:
    """How a program had set the collector."""
    (gc.enable if request.param else gc.disable)()
    yield request.param
    gc.enable()


def test_the_collector_is_off_until_the_last_bulk_has_ended_and_then_as_it_was(was_on):
    with collector_paused():
        assert not gc.isenabled()
        with pytest.raises(ValueError, match="x"), collector_paused():
            raise ValueError("x")
        assert not gc.isenabled()
    assert gc.isenabled() is was_on
