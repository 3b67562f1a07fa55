"""Looking at tasks and steering them from a terminal: what changed is said, and written down as done there."""

import json
import re
from datetime import UTC, datetime
from itertools import count

import pytest

from broker import parked_messages
from cli import main
from cli.exit_codes import code_of
from cli.output import state
from config.settings import settings
from processors.errors import (
    ConfigurationError,
    IdempotencyConflict,
    InvalidArgument,
    PermanentError,
    ServiceUnavailable,
    TaskTimeout,
    UnknownGroup,
    UnknownKey,
    UnknownSchedule,
    UnknownTask,
)
from records.audit import WantedActs
from records.task_moves import Failure
from records.task_records import Draft
from services import audit, monitoring
from services.celery_app import QUEUES, celery_app
from services.celery_service import celery_service
from services.task_changes import ChangedTasks
from services.wiring import parts
from waiting import until

NUMBERS = count()


@celery_app.task(name="test.cli_halve", bind=True)
def halve(_self, number: int, api_key: str = "planted") -> float:
    if number % 2:
        raise PermanentError(f"{number} is odd")
    return number / 2


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch):
    monkeypatch.setattr(monitoring, "consumers", dict)  # no worker is there to be asked


def draft(**more) -> str:
    """A recorded task that waits, and that nobody publishes."""
    task_id = f"steered-{next(NUMBERS)}"
    known = {"name": "test.cli_halve", "category": "default", "queue": "low_priority"}
    parts().tasks.open(Draft(task_id, **known | more))
    return task_id


def started(task_id: str) -> int:
    """Let a working process have a task; returns the run."""
    parts().workers.start(task_id, "io@here", "here", 1, 0)
    run = parts().moves.start(task_id, 0, task_id, "io@here", 60)
    assert run is not None
    return run.run


def failed(number: int = 3) -> str:
    return celery_service.submit("test.cli_halve", arguments={"number": number})


def acts_on(kind: str, name: str) -> list[str]:
    """What was done to something at a terminal, the newest first."""
    found = audit.acts(WantedActs(target_kind=kind, target_id=name), 20)
    assert {one.origin for one in found} <= {"cli"}
    return [one.act for one in found]


# --- Exit codes and help ----------------------------------------------------------------------------------------


def test_exit_codes_tell_what_it_was():
    errors = {
        InvalidArgument("x"): 2,
        ValueError("x"): 2,
        UnknownTask("x"): 3,
        UnknownSchedule("x"): 3,
        UnknownKey("x"): 3,
        UnknownGroup("x"): 3,
        TaskTimeout("x"): 4,
        ServiceUnavailable("x"): 1,
        PermanentError("x"): 1,
        IdempotencyConflict("x", "t"): 1,
    }
    assert {type(error): code_of(error) for error in errors} == {type(error): code for error, code in errors.items()}


def helps(csai, *path: str) -> dict[tuple[str, ...], str]:
    """The help of every command below a path, found in that of the one above, as a person finds them."""
    shown = csai(*path, "--help")
    assert shown.code == 0, (path, shown.errors)
    listed = re.search(r"^Commands:\n((?:  .*\n?)+)", shown.out, re.MULTILINE)
    names = re.findall(r"^  ([a-z_-]+)(?:  |$)", listed[1], re.MULTILINE) if listed else []
    below = {one: told for name in names for one, told in helps(csai, *path, name).items()}
    return {path: shown.out} | below


