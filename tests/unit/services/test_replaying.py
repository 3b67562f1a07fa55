"""What has failed is found, edited and run again: once, however often and by however many it is asked for."""

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count

import pytest
from celery.utils import uuid
from sqlalchemy import insert, update

from config.settings import settings
from processors.errors import InvalidArgument, UnknownTask
from processors.interfaces import Outcome, Run
from processors.redaction import unmasked
from processors.scheduling import RetryFailedTasks
from records import incidents
from records.columns import Now
from records.effects import effects
from records.incidents import Death
from records.task_moves import Failure
from records.task_records import Draft, TaskRecord, TaskRecords, task_records
from services import retrying, submission
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.positional_arguments import masked
from services.retrying import id_of_retry, retry_failed
from services.status import active_task, story_of
from services.task_messages import message_of
from services.wiring import parts
from waiting import until

NUMBERS = count()
END_OF_TIME = datetime.max.replace(tzinfo=UTC)
BROKEN = Failure("It broke.", "ValueError", "Traceback …", "f1")


@pytest.fixture(autouse=True)
def published(monkeypatch):
    """What is published: nothing leaves this process, and the records wait for the relay."""
    seen: list[Draft] = []
    monkeypatch.setattr(submission, "publish", lambda drafts: seen.extend(drafts) or len(drafts))
    monkeypatch.setattr(type(parts().publisher), "check", lambda _: None)
    return seen


@pytest.fixture
def kind() -> str:
    """A word that only this test's tasks have."""
    return f"kind{next(NUMBERS)}x"


def failed(
    name: str = "file_processing.process_document",
    error: Failure = BROKEN,
    **more,
) -> str:
    """Return the id of a task that ran and failed."""
    known = {"id": uuid(), "kwargs": {"file_path": "/a"}}
    draft = Draft(name=name, category=name.split(".", 1)[0], queue="low_priority", **known | more)
    parts().tasks.open(draft)
    parts().workers.start(draft.id, "io@here", "here", 1, 0)
    run = parts().moves.start(draft.id, 0, draft.id, "io@here", 60)
    assert run is not None
    assert parts().moves.fail(draft.id, run.run, error)
    return draft.id


def read(task_id: str) -> TaskRecord:
    record = parts().tasks.read(task_id)
    assert record is not None
    return record


def retry(due_at: datetime = END_OF_TIME, **filters):
    return retry_failed(RetryFailedTasks(**filters), lambda *_: None, due_at)


def test_a_failed_task_is_told_whole_with_its_secrets_masked(kind):
    task_id = failed(error=Failure(f"{kind} broke.", "ValueError", "Trace", "f1"), kwargs={"password": "x", "n": 1})
    died = Death("died", "io@here", "w", "here", 7, -9, 30)
    parts().database.write(lambda c: incidents.note(c, task_id, 1, died))

    [story] = celery_service.get_failed_tasks(search=kind)

    assert story.items() >= celery_service.get_task_status(task_id).items()
    assert (story["kwargs"], story["fingerprint"], story["runs"]) == ({"password": "***", "n": 1}, "f1", 1)
    assert (story["retry_of"], story["retried_as"], story["retry_count"]) == (None, None, 0)
    [incident] = story["incidents"]
    assert (incident["run"], incident["signal"], incident["memory_mb"]) == (1, "SIGKILL", 30)


def test_failed_tasks_are_found_by_category_error_and_text_wherever_it_stands(kind):
    in_error = failed(error=Failure(f"no {kind} here", "KeyError"))
    in_arguments = failed("email.send_email", kwargs={"body": f"a Grüße {kind} b"}, error=Failure("x", "ValueError"))
    in_name = failed(f"email.{kind}", error=Failure("x", "OSError"))

    def found(**filters) -> set[str]:
        return {one["task_id"] for one in celery_service.get_failed_tasks(**{"search": kind} | filters)}

    assert found() == found(search=kind.upper()) == {in_error, in_arguments, in_name}
    assert found(task_types=["email"]) == {in_arguments, in_name}
    assert found(error_type="KeyError") == {in_error}
    assert found(search=f"Grüße {kind}") == {in_arguments}
    assert found(search=f"%{kind}") == found(search=kind.replace("k", "_")) == set()


