"""Webhooks: endpoints, which admins make, change and try, and the tasks that tell them of ends."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from config.log_setup import get_logger
from processors import webhooks
from processors.carriers import EndpointGone
from processors.errors import InvalidArgument, PermanentError, TransientError, UnknownWebhook
from processors.webhooks import CATEGORY, TASK, TEST_KIND, Ended, EndedTask, SendWebhook, WebhookSent
from records.audit import Act
from records.task_records import Draft, TaskRecord
from records.webhook_endpoints import FAILED_WHY, MOST, WebhookEndpoint
from services.access import Caller, digest_of
from services.audit import act_of, record_act
from services.own_tasks import check_category, check_name
from services.submission import draft_by_name
from services.submit_options import MAX_TENANT_CHARACTERS
from services.wiring import parts

logger = get_logger()

QUEUE = "default"
LONGEST_URL = 2_000
LONGEST_NAME = 255
GONE_WHY = "It answered 410 (Gone)."

State = Literal["SUCCESS", "FAILURE", "REVOKED"]


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be one line of letters, digits, signs and spaces, none at its ends")
    return text


def every_state() -> list[State]:
    """Return all states in which a task may end."""
    return ["SUCCESS", "FAILURE", "REVOKED"]


Word = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_printable)]
Tenant = Annotated[str, Field(min_length=1, max_length=MAX_TENANT_CHARACTERS), AfterValidator(_printable)]
Url = Annotated[str, Field(min_length=1, max_length=LONGEST_URL), AfterValidator(_printable)]
States = Annotated[list[State], Field(min_length=1, max_length=3)]

URL = Field(description="Where to: `https://`, on the internet.")
CATEGORY_FIELD = Field(default=None, description="Of tasks of this category alone.")
NAME = Field(default=None, description="Of tasks of this name alone.")
TENANT = Field(default=None, description="Of this tenant's tasks alone.")


class NewWebhook(BaseModel):
    """An endpoint that is wanted."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"url": "https://shop.example.com/hooks/csai", "states": ["FAILURE"]}]},
    )

    url: Url = URL
    states: States = Field(default_factory=every_state, description="The ends that it is told of.")
    category: Word | None = CATEGORY_FIELD
    name: Word | None = NAME
    tenant: Tenant | None = TENANT


class ChangedWebhook(BaseModel):
    """What is changed of an endpoint; what is left out stays as it is."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra={"examples": [{"enabled": True}]}
    )

    url: Url = Field(default="", description="Where to: `https://`, on the internet.")
    states: States = Field(default_factory=every_state, description="The ends that it is told of.")
    category: Word | None = CATEGORY_FIELD
    name: Word | None = NAME
    tenant: Tenant | None = TENANT
    enabled: bool = Field(default=True, description="False tells it nothing more; true what ends from now on.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("say what is to be changed")
        return self


class NewSecret(BaseModel):
    """How an endpoint gets another secret."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"keep_hours": 24}]})

    keep_hours: float = Field(
        default=24, ge=0, le=168, description="So long messages are signed with the one before as well."
    )


def listed() -> Sequence[dict[str, Any]]:
    """Return all endpoints, the newest first."""
    return [shown(one) for one in parts().webhook_endpoints.listed()]


def add(caller: Caller, wanted: NewWebhook, once: str | None = None) -> dict[str, Any]:
    """Make an endpoint; the answer is the only place where its secret is ever told.

    Args:
        caller: who makes it.
        wanted: the endpoint.
        once: with this word such an endpoint is made once.

    Raises:
        InvalidArgument: it cannot be told anything, there are too many, or it was made with this word before.
    """
    values = wanted.model_dump() | {"states": _in_order(wanted.states)}
    _check(values)
    endpoint_id = str(uuid4() if once is None else UUID(digest_of(once + wanted.model_dump_json())[:32]))
    secret = webhooks.new_secret()
    act = _act(caller, "webhook.add", endpoint_id, values)
    made = parts().webhook_endpoints.add({**values, "id": endpoint_id, "secret": secret}, act)
    if made is None and parts().webhook_endpoints.read(endpoint_id) is not None:
        raise InvalidArgument(
            "This form was sent before: it made the webhook, whose secret was shown then. "
            "Where nobody has it, remove the webhook and make another."
        )
    if made is None:
        raise InvalidArgument(f"There are {MOST} webhooks, and no more are kept: remove one.")
    return shown(made) | {"secret": secret}


