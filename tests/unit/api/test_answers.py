"""No answer loses what the services tell: each shape has all fields of what it is made of, and no others."""

import json
import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import TypeAdapter

from api import answers
from api.answers import Page
from config.settings import ensure_folders, settings
from examples.celery_example import BOUNCE
from processors.ai_usage import PARTS
from records.ai_calls import UsageLine
from records.audit import WantedActs
from records.incidents import Incident
from records.task_logs import LogLine
from records.task_moves import Failure
from records.task_records import Draft
from services import api_keys, audit, batches, failure_groups, groups, overview, status, task_queries, webhooks
from services.access import Caller, reach
from services.api_keys import NewKey
from services.celery_service import celery_service
from services.task_filters import filter_of
from services.webhooks import NewWebhook
from services.wiring import parts
from services.worker_list import living_workers
from web.task_answers import whole_task

ANN = Caller("user", "ann", reach(("admin",)), origin="cli")
NOW = datetime.now(UTC)
MOMENT = re.compile(r'"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d[^"]*)"')
LATER = {"delay_seconds": 3600}


@pytest.fixture(autouse=True, scope="module")
def _folders():
    ensure_folders(settings)


def mail() -> str:
    return celery_service.send_email("ann@example.com", "s", "b", **LATER)


def failed() -> list:
    task_id = f"failed-{uuid4()}"
    parts().tasks.open(Draft(task_id, "texts.none", "ai_processing", "ai_processing", delay=3600))
    parts().moves.fail_waiting(task_id, Failure("it broke", "PermanentError", "Traceback", "f1"))
    return celery_service.get_failed_tasks(limit=1)


def bulk() -> str:
    return celery_service.send_bulk_emails([{"to_email": "a@example.com", "subject": "s", "body": "b"}], **LATER)


def all_events() -> list:
    celery_service.receive_bounce(BOUNCE)  # says nothing new where another test has received it
    return celery_service.get_email_events(limit=10)


def campaign() -> str:
    return celery_service.queue_bulk_calls(["+15554417703"], **LATER)


def group() -> dict:
    group_id = str(uuid4())
    parts().tasks.open(Draft(f"of-{group_id}", "texts.none", "default", "default", delay=3600, group_id=group_id))
    return groups.group_of(group_id)


def inbox() -> dict:
    reader = str(uuid4())
    parts().inbox.write(reader, reader, "welcome", "Welcome!", "Hello.", None)
    return celery_service.get_inbox(reader)


def deliveries() -> list:
    task_id = mail()
    parts().deliveries.open(task_id, {0: {"ann@example.com": "to"}})
    return celery_service.get_deliveries(task_id)


def schedules() -> list:
    name = f"answered {uuid4()}"
    made = celery_service.add_schedule(name, "monitoring.health_check", every=3600)
    celery_service.remove_schedule(name)
    return [made]


def suppressed() -> list:
    address = f"{uuid4()}@example.com"
    celery_service.suppress_email(address)
    return celery_service.get_suppressions(address)


def opted_out() -> list:
    celery_service.add_opt_out("+15554417704")
    found = celery_service.get_opt_outs(after="+15554417703", limit=1)
    celery_service.remove_opt_out("+15554417704")
    return found


def working() -> list:
    worker_id = str(uuid4())
    parts().workers.start(worker_id, "io@here", "here", 1, 2, 3)
    found = [one for one in living_workers() if one["id"] == worker_id]
    parts().workers.stop(worker_id)
    return found


def active() -> list:
    task_id = f"active-{uuid4()}"
    parts().tasks.open(Draft(task_id, "texts.none", "ai_processing", "ai_processing"))
    found = celery_service.get_active_tasks()
    celery_service.cancel_task(task_id)
    return found


def webhook() -> dict:
    made = webhooks.add(ANN, NewWebhook(url="https://receiver.invalid/answered"))
    assert made["id"] in {one["id"] for one in webhooks.listed()}
    webhooks.remove(ANN, made["id"])
    return made