def test_failed_tasks_come_page_by_page_the_newest_first_whatever_fails_meanwhile(kind):
    made = [failed(error=Failure(kind, "ValueError")) for _ in range(5)]

    first = celery_service.get_failed_tasks(search=kind, limit=2)
    late = failed(error=Failure(kind, "ValueError"))
    second = celery_service.get_failed_tasks(search=kind, limit=2, after=first[-1]["task_id"])
    third = celery_service.get_failed_tasks(search=kind, limit=2, after=second[-1]["task_id"])

    listed = [one["task_id"] for one in [*first, *second, *third] if one["task_id"] != late]
    assert sorted(listed) == sorted(made)
    ends = [one["finished_at"] for one in [*first, *second, *third]]
    assert ends == sorted(ends, reverse=True)
    with pytest.raises(UnknownTask):
        celery_service.get_failed_tasks(after="never submitted")


def test_a_page_behind_a_task_that_did_not_fail_is_refused_and_behind_one_that_was_retried_since_it_is_there(kind):
    for _ in range(2):
        failed(error=Failure(kind, "ValueError"))
    newer, older = [one["task_id"] for one in celery_service.get_failed_tasks(search=kind)]
    waits = Draft(uuid(), "test.add", "test", "low_priority", delay=3600)
    parts().tasks.open(waits)

    with pytest.raises(
        InvalidArgument, match=f"^after: task {waits.id} has not failed, it is PENDING; pass the id "
    ) as bad:
        celery_service.get_failed_tasks(after=waits.id)
    assert "\n" not in str(bad.value)

    parts().moves.revoke(waits.id)
    with pytest.raises(InvalidArgument, match="it is REVOKED"):
        celery_service.get_failed_tasks(after=waits.id)
    celery_service.replay_task(newer)
    assert [one["task_id"] for one in celery_service.get_failed_tasks(search=kind, after=newer)] == [older]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.get_failed_tasks(search=""), "search: .*at least 1 character"),
        (lambda s: s.get_failed_tasks(search="x" * 201), "search: .*at most 200 characters"),
        (lambda s: s.get_failed_tasks(search="a\0"), "search: String should match pattern"),
        (lambda s: s.get_failed_tasks(error_type=5), "error_type: .*valid string; got 5"),
        (lambda s: s.get_failed_tasks(limit=0), "limit"),
        (lambda s: s.get_failed_tasks(task_types=["mail"]), "task_types: must be of email"),
        (lambda s: s.get_failed_tasks(max_age_hours=0), "max_age_hours"),
        (lambda s: s.get_failed_tasks(after=""), "task_id"),
        (lambda s: s.retry_failed_tasks(search="\ud800"), "search: must be text without NUL and lone surrogates"),
        (lambda s: s.replay_task("x", ["a"]), "arguments: must be a dict .*, got list"),
        (lambda s: s.replay_task("x", {1: 2}), "arguments: must be a dict .*; got other keys"),
        (lambda s: s.replay_task(7), "task_id"),
        (lambda s: s.get_task_logs("x", level="LOUD"), "level"),
        (lambda s: s.get_task_logs("x", limit=0), "limit"),
        (lambda s: s.search_task_logs(""), "search"),
    ],
    ids=range(15),
)
def test_a_bad_filter_is_one_sentence(call, words):
    with pytest.raises(InvalidArgument, match=words) as refused:
        call(celery_service)
    assert "\n" not in str(refused.value)


def test_a_replay_runs_the_task_again_with_what_was_edited_linked_both_ways(published):
    task_id = failed(kwargs={"file_path": "/wrong", "ocr_enabled": False}, tags=["a"], tenant="t", priority="high")

    new_id = celery_service.replay_task(task_id, {"file_path": "/right"})

    new = read(new_id)
    assert (new.kwargs, new.state) == ({"file_path": "/right", "ocr_enabled": False}, "PENDING")
    assert (new.queue, new.priority, new.tags, new.tenant) == ("low_priority", "high", ["a"], "t")
    assert (new.retry_of, new.retry_count, read(task_id).retried_as) == (task_id, 1, new_id)
    assert [draft.id for draft in published] == [new_id]
    assert "/right" in new.message["kwargsrepr"]
    assert read(task_id).kwargs["file_path"] == "/wrong"


