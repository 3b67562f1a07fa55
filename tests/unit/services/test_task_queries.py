"""Finding tasks: filters are literal, cursors know themselves, secrets stay masked, tenants stay apart."""

import base64
import json
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from cli import main
from followed import catch_up
from processors.errors import InvalidArgument, ServiceUnavailable
from records import task_following, task_lists
from records.leadership import Lead, Leadership
from records.task_following import TaskFollowing
from records.task_list_rows import OPEN, task_list_marks, task_words_due
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft
from services import follower, task_queries
from services.follower import Beginning, Follower
from services.task_filters import filter_of
from services.task_queries import find_tasks
from services.wiring import Parts
from waiting import until

BUSY_SECONDS = 0.05


@pytest.fixture
def service(database, monkeypatch):
    service = Parts(database)
    monkeypatch.setattr(task_queries, "parts", lambda: service)
    return service


def opened(service, *drafts):
    service.tasks.open_many(service.tasks.opening(drafts))


def draft(task_id, **more):
    return Draft(task_id, "email.send_email", "email", "email", **more)


def leading(service):
    return Lead("me", Leadership(service.database).take("me", "here", 1))


def ids(found):
    return [one["task_id"] for one in found["items"]]


def test_a_page_leads_to_the_next_one_until_there_is_none(service):
    opened(service, *(draft(f"t{number}") for number in range(5)))
    asked, cursor, found = filter_of(name="email.send_email"), None, []
    while page := find_tasks(asked, cursor, 2):
        found += ids(page)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(found) == [f"t{number}" for number in range(5)]
    assert find_tasks(asked, limit=5)["next_cursor"] is None, "nothing is behind a last page that is full"


def test_a_page_of_whole_tasks_ends_early_where_they_are_large_and_leads_to_the_others(service, monkeypatch):
    monkeypatch.setattr(task_lists, "MOST_BYTES", 5_000)
    monkeypatch.setattr(task_lists, "READ_AT_ONCE", 2)
    sizes = {"t5": 10, "t4": 3_000, "t3": 1_000, "t2": 9_000, "t1": 10, "t0": 10}
    for task_id, size in reversed(sizes.items()):
        opened(service, draft(task_id, kwargs={"text": "x" * size}))
    cursor, pages = None, []
    for _ in sizes:
        page = find_tasks(filter_of(), cursor, 5, whole=True)
        assert all(len(one["kwargs"]["text"]) == sizes[one["task_id"]] for one in page["items"])
        pages.append(ids(page))
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [["t5", "t4", "t3"], ["t2"], ["t1", "t0"]]
    assert len(ids(find_tasks(filter_of(), None, 6))) == 6, "light ones are not counted"


def test_a_row_is_light_and_tells_the_rest_masked_to_who_asks(service):
    opened(service, draft("t", kwargs={"password": "planted", "to": "ann"}, tags=["x"], tenant="a"))
    [light] = find_tasks(filter_of(tag=["x"]))["items"]
    [whole] = find_tasks(filter_of(tag=["x"]), whole=True)["items"]
    assert "kwargs" not in light
    assert whole["kwargs"] == {"password": "***", "to": "ann"}
    assert light["status"] == "PENDING"


def test_a_caller_of_one_tenant_sees_no_other_ones_tasks_whatever_is_asked(service):
    opened(service, draft("a", tenant="a"), draft("b", tenant="b"), draft("none"))
    assert ids(find_tasks(filter_of(), wall="a")) == ["a"]
    assert ids(find_tasks(filter_of(tenant="b"), wall="a")) == []
    assert ids(find_tasks(filter_of(tenant="b"))) == ["b"]


def test_secrets_are_found_by_nobody(service):
    kwargs = {"api_key": "planted1", "url": "https://me:planted2@example.com/x", "note": "visible"}
    opened(service, draft("t", kwargs=kwargs))
    TaskMoves(service.database).fail_waiting("t", Failure("{'token': 'planted3'}", "ValueError"))
    catch_up(service.database)
    assert ids(find_tasks(filter_of(text="visible valueerror"))) == ["t"]
    for secret in ("planted1", "planted2", "planted3"):
        assert ids(find_tasks(filter_of(text=secret))) == []
        assert ids(find_tasks(filter_of(part=secret[2:]))) == []


@pytest.mark.parametrize("year", ["0001", "1969", "2035", "2068", "9999"])
def test_moments_of_any_year_are_looked_for(service, year):
    opened(service, draft("t"))
    TaskMoves(service.database).fail_waiting("t", Failure("odd", "ValueError"))
    catch_up(service.database)
    before = int(year) < 2000
    moment = f"{year}-12-30T00:00:00Z"
    for other in ({}, {"name": "email.send_email"}, {"text": "odd"}):
        for name in ("created", "finished"):
            assert ids(find_tasks(filter_of(**other, **{f"{name}_from": moment}))) == (["t"] if before else [])
            assert ids(find_tasks(filter_of(**other, **{f"{name}_before": moment}))) == ([] if before else ["t"])


