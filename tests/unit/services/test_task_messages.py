"""A record as Celery's message: its arguments are written once, unless somebody may change them."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from celery import signals
from hypothesis import given
from hypothesis import strategies as st

from processors.errors import InvalidArgument
from processors.json_text import MOST_LEVELS
from services.celery_app import celery_app
from services.submission import draft_by_name, storable, submit
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
    bodies = [json.loads(message_of(one).payload["body"]) for one in (draft, replace(draft, written=None))]
    assert bodies[0] == bodies[1]
    assert bodies[0][:2] == [[], arguments]


def test_a_message_is_no_larger_when_it_is_made_again_or_somebody_listens():
    """Else arguments that were accepted would make a message that is refused."""
    draft = drafted({"numbers": [1, 2, 3], "more": {"a": 1, "b": 2}})
    bodies = [message_of(one).payload["body"] for one in (draft, replace(draft, written=None))]

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


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def called_within(frames, function):
    return called_within(frames - 1, function) if frames else function()


def test_what_is_accepted_however_deep_is_read_and_sent_by_who_is_deeper_in_functions(inline_service):
    """One record that cannot be read would stop the relay of all."""

    def submitted(depth):
        try:
            return submit(replace(drafted({"deep": nested(depth)}), delay=1_000.0))
        except InvalidArgument:
            return None

    with ThreadPoolExecutor(1) as shallow:
        ids = [task_id for task_id in shallow.map(submitted, range(600, 1_000, 9)) if task_id]
    assert len(ids) > 20
    for task_id in ids:
        called_within(100, lambda task_id=task_id: message_of(parts().tasks.read(task_id)))


@pytest.mark.parametrize("flat", [[[]] * 1_000, "[" * 1_000, [{"a": ()}] * 1_000], ids=["lists", "text", "dicts"])
def test_many_values_beside_each_other_are_not_deep(flat):
    assert drafted({"flat": flat}).kwargs_text


@pytest.mark.parametrize(
    "around", [lambda value: [value], lambda value: (value,), lambda value: {"a": value}], ids=["list", "tuple", "dict"]
)
def test_what_is_too_deep_is_refused_in_a_sentence(around):
    value: object = 1
    for _ in range(MOST_LEVELS - 1):
        value = around(value)
    assert drafted({"deep": value}).kwargs_text
    with pytest.raises(InvalidArgument, match="are nested over 800 levels deep; pass them flatter"):
        drafted({"deep": around(value)})


def test_what_a_stranger_sends_is_refused_where_it_is_too_deep():
    assert storable(nested(MOST_LEVELS - 1)) == nested(MOST_LEVELS - 1)
    with pytest.raises(InvalidArgument, match="nested over 800 levels deep"):
        storable(nested(MOST_LEVELS))


def test_arguments_that_are_replaced_are_written_anew(inline_service):
    draft = replace(drafted({"number": 1}), kwargs={"number": 2})
    assert json.loads(message_of(draft).payload["body"])[1] == {"number": 2}
    assert parts().tasks.read(submit(draft)).kwargs == {"number": 2}
    with pytest.raises(InvalidArgument, match="nested over 800 levels deep"):
        storable(nested(100_000))


@celery_app.task(name="test.followed", shared=False)
def followed(*_: object) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("options", "what", "levels"),
    [
        (lambda deep: {"headers": {"own": deep}}, "The headers of test.followed", 300),
        (lambda deep: {"link": followed.si(deep)}, "The arguments of what follows test.followed", 800),
        (lambda deep: {"link_error": followed.si(deep)}, "The arguments of what follows test.followed", 800),
        (lambda deep: {"chain": [dict(followed.si(deep))]}, "The arguments of what follows test.followed", 800),
    ],
    ids=["headers", "link", "link_error", "chain"],
)
def test_headers_and_what_follows_a_task_are_refused_where_they_are_too_deep(inline_service, options, what, levels):
    def submitted(depth):
        return followed.apply_async(**options(nested(depth)), countdown=1_000).id

    with ThreadPoolExecutor(1) as shallow:
        kept = shallow.submit(submitted, levels - 10).result()
        for depth in (levels, levels + 100, 100_000):
            with pytest.raises(InvalidArgument, match=f"{what} (are nested over {levels} levels deep|must be JSON)"):
                shallow.submit(submitted, depth).result()
    called_within(100, lambda: message_of(parts().tasks.read(kept)))
