"""What lies beyond what a database or JSON can hold ends its own task, or is as far as can be; nobody else notices."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from config.settings import settings
from processors.errors import Cancelled, InvalidArgument, ServiceUnavailable, TransientError
from records.grouped_writes import CommitUnknown
from services import steering, task_run, until_written
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.submission import moment
from services.submit_options import MAX_DELAY_SECONDS
from services.task_run import backoff
from services.wiring import parts

END = datetime.max.replace(tzinfo=UTC)


@celery_app.task(name="test.ask_for_an_age", bind=True, max_retries=1)
def ask_for_an_age(self: Any) -> None:
    raise TransientError("the provider counts in milliseconds", retry_after=1e12)


@celery_app.task(name="test.ask_in_words", bind=True, max_retries=1)
def ask_in_words(self: Any, asked: Any) -> None:
    raise TransientError("the provider is busy", retry_after=asked)


@celery_app.task(name="test.say_nothing", bind=True, max_retries=0)
def say_nothing(self: Any) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            return self.missing

    raise Mute


class UsageExit(SystemExit):
    """What a parser of a program's arguments ends the program with."""


ENDS = {"cancelled": asyncio.CancelledError(), "usage": UsageExit(2), "exit": SystemExit(3)}


@celery_app.task(name="test.stop_itself", bind=True, max_retries=0)
def stop_itself(self: Any, how: str) -> None:
    raise ENDS[how]


@celery_app.task(name="test.do_nothing", bind=True)
def do_nothing(self: Any) -> None:
    pass