def change(caller: Caller, endpoint_id: str, wanted: ChangedWebhook) -> dict[str, Any]:
    """Change an endpoint; its secret stays.

    Raises:
        UnknownWebhook: there is none.
        InvalidArgument: it could be told nothing.
    """
    endpoint_id = _known_id(endpoint_id)
    given = wanted.model_dump(exclude_unset=True)
    if "states" in given:
        given["states"] = _in_order(given["states"])
    _check(given)
    act = _act(caller, "webhook.change", endpoint_id, given)
    enabled = given.pop("enabled", None)
    changed = parts().webhook_endpoints.change(endpoint_id, given, act, enabled=enabled)
    if changed is None:
        raise _unknown(endpoint_id)
    return shown(changed)


def renew_secret(caller: Caller, endpoint_id: str, wanted: NewSecret) -> dict[str, Any]:
    """Give an endpoint another secret; the answer is the only place where it is ever told.

    Raises:
        UnknownWebhook: there is none.
    """
    endpoint_id, secret = _known_id(endpoint_id), webhooks.new_secret()
    act = _act(caller, "webhook.renew_secret", endpoint_id, wanted.model_dump())
    changed = parts().webhook_endpoints.renew_secret(endpoint_id, secret, wanted.keep_hours, act)
    if changed is None:
        raise _unknown(endpoint_id)
    return shown(changed) | {"secret": secret}


def remove(caller: Caller, endpoint_id: str) -> None:
    """Remove an endpoint; what was still to be sent to it fails.

    Raises:
        UnknownWebhook: there is none.
    """
    if not parts().webhook_endpoints.remove(_known_id(endpoint_id), _act(caller, "webhook.remove", endpoint_id, {})):
        raise _unknown(endpoint_id)


def test(caller: Caller, endpoint_id: str) -> dict[str, Any]:
    """Send an endpoint a test at once, also one that is disabled, and tell what it answered.

    Raises:
        UnknownWebhook: there is none.
    """
    endpoint = parts().webhook_endpoints.read(_known_id(endpoint_id))
    if endpoint is None:
        raise _unknown(endpoint_id)
    body = webhooks.body_of(TEST_KIND, datetime.now(UTC), {"endpoint_id": endpoint.id})
    told: dict[str, Any] = {"delivered": False, "status": None, "error": None}
    try:
        told |= {"delivered": True, "status": _post(endpoint, str(uuid4()), body, 0)}
    except (EndpointGone, TransientError) as error:
        told["error"] = str(error)
    record_act(caller, "webhook.test", target=("webhook", endpoint.id), details={"delivered": told["delivered"]})
    return told


def draft_of_end(endpoint_id: str, ended: Ended) -> Draft:
    """Return the task that tells one end to one endpoint; the relay publishes it."""
    arguments = {"endpoint_id": endpoint_id, "task_id": ended.id, "run": ended.run}
    task_id = webhooks.webhook_id(endpoint_id, ended.id, ended.run)
    draft = draft_by_name(TASK, arguments, queue=QUEUE, origin="leader", task_id=task_id)
    return replace(draft, category=CATEGORY, relay_now=True)


def send(request: SendWebhook, attempt: int) -> WebhookSent:
    """Tell an end to an endpoint.

    Args:
        request: which, and to whom.
        attempt: how many were made before.

    Raises:
        TransientError: it did not take it now.
        PermanentError: it is told nothing, or not this; `EndpointGone` where it says so itself.
    """
    service = parts()
    endpoint = service.webhook_endpoints.read(request.endpoint_id)
    if endpoint is None or endpoint.disabled_at is not None:
        why = "was removed" if endpoint is None else f"is disabled: {endpoint.disabled_why}"
        raise PermanentError(f"Nothing was sent: the webhook {request.endpoint_id} {why.rstrip('.')}.")
    message_id = webhooks.webhook_id(endpoint.id, request.task_id, request.run)
    body = _body(endpoint, request, message_id)
    try:
        status = _post(endpoint, message_id, body, attempt)
    except (EndpointGone, TransientError) as error:
        service.webhook_bodies.keep(message_id, body)
        _note_failure(endpoint, error)
        raise
    if endpoint.failing_since is not None:
        service.webhook_endpoints.took(endpoint.id)
    return WebhookSent(webhook_id=message_id, status=status)


def shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Return an endpoint as admins read it, without its secret."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "states": endpoint.states,
        "category": endpoint.category,
        "name": endpoint.name,
        "tenant": endpoint.tenant,
        "created_at": endpoint.created_at.isoformat(),
        "disabled_at": endpoint.disabled_at and endpoint.disabled_at.isoformat(),
        "disabled_why": endpoint.disabled_why,
        "failing_since": endpoint.failing_since and endpoint.failing_since.isoformat(),
        "seen_to": endpoint.seen_to.isoformat(),
        "old_secret_until": endpoint.old_until and endpoint.old_until.isoformat(),
    }


def _body(endpoint: WebhookEndpoint, request: SendWebhook, message_id: str) -> bytes:
    """Return what an endpoint is told; where the record is gone, what it was told before.

    Raises:
        PermanentError: it is told nothing of that.
    """
    record = parts().tasks.read(request.task_id)
    if record is None or not record.final or record.run != request.run:
        kept = parts().webhook_bodies.read(message_id)
        if kept is None:
            raise PermanentError(f"Nothing was sent: no task {request.task_id} ended in run {request.run} any more.")
        return kept
    if not webhooks.wants(endpoint.wanted, _ended(record)):
        raise PermanentError(f"Nothing was sent: the webhook {endpoint.id} is not to be told of task {record.id}.")
    return webhooks.body_of_end(_told(record))


def _note_failure(endpoint: WebhookEndpoint, error: EndpointGone | TransientError) -> None:
    gone = isinstance(error, EndpointGone)
    endpoints = parts().webhook_endpoints
    if endpoints.disable(endpoint.id, GONE_WHY) if gone else endpoints.failed(endpoint.id):
        logger.warning("webhook_disabled", webhook=endpoint.id, why=GONE_WHY if gone else FAILED_WHY)


def _post(endpoint: WebhookEndpoint, message_id: str, body: bytes, attempt: int) -> int:
    secrets = [endpoint.secret]
    if endpoint.old_secret is not None and endpoint.old_until is not None and endpoint.old_until > datetime.now(UTC):
        secrets.append(endpoint.old_secret)
    headers = webhooks.headers_of(secrets, message_id, int(time.time()), body)
    return webhooks.deliver(endpoint.url, headers, body, parts().webhook_door, attempt)


def _check(values: Mapping[str, Any]) -> None:
    """Raise where an endpoint with these values could be told nothing."""
    if "url" in values:
        try:
            parts().webhook_door.check(values["url"])
        except ValueError as error:
            raise InvalidArgument(f"url: {error}.") from None
    category, name = values.get("category"), values.get("name")
    if category is not None:
        check_category(category, "category")
    if name is not None:
        check_name(name, "name")
    if category == CATEGORY or name == TASK:
        raise InvalidArgument(f"{CATEGORY}: of what tells of ends nobody is told.")


def _act(caller: Caller, act: str, endpoint_id: str, values: Mapping[str, Any]) -> Act:
    """Return the act; of an address only its host, because the rest of one may be a secret."""
    told = {**values, "url": urlsplit(str(values["url"])).hostname} if "url" in values else values
    return act_of(caller, act, target=("webhook", endpoint_id), count=1, details=told)


def _known_id(endpoint_id: str) -> str:
    """Return the id if it may be one."""
    if len(endpoint_id) > LONGEST_NAME or not endpoint_id.isascii() or not endpoint_id.isprintable():
        raise _unknown(endpoint_id)
    return endpoint_id


def _unknown(endpoint_id: str) -> UnknownWebhook:
    return UnknownWebhook(f"There is no webhook with the id {endpoint_id[:100]!r}; GET /api/v1/webhooks lists them.")


def _in_order(states: Sequence[str]) -> list[str]:
    return [state for state in webhooks.KINDS if state in states]


def _ended(record: TaskRecord) -> Ended:
    return Ended(
        record.id, record.run, record.state.value, record.category, record.name, record.tenant, record.parent_id
    )


def _told(record: TaskRecord) -> EndedTask:
    return EndedTask(
        id=record.id,
        name=record.name,
        category=record.category,
        queue=record.queue,
        state=record.state.value,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at or record.created_at,
        attempts=record.attempt + 1 if record.run else 0,
        tenant=record.tenant,
        tags=record.tags or (),
        error=record.error,
        error_type=record.error_type,
        result=record.result,
    )