HOSTILE = (
    "%",
    "_",
    "*",
    '"',
    "'",
    "'; DROP TABLE task_lists; --",
    'x" OR "y',
    "NEAR(a b)",
    "a* b",
    "-a",
    "a:b",
    "{x}",
    "\\",
    "a & !b",
    "(",
    "text:a",
)


@pytest.mark.parametrize(
    "field", ["name", "category", "queue", "tenant", "worker", "parent", "error_type", "fingerprint", "part", "text"]
)
def test_what_means_something_to_a_database_is_a_text_like_others(service, field):
    opened(service, draft("plain", kwargs={"x": "y a b"}))
    catch_up(service.database)
    for hostile in HOSTILE:
        try:
            asked = filter_of(**{field: hostile})
        except InvalidArgument:
            assert field == "text"
            continue
        found = ids(find_tasks(asked))
        assert found in ([], ["plain"])
        if field != "text":
            assert found == (["plain"] if field == "part" and hostile in "email.send_email" else [])
    assert ids(find_tasks(filter_of())) == ["plain"]


def test_a_tag_of_wildcards_finds_its_own_tasks_alone(service):
    opened(service, draft("a", tags=["100%"]), draft("b", tags=["100x"]), draft("c", tags=['"', ","]))
    assert ids(find_tasks(filter_of(tag=["100%"]))) == ["a"]
    assert ids(find_tasks(filter_of(tag=[","]))) == ["c"]
    catch_up(service.database)
    assert ids(find_tasks(filter_of(tag=["100%"]))) == ["a"]


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cursor_that_was_changed_is_refused(service, data):
    opened(service, *(draft(f"t{number}") for number in range(3)))
    asked = filter_of(name="email.send_email")
    cursor = find_tasks(asked, limit=1)["next_cursor"]
    place = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from([one for one in "abcXYZ019-_=+/ é\0" if one != cursor[place]]))
    for changed in (cursor[:place] + letter + cursor[place + 1 :], cursor[:place], cursor + letter, letter + cursor):
        with pytest.raises(InvalidArgument, match="cursor"):
            find_tasks(asked, changed)


def test_a_cursor_of_another_filter_is_refused_but_moments_may_move(service):
    opened(service, *(draft(f"t{number}") for number in range(3)))
    cursor = find_tasks(filter_of(created_from="2026-01-01T00:00:00Z"), limit=1)["next_cursor"]
    with pytest.raises(InvalidArgument):
        find_tasks(filter_of(queue="email"), cursor)
    forged = base64.urlsafe_b64encode(b"x" * 9 + json.dumps(["2030-01-01T00:00:00+00:00", "a"]).encode()).decode()
    with pytest.raises(InvalidArgument):
        find_tasks(filter_of(), forged)
    assert len(ids(find_tasks(filter_of(created_from="2026-01-02T00:00:00Z"), cursor))) == 2