USAGE = UsageLine(
    calls=1, input_tokens=1, output_tokens=1, cached_tokens=0, reasoning_tokens=0, cost=0.1, currency="USD", estimated=0
)
"""Its parts are all None."""

INCIDENT = Incident("t", 1, "died", "w", "id", "here", 1, -9, "SIGKILL", 3, NOW)
LINE = LogLine("t", 1, 1, NOW, "INFO", "l", "text")

TOLD = {
    "a status": (answers.TaskStatus, lambda: celery_service.get_task_status(mail())),
    "a whole task": (answers.WholeTask, lambda: whole_task(mail(), ANN)),
    "whole tasks": (
        Page[answers.ListedTask],
        lambda: mail() and task_queries.find_tasks(filter_of(), limit=1, whole=True),
    ),
    "light tasks": (Page[answers.ListedTask], lambda: mail() and task_queries.find_tasks(filter_of(), limit=1)),
    "active tasks": (list[answers.ActiveTask], active),
    "failed tasks": (list[answers.FailedTask], failed),
    "an incident": (answers.Incident, lambda: status.incident_of(INCIDENT)),
    "groups of failures": (answers.FailureGroups, lambda: failed() and failure_groups.failure_groups(1)),
    "a line": (answers.LogLine, lambda: status.line_of(LINE)),
    "deliveries": (list[answers.Delivery], deliveries),
    "a group": (answers.Group, group),
    "bulks": (Page[answers.Batch], lambda: bulk() and batches.bulks(None, 5, wall=None)),
    "campaigns": (Page[answers.ListedCampaign], lambda: campaign() and batches.campaigns(None, 5, wall=None)),
    "a campaign": (answers.Campaign, lambda: celery_service.get_campaign(campaign())),
    "a contact": (answers.KnownContact, lambda: celery_service.set_contact(str(uuid4()), email="a@example.com")),
    "an inbox": (answers.Inbox, inbox),
    "numbers": (list[answers.OptedOut], opted_out),
    "addresses": (list[answers.Suppressed], suppressed),
    "events of mails": (list[answers.MailEvent], all_events),
    "the overview": (answers.Overview, lambda: overview.overview(1)),
    "limits": (list[answers.Limit], celery_service.get_limits),
    "schedules": (list[answers.Schedule], schedules),
    "workers": (list[answers.Worker], working),
    "usage": (answers.UsageLine, lambda: status.usage_of(USAGE, PARTS)),
    "a new key": (answers.MadeKey, lambda: api_keys.add(ANN, NewKey(name="answered"))),
    "keys": (list[answers.Key], api_keys.listed),
    "a new webhook": (answers.MadeWebhook, webhook),
    "acts": (list[answers.AuditedAct], lambda: [audit.shown(one) for one in audit.acts(WantedActs(), 10)]),
}
MAY_BE_LEFT_OUT = {"light tasks": {"args", "kwargs", "result", "traceback"}}


@pytest.mark.parametrize("what", TOLD)
def test_an_answer_has_all_that_the_service_tells_and_nothing_else(what):
    shape, told = TOLD[what]
    found = told()
    assert found
    checked = TypeAdapter(shape).validate_python(found, extra="forbid")
    dumped = TypeAdapter(shape).dump_python(checked, mode="json", exclude_unset=what in MAY_BE_LEFT_OUT)
    assert dumped == json.loads(json.dumps(found, default=datetime.isoformat))


@pytest.mark.parametrize("what", TOLD)
def test_a_moment_is_written_with_the_offset_of_utc_and_in_no_other_form(what):
    shape, told = TOLD[what]
    said = json.dumps(TypeAdapter(shape).dump_python(TypeAdapter(shape).validate_python(told()), mode="json"))
    assert [one for one in MOMENT.findall(said) if not one.endswith("+00:00")] == []


def test_a_filter_s_moments_are_written_in_that_form_too():
    meant = filter_of(created_from="2026-01-31T13:00:00+01:00").model_dump(mode="json", exclude_defaults=True)
    assert meant == {"created_from": "2026-01-31T12:00:00+00:00"}
