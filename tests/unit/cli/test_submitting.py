"""`csai submit`: every argument of every method is an option, read as what it is; waiting tells how it ended."""

import functools
import json
import re
from itertools import count
from pathlib import Path

import pytest

from api.examples import EXAMPLES
from cli.commands import submit
from cli.commands.submit import OF_ALL, fields_of, parse
from cli.following import how_far
from processors.errors import InvalidArgument, PermanentError
from records.audit import WantedActs
from services import audit
from services.celery_app import celery_app
from services.celery_service import CeleryService, celery_service
from services.facade_methods import BY_NAME, MANY_BY_NAME, methods

MAILS = {"type": "array", "items": {"type": "object"}}
ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
TEXTS = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}
NUMBERS = count()


@celery_app.task(name="test.cli_divide", bind=True)
def divide(_self, number: int, by: int) -> float:
    if by == 0:
        raise PermanentError("nothing can be divided by 0")
    return number / by


@pytest.fixture
def remembered(monkeypatch):
    """What the facade's methods are called with, instead of what they do."""
    seen = {}
    for name in methods():
        method = getattr(CeleryService, name)

        @functools.wraps(method)
        def remembering(_self, *args, _name=name, **arguments):
            seen[_name] = (args, arguments)
            made = f"t-{next(NUMBERS)}"
            return [made] if _name == MANY_BY_NAME else made

        monkeypatch.setattr(CeleryService, name, remembering)
    monkeypatch.setattr(submit, "note", lambda *_args, **_more: None)
    return seen


def words_of(arguments: dict) -> list[str]:
    """Arguments as somebody types them: texts and lists of texts plainly, the rest as JSON."""
    words: list[str] = []
    for name, value in arguments.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, list) and all(isinstance(one, str) for one in value):
            words += [word for one in value for word in (flag, one)]
        else:
            words += [flag, value if isinstance(value, str) else json.dumps(value)]
    return words


@pytest.mark.parametrize("name", list(methods()))
def test_what_is_typed_is_what_the_method_gets(csai, remembered, name):
    arguments = EXAMPLES[name]
    code, out, errors = csai("submit", name, *words_of(arguments))
    assert (code, errors) == (0, "")
    assert out.startswith("t-")
    positional, given = remembered[name]
    if name in {BY_NAME, MANY_BY_NAME}:
        assert positional == (arguments["name"],)
        arguments = {key: value for key, value in arguments.items() if key != "name"}
    assert given == arguments


def test_every_argument_of_every_method_is_an_option_and_none_has_the_name_of_another():
    for method in methods().values():
        fields = fields_of(method)
        assert fields.keys() == method.body.json_schema()["properties"].keys()
        assert not fields.keys() & {*OF_ALL, "json", "help"}, method.name


def test_numbers_switches_and_lists_are_read_as_what_they_are(csai, remembered):
    csai("submit", "cleanup_old_files", "--directory", "/tmp/x", "--max-age-hours", "2.5", "--dry-run")
    assert remembered["cleanup_old_files"][1] == {"directory": "/tmp/x", "max_age_hours": 2.5, "dry_run": True}
    csai("submit", "process_document", "--file-path", "12", "--no-ocr-enabled", "--tags", "a", "--tags", "b")
    assert remembered["process_document"][1] == {
        "file_path": str(Path("12").absolute()),
        "ocr_enabled": False,
        "tags": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("name", "option", "typed", "meant"),
    [
        ("process_document", "file_path", "report.pdf", "/there/report.pdf"),
        ("process_document", "file_path", "../report.pdf", "/report.pdf"),
        ("process_document", "file_path", "/elsewhere/report.pdf", "/elsewhere/report.pdf"),
        ("process_document", "file_path", "https://example.com/report.pdf", "https://example.com/report.pdf"),
        ("process_document", "file_path", "", ""),
        ("cleanup_old_files", "directory", "old", "/there/old"),
        ("cleanup_old_logs", "log_directory", "logs", "logs"),
    ],
    ids=range(7),
)
def test_a_path_is_meant_from_the_folder_in_which_it_is_typed(
    csai, remembered, monkeypatch, name, option, typed, meant
):
    monkeypatch.setattr("os.getcwd", lambda: "/there")
    code, _, errors = csai("submit", name, f"--{option.replace('_', '-')}", typed)
    assert (code, errors, remembered[name][1]) == (0, "", {option: meant})


def test_the_help_says_what_is_json_a_number_or_a_text_and_what_it_is(csai):
    shown = csai("submit", "send_email", "--help").out
    told = dict(re.findall(r"(--[a-z-]+) +(<[A-Za-z ]+>)", shown))
    wanted = {"--cc": "<str or JSON>", "--to-email": "<str or JSON>", "--headers": "<JSON>", "--body": "<str>"}
    assert {name: told.get(name) for name in wanted} == wanted
    assert told["--delay-seconds"] == "<number>"
    for words in ("who gets it", "--wait", "--timeout", "Exit codes", "[default: normal]"):
        assert words in " ".join(shown.split()), words


