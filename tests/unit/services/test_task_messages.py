"""A record as Celery's message: its arguments are written once, unless somebody may change them."""

import json
from dataclasses import replace

import pytest
from celery import signals
from hypothesis import given
from hypothesis import strategies as st

from services.submission import draft_by_name, submit
from services.task_messages import message_of
from services.wiring import parts

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def drafted(arguments):
    return draft_by_name("bench.any", arguments, queue="default", origin="test")


@given(arguments=st.dictionaries(st.text(), VALUES, max_size=4))
def test_the_body_has_the_arguments_whether_or_not_they_are_written_already(arguments):
    draft = drafted(arguments)
    bodies = [json.loads(message_of(one).payload["body"]) for one in (draft, replace(draft, kwargs_text=None))]
    assert bodies[0] == bodies[1]
    assert bodies[0][:2] == [[], arguments]


def test_a_message_is_no_larger_when_it_is_made_again_or_somebody_listens():
    """Else arguments that were accepted would make a message that is refused."""
    draft = drafted({"numbers": [1, 2, 3], "more": {"a": 1, "b": 2}})
    bodies = [message_of(one).payload["body"] for one in (draft, replace(draft, kwargs_text=None))]

    def listen(**_):
        pass

    signals.before_task_publish.connect(listen)
    try:
        bodies.append(message_of(draft).payload["body"])
    finally:
        signals.before_task_publish.disconnect(listen)
    assert len(set(bodies)) == 1
    assert draft.kwargs_text in bodies[0]


def test_who_listens_before_a_publish_may_change_the_arguments():
    def change(body, **_):
        body[1]["number"] = 2

    signals.before_task_publish.connect(change)
    try:
        body = json.loads(message_of(drafted({"number": 1})).payload["body"])
    finally:
        signals.before_task_publish.disconnect(change)
    assert body[1] == {"number": 2}


@pytest.mark.parametrize("name", ["plain", "é\0\ud800"])
def test_message_and_record_have_what_was_given_when_it_was_checked(inline_service, name):
    arguments = {name: [1]}
    draft = drafted(arguments)
    arguments[name].append(2)
    task_id = submit(draft)
    assert parts().tasks.read(task_id).kwargs == {name: [1]}
    assert json.loads(message_of(draft).payload["body"])[1] == {name: [1]}