def test_a_double_click_gives_the_same_task_and_publishes_it_once(published):
    task_id = failed()

    ids = {celery_service.replay_task(task_id, {"file_path": "/b"}) for _ in range(3)}

    assert len(ids) == len(published) == 1


def test_a_second_replay_with_other_arguments_is_refused_and_names_the_first(published):
    task_id = failed()
    new_id = celery_service.replay_task(task_id, {"file_path": "/b"})

    for other in ({"file_path": "/c"}, None):
        with pytest.raises(InvalidArgument, match=f"as {new_id}, with other arguments"):
            celery_service.replay_task(task_id, other)

    assert (len(published), read(new_id).kwargs) == (1, {"file_path": "/b"})


def test_of_two_who_replay_with_different_arguments_at_once_one_runs_and_the_link_names_it(published):
    for _ in range(10):
        task_id, gate = failed(), threading.Barrier(8)
        published.clear()

        def click(number: int, task_id: str = task_id, gate: threading.Barrier = gate) -> str | None:
            gate.wait(20)
            try:
                return celery_service.replay_task(task_id, {"file_path": f"/{number % 2}"})
            except InvalidArgument:
                return None

        with ThreadPoolExecutor(8) as pool:
            given = list(pool.map(click, range(8)))

        stored = read(read(task_id).retried_as or "")
        winner = int(stored.kwargs["file_path"][1:])
        assert [one is not None for one in given] == [number % 2 == winner for number in range(8)]
        assert {one for one in given if one} == {stored.id}
        assert [draft.kwargs for draft in published] == [stored.kwargs]


def test_a_replay_that_died_before_it_was_linked_is_linked_by_the_next_one_with_what_is_stored(published):
    task_id = failed()
    old = Draft(id_of_retry(task_id), read(task_id).name, "x", "low_priority", {"file_path": "/old"}, retry_of=task_id)
    parts().tasks.open(old)

    with pytest.raises(InvalidArgument, match="with other arguments"):
        celery_service.replay_task(task_id, {"file_path": "/new"})

    assert celery_service.replay_task(task_id, {"file_path": "/old"}) == old.id
    assert (read(task_id).retried_as, published) == (old.id, [])


def test_arguments_that_the_task_does_not_take_are_refused_before_anything_is_written(published):
    task_id = failed("email.send_email", kwargs={"to_email": "a@example.com", "subject": "s", "body": "b"})

    for bad, words in (
        ({"to_email": "nobody"}, "to_email: must be one mail address"),
        ({"colour": "red"}, "colour"),
        ({"body": object()}, "must be JSON values"),
        ({"body": "x" * 1_000_001}, "at most 1000000 "),
    ):
        with pytest.raises(InvalidArgument, match=words):
            celery_service.replay_task(task_id, bad)

    assert read(task_id).retried_as is None
    assert parts().tasks.read(id_of_retry(task_id)) is None
    assert published == []


def test_a_secret_that_comes_back_masked_stays_what_it_is(kind):
    task_id = failed(kwargs={"file_path": "/a", "password": "hunter2"}, error=Failure(kind, "ValueError"))
    [shown] = celery_service.get_failed_tasks(search=kind)

    new_id = celery_service.replay_task(task_id, shown["kwargs"] | {"file_path": "/b"})

    assert read(new_id).kwargs == {"file_path": "/b", "password": "hunter2"}
    assert "hunter2" not in str(read(new_id).message)


@pytest.mark.parametrize(
    ("edited", "stored", "kept"),
    [
        ({"token": "***"}, {"token": ["a", "b"]}, {"token": ["a", "b"]}),
        ({"token": "new"}, {"token": "old"}, {"token": "new"}),
        ({"text": "***"}, {"text": "old"}, {"text": "***"}),
        ({"a": {"pin": "***", "b": 2}}, {"a": {"pin": 7, "b": 1}}, {"a": {"pin": 7, "b": 2}}),
        ({"urls": ["x://u:***@h", "y"]}, {"urls": ["x://u:p@h"]}, {"urls": ["x://u:p@h", "y"]}),
        ({"password": "***"}, {"password": "***"}, {"password": "***"}),
        ({"n": True}, {"n": 1}, {"n": True}),
    ],
)
def test_only_what_was_masked_is_taken_from_what_is_stored(edited, stored, kept):
    assert repr(unmasked(edited, stored)) == repr(kept)