def test_what_a_submit_may_say_is_an_option_of_every_command_but_a_session(csai, remembered):
    said = ("--priority", "high", "--idempotency-key", "5", "--delay-seconds", "1.5", "--tags", '["a", "b"]')
    code, _, _ = csai(
        "submit", "health_check", *said, "--due-at", "2030", "--expires-at", "2031-01-31", "--tenant", "7"
    )
    assert code == 0
    assert remembered["health_check"][1] == {
        "priority": "high",
        "idempotency_key": "5",
        "delay_seconds": 1.5,
        "tags": ["a", "b"],
        "due_at": "2030",
        "expires_at": "2031-01-31",
        "tenant": "7",
    }
    assert csai("submit", "health_check", "--session", "x").code == 2


def test_lists_come_as_json_from_a_file_or_from_the_standard_input(csai, remembered, tmp_path):
    file = tmp_path / "mails.json"
    file.write_text('[{"a": 1}]')
    assert parse("emails", MAILS, f"@{file}") == [{"a": 1}]
    assert parse("to_email", ONE_OR_MORE, ['["a", "b"]']) == ["a", "b"]
    assert parse("to_email", ONE_OR_MORE, ["ann@example.com"]) == "ann@example.com"
    assert parse("to_email", ONE_OR_MORE, ["ann@example.com", "bob@example.com"]) == [
        "ann@example.com",
        "bob@example.com",
    ]
    assert parse("to_email", ONE_OR_MORE, ["17"]) == "17", "no number where a text is wanted"
    assert parse("cc", TEXTS, ["ann@example.com"]) == ["ann@example.com"]
    assert parse("cc", TEXTS, ['["a", "b"]', "c"]) == ["a", "b", "c"]
    assert parse("subject", {"type": "string"}, "[not json]") == "[not json]"
    for value, meant in (("5", "5"), ("mailto:x", "mailto:x"), ('{"url": "u"}', {"url": "u"})):
        assert parse("unsubscribe", {"anyOf": [{"type": "string"}, {"type": "object"}]}, value) == meant
    code, _, errors = csai("submit", "send_bulk_emails", "--emails", "-", given='[{"subject": "ü"}]')
    assert (code, errors, remembered["send_bulk_emails"][1]) == (0, "", {"emails": [{"subject": "ü"}]})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (MAILS, "x", r"must be JSON \(or @file with JSON, or - for the standard input\); got 'x'"),
        (MAILS, "@/nowhere", "the file /nowhere cannot be read"),
        (MAILS, "@\0", "cannot be read"),
        (MAILS, '[{"a": NaN}]', "NaN is no JSON"),
        (MAILS, "[" * 100_000, "must be JSON"),
        (TEXTS, ["@/nowhere"], "cannot be read"),
        ({"type": "number"}, "many", "must be a number; got 'many'"),
        ({"type": "integer"}, "true", "must be a number"),
    ],
    ids=range(8),
)
def test_what_is_none_of_it_is_refused_in_a_sentence(field, value, said):
    with pytest.raises(InvalidArgument, match=rf"emails: .*{said}"):
        parse("emails", field, value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("send_email", "--to-email", "a", "--subject", "s", "--body", "b"), "to_email: must be one mail"),
        (("cleanup_old_tasks", "--max-age-hours", "-1"), "max_age_hours"),
        (("cleanup_old_tasks", "--max-age-hours", "many"), "max_age_hours: must be a number; got 'many'"),
        (("health_check", "--queue", "nowhere"), "queue: no queue is named 'nowhere'"),
        (("health_check", "--timeout", "5"), "--timeout: says how long to wait, and wants --wait"),
    ],
    ids=range(5),
)
def test_a_bad_argument_is_one_line_and_exit_code_2(csai, words, said):
    code, out, errors = csai("submit", *words)
    assert (code, out, said in errors, errors.count("\n")) == (2, "", True, 1)


def test_a_method_that_is_not_there_is_exit_code_2_and_the_like_is_named(csai):
    code, _, errors = csai("submit", "send_emial")
    assert (code, "Did you mean 'send_email'" in errors) == (2, True)


def test_a_task_of_ones_own_is_submitted_by_its_name_with_its_arguments_as_json(csai, inline_service):
    code, out, _ = csai(
        "submit", "submit", "--name", "cleanup.cleanup_old_logs", "--arguments", '{"max_age_hours": 9999}'
    )
    assert code == 0
    status = celery_service.get_task_status(out.strip())
    assert (status["name"], status["status"]) == ("cleanup.cleanup_old_logs", "SUCCESS")
    assert csai("submit", "submit", "--name", "nothing").code == 2