def test_every_help_fits_eighty_columns_and_every_command_takes_json(csai, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    found = helps(csai)
    assert len(found) > 80
    assert {path: line for path, told in found.items() for line in told.splitlines() if len(line) > 80} == {}
    groups = {path[:-1] for path in found if path}
    speechless = {path for path, told in found.items() if "--json" not in told} - groups
    assert speechless == {("artefact",), ("campaigns", "export")}, "these two print what no JSON can hold, or CSV"
    assert "Exit codes: 0 done; 1 " in " ".join(found[()].split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_it(csai, monkeypatch, shell):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    code, out, _ = csai("--show-completion", shell)
    assert (code, "_CSAI_COMPLETE" in out) == (0, True)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("csai que", "queues"),
        ("csai submit send_e", "send_email"),
        ("csai submit send_email --to", "--to-email"),
        ("csai queues pause low", "low_priority"),
        ("csai tail --state FA", "FAILURE"),
    ],
)
def test_the_tab_key_offers_what_can_follow(csai, monkeypatch, typed, offered):
    monkeypatch.setenv("_CSAI_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    assert offered in csai().out.split()


def test_an_error_of_ours_is_harmless_on_a_terminal(csai):
    code, out, errors = csai("show", "\x1b[2Jgone")
    assert (code, out, "\x1b" in errors, "gone" in errors) == (3, "", False, True)


# --- One task ---------------------------------------------------------------------------------------------------


def test_a_failed_task_is_retried_with_another_argument_and_the_new_one_is_told(csai, inline_service):
    task_id = failed()
    code, out, _ = csai("retry", task_id, "--set", "number=8", "--wait")
    new_id, _, result = out.partition("\n")
    assert (code, json.loads(result)) == (0, 4.0)
    assert celery_service.get_task_status(new_id)["retry_of"] == task_id
    assert json.loads(csai("retry", task_id, "--set", "number=8", "--json").out) == {"task_id": new_id}
    assert csai("retry", task_id).code == 2, "it was retried with other arguments"
    assert csai("retry", new_id).code == 2, "it has not failed"
    assert csai("retry", task_id, "--set", "number").code == 2
    assert csai("retry", "nobody").code == 3
    (act, _) = audit.acts(WantedActs(target_kind="task", target_id=task_id), 9)
    assert (act.act, act.origin, act.details) == ("task.replay", "cli", {"task_id": new_id, "arguments": ["number"]})


def acted(task_id: str) -> dict:
    record = parts().tasks.read(task_id)
    assert record is not None
    return {name: record.kwargs[name] for name in ("act", "filter")}


def test_failed_tasks_are_retried_by_a_filter_once_their_count_is_confirmed(csai):
    for _ in range(2):
        parts().moves.fail_waiting(draft(tags=["retried-many"]), Failure("it broke", "PermanentError"))
    words = ("retry", "--tag", "retried-many", "--since", "1h")
    for given in ("n\n", ""):
        code, out, errors = csai(*words, given=given)
        assert (code, out) == (1, "")
        assert "Submit 2 tasks again? [y/N]: Nothing was done." in errors
    code, out, errors = csai(*words, given="y\n")
    act_id = out.strip()
    assert (code, f"until then: csai cancel {act_id}" in errors) == (0, True)
    assert acted(act_id)["act"] == "replay"
    assert acted(act_id)["filter"].keys() == {"tag", "created_from"}
    assert "is cancelled" in csai("cancel", act_id).out
    (act,) = audit.acts(WantedActs(act="tasks.replay", target_id=act_id), 9)
    assert (act.origin, act.count) == ("cli", 2)
    other = json.loads(csai("retry", "--tag", "retried-many", "--yes", "--json").out)["task_id"]
    assert celery_service.cancel_task(other)


def test_tasks_are_cancelled_by_a_filter_once_their_count_is_confirmed(csai, monkeypatch):
    draft(tags=["cancelled-many"])
    words = ("cancel", "--tag", "cancelled-many")
    assert "Cancel 1 task? [y/N]: Nothing was done." in csai(*words, given="n\n").errors
    act_id = csai(*words, given="y\n").out.strip()
    assert acted(act_id) == {"act": "cancel", "filter": {"tag": ["cancelled-many"]}}
    assert celery_service.cancel_task(act_id)
    monkeypatch.setattr("cli.filters.confirm", lambda _question: draft(tags=["cancelled-many"]))
    code, _, errors = csai(*words)
    assert (code, "1 tasks were confirmed, and 2 are like that now" in errors) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        "retry", "cancel", "retry --all --tag a", "retry x --tag a", "retry x --all", "cancel x --all",
        "retry --tag a --set b=1", "cancel --tag nobody-has-it", "cancel --state gone",
        "cancel --name=", "cancel --tenant=", "cancel --tag=", "cancel --since=", "retry --category=", "retry --text=",
    ],
)  # fmt: skip
def test_a_filter_that_is_none_or_stands_beside_ids_changes_nothing(csai, words):
    draft()
    parts().moves.fail_waiting(draft(), Failure("it broke", "PermanentError"))
    assert csai(*words.split(), "--yes").code == 2
    assert csai(*words.split(), given="y\n").code == 2