def test_a_secret_of_a_list_is_given_to_no_other_entry(published):
    accounts = [{"host": "a", "password": "A"}, {"host": "b", "password": "B"}]
    task_id = failed(kwargs={"file_path": "/a", "accounts": accounts})

    with pytest.raises(InvalidArgument, match=r"^accounts\[0\]\.password: "):
        celery_service.replay_task(task_id, {"accounts": [{"host": "c", "password": "***"}]})
    assert published == []


@celery_app.task(name="test.plainly")
def plainly(account, amount=1):
    """Take two arguments, as an adopter's own task."""


def test_a_list_that_was_shortened_keeps_each_entry_its_secret(kind):
    accounts = [{"host": "a", "password": "A"}, {"host": "b", "password": "B"}]
    task_id = failed("test.plainly", Failure(kind, "ValueError"), kwargs={"account": accounts})
    [shown] = celery_service.get_failed_tasks(search=kind)

    new_id = celery_service.replay_task(task_id, {"account": shown["kwargs"]["account"][1:]})

    assert read(new_id).kwargs == {"account": accounts[1:]}


@pytest.mark.parametrize(
    ("stored", "edited", "words"),
    [
        ({"kwargs": {"account": 1}}, {"acount": 2}, "acount.*; it takes account, amount"),
        ({"args": [1, 2, 3], "kwargs": {}}, {"account": 2}, "too many positional arguments"),
        ({"args": [1], "kwargs": {"account": 1}}, {"account": 2}, "multiple values for argument 'account'"),
        ({"args": ["x" * 600_000], "kwargs": {}}, {"amount": "y" * 600_000}, "at most 1000000 "),
        ({"args": ["x" * 2_000_000], "kwargs": {}}, {"account": "y" * 2_000_000}, "at most 1000000 "),
        ({"kwargs": {"account": "x" * 600_000}}, {"amount": "y" * 600_000}, "at most 1000000 "),
        ({"kwargs": {"account": "x" * 2_000_000}}, {"account": "y" * 2_000_000}, "at most 1000000 "),
    ],
    ids=range(7),
)
def test_what_a_plain_function_does_not_take_is_refused_as_a_submit_refuses_it(stored, edited, words, published):
    task_id = failed("test.plainly", **stored)

    with pytest.raises(InvalidArgument, match=words):
        celery_service.replay_task(task_id, edited)
    assert (read(task_id).retried_as, published) == (None, [])


@celery_app.task(name="test.positionally")
def positionally(account, token, /, *more, amount=1, **others):
    """Take arguments that have no name in a message."""


def shown_args(name, args):
    return submission.shown(masked(name, args))


@pytest.mark.parametrize(
    ("name", "stored", "edited", "args", "kwargs"),
    [
        ("test.plainly", {"args": [1], "kwargs": {}}, {"account": 2}, [2], {}),
        ("test.plainly", {"args": [1, 5], "kwargs": {}}, {"amount": 6}, [1, 6], {}),
        ("test.plainly", {"args": [1], "kwargs": {"amount": 5}}, {"amount": 6, "account": 2}, [2], {"amount": 6}),
        ("test.plainly", {"args": [1], "kwargs": {}}, {"amount": 6}, [1], {"amount": 6}),
        ("test.positionally", {"args": [1, 2, 3, 4], "kwargs": {}}, {"account": 9}, [9, 2, 3, 4], {}),
        ("test.positionally", {"args": [1, 2], "kwargs": {"token": 3}}, {"token": 4}, [1, 2], {"token": 4}),
    ],
    ids=range(6),
)
def test_a_positional_argument_of_a_plain_function_is_edited_by_its_name(name, stored, edited, args, kwargs):
    task_id = failed(name, **stored)

    new_id = celery_service.replay_task(task_id, edited)

    new = read(new_id)
    assert (new.args, new.kwargs) == (args, kwargs)
    assert json.loads(message_of(new).payload["body"])[:2] == [args, kwargs]
    assert new.message["kwargsrepr"] == submission.shown(kwargs)
    assert new.message.get("argsrepr", shown_args(name, stored["args"])) == shown_args(name, args)
    assert read(task_id).args == stored["args"]