@celery_app.task(name="test.nest", bind=True, max_retries=1)
def nest(self: Any) -> Any:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@celery_app.task(name="test.nest_to", shared=False)
def nest_to(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@celery_app.task(name="test.effect_unrecorded", bind=True, record=False)
def effect_unrecorded(self: Any) -> Any:
    return self.effect("key", lambda: 1, deadline=1)


@celery_app.task(name="test.give_up", bind=True)
def give_up(self: Any) -> None:
    raise Cancelled("there is nothing to do")


@pytest.mark.parametrize(
    "given", [datetime.max.replace(tzinfo=ZoneInfo("America/New_York")), "9999-12-31T23:59:59-05:00"]
)
def test_never_in_a_zone_west_of_greenwich_is_the_end_of_time_and_can_be_read_again(inline_service, given):
    assert moment(given) == END

    task_id = ask_for_an_age.apply_async(eta="9999-12-31T23:59:59-05:00", expires=given).id

    record = parts().tasks.read(task_id)
    assert (record.due_at, record.expires_at) == (END, END)
    assert parts().moves.claim(10) == []


def test_a_provider_that_asks_for_an_age_is_asked_again_after_the_longest_delay_there_is(inline_service, monkeypatch):
    asked: list[float] = []

    def note(task_id: str, run: int, delay: float, *more: Any, **options: Any) -> bool:
        asked.append(delay)
        return True

    monkeypatch.setattr(parts().moves, "try_again", note)
    ask_for_an_age.delay()

    assert asked == [MAX_DELAY_SECONDS]


@pytest.mark.parametrize(("asked", "delay"), [("30", 30), ("Wed, 21 Oct 2026 07:28:00 GMT", 7), ([30], 7), (-1, 0)])
def test_what_a_provider_asked_in_words_is_understood_or_left_to_the_back_off(
    inline_service, monkeypatch, asked, delay
):
    asked_for: list[float] = []
    try_again = parts().moves.try_again

    def note(task_id: str, run: int, delay: float, *more: Any, **options: Any) -> bool:
        asked_for.append(delay)
        return try_again(task_id, run, delay, *more, **options)

    monkeypatch.setattr(task_run, "backoff", lambda _attempt: 7)
    monkeypatch.setattr(parts().moves, "try_again", note)

    task_id = ask_in_words.delay(asked).id

    assert asked_for == [delay]
    assert parts().tasks.read(task_id).attempt == 1


def test_an_error_that_cannot_tell_what_it_is_fails_its_task(inline_service):
    status = celery_service.get_task_status(say_nothing.delay().id)

    assert (status["status"], status["info"]["error_type"]) == ("FAILURE", "Mute")
    assert status["info"]["error"] == "Mute"


@pytest.mark.parametrize(
    ("how", "said"),
    [("cancelled", "raised CancelledError"), ("usage", "raised UsageExit"), ("exit", "called sys.exit(3)")],
)
def test_what_is_no_error_but_ends_a_body_fails_its_task_like_one(inline_service, monkeypatch, how, said):
    given_back: list[str] = []
    monkeypatch.setattr(parts().moves, "give_back", lambda task_id, run: given_back.append(task_id) or True)

    status = celery_service.get_task_status(stop_itself.delay(how).id)

    assert not given_back, "it would begin again at once, without an end"
    assert (status["status"], status["info"]["error_type"]) == ("FAILURE", "WorkError")
    assert said in status["info"]["error"]


@pytest.mark.parametrize(("move", "task"), [("succeed", "test.do_nothing"), ("try_again", "test.ask_for_an_age")])
def test_an_outcome_that_cannot_be_recorded_fails_its_task(inline_service, monkeypatch, move, task):
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("no database takes it")

    monkeypatch.setattr(parts().moves, move, refuse)

    status = celery_service.get_task_status(celery_service.submit(task))

    assert (status["status"], status["info"]["error"]) == ("FAILURE", "no database takes it")


def test_a_result_nested_too_deeply_fails_at_once(inline_service):
    status = celery_service.get_task_status(nest.delay().id)

    assert (status["status"], status["attempts"]) == ("FAILURE", 1)
    assert "must return JSON values" in status["info"]["error"]


def test_a_result_is_refused_where_what_follows_could_not_pass_it_on(inline_service):
    kept, refused = (celery_service.get_task_status(nest_to.delay(levels).id) for levels in (700, 701))

    assert (kept["status"], refused["status"]) == ("SUCCESS", "FAILURE")
    assert refused["info"]["error"] == "A task must return at most 700 levels of lists and dicts."


def test_an_effect_that_no_record_would_remember_is_refused_in_one_sentence():
    with pytest.raises(InvalidArgument, match="runs without a record"):
        effect_unrecorded()


def test_an_argument_that_is_missing_shows_none_of_the_others(inline_service):
    with pytest.raises(InvalidArgument) as error:
        celery_service.submit("email.send_email", subject="x", body="a private body")

    assert str(error.value) == "to_email: Field required"


def test_a_task_that_calls_itself_cancelled_fails_and_does_not_run_again(inline_service):
    status = celery_service.get_task_status(give_up.delay().id)

    assert (status["status"], status["attempts"]) == ("FAILURE", 1)
    assert status["info"] == {"error": "there is nothing to do", "error_type": "Cancelled"}


def test_a_start_waits_in_its_slot_while_the_database_is_away(inline_service, monkeypatch):
    monkeypatch.setattr(until_written, "DATABASE_PAUSE_SECONDS", 0)
    start, refusals = parts().moves.start, iter([ServiceUnavailable("it is away")] * 3)

    def start_later(*given: Any, **more: Any) -> Any:
        for refusal in refusals:
            raise refusal
        return start(*given, **more)

    monkeypatch.setattr(parts().moves, "start", start_later)

    status = celery_service.get_task_status(give_up.delay().id)
    assert (status["status"], next(refusals, None)) == ("FAILURE", None), "it ran once the database was back"


followed: list[str] = []


@celery_app.task(name="test.follow")
def follow(*_: Any, how: str) -> None:
    followed.append(how)


def read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database be away at the next look at a record."""
    read, refusals = parts().tasks.read, iter([ServiceUnavailable("it is away")])

    def look(task_id: str) -> Any:
        for refusal in refusals:
            raise refusal
        return read(task_id)

    monkeypatch.setattr(parts().tasks, "read", look)


def test_a_success_is_followed_as_one_where_the_database_goes_away_twice_at_its_end(inline_service, monkeypatch):
    monkeypatch.setattr(until_written, "DATABASE_PAUSE_SECONDS", 0)
    succeed = parts().moves.succeed

    def succeed_unheard(*given: Any) -> bool:
        assert succeed(*given)
        monkeypatch.setattr(parts().moves, "succeed", succeed)
        read_later(monkeypatch)
        raise CommitUnknown("the answer was lost")

    followed.clear()
    monkeypatch.setattr(parts().moves, "succeed", succeed_unheard)
    do_nothing.apply_async(link=follow.s(how="well"), link_error=follow.s(how="badly"))

    assert followed == ["well"]


def test_a_second_message_of_a_success_fails_nothing_where_the_database_goes_away(inline_service, monkeypatch):
    monkeypatch.setattr(until_written, "DATABASE_PAUSE_SECONDS", 0)
    sent = do_nothing.apply_async(link_error=follow.s(how="badly"))
    record = parts().tasks.read(sent.id)
    assert record is not None
    followed.clear()
    read_later(monkeypatch)
    parts().publisher.publish([record])

    assert followed == []


@pytest.mark.parametrize("attempt", [0, 63, 1_024, 1_000_000])
def test_however_often_a_task_was_tried_its_next_attempt_has_a_time(attempt):
    assert 0 <= backoff(attempt) <= settings.celery_task_retry_max_delay


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"expires": "soon"}, [[], {}, {}]),
        ({"expires": [1]}, [[], {}, {}]),
        ({"origin": 5}, [[], {}, {}]),
        ({"origin": "\ud800"}, [[], {}, {}]),
        ({}, [[], {}, None]),
    ],
    ids=range(5),
)
def test_a_message_of_which_no_record_can_be_made_stops_no_purge(inline_service, monkeypatch, caplog, headers, body):
    odd = {"id": "odd", "task": "some.task"} | headers
    good = {"id": "good", "task": "some.task"}
    taken = [(odd, body), (good, [[], {}, {}])]
    monkeypatch.setattr(steering, "take_all", lambda _connection, queue: taken if queue == "default" else [])

    assert celery_service.purge_queue("default") == 1

    assert "message_dropped" in caplog.text
    assert celery_service.get_task_status("good")["status"] == "REVOKED"


def test_no_message_is_dropped_because_the_database_is_away(inline_service, monkeypatch):
    def away(*_: Any) -> None:
        raise ServiceUnavailable("it is away")

    monkeypatch.setattr(steering, "take_all", lambda *_: iter([({"id": "one", "task": "some.task"}, [[], {}, {}])]))
    monkeypatch.setattr(parts().tasks, "open", away)

    with pytest.raises(ServiceUnavailable):
        celery_service.purge_queue("default")
