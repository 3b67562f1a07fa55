"""The `csai` command: every submitting method is there, options are read as what they are, errors are one line."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.model_store import ModelStore
from calling import account, use
from cli.commands import doctor, models
from cli.following import follow
from config.settings import settings
from examples.celery_example import BOUNCE
from model_host import ModelHost, sending
from records import incidents, schema
from records.database import Database
from records.incidents import Death
from services.celery_service import celery_service
from services.diagnosis import Finding
from services.wiring import parts
from waiting import until


def test_a_submit_prints_the_id_and_show_tells_where_it_stands(csai):
    code, out, _ = csai("submit", "send_email", "--to-email", "ann@example.com", "--subject", "s", "--body", "b")
    assert code == 0
    task_id = out.strip()
    code, out, _ = csai("show", task_id)
    assert code == 0
    assert "email.send_email" in out
    code, out, _ = csai("show", task_id, "--json")
    assert json.loads(out)["task_id"] == task_id
    celery_service.cancel_task(task_id)


def test_show_tells_how_workers_died_of_a_task_and_what_it_logged(csai):
    task_id = celery_service.health_check()
    line = {"task_id": task_id, "run": 1, "number": 0, "at": datetime.now(UTC), "level": "WARNING", "logger": "my"}
    parts().task_logs.keep([line | {"text": "[bold]not so fast"}])
    until(lambda: celery_service.get_task_logs(task_id), what="the line is there")
    death = Death("died", "io@here", "w", "here", 7, -9, 30)
    parts().database.write(lambda c: incidents.note(c, task_id, 1, death))

    _, out, _ = csai("show", task_id)
    _, as_json, _ = csai("show", task_id, "--json")

    assert "WARNING  [bold]not so fast" in out
    assert "SIGKILL" in out
    told = json.loads(as_json)
    assert (told["incidents"][0]["signal"], told["logs"][0]["text"]) == ("SIGKILL", "[bold]not so fast")
    celery_service.cancel_task(task_id)


def test_an_artefact_is_written_to_the_standard_output_as_it_is(csai):
    uri = parts().storage.put(b"WEBVTT\n\nno line end", mime="text/vtt", task_id="of-a-test")
    assert csai("artefact", uri) == (0, "WEBVTT\n\nno line end", "")
    parts().storage.remove("of-a-test")
    code, _, said = csai("artefact", uri)
    assert (code, said) == (1, f"There is no artefact at {uri}: it never was, or it was removed with its task.\n")
    assert csai("artefact", "thumbnail.webp")[0] == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("submit", "send_email", "--to-email", "a", "--subject", "s", "--body", "b"), 2, "to_email: must be one mail"),
        (("submit", "cleanup_old_tasks", "--max-age-hours", "-1"), 2, "max_age_hours"),
        (("submit", "cleanup_old_tasks", "--max-age-hours", "many"), 2, "max_age_hours: must be a number; got 'many'"),
        (("show", "x" * 300), 2, "task_id"),
    ],
    ids=range(4),
)
def test_a_bad_argument_is_one_line_and_exit_code_2(csai, words, code, said):
    ended, _, errors = csai(*words)
    assert ended == code
    assert said in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_submit_prints_the_id_and_nothing_else_though_the_broker_is_away(tmp_path):
    away = {**os.environ, "DATA_DIR": str(tmp_path / "data"), "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}
    words = [sys.executable, "-m", "cli.main", "submit", "health_check"]
    done = subprocess.run(words, env=away, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[0-9a-f-]{36}\n", done.stdout)
    assert "broker_away" in done.stderr


def test_an_unknown_id_is_said_and_the_exit_code_tells(csai):
    code, out, errors = csai("show", "never")
    assert (code, out, errors.count("\n")) == (3, "", 1)
    assert "No task has the id 'never'" in errors


def test_what_looks_like_markup_is_shown_as_it_is(csai, monkeypatch):
    assert "[/red]" in csai("show", "[/red]")[2]
    monkeypatch.setattr(settings, "file_roots", [Path("/[/red]")])
    assert "[/red]" in csai("config", "check")[1]
    monkeypatch.setattr(doctor, "diagnose", lambda: [Finding("folders", good=False, detail="[/red]")])
    assert "[/red]" in csai("doctor")[1]


def test_following_ends_with_the_task_and_tells_how_it_ended(capsys):
    task_id = celery_service.health_check()
    celery_service.cancel_task(task_id)
    assert follow(task_id) == 1
    assert "cancelled" in capsys.readouterr().out


def test_progress_that_looks_like_markup_is_followed_to_its_end(capsys, monkeypatch):
    running = {"status": "PROGRESS", "info": {"progress": 5, "status": "reads [/red]"}}
    statuses = iter([running, {"status": "SUCCESS", "info": {}}])
    monkeypatch.setattr(type(celery_service), "get_task_status", lambda *_: next(statuses))
    assert follow("t-1") == 0


def test_config_check_names_what_is_used_and_why_and_masks_secrets(csai, monkeypatch):
    monkeypatch.setattr(settings, "email_url", "smtp://me:planted@mail.example.com")
    code, out, _ = csai("config", "check")
    assert code == 0
    assert "planted" not in out
    for words in ("CELERY_BROKER_URL", "broker ", "records.db", "CELERY_RESULT_BACKEND is accepted and not used"):
        assert words in out


def test_a_narrow_terminal_cuts_nothing_off(csai, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    _, doctor, _ = csai("doctor")
    _, settings_shown, _ = csai("config", "check")
    _, _, task_shown = csai("show", "x" * 100)
    assert "…" not in doctor + settings_shown + task_shown


def test_db_upgrade_says_what_it_did(csai):
    code, out, _ = csai("db", "upgrade")
    assert (code, "is up to date" in out) == (0, True)
    assert schema.VERSION in csai("db", "version")[1]
    assert csai("db", "upgrade", "--quiet")[1] == ""


def test_a_schema_of_a_newer_program_is_one_line(csai, tmp_path, monkeypatch):
    newer = Database(f"sqlite:///{tmp_path}/newer.db")
    schema.prepare(newer)
    newer.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    newer.close()
    monkeypatch.setattr(settings, "database_url", f"sqlite:///{tmp_path}/newer.db")
    code, _, errors = csai("db", "upgrade")
    assert code == 1
    assert "is version 9999, this program needs" in errors
    code, out, _ = csai("doctor")
    assert code == 1
    assert "9999" in out


def test_doctor_names_what_is_wrong_and_the_cure(csai, monkeypatch):
    monkeypatch.setattr(settings, "celery_broker_url", "redis://127.0.0.1:1/0")
    code, out, _ = csai("doctor")
    assert code == 1
    assert "python" in out
    assert "wrong" in out


def test_doctor_says_of_what_was_set_as_our_number_that_it_is_none(csai, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    use(account(twilio_phone_number="your_twilio_number"), monkeypatch)
    code, out, _ = csai("doctor")
    assert code == 1
    assert re.search(r"phone\s+wrong\s+TWILIO_PHONE_NUMBER: must be a phone number like", out)
    monkeypatch.setattr(settings, "twilio_phone_number", "+1 (500) 555-0006")
    assert re.search(r"phone\s+ok\s+api\.twilio\.com, from \+1 \*\*\* \*\*06", csai("doctor")[1])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("call_greeting", "<speak>Hello.</speak>"),  # inbound calls have a basic voice
        ("call_opt_out_prompt", "<speak>Press 9.</speak>"),
        ("call_caller_identity", "<speak><b>This is us.</b></speak>"),
    ],
)
def test_doctor_names_the_setting_that_cannot_be_said_on_the_phone(csai, monkeypatch, name, text):
    monkeypatch.setenv("COLUMNS", "300")
    use(account() | {name: text}, monkeypatch)
    code, out, _ = csai("doctor")
    assert code == 1
    assert re.search(rf"phone\s+wrong\s+{name.upper()} cannot be said", out)
    monkeypatch.setattr(settings, name, "Hello.")
    assert re.search(r"phone\s+ok", csai("doctor")[1])


def test_doctor_takes_a_caller_identity_for_voices_that_take_marks(csai, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    use(account(call_caller_identity="<speak>This is <break time='1s'/> us.</speak>"), monkeypatch)
    assert re.search(r"phone\s+ok", csai("doctor")[1])


def test_doctor_names_each_mail_template_that_cannot_be_compiled(csai, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(settings, "email_templates_dir", tmp_path / "gone")
    code, out, _ = csai("doctor")
    assert code == 1
    assert "gone is no folder: make it, or let EMAIL_TEMPLATES_DIR name another." in " ".join(out.split())
    monkeypatch.setattr(settings, "email_templates_dir", tmp_path)
    (tmp_path / "good.html").write_text("<p>{{ name }}</p>")
    assert "1 in " in csai("doctor")[1]
    for number in range(12):
        (tmp_path / f"bad{number:02}.html").write_text("\n<b>")
    _, out, _ = csai("doctor")
    assert re.findall(r"(\S+) line 2: <b> has no end\.", out) == [f"bad{number:02}.html" for number in range(10)]
    assert "… and 2 more" in out


def test_schedules_are_listed_with_when_and_what(csai, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "There is no schedule." in csai("schedules")[1]
    celery_service.add_schedule(
        "nightly [x]", "cleanup.cleanup_old_tasks", crontab="30 2 * * *", kwargs={"max_age_hours": 5}
    )
    celery_service.add_schedule("often", "monitoring.health_check", every=90)
    celery_service.pause_schedule("often")
    try:
        _, out, _ = csai("schedules")
        for words in ("nightly [x]", "30 2 * * * UTC", "every 90 s", "paused", "database", '{"max_age_hours": 5}'):
            assert words in out
        listed = json.loads(csai("schedules", "--json")[1])
        assert [one["name"] for one in listed] == ["nightly [x]", "often"]
    finally:
        for name in ("nightly [x]", "often"):
            celery_service.remove_schedule(name)


@pytest.fixture
def model_host(monkeypatch, tmp_path):
    """A host of models, and a store whose own manifest has one of them."""
    with ModelHost() as host:
        (tmp_path / "models.toml").write_text(host.own_manifest("tiny", b"weights", "tiny.onnx"))
        host.answers = {"/tiny.onnx": sending(b"weights")}
        store = ModelStore(tmp_path, allow_downloads=True, context=host.context)
        monkeypatch.setattr(models, "model_store", lambda: store)
        yield host


@pytest.mark.usefixtures("model_host")
def test_a_model_is_listed_fetched_and_verified(csai, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    _, out, _ = csai("models", "list")
    for words in ("yolox-s", "35.9", "Apache-2.0", "missing", "tiny.onnx"):
        assert words in out
    assert csai("models", "verify")[0] == 0, "what is not there is not damaged"
    assert csai("models", "verify", "tiny")[0] == 1, "what was named must be there"
    code, out, _ = csai("models", "fetch", "tiny")
    assert (code, out) == (0, f"tiny is at {tmp_path / 'tiny.onnx'}.\n")
    assert csai("models", "verify", "tiny")[0] == 0
    listed = {one["name"]: one for one in json.loads(csai("models", "list", "--json")[1])}
    assert (listed["tiny"]["state"], listed["tiny"]["bytes"]) == ("present", 7)


@pytest.mark.usefixtures("model_host")
def test_a_damaged_model_is_exit_code_1(csai, tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(b"WEIGHTS")
    code, out, _ = csai("models", "verify")
    assert code == 1
    assert "damaged" in out


def test_nothing_is_fetched_by_default_and_the_setting_is_named(csai):
    code, _, errors = csai("models", "fetch", "yolox-s")
    assert code == 1
    assert "set ALLOW_MODEL_DOWNLOADS=true" in errors


def usage_line(model: str, **figures) -> dict:
    nothing = dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost"), 0)
    return (
        {"provider": "openai", "model": model, "calls": 1, "currency": "USD"} | nothing | {"estimated": 0.0} | figures
    )


def tell_usage(monkeypatch: pytest.MonkeyPatch, lines: list[dict]) -> list[tuple[int, list[str]]]:
    """Let the facade tell these lines; returns what it was asked for."""
    asked: list[tuple[int, list[str]]] = []

    def get_ai_usage(days: int, by: list[str]) -> list[dict]:
        asked.append((days, by))
        return lines

    monkeypatch.setattr(celery_service, "get_ai_usage", get_ai_usage)
    return asked


def test_usage_shows_whole_names_what_there_is_and_the_sums(csai, monkeypatch):
    names = ["text-embedding-3-small", "text-embedding-3-large", "a[/b]"]
    costs = (0.0207, 0.0005, 0.0)
    lines = [
        usage_line(name, calls=800, input_tokens=1_000, cost=cost) for name, cost in zip(names, costs, strict=True)
    ]
    tell_usage(monkeypatch, lines)
    code, out, _ = csai("usage", "--by", "provider,model")
    title, heading, *rows, total, legend = [line.split() for line in out.splitlines()]
    assert (code, " ".join(title)) == (0, "Calls to providers of AI today (UTC):")
    assert heading == ["provider", "model", "calls", "input", "output", "cost"]
    assert [row[1] for row in rows] == names
    assert total == ["all", "2", "400", "3", "000", "0", "0.021200", "USD"]
    assert "price" in legend


def test_usage_sums_no_dollars_and_euros(csai, monkeypatch):
    lines = [usage_line("small", cost=0.25), usage_line("large", cost=0.5, currency="EUR")]
    tell_usage(monkeypatch, lines)
    *_, euros, dollars, _ = csai("usage")[1].splitlines()
    assert euros.split()[-2:] == ["0.500000", "EUR"]
    assert dollars.split() == ["0.250000", "USD"]


def test_usage_shows_what_was_estimated_where_there_is_some(csai, monkeypatch):
    tell_usage(monkeypatch, [usage_line("small", estimated=0.25)])
    assert "25%" in csai("usage")[1]


def test_usage_says_for_which_days_there_was_none(csai, monkeypatch):
    asked = tell_usage(monkeypatch, [])
    assert csai("usage")[1] == "No provider of AI was asked today (UTC).\n"
    assert csai("usage", "--days", "7", "--by", "model, kind")[1] == (
        "No provider of AI was asked in the last 7 days (UTC).\n"
    )
    assert asked == [(1, ["day", "provider", "model"]), (7, ["model", "kind"])]


def test_a_key_of_web_push_is_made_once_for_its_owner_alone_and_its_public_half_is_told(csai, tmp_path):
    file = tmp_path / "vapid.pem"
    code, out, _ = csai("config", "vapid", str(file))
    made = file.read_bytes()

    assert code == 0
    assert f"VAPID_PRIVATE_KEY_FILE={file}" in out
    assert re.search(r"applicationServerKey: B[A-Za-z0-9_-]{86}$", out.strip()), "a point of P-256, as base64url"
    assert file.stat().st_mode & 0o777 == 0o600
    assert csai("config", "vapid", str(file))[1] == out, "it is the same key"
    assert file.read_bytes() == made

    file.write_bytes(b"no key")
    code, _, errors = csai("config", "vapid", str(file))
    assert (code, "no private key" in errors) == (1, True)
    assert file.read_bytes() == b"no key", "what is there is never replaced"


# --- Mail that is not sent -------------------------------------------------------------------------------------


def test_who_is_not_mailed_is_added_listed_and_removed(csai):
    for one in celery_service.get_suppressions(limit=1000):  # of tests before: the database is all tests' own
        celery_service.unsuppress_email(one["address"], one["list_name"])
    assert csai("suppressions", "list") == (0, "Everybody is mailed.\n", "")
    assert (
        csai("suppressions", "add", "Gone@example.com", "--list", "news")[1]
        == "gone@example.com is not mailed any more.\n"
    )
    code, out, _ = csai("suppressions", "list", "--json")
    (one,) = json.loads(out)
    assert (code, one["address"], one["list_name"], one["reason"]) == (0, "gone@example.com", "news", "manual")
    assert one["source"] == "csai"
    assert csai("suppressions", "add", "Gone@example.com", "--reason", "mood")[0] == 2
    assert "gone@example.com" in csai("suppressions", "list")[1]
    assert csai("suppressions", "remove", "gone@example.com")[1] == "gone@example.com was not suppressed.\n"
    assert (
        csai("suppressions", "remove", "gone@example.com", "--list", "news")[1] == "gone@example.com is mailed again.\n"
    )


def test_a_bulk_is_paused_and_resumed_and_what_nobody_got_is_sent_again(csai):
    mails = [{"to_email": f"{name}@example.com", "subject": "s", "body": "b"} for name in ("ann", "bob")]
    bulk = celery_service.send_bulk_emails(mails)
    assert csai("pause", bulk) == (0, f"Task {bulk} is paused.\n", "")
    assert csai("pause", bulk) == (0, f"Task {bulk} was paused before, or has ended.\n", "")
    assert celery_service.get_task_status(bulk)["info"]["waits_for"] == "pause"
    assert csai("resume", bulk) == (0, f"Task {bulk} goes on.\n", "")
    assert csai("resume", bulk) == (0, f"Task {bulk} was not paused, or has ended.\n", "")
    assert csai("resend", bulk)[0] == 2
    celery_service.cancel_task(bulk)

    code, out, _ = csai("resend", bulk, "--state", "cancelled")

    again = celery_service.get_task_status(out.strip())
    assert (code, again["retry_of"], again["info"]["total"]) == (0, bulk, 2)
    code, _, said = csai("resend", bulk, "--state", "deferred")
    assert (code, said.count("\n")) == (2, 1)
    assert csai("pause", "nobody")[0] == 3
    celery_service.cancel_task(again["task_id"])


def test_a_contact_is_set_field_by_field_shown_with_its_secrets_masked_and_deleted(csai, tmp_path):
    chats = tmp_path / "chats.json"
    chats.write_text('["ntfy://some-topic"]')
    assert csai("contacts", "show", "cli-1") == (3, "", "Nobody knows how cli-1 is reached.\n")
    code, out, _ = csai("contacts", "set", "cli-1", "--email", "ann@example.com", "--chat", f"@{chats}")
    assert (code, json.loads(out)["chat"]) == (0, ["ntfy://***"])
    csai("contacts", "set", "cli-1", "--quiet-hours", '{"from": "22:00", "to": "07:00"}', "--language", "de")
    _, out, _ = csai("contacts", "show", "cli-1")
    told = json.loads(out)
    assert (told["email"], told["quiet_hours"], told["language"]) == (
        "ann@example.com",
        {"from": "22:00", "to": "07:00"},
        "de",
    )
    assert json.loads(csai("contacts", "set", "cli-1", "--email", "")[1])["email"] is None
    code, _, said = csai("contacts", "set", "cli-1", "--preferences", "none")
    assert (code, said.startswith("preferences: must be JSON"), said.count("\n")) == (2, True, 1)
    assert csai("contacts", "delete", "cli-1")[1] == "What was set of cli-1 is removed.\n"
    assert csai("contacts", "delete", "cli-1")[1] == "Nothing was set of cli-1.\n"


def test_a_report_is_taken_from_a_file_and_what_is_none_is_one_line(csai, tmp_path):
    (tmp_path / "bounce.eml").write_bytes(BOUNCE.replace(b"gone@example.com", b"told@example.com"))
    code, out, _ = csai("bounce", str(tmp_path / "bounce.eml"))
    assert (code, [(one["kind"], one["address"]) for one in json.loads(out)]) == (0, [("bounced", "told@example.com")])
    (tmp_path / "note.eml").write_text("hello")
    code, _, said = csai("bounce", str(tmp_path / "note.eml"))
    assert (code, said.count("\n")) == (2, 1)
    assert csai("bounce", str(tmp_path / "missing.eml"))[0] == 2


# --- Phone calls -----------------------------------------------------------------------------------------------


def test_who_is_not_called_is_added_listed_and_removed(csai):
    for one in celery_service.get_opt_outs(limit=1000):  # of tests before: the database is all tests' own
        celery_service.remove_opt_out(one["phone_number"])
    assert csai("opt-out", "list") == (0, "Nobody has opted out.\n", "")

    added = csai("opt-out", "add", "+1 555 440 0001", "--reason", "by letter")
    assert added == (0, "+1 555 440 0001 is not called any more.\n", "")
    assert csai("opt-out", "add", "+15554400001")[1] == "+15554400001 had opted out before.\n"
    csai("opt-out", "add", "+15554400002")
    first, second = json.loads(csai("opt-out", "list", "--json")[1])
    assert (first["phone_number"], first["source"], first["reason"]) == ("+15554400001", "manual", "by letter")
    assert datetime.fromisoformat(first["created_at"]).tzinfo is not None
    assert second["phone_number"] == "+15554400002"
    page = json.loads(csai("opt-out", "list", "--json", "--limit", "1", "--after", "+15554400001")[1])
    assert page == [second]
    shown = csai("opt-out", "list")[1]
    assert "+15554400001" in shown
    assert "by letter" in shown

    assert csai("opt-out", "remove", "+1 555 440 0001")[1] == "+1 555 440 0001 may be called again.\n"
    assert csai("opt-out", "remove", "+15554400001")[1] == "+15554400001 had not opted out.\n"
    assert csai("opt-out", "remove", "+15554400002")[0] == 0
    assert csai("opt-out", "list") == (0, "Nobody has opted out.\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "nobody"), "phone_number: must be a phone number"),
        (("list", "--limit", "0"), "limit: "),
        (("list", "--after", "nobody"), "after: must be a phone number"),
    ],
)
def test_a_bad_argument_of_an_opt_out_is_one_line(csai, words, said):
    code, out, errors = csai("opt-out", *words)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(said)


def test_a_campaign_is_shown_paused_resumed_cancelled_and_exported(csai):
    campaign = celery_service.queue_bulk_calls(["+15554410001", "+1 555 441 0002"])
    code, out, _ = csai("campaigns", "show", campaign, "--json")
    told = json.loads(out)
    assert (code, told["campaign_id"], told["total"], told["live_calls"]) == (0, campaign, 2, 0)
    assert [one["phone_number"] for one in told["members"]] == ["+15554410001", "+15554410002"]
    _, out, _ = csai("campaigns", "show", campaign, "--members", "1")
    assert re.search(r"^2 members: 2 \w+; 0 live calls$", out, re.MULTILINE)
    assert "+15554410001" in out
    assert "+15554410002" not in out
    assert "+15554410002" in csai("campaigns", "show", campaign, "--after", "0")[1]
    code, out, _ = csai("campaigns", "show", campaign, "--state", "failed")
    assert (code, "+1555441" in out) == (0, False)
    assert "+15554410002" in csai("campaigns", "show", campaign, "--state", "pending")[1]
    assert csai("campaigns", "show", campaign, "--state", "gone")[0] == 2

    assert csai("campaigns", "pause", campaign) == (0, f"Campaign {campaign} is paused.\n", "")
    assert csai("campaigns", "pause", campaign)[1] == f"Campaign {campaign} was paused before, or has ended.\n"
    assert "\npaused" in csai("campaigns", "show", campaign)[1]
    assert csai("campaigns", "resume", campaign)[1] == f"Campaign {campaign} goes on.\n"
    assert csai("campaigns", "resume", campaign)[1] == f"Campaign {campaign} was not paused, or has ended.\n"
    assert "paused" not in csai("campaigns", "show", campaign)[1]

    assert csai("campaigns", "cancel", campaign, "--hang-up")[1] == f"Campaign {campaign} is cancelled.\n"
    assert csai("campaigns", "cancel", campaign)[1] == f"Campaign {campaign} had ended before.\n"
    code, out, _ = csai("campaigns", "export", campaign)
    lines = list(csv.DictReader(io.StringIO(out)))
    assert (code, len(lines)) == (0, 2)
    assert lines[1]["phone_number"] == "'+15554410002", "a spreadsheet takes a leading + for a formula"
    assert lines[1]["task_id"] == f"{campaign}:1"


@pytest.mark.parametrize("command", ["show", "pause", "resume", "cancel", "export"])
def test_what_is_no_campaign_is_one_line_and_another_exit_code(csai, command):
    code, out, errors = csai("campaigns", command, "nobody")
    assert (code, out, errors.count("\n")) == (3, "", 1)
    mail = celery_service.send_email("ann@example.com", "s", "b")
    code, out, errors = csai("campaigns", command, mail)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert "is no campaign" in errors
    celery_service.cancel_task(mail)