def test_a_second_replay_with_another_positional_argument_is_refused_and_with_the_same_one_is_the_same_task(published):
    task_id = failed("test.plainly", args=[1], kwargs={})

    ids = {celery_service.replay_task(task_id, {"account": 2}) for _ in range(3)}

    assert len(ids) == len(published) == 1
    for other in ({"account": 3}, None):
        with pytest.raises(InvalidArgument, match="with other arguments"):
            celery_service.replay_task(task_id, other)


def test_a_secret_of_a_positional_argument_that_comes_back_masked_stays_what_it_is(kind):
    stored = [{"host": "a", "pin": 7, "url": "x://u:hunter2@h"}, {"pin": 8, "b": 1}]
    task_id = failed("test.positionally", Failure(kind, "ValueError"), args=stored, kwargs={})
    [shown] = celery_service.get_failed_tasks(search=kind)
    assert "hunter2" not in str(shown)
    account, token = shown["args"]
    assert token == "***"

    with pytest.raises(InvalidArgument, match=r"^account\.password: "):
        celery_service.replay_task(task_id, {"account": {"password": "***"}})
    new_id = celery_service.replay_task(task_id, {"account": account | {"host": "b"}, "token": token})

    assert read(new_id).args == [{"host": "b", "pin": 7, "url": "x://u:hunter2@h"}, {"pin": 8, "b": 1}]
    assert "hunter2" not in str(read(new_id).message)
    assert "'host': 'b'" in read(new_id).message["argsrepr"]


def test_a_positional_argument_whose_name_is_a_secrets_stays_what_it_is_where_it_is_given_masked():
    task_id = failed("test.positionally", args=[1, "hunter2", "more"], kwargs={})
    assert story_of(read(task_id), [])["args"] == [1, "***", "more"]
    assert active_task(read(task_id))["args"] == [1, "***", "more"]

    assert read(celery_service.replay_task(task_id, {"token": "***", "account": 2})).args == [2, "hunter2", "more"]


LOGIN = """
from services.celery_app import celery_app

@celery_app.task(name="test.login")
def login(user, password):
    pass
"""


def test_a_secret_is_masked_also_where_its_tasks_module_was_not_loaded_yet(kind, monkeypatch, tmp_path):
    (tmp_path / "adopters_logins.py").write_text(LOGIN)
    monkeypatch.syspath_prepend(tmp_path)
    failed("test.login", args=[kind, "hunter2"], kwargs={})

    monkeypatch.setattr(settings, "task_modules", ["not_installed_here"])
    assert [shown["args"][0] for shown in celery_service.get_failed_tasks(search=kind)] == [kind]
    monkeypatch.setattr(settings, "task_modules", ["adopters_logins"])
    assert [shown["args"] for shown in celery_service.get_failed_tasks(search=kind)] == [[kind, "***"]]


def test_an_argument_that_is_stored_larger_than_a_submit_takes_stays():
    large = "x" * 2_000_000
    task_id = failed("test.plainly", args=[1], kwargs={"amount": large})
    other = failed("test.plainly", kwargs={"account": large})

    assert read(celery_service.replay_task(task_id)).kwargs == {"amount": large}
    new_id = celery_service.replay_task(other, {"account": large, "amount": 2})
    assert read(new_id).kwargs == {"account": large, "amount": 2}
    positional = failed("test.plainly", args=[large], kwargs={})
    new_id = celery_service.replay_task(positional, {"account": large, "amount": 2})
    assert (read(new_id).args, read(new_id).kwargs) == ([large], {"amount": 2})


def test_a_task_that_failed_of_an_unknown_effect_of_another_is_skipped_until_that_is_settled(kind):
    first, key = failed("test.add"), f"{kind}'s invoice"
    effect = {"key": key, "task_id": first, "run": 1, "state": "unknown", "deadline_seconds": 1, "intended_at": Now()}
    parts().database.write(lambda c: c.execute(insert(effects).values(effect)))
    sentence = f"It is not known whether the effect {key!r} happened: it was cut off."
    second = failed("test.add", Failure(sentence, "EffectUnknown"))
    other = failed("test.add", Failure(sentence.replace(kind, f"{kind}2"), "EffectUnknown"))

    done = retry(error_type="EffectUnknown", search=kind)

    assert done.retried == [id_of_retry(other)]
    [skipped] = done.skipped
    assert (skipped.task_id, kind in skipped.why) == (second, True)
    assert "in doubt whether the effect" in skipped.why
    celery_service.settle_effect(key, absent=True)
    assert retry(error_type="EffectUnknown", search=kind).retried == [id_of_retry(second)]


