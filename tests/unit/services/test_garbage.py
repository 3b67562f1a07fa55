"""The collector is off while any bulk is being made, and as it was afterwards."""

import gc
import os
from collections.abc import Iterator

import pytest

from services.celery_app import celery_app
from services.garbage import collector_paused
from services.submission import draft_by_name, submit_many
from services.wiring import parts


@celery_app.task(name="test.nothing_collected")
def nothing() -> None:
    """Do nothing."""


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


def test_a_child_that_is_forked_amid_a_bulk_collects_as_before(was_on):
    with collector_paused():
        child = os.fork()
        if child == 0:
            os._exit(0 if gc.isenabled() is was_on else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_collector_is_off_while_a_bulks_records_messages_and_marks_are_made(inline_service, monkeypatch):
    seen: dict[str, bool] = {}

    def watched(owner, name):
        before = getattr(owner, name)

        def watch(*given, **named):
            seen[name] = gc.isenabled()
            return before(*given, **named)

        monkeypatch.setattr(owner, name, watch)

    watched(parts().tasks, "opening")
    watched(parts().publisher, "prepare")
    watched(parts().moves, "published")
    submit_many([draft_by_name(nothing.name, {}, queue="default", origin="test") for _ in range(2)])

    assert seen == {"opening": False, "prepare": False, "published": False}
    assert gc.isenabled()