def division(by: int, *words: str) -> tuple[str, ...]:
    given = json.dumps({"number": 6, "by": by})
    return ("submit", "submit", "--name", "test.cli_divide", "--arguments", given, *words)


def test_waiting_prints_the_id_then_the_result_and_the_exit_code_tells(csai, inline_service):
    code, out, _ = csai(*division(2, "--wait"))
    task_id, _, result = out.partition("\n")
    assert (code, json.loads(result)) == (0, 3.0)
    assert celery_service.get_task_status(task_id)["status"] == "SUCCESS"
    code, out, _ = csai(*division(0, "--wait"))
    assert (code, json.loads(out.partition("\n")[2])["error_type"]) == (1, "PermanentError")


def test_json_is_one_document_with_and_without_waiting(csai, inline_service):
    code, out, _ = csai(*division(2, "--json"))
    task_id = json.loads(out)["task_id"]
    assert (code, celery_service.get_task_result(task_id)) == (0, 3.0)
    code, out, _ = csai(*division(2, "--json", "--wait"))
    told = json.loads(out)
    assert (code, told["status"], told["info"]) == (0, "SUCCESS", 3.0)


def test_a_wait_that_is_over_is_exit_code_4_and_the_task_goes_on(csai, inline_service):
    code, out, errors = csai(*division(2, "--delay-seconds", "3600", "--wait", "--timeout", "0"))
    assert (code, "has no result after 0 s; it is PENDING and goes on" in errors) == (4, True)
    assert celery_service.get_task_status(out.strip())["status"] == "PENDING"


def test_ctrl_c_ends_the_wait_with_130_and_says_that_the_task_goes_on(csai, inline_service, monkeypatch):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.following.time.sleep", interrupt)
    code, out, errors = csai(*division(2, "--delay-seconds", "3600", "--wait"))
    assert (code, f"Task {out.strip()} goes on" in errors) == (130, True)


def test_a_submit_is_in_the_audit_as_done_at_a_terminal(csai, inline_service):
    task_id = csai(*division(2)).out.strip()
    (act,) = audit.acts(WantedActs(target_kind="task", target_id=task_id), 9)
    assert (act.act, act.origin, act.actor_kind, act.details) == ("task.submit", "cli", "user", {"method": "submit"})


def divisions(*by: int, words: tuple[str, ...] = ()) -> tuple[str, ...]:
    given = json.dumps([{"number": 6, "by": one} for one in by])
    return ("submit", "submit_many", "--name", "test.cli_divide", "--many", given, *words)


def test_many_are_waited_for_with_one_exit_code_for_all(csai, inline_service):
    code, out, _ = csai(*divisions(1, 2, 3))
    assert (code, [celery_service.get_task_result(one) for one in out.split()]) == (0, [6.0, 3.0, 2.0])
    code, out, _ = csai(*divisions(1, 2, words=("--wait",)))
    first, second, result = out.split("\n", 2)
    assert (code, json.loads(result), celery_service.get_task_result(second)) == (0, [6.0, 3.0], 3.0)
    (act,) = audit.acts(WantedActs(target_kind="task", target_id=first), 9)
    assert (act.act, act.origin, act.count, act.details) == ("task.submit", "cli", 2, {"method": "submit_many"})
    code, out, _ = csai(*divisions(1, 0, 2, words=("--wait", "--json")))
    assert (code, [one["status"] for one in json.loads(out)]) == (1, ["SUCCESS", "FAILURE", "SUCCESS"])
    code, out, _ = csai(*divisions(1, 2, words=("--json",)))
    assert (code, len(json.loads(out)["task_ids"])) == (0, 2)


def test_a_wait_for_many_that_is_over_or_interrupted_says_that_they_go_on(csai, inline_service, monkeypatch):
    later = ("--delay-seconds", "3600", "--wait")
    code, _, errors = csai(*divisions(1, 2, words=(*later, "--timeout", "0")))
    assert (code, "has no result after 0 s; it is PENDING and goes on" in errors) == (4, True)

    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.following.time.sleep", interrupt)
    code, out, errors = csai(*divisions(1, 2, 3, words=later))
    assert (code, f"Task {out.split()[0]} and 2 others go on" in errors) == (130, True)


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"status": "PROGRESS", "info": {"progress": 40.0, "status": "reads\npage 2"}}, (40, "reads page 2")),
        ({"status": "STARTED", "info": {"progress": 0, "status": "started"}}, (0, "started")),
        ({"status": "PENDING", "info": {"waits_for": "limit", "due_at": None}}, (0, "waits for limit")),
        ({"status": "RETRY", "info": {"waits_for": "retry", "error": "away"}}, (0, "waits for retry after: away")),
        ({"status": "SUCCESS", "info": {}}, (100, "SUCCESS")),
    ],
    ids=range(5),
)
def test_the_bar_tells_how_far_a_task_is_and_what_it_waits_for(status, shown):
    assert how_far(status) == shown