@celery_app.task(name="test.with_account", limited_by=lambda arguments: [f"account:{arguments['account']}"])
def with_account(**arguments):
    """Be limited by an argument that some may lack."""


def test_a_task_that_cannot_be_retried_is_skipped_with_the_reason_and_the_others_are_retried(kind):
    bad, good = (failed("test.with_account", Failure(kind, "ValueError"), kwargs=one) for one in ({}, {"account": 1}))

    done = retry(search=kind)

    assert done.retried == [id_of_retry(good)]
    [skipped] = done.skipped
    assert skipped.task_id == bad
    assert "limited_by of test.with_account cannot tell its keys" in skipped.why


def test_a_task_whose_effect_would_have_too_long_a_key_is_refused_with_the_reason_and_nothing_is_written(kind):
    task_id = failed("test.add", Failure(kind, "ValueError"), id=kind)
    parts().deliveries.open(task_id, {0: {"a@example.com": "to"}})
    parts().deliveries.turn(task_id, [(0, "a@example.com", Outcome("accepted"))], [], Run(task_id, 1))
    effect = {"key": f"{kind}:".ljust(255, "k"), "task_id": kind, "run": 1, "state": "done", "deadline_seconds": 1}
    parts().database.write(lambda c: c.execute(insert(effects).values(effect | {"intended_at": Now()})))

    [skipped] = retry(search=kind).skipped
    assert "longer than 255 characters" in skipped.why
    with pytest.raises(InvalidArgument, match="longer than 255 characters"):
        celery_service.replay_task(task_id)

    assert read(task_id).retried_as is None
    assert parts().deliveries.outcomes(id_of_retry(task_id), 0) == {}


def test_a_quarantined_task_is_replayed_by_hand_alone():
    task_id = failed(error=Failure("It killed its worker.", "Quarantined"))

    assert [one.why for one in retry().skipped if one.task_id == task_id] == [
        "it is quarantined: it killed its worker too often"
    ]
    assert read(celery_service.replay_task(task_id)).retry_of == task_id