@pytest.mark.parametrize(
    "bad",
    [
        {"state": ["DONE"]}, {"state": []}, {"name": ""}, {"name": "a\0"}, {"name": "\ud800"}, {"text": "  "},
        {"text": "x" * 201}, {"created_from": "yesterday"}, {"created_from": "0001-01-01T00:00:00+14:00"},
        {"created_from": "2026-01-01T00:00:00"}, {"nonsense": 1},
        {"text": "a", "part": "b"}, {"tag": ["x"] * 21},
    ],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_refused_in_one_line(bad):
    with pytest.raises(InvalidArgument) as refused:
        filter_of(**bad)
    assert "\n" not in str(refused.value)


def test_who_does_not_lead_lists_nothing(service):
    opened(service, draft("t"))
    lead = leading(service)
    Leadership(service.database).give_up("me")
    Leadership(service.database).take("other", "here", 2)
    one = Follower(TaskFollowing(service.database), service.minutes, lambda: lead, threading.Event())
    assert one._guarded(lead) == follower.AWAY_SECONDS
    assert service.database.read(lambda c: c.execute(select(task_list_marks)).first()) is None


def test_what_waits_is_looked_at_while_the_lists_are_behind(service, monkeypatch):
    opened(service, *(draft(f"t{number}") for number in range(3)))
    monkeypatch.setattr(follower, "ROWS_AT_ONCE", 1)
    lead = leading(service)
    one = Follower(TaskFollowing(service.database), service.minutes, lambda: lead, threading.Event())
    assert one.turn(lead) < follower.LOOK_SECONDS, "there is more to list"
    monkeypatch.setattr("records.task_minutes.settled_until", lambda _: datetime.now(UTC) + timedelta(minutes=2))
    until(lambda: not service.minutes.count_next(), what="all minutes are counted")
    assert [row["depth"] for row in service.minutes.looks(1)] == [3]


def test_words_are_kept_while_as_many_come_as_end_but_no_group_is_whole(service, monkeypatch):
    monkeypatch.setattr(follower, "YOUNG_SECONDS", 0)
    following, lead = TaskFollowing(service.database), leading(service)
    following.created(10)  # begins to list
    opened(service, *(draft(f"t{number}") for number in range(3)))
    until(lambda: following.created(10) == 3, what="they are listed")
    following.created, following.ended = (lambda *_: follower.ROWS_AT_ONCE - 1 for _ in range(2))
    Follower(following, service.minutes, lambda: lead, threading.Event()).turn(lead)
    assert following.words(10, lambda _, given: given) == 0


def test_words_of_what_goes_on_wait_for_its_end(service):
    following = TaskFollowing(service.database)
    following.created(10)  # begins to list
    opened(service, draft("t"))
    until(lambda: following.created(10) == 1, what="it is listed")
    assert following.words(10, lambda _, given: given, young=5e8) == 0
    assert following.words(10, lambda _, given: given) == 1


def listed(service, *drafts):
    following = TaskFollowing(service.database)
    following.created(10)  # begins to list
    opened(service, *drafts)
    until(lambda: following.created(10) == len(drafts), what="they are listed")
    return following


def test_words_of_long_texts_are_kept_few_at_once_so_that_others_write_meanwhile(service, monkeypatch):
    monkeypatch.setattr(task_following, "TEXT_AT_ONCE", 5_000)
    monkeypatch.setattr(task_following, "WORDS_READ_AT_ONCE", 2)
    long = {"text": " ".join(f"word{number}" for number in range(400))}
    following = listed(service, *(draft(f"t{number}", kwargs=long) for number in range(5)))
    left, due = [], select(func.count()).select_from(task_words_due)
    while found := following.words(10, lambda _, given: given):
        left.append((found, service.database.read(lambda c: c.execute(due).scalar_one())))
    assert left == [(10, 3), (10, 1), (1, 0)], "a full group may be followed by more"
    assert len(ids(find_tasks(filter_of(text="word399")))) == 5


def test_words_that_are_due_once_more_as_of_a_task_that_goes_on_are_not_due_for_ever(service):
    following = listed(service, draft("t"))
    TaskMoves(service.database).fail_waiting("t", Failure("it broke", "PermanentError"))
    until(lambda: following.ended(10) == 1, what="its end is listed")
    late = update(task_words_due).values(state=OPEN)  # as one does that had read it before, and leads no more
    service.database.write(lambda c: c.execute(late))
    assert [following.words(10, lambda _, given: given) for _ in range(2)] == [1, 0]


def test_words_of_short_texts_are_kept_together(service, monkeypatch):
    monkeypatch.setattr(task_following, "WORDS_READ_AT_ONCE", 2)
    following = listed(service, *(draft(f"t{number}") for number in range(5)))
    assert [following.words(4, lambda _, given: given) for _ in range(3)] == [4, 1, 0]


def test_a_turn_rests_for_what_its_writes_took_in_another_thread_too(service, monkeypatch):
    def busy(*_):
        until_used = time.thread_time() + BUSY_SECONDS
        while time.thread_time() < until_used:
            pass

    following = listed(service, draft("t"))
    monkeypatch.setattr(task_following, "keep_words", busy)
    began = Beginning(following)
    assert following.words(10, lambda _, given: given) == 1
    assert began.rest(1.0) >= BUSY_SECONDS


def test_tasks_are_listed_in_a_terminal(service, monkeypatch, capsys):
    opened(service, *(draft(f"t{number}") for number in range(3)))

    def csai(*words):
        monkeypatch.setattr(sys, "argv", ["csai", "ls", *words])
        monkeypatch.setattr(main, "root", main.typer.Typer(name="csai"))
        with pytest.raises(SystemExit) as ended:
            main.run()
        return ended.value.code or 0, capsys.readouterr()

    code, said = csai("--state", "pending", "--limit", "2", "--json", "--since", "2h")
    first = json.loads(said.out)
    assert (code, len(first["items"])) == (0, 2)
    code, said = csai("--state", "pending", "--limit", "2", "--after", first["next_cursor"], "--since", "2h")
    [left] = {"t0", "t1", "t2"} - set(ids(first))
    assert left in said.out
    assert csai("--text", "nowhere")[1].out == "No task is like that.\n"
    code, said = csai("--since", "long ago")
    assert code == 2
    assert "15m" in said.err
    assert csai("--state", "DONE")[0] == 2


def test_a_follower_goes_on_after_whatever_went_wrong(service):
    opened(service, draft("t"))
    lead, stopping, faults = leading(service), threading.Event(), [ServiceUnavailable("away"), ValueError("odd")]
    following = TaskFollowing(service.database)
    created = following.created

    def faulty(*given):
        if faults:
            raise faults.pop()
        return created(*given)

    following.created = faulty
    one = Follower(following, service.minutes, lambda: service.leadership.current() and lead, stopping)
    one.start()
    try:
        until(lambda: service.leadership.take("me", "here", 1) and ids(find_tasks(filter_of(text="email"))) == ["t"])
    finally:
        stopping.set()
        one.join(10)
    assert faults == []
    assert not one._thread.is_alive()
