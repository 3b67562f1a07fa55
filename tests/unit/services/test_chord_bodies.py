"""The body of a chord has an end, also where it cannot be submitted or its results are large."""

from typing import Any

import pytest
from celery import chain, chord, group

from processors.errors import InvalidArgument, PermanentError, TaskFailed
from records.task_records import TaskRecord
from services import groups, submission
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.groups import sweep
from services.record_backend import RecordBackend

AT_ONCE = -1.0
NO_ACCOUNT = r"limited_by of test\.body_of_account cannot tell its keys from the arguments \[\]: KeyError: 'account'"
noted: list[str] = []


@celery_app.task(name="test.body_note")
def note(text: str) -> None:
    noted.append(text)


@celery_app.task(name="test.body_part")
def part(size: int) -> str:
    return "x" * size


@celery_app.task(name="test.body_refuse")
def refuse() -> None:
    raise PermanentError("this can never work")


@celery_app.task(name="test.body_sizes")
def sizes(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


@celery_app.task(name="test.body_of_account", limited_by=lambda arguments: [f"account:{arguments['account']}"])
def of_account(_: Any, account: str | None = None) -> str | None:
    return account


BODIES = {
    "task": of_account.s,
    "group": lambda: group(of_account.s(), sizes.s()),
    "chain": lambda: chain(of_account.s(), sizes.s()),
    "chord": lambda: chord([sizes.s(), of_account.s()], sizes.s()),
}


def fails(result: Any, sentence: str) -> str:
    """Return the type of the error that the body's task failed with, or all of the body's tasks did."""
    kinds: set[str] = set()
    for one in getattr(result, "results", None) or [result]:
        with pytest.raises(TaskFailed, match=sentence) as failed:
            celery_service.get_task_result(one.id, timeout=0)
        kinds.add(failed.value.error_type)
    [kind] = kinds
    return kind


def forgotten(body: Any) -> Any:
    """Submit a chord whose last member's process dies before it publishes the body; returns the body's result."""
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(RecordBackend, "_publish_body", lambda *_: None)
        result = chord([part.s(600), part.s(600)], body).apply_async()
    for one in getattr(result, "results", None) or [result]:
        assert celery_service.get_task_status(one.id)["status"] == "UNKNOWN"
    return result


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.usefixtures("inline_service")
def test_a_body_that_cannot_be_submitted_fails_with_the_reason_and_its_chord_is_over(body: str):
    result = chord([part.s(1), part.s(2)], BODIES[body]()).apply_async()
    assert fails(result, NO_ACCOUNT) == "InvalidArgument"
    assert sweep(AT_ONCE) == 0


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.usefixtures("inline_service")
def test_the_leader_ends_a_body_that_cannot_be_submitted_and_looks_at_it_once(body: str):
    result = forgotten(BODIES[body]())
    assert (sweep(AT_ONCE), sweep(AT_ONCE)) == (1, 0)
    assert fails(result, NO_ACCOUNT) == "InvalidArgument"


@pytest.mark.usefixtures("inline_service")
def test_chords_that_cannot_be_finished_hide_none_however_many_they_are(monkeypatch: pytest.MonkeyPatch):
    hidden, *hopeless = (forgotten(sizes.s()) for _ in range(4))
    finish = groups._return_part

    def fails_for_all_but_the_oldest(record: TaskRecord) -> None:
        if record.message["embed"]["chord"]["options"]["task_id"] != hidden.id:
            raise RuntimeError("a hopeless body")
        finish(record)

    monkeypatch.setattr(groups, "SWEPT_AT_ONCE", 2)
    monkeypatch.setattr(groups, "_return_part", fails_for_all_but_the_oldest)
    assert (sweep(AT_ONCE), sweep(AT_ONCE)) == (4, 3)
    assert celery_service.get_task_result(hidden.id, timeout=0) == [600, 600]
    assert {celery_service.get_task_status(one.id)["status"] for one in hopeless} == {"UNKNOWN"}


@pytest.mark.usefixtures("inline_service")
def test_of_a_body_that_is_submitted_in_part_what_has_run_keeps_its_result_and_the_rest_fails():
    result = forgotten(group(sizes.s(), of_account.s(), sizes.s()))
    assert (sweep(AT_ONCE), sweep(AT_ONCE)) == (1, 0)
    first, *others = result.results
    assert celery_service.get_task_result(first.id, timeout=0) == [600, 600]
    assert [fails(one, NO_ACCOUNT) for one in others] == ["InvalidArgument"] * 2


@pytest.mark.usefixtures("inline_service")
def test_what_handles_the_errors_of_a_body_is_told_that_it_could_not_be_submitted():
    noted.clear()
    body = of_account.s()
    body.link_error(note.si("told"))
    chord([part.s(1), part.s(2)], body).apply_async()
    assert noted == ["told"]


@pytest.mark.usefixtures("inline_service")
def test_a_body_that_is_a_chord_fails_where_a_member_of_the_header_did():
    result = chord([part.s(1), refuse.s()], chord([sizes.s(), sizes.s()], sizes.s())).apply_async()
    assert fails(result, "this can never work") == "ChordError"


@pytest.mark.usefixtures("inline_service")
def test_the_leader_gives_a_body_results_as_large_as_a_worker_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(submission, "MAX_MESSAGE_BYTES", 1_000)
    by_worker = chord([part.s(600), part.s(600)], sizes.s()).apply_async()
    by_leader = forgotten(sizes.s())
    assert sweep(AT_ONCE) == 1
    assert by_worker.get(timeout=1) == by_leader.get(timeout=1) == [600, 600]
    with pytest.raises(InvalidArgument, match="at most 1000 are accepted"):
        sizes.delay(["x" * 600] * 2)