def test_what_cannot_be_replayed_is_refused_with_the_reason(published):
    waits, cancelled = (Draft(uuid(), "test.add", "test", "low_priority", delay=3600) for _ in range(2))
    for draft in (waits, cancelled):
        parts().tasks.open(draft)
    parts().moves.revoke(cancelled.id)
    doubtful = failed("email.send_email")
    parts().deliveries.open(doubtful, {0: {"a@example.com": "to"}})
    parts().deliveries.turn(doubtful, [(0, "a@example.com", Outcome("unknown"))], [], Run(doubtful, 1))
    linked = failed(message={"embed": {"chain": [{}]}})
    member = failed(parent_id="the-parent")

    for task_id, words in (
        (waits.id, "it is PENDING, and only what has failed"),
        (cancelled.id, "it is REVOKED"),
        (doubtful, "in doubt whether its mail arrived"),
        (linked, "part of a workflow"),
        (member, "part of task the-parent"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            celery_service.replay_task(task_id)
    with pytest.raises(UnknownTask, match="never submitted"):
        celery_service.replay_task("never")

    assert published == []
    parts().moves.revoke(waits.id)


def test_a_replay_that_was_cancelled_is_replayed_itself_with_what_was_edited_and_once(published):
    task_id = failed(kwargs={"file_path": "/a", "ocr_enabled": False})
    cancelled = celery_service.replay_task(task_id, {"file_path": "/b"})
    assert celery_service.cancel_task(cancelled)
    with pytest.raises(InvalidArgument, match=f"as {cancelled}, with other arguments: replay that one"):
        celery_service.replay_task(task_id, {"file_path": "/c"})

    ids = {celery_service.replay_task(cancelled, {"file_path": "/c"}) for _ in range(2)}

    [new_id] = ids
    new = read(new_id)
    assert (new.state, new.kwargs) == ("PENDING", {"file_path": "/c", "ocr_enabled": False})
    assert (new.retry_of, new.retry_count, read(cancelled).retried_as) == (cancelled, 2, new_id)
    assert read(task_id).retried_as == cancelled
    assert [draft.id for draft in published] == [cancelled, new_id]


def test_a_cancelled_replay_whose_effect_is_in_doubt_is_refused_until_that_is_settled(kind):
    cancelled = celery_service.replay_task(failed())
    parts().moves.start(cancelled, 0, "w", "io@here", 60)
    effect = {"key": kind, "task_id": cancelled, "run": 1, "state": "intended", "deadline_seconds": 1}
    parts().database.write(lambda c: c.execute(insert(effects).values(effect | {"intended_at": Now(-3600)})))
    celery_service.cancel_task(cancelled)

    with pytest.raises(InvalidArgument, match="in doubt whether an effect"):
        celery_service.replay_task(cancelled)

    celery_service.settle_effect(kind, absent=True)
    assert read(celery_service.replay_task(cancelled)).retry_of == cancelled


def test_many_are_retried_without_the_replays_that_were_cancelled(kind):
    first = failed(error=Failure(kind, "ValueError"), kwargs={"file_path": kind})
    cancelled = celery_service.replay_task(first)
    celery_service.cancel_task(cancelled)

    done = retry(search=kind)

    assert (done.retried, done.skipped, read(cancelled).retried_as) == ([], [], None)


def test_a_replay_that_failed_before_it_could_start_is_no_part_of_a_workflow_and_is_replayed():
    never_sent = celery_service.replay_task(failed())
    assert parts().moves.fail_waiting(never_sent, BROKEN)

    assert read(celery_service.replay_task(never_sent)).retry_of == never_sent


def test_a_replay_whose_record_was_removed_is_named_and_not_repeated(published):
    task_id = failed()
    new_id = celery_service.replay_task(task_id)
    parts().moves.revoke(new_id)
    parts().moves.remove([new_id])

    with pytest.raises(InvalidArgument, match=f"as {new_id}, whose record was removed"):
        celery_service.replay_task(task_id)
    assert len(published) == 1


def test_a_mail_that_is_sent_again_knows_whom_it_has_reached():
    mail = {"to_email": ["a@example.com", "b@example.com"], "subject": "s", "body": "b"}
    task_id = failed("email.send_email", kwargs=mail)
    parts().deliveries.open(task_id, {0: {"a@example.com": "to", "b@example.com": "to"}})
    outcomes = {"a@example.com": Outcome("accepted"), "b@example.com": Outcome("refused")}
    parts().deliveries.turn(task_id, [(0, *one) for one in outcomes.items()], [], Run(task_id, 1))

    new_id = celery_service.replay_task(task_id)

    assert {name: one.state for name, one in parts().deliveries.outcomes(new_id, 0).items()} == {
        "a@example.com": "accepted"
    }


def test_many_are_retried_as_of_the_moment_that_this_was_due_at_and_not_what_failed_again_since(kind):
    first = failed(error=Failure(f"{kind} one", "ValueError"))
    due_at = read(first).finished_at
    later = failed(error=Failure(f"{kind} two", "ValueError"))
    later_end = update(task_records).where(task_records.c.id == later).values(finished_at=Now(1))
    parts().database.write(lambda c: c.execute(later_end))

    assert retry(due_at, search=kind).retried == [id_of_retry(first)]
    assert retry(search=kind).retried == [id_of_retry(later)]


def test_a_thousand_failures_of_five_kinds_are_replayed_by_kind_once_each_under_concurrent_clicks(published, kind):
    kinds = {f"{kind}Error{number}": [] for number in range(5)}
    for number in range(1000):
        error_type = f"{kind}Error{number % 5}"
        error = Failure(f"{kind} failed for {number}", error_type)
        kinds[error_type].append(failed("test.add", error, kwargs={"x": number, "y": 1}))
    chosen, others = kinds[f"{kind}Error3"], kinds[f"{kind}Error4"]

    with ThreadPoolExecutor(8) as pool:
        bulks = [pool.submit(retry, error_type=f"{kind}Error3") for _ in range(3)]
        edits = [pool.submit(celery_service.replay_task, one, {"y": 2}) for one in others[:50] for _ in range(4)]
        done = [bulk.result() for bulk in bulks]
        edited = [edit.result() for edit in edits]
    texts = retry(search=f"{kind} failed for 99")  # 99, 990 to 999: of those some were retried above

    retried = [one for bulk in done for one in bulk.retried]
    assert sorted(retried) == sorted(id_of_retry(one) for one in chosen)
    assert Counter(edited) == {id_of_retry(one): 4 for one in others[:50]}
    assert len(texts.retried) == len(
        [n for n in (99, *range(990, 1000)) if n % 5 != 3 and not (n % 5 == 4 and n < 250)]
    )
    assert len(published) == len({draft.id for draft in published}) == 200 + 50 + len(texts.retried)
    for old in chosen:
        new = read(read(old).retried_as or "")
        assert (new.retry_of, new.kwargs) == (old, read(old).kwargs)
    for old in others[:50]:
        new = read(read(old).retried_as or "")
        assert (new.retry_of, new.kwargs) == (old, {**read(old).kwargs, "y": 2})
    left = [one for error_type in kinds for one in kinds[error_type] if not read(one).retried_as]
    assert len(left) == 1000 - 200 - 50 - len(texts.retried)


def test_an_own_task_that_this_process_does_not_know_is_replayed_with_what_it_is_given():
    task_id = failed("elsewhere.send", kwargs={"invoice": 7})

    assert read(celery_service.replay_task(task_id, {"invoice": 8})).kwargs == {"invoice": 8}


def test_logs_of_a_task_that_logged_nothing_are_empty_and_of_one_that_never_was_an_error():
    assert celery_service.get_task_logs(failed()) == []
    with pytest.raises(UnknownTask):
        celery_service.get_task_logs("never")


def test_logs_are_read_by_text_and_level_and_found_over_all_tasks(kind):
    task_id = failed()
    line = {"task_id": task_id, "run": 1, "at": read(task_id).created_at, "logger": "my"}
    levels = ("INFO", "WARNING", "ERROR")
    parts().task_logs.keep(
        [line | {"number": number, "level": level, "text": f"{kind} {level}"} for number, level in enumerate(levels)]
    )
    until(lambda: len(celery_service.get_task_logs(task_id)) == 3, what="the lines are there")

    assert [one["level"] for one in celery_service.get_task_logs(task_id, level="WARNING")] == ["WARNING", "ERROR"]
    assert [one["text"] for one in celery_service.get_task_logs(task_id, search="error")] == [f"{kind} ERROR"]
    assert [one["level"] for one in celery_service.get_task_logs(task_id, limit=1)] == ["ERROR"]
    found = celery_service.search_task_logs(kind)
    assert {one["task_id"] for one in found} == {task_id}
    assert set(found[0]) == {"task_id", "at", "level", "logger", "text", "run"}


def test_those_that_are_skipped_keep_nobody_behind_them_from_being_retried(kind, monkeypatch):
    monkeypatch.setattr(retrying, "AT_ONCE", 2)
    monkeypatch.setattr(retrying, "PAGE", 2)
    for _ in range(3):
        failed(error=Failure(kind, "Quarantined"))
    last = failed(error=Failure(kind, "ValueError"))

    told = retry(search=kind)

    assert told.retried == [id_of_retry(last)]
    assert len(told.skipped) == 2


def test_many_are_recorded_in_one_transaction_and_published_together(kind, monkeypatch):
    made = {failed(error=Failure(kind, "ValueError")) for _ in range(5)}
    recorded, sent = [], []
    open_retries = TaskRecords.open_retries
    monkeypatch.setattr(TaskRecords, "open_retries", lambda *all: recorded.append(open_retries(*all)) or recorded[-1])
    monkeypatch.setattr(submission, "publish", lambda drafts: sent.append({draft.retry_of for draft in drafts}))

    retried = retry(search=kind).retried

    assert recorded == [set(retried)]
    assert sent == [made]


def test_no_more_are_retried_at_once_than_a_result_can_tell(kind, monkeypatch):
    monkeypatch.setattr(retrying, "AT_ONCE", 3)
    monkeypatch.setattr(retrying, "PAGE", 2)
    for _ in range(4):
        failed(error=Failure(kind, "ValueError"))

    assert len(retry(search=kind).retried) == 3
    assert len(retry(search=kind).retried) == 1