def test_a_retry_that_fails_is_exit_code_1(csai, inline_service):
    code, out, _ = csai("retry", failed(), "--wait", "--json")
    assert (code, json.loads(out)["info"]["error"]) == (1, "3 is odd")


def test_cancelling_says_which_changed(csai):
    waits, ended = draft(), draft()
    celery_service.cancel_task(ended)
    code, out, errors = csai("cancel", waits, ended, "nobody", waits)
    assert code == 3
    assert out.splitlines() == [f"{waits}: is cancelled.", f"{ended}: had ended before, as REVOKED."]
    assert errors == "nobody: there is no such task.\n"
    assert acts_on("task", waits) == ["task.cancel"]
    assert acts_on("task", ended) == []
    assert csai("cancel", ended).code == 0


def test_ids_come_from_a_pipe_and_json_tells_of_each(csai):
    first, second = draft(), draft()
    code, out, _ = csai("cancel", "-", "--json", given=f"{first}\n{second}\n")
    assert (code, json.loads(out)) == (
        0,
        [{"task_id": one, "changed": True, "status": "REVOKED"} for one in (first, second)],
    )


def test_what_a_task_logged_is_printed_alone_and_in_this_machines_time(csai, inline_service):
    task_id = failed()
    line = {"task_id": task_id, "run": 1, "number": 7_000, "level": "WARNING", "logger": "my"}
    parts().task_logs.keep([line | {"at": datetime.now(UTC), "text": "[bold]odd\x1b[2J"}])
    until(lambda: celery_service.get_task_logs(task_id, search="[bold]odd"), what="the line is there")
    code, out, _ = csai("show", task_id, "--logs")
    assert (code, "status" in out) == (0, False)
    (told,) = [one for one in out.splitlines() if "[bold]odd" in one]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d WARNING  \[bold\]odd\\x1b\[2J", told)
    (last,) = json.loads(csai("show", task_id, "--logs", "--lines", "1", "--json").out)
    assert last["text"] == "[bold]odd\x1b[2J"
    assert csai("show", "nobody", "--logs").code == 3


def test_following_a_task_ends_with_it(csai, inline_service):
    code, out, _ = csai("show", failed(4), "--follow")
    assert (code, "SUCCESS" in out) == (0, True)
    code, out, _ = csai("show", failed(), "--follow", "--json")
    *_, last = [json.loads(line) for line in out.splitlines()]
    assert (code, last["task"]["status"]) == (1, "FAILURE")
    assert csai("show", "nobody", "--follow").code == 3
    assert csai("show", draft(), "--follow", "--timeout", "0").code == 4
    assert csai("show", draft(), "--timeout", "1").code == 2


def test_no_secret_among_a_tasks_arguments_is_shown_anywhere(csai, inline_service):
    task_id = celery_service.submit("test.cli_halve", arguments={"number": 3, "api_key": "planted-7"})
    celery_service.add_schedule("hidden", "test.cli_halve", every=90, kwargs={"number": 2, "api_key": "planted-8"})
    shown = [csai("show", task_id), csai("show", task_id, "--json"), csai("schedules"), csai("schedules", "--json")]
    csai("schedules", "change", "hidden", "--kwargs", '{"number": 2, "api_key": "planted-9"}')
    acts = audit.acts(WantedActs(), 20)
    assert "planted" not in str([shown, acts])
    assert "hidden" in shown[2].out


# --- The list of tasks ------------------------------------------------------------------------------------------


def test_a_list_of_tasks_leads_from_page_to_page(csai):
    made = [draft(tags=("listed-in-pages",)) for _ in range(5)]
    words, pages = ("ls", "--tag", "listed-in-pages", "--limit", "2"), list[list[str]]()
    after: tuple[str, ...] = ()
    while True:
        code, out, errors = csai(*words, *after)
        assert (code, errors) == (0, "")
        lines = out.splitlines()
        pages.append([line.split()[0] for line in lines if line.startswith("steered-")])
        if not lines[-1].startswith("There are more: --after "):
            break
        after = ("--after", lines[-1].split()[-1])
    assert sorted(one for page in pages for one in page) == sorted(made)
    assert [len(page) for page in pages] == [2, 2, 1]
    first = json.loads(csai(*words, "--json").out)
    second = json.loads(csai(*words, "--json", "--after", first["next_cursor"]).out)
    assert [[one["task_id"] for one in page["items"]] for page in (first, second)] == pages[:2]
    assert csai(*words, "--after", first["next_cursor"] + "x").code == 2
    assert csai("ls", "--tag", "nobody-has-it").out == "No task is like that.\n"


def test_a_row_of_the_list_is_one_line_in_this_machines_time(csai):
    task_id = draft(tags=("listed-failed",))
    assert parts().moves.fail(task_id, started(task_id), Failure("It [bold]broke\x1b[2J " + "far " * 60, "ValueError"))
    code, out, _ = csai("ls", "--tag", "listed-failed", "--since", "1h")
    head, row = out.splitlines()
    assert (code, head.split()) == (0, ["id", "name", "state", "created", "worker", "error"])
    assert re.match(rf"{task_id} +test\.cli_halve +FAILURE +\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d +", row)
    assert "ValueError: It [bold]broke\\x1b[2J far far" in row
    assert csai("ls", "--tag", "listed-failed", "--before", "1h").out == "No task is like that.\n"
    assert csai("ls", "--since", "999999w").code == 2


# --- Tasks as they change ---------------------------------------------------------------------------------------


@pytest.fixture
def looks(monkeypatch):
    """What happens between two looks of `tail`, one after the other; then Ctrl-C."""
    steps = []

    def sleep(_seconds):
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr("cli.commands.tail.time.sleep", sleep)
    return steps


def test_tail_tells_each_change_once_until_ctrl_c(csai, inline_service, looks):
    before = draft()
    seen: list[str] = []

    def submitted():
        seen.append(draft())

    def begun():
        seen.append(started(seen[0]))

    def ended():
        assert parts().moves.fail(seen[0], seen[1], Failure("It broke\x1b[2J.", "ValueError"))

    looks += [submitted, begun, lambda: None, ended, lambda: None]
    code, out, errors = csai("tail")
    assert (code, errors) == (130, "")
    assert before not in out
    assert [line.split()[2] for line in out.splitlines() if seen[0] in line] == ["PENDING", "STARTED", "FAILURE"]
    assert "ValueError: It broke\\x1b[2J." in out


def test_tail_is_filtered_and_begins_so_long_ago(csai, inline_service, looks):
    waits, done, odd = draft(queue="email"), failed(4), failed()
    told = [json.loads(line) for line in csai("tail", "--since", "1h", "--json").out.splitlines()]
    assert [one["task_id"] for one in told] == [waits, done, odd]
    assert [one["status"] for one in told] == ["PENDING", "SUCCESS", "FAILURE"]

    def ids(*words: str) -> list[str]:
        return [
            json.loads(line)["task_id"] for line in csai("tail", "--since", "1h", "--json", *words).out.splitlines()
        ]

    assert ids("--state", "failure", "--state", "SUCCESS") == [done, odd]
    assert ids("--queue", "email") == [waits]
    assert ids("--name", "test.cli_halve", "--category", "nothing") == []
    assert csai("tail", "--state", "ended").code == 2
    assert csai("tail", "--since", "tomorrow").code == 2


def test_tail_goes_on_when_the_database_was_away(csai, inline_service, looks, monkeypatch):
    look, answers = ChangedTasks.look, iter([True, False, False, True])

    def sometimes(tasks):
        if next(answers):
            return look(tasks)
        raise ServiceUnavailable("The database does not answer.")

    monkeypatch.setattr(ChangedTasks, "look", sometimes)
    submitted: list[str] = []
    looks += [lambda: submitted.append(draft()), lambda: None, lambda: None]
    code, out, errors = csai("tail")
    assert (code, errors.count("does not answer")) == (130, 1)
    assert submitted[0] in out


# --- Queues, limits, workers ------------------------------------------------------------------------------------


def test_queues_are_told_with_what_waits_and_their_sums(csai, inline_service):
    for _ in range(3):
        draft()
    draft(delay=3_600.0)
    celery_service.pause_queue("low_priority")
    told = {line.split()[0]: line.split() for line in csai("queues").out.splitlines()}
    assert set(told) == {"queue", *QUEUES, "all"}
    assert (told["low_priority"][1], "paused" in told["low_priority"]) == ("3", True)
    found = json.loads(csai("queues", "--json").out)
    assert (found["queues"]["low_priority"]["scheduled"], found["totals"]["depth"]) == (1, 3)


def test_a_queue_is_paused_and_resumed_and_drained(csai, inline_service):
    assert csai("queues", "pause", "email") == (0, "The queue email is paused.\n", "")
    assert csai("queues", "pause", "email").out == "The queue email was paused before.\n"
    assert json.loads(csai("queues", "resume", "email", "--json").out) == {"changed": True}
    assert csai("queues", "resume", "email").out == "The queue email was not paused.\n"
    assert csai("queues", "drain", "email", "--wait").out == "The queue email is paused; 0 of its tasks run.\n"
    assert acts_on("queue", "email") == ["queue.drain", "queue.resume", "queue.pause"]
    assert csai("queues", "pause", "nowhere").code == 2


def test_a_queue_whose_tasks_go_on_is_waited_for_as_long_as_told(csai, inline_service):
    started(draft())
    assert json.loads(csai("queues", "drain", "low_priority", "--json").out) == {"running": 1}
    code, _, errors = csai("queues", "drain", "low_priority", "--wait", "--timeout", "0")
    assert (code, "1 tasks of the queue low_priority still run" in errors) == (4, True)


def test_a_purge_names_the_count_and_does_nothing_unless_it_is_confirmed(csai, inline_service):
    waits, later = [draft() for _ in range(3)], draft(delay=3_600.0)
    for given in ("n\n", ""):
        code, out, errors = csai("queues", "purge", "low_priority", given=given)
        assert (code, out) == (1, "")
        assert "Cancel 3 waiting tasks of the queue low_priority? [y/N]: Nothing was done." in errors
    assert acts_on("queue", "low_priority") == []
    code, out, errors = csai("queues", "purge", "low_priority", "--json", given="y\n")
    assert (code, json.loads(out)) == (0, {"cancelled": 3})
    assert {celery_service.get_task_status(one)["status"] for one in waits} == {"REVOKED"}
    assert celery_service.get_task_status(later)["status"] == "PENDING"
    assert csai("queues", "purge", "low_priority", "--yes").out == "0 tasks of the queue low_priority are cancelled.\n"
    _, first = audit.acts(WantedActs(act="queue.purge"), 9)
    assert (first.count, first.origin) == (3, "cli")
    assert csai("queues", "purge", "nowhere", "--yes").code == 2


def test_a_purge_does_nothing_where_more_wait_than_were_confirmed(csai, inline_service, monkeypatch):
    draft()
    monkeypatch.setattr("cli.commands.queues.confirm", lambda _question: draft())
    code, _, errors = csai("queues", "purge", "low_priority")
    assert code == 1
    assert "1 tasks were confirmed, and 2 wait now" in errors
    assert json.loads(csai("queues", "purge", "low_priority", "--yes", "--json").out) == {"cancelled": 2}


def test_parked_messages_are_not_deleted_where_more_came_than_were_confirmed(csai, monkeypatch):
    counts, dropped = iter([2, 3, 2, 2]), []
    monkeypatch.setattr(parked_messages, "count", lambda _: next(counts))
    monkeypatch.setattr(parked_messages, "drop", lambda _: dropped.append(1) or 2)
    code, _, errors = csai("parked", "drop", given="y\n")
    assert (code, dropped) == (1, [])
    assert "2 messages were confirmed, and 3 are parked now" in errors
    assert json.loads(csai("parked", "drop", "--json", given="y\n").out) == {"dropped": 2}
    assert json.loads(csai("parked", "drop", "--yes", "--json").out) == {"dropped": 2}


def test_limits_are_listed_set_and_cleared(csai, inline_service):
    code, out, _ = csai("limits", "set", "queue:email", "--rate", "50/m", "--concurrency", "3", "--json")
    told = json.loads(out)
    assert (code, told["rate"], told["concurrency"], told["source"]) == (0, "50/m", 3, "database")
    listed = {one["scope"]: one for one in json.loads(csai("limits", "--json").out)}
    assert listed["queue:email"]["concurrency"] == 3
    assert "queue:email" in csai("limits").out
    assert json.loads(csai("limits", "clear", "queue:email", "--json").out)["source"] == "settings"
    assert acts_on("limit", "queue:email") == ["limit.clear", "limit.set"]
    assert csai("limits", "set", "queue:email", "--rate", "fast").code == 2
    assert csai("limits", "set", "queue:email").code == 2
    assert csai("limits", "set", "queue:email", "--concurrency", "many").code == 2


def test_workers_are_listed_with_what_each_runs(csai, inline_service):
    assert csai("workers").out == "No worker lives.\n"
    task_id = draft()
    started(task_id)
    assert f"test.cli_halve {task_id}" in csai("workers").out
    (one,) = json.loads(csai("workers", "--json").out)
    assert (one["name"], one["tasks"]) == ("io@here", [{"task_id": task_id, "name": "test.cli_halve"}])


# --- Schedules --------------------------------------------------------------------------------------------------


def test_a_schedule_is_added_changed_paused_resumed_run_and_removed(csai, inline_service):
    made = csai(
        "schedules", "add", "nightly [x]", "test.cli_halve", "--crontab", "30 2 * * *", "--timezone", "Europe/Berlin",
        "--kwargs", '{"number": 4}', "--json",
    )  # fmt: skip
    assert (made.code, json.loads(made.out)["kwargs"]) == (0, {"number": 4})
    assert csai("schedules", "add", "nightly [x]", "test.cli_halve", "--every", "5").code == 2
    changed = json.loads(csai("schedules", "change", "nightly [x]", "--every", "90", "--json").out)
    assert (changed["crontab"], changed["every"], changed["kwargs"]) == (None, 90, {"number": 4})
    assert csai("schedules", "change", "nightly [x]").code == 2
    assert "paused" in csai("schedules", "pause", "nightly [x]").out
    assert "paused" not in csai("schedules", "resume", "nightly [x]").out
    code, out, _ = csai("schedules", "run", "nightly [x]", "--wait")
    assert (code, json.loads(out.partition("\n")[2])) == (0, 2.0)
    assert "every 90 s" in csai("schedules").out
    assert csai("schedules", "remove", "nightly [x]") == (0, "The schedule nightly [x] is removed.\n", "")
    assert acts_on("schedule", "nightly [x]") == [
        f"schedule.{act}" for act in ("remove", "run", "resume", "pause", "change", "add")
    ]
    for act in ("change", "pause", "resume", "run", "remove"):
        more = ("--every", "5") if act == "change" else ()
        assert csai("schedules", act, "nightly [x]", *more).code == 3, act


# --- Effects, campaigns, the rest -------------------------------------------------------------------------------


def test_an_effect_in_doubt_is_listed_and_settled(csai, inline_service, monkeypatch):
    doubt = {
        "key": "charge:17", "kind": "effect", "task_id": "t-1", "name": "my.charge", "state": "unknown",
        "intended_at": "2026-01-31T09:00:00+00:00", "error": "[/red]",
    }  # fmt: skip
    settled = []
    monkeypatch.setattr(celery_service, "get_effects_in_doubt", lambda: [doubt])
    monkeypatch.setattr(celery_service, "settle_effect", lambda *given, **more: settled.append((given, more)))
    assert json.loads(csai("effects", "--json").out) == [doubt]
    assert "[/red]" in csai("effects").out
    assert csai("effects", "settle", "charge:17", "--absent").out == "charge:17 is settled: it did not happen.\n"
    assert json.loads(csai("effects", "settle", "charge:17", "--outcome", '{"id": 5}', "--json").out) == {
        "changed": True
    }
    assert settled == [(("charge:17",), {"absent": True}), (("charge:17", {"id": 5}), {})]
    assert acts_on("effect", "charge:17") == ["effect.settle", "effect.settle"]
    assert csai("effects", "settle", "charge:17").code == 2
    assert csai("effects", "settle", "charge:17", "--absent", "--outcome", "1").code == 2


def test_nothing_that_can_be_settled_is_exit_code_2(csai, inline_service):
    assert csai("effects").out == "Nothing is in doubt.\n"
    assert csai("effects", "settle", "nothing", "--absent").code == 2


def test_campaigns_that_go_on_are_listed_also_by_their_former_name(csai, inline_service):
    assert csai("campaigns").out == "No campaign goes on.\n"
    campaign = celery_service.queue_bulk_calls(["+15554420001", "+15554420002"], delay_seconds=3_600)
    (one,) = json.loads(csai("campaigns", "--json").out)
    assert (one["campaign_id"], one["total"], "members" in one) == (campaign, 2, False)
    assert campaign in csai("campaigns").out
    assert json.loads(csai("campaign", "pause", campaign, "--json").out) == {"changed": True}
    assert "paused" in csai("campaigns").out
    assert csai("campaigns", "export", campaign).code == 0
    assert json.loads(csai("campaigns", "cancel", campaign, "--json").out) == {"changed": True}
    assert acts_on("task", campaign) == ["campaign.cancel", "campaign.export", "campaign.pause"]


def test_what_people_are_told_is_told_programs_as_json(csai, monkeypatch):
    monkeypatch.setattr(settings, "email_url", "smtp://me:planted@mail.example.com")
    found = json.loads(csai("config", "check", "--json").out)
    assert {one["name"]: one["value"] for one in found["settings"]}["EMAIL_URL"].count("***") == 1
    assert "planted" not in str(found)
    monkeypatch.undo()
    told = json.loads(csai("db", "upgrade", "--json").out)
    assert told["before"] == told["version"] == json.loads(csai("db", "version", "--json").out)["version"]
    checks = json.loads(csai("doctor", "--json").out)["checks"]
    assert {"python", "database", "broker"} <= {one["check"] for one in checks}


def test_every_act_of_lists_of_people_is_in_the_audit(csai):
    csai("opt-out", "add", "+15554430001")
    csai("opt-out", "remove", "+15554430001")
    csai("suppressions", "add", "audited@example.com")
    csai("suppressions", "remove", "audited@example.com")
    csai("contacts", "set", "audited", "--email", "ann@example.com")
    csai("contacts", "delete", "audited")
    csai("contacts", "delete", "audited")
    assert acts_on("number", "+15554430001") == ["opt_out.remove", "opt_out.add"]
    assert acts_on("address", "audited@example.com") == ["suppression.remove", "suppression.add"]
    assert acts_on("person", "audited") == ["contact.delete", "contact.set"]


def test_what_was_done_stays_done_though_it_cannot_be_written_down(csai, monkeypatch):
    def refuse(*_given, **_more):
        raise ConfigurationError("the schema is another one's")

    task_id = draft()
    monkeypatch.setattr("cli.acts.record_act", refuse)
    code, out, errors = csai("cancel", task_id)
    assert (code, out) == (0, f"{task_id}: is cancelled.\n")
    assert errors == "This was done, and is in no audit: the schema is another one's\n"


def test_states_have_colours_and_the_command_a_root_of_its_own():
    assert state("FAILURE").style == "red"
    assert main.new_root() is not main.root
