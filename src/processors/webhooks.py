"""Webhooks: who is told of which ends, in what words, by which signature, and when again where nobody took it.

Headers and signature are those of Standard Webhooks (github.com/standard-webhooks/standard-webhooks, spec 1.0).
"""

import base64
import hashlib
import hmac
import json
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import NAMESPACE_OID, uuid5

from pydantic import Field

from processors.carriers import AnswerLost, EndpointGone
from processors.errors import PermanentError, TransientError
from processors.redaction import redact, redact_text
from processors.results import Request, Result

TASK = "notification.send_webhook"
CATEGORY = "webhook"
"""Its own, because it is the service's own work, whose starts no limit of the settings binds."""

KINDS = {"SUCCESS": "task.succeeded", "FAILURE": "task.failed", "REVOKED": "task.cancelled"}
TEST_KIND = "webhook.test"

OWN_WORK = frozenset({"monitoring", "cleanup", "scheduling"})
"""Categories of which only who names them is told."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
SECRET_BYTES = 32
RESULT_BYTES = 64 * 1024

MINUTE, HOUR = 60, 3600
DELAYS = (5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
"""Seconds before each further attempt."""

JITTER = 0.1
LONGEST_ASKED = 24 * HOUR
PHRASES = {one.value: one.phrase for one in HTTPStatus}


class SendWebhook(Request):
    """One end that one endpoint is told of; `run` is the run in which the task ended."""

    endpoint_id: str
    task_id: str
    run: int = Field(ge=0)


class WebhookSent(Result):
    """The endpoint took it.

    Attributes:
        webhook_id: by which the endpoint knows it, however often it is sent.
        status: of HTTP.
    """

    webhook_id: str
    status: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which ends an endpoint is told of; what is None does not matter."""

    states: frozenset[str]
    category: str | None = None
    name: str | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that ended, as far as it matters who is told."""

    id: str
    run: int
    state: str
    category: str
    name: str
    tenant: str | None
    parent_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedTask:
    """A task that ended, as an endpoint is told of it; `attempts` were begun."""

    id: str
    name: str
    category: str
    queue: str
    state: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime
    attempts: int
    tenant: str | None
    tags: Sequence[str]
    error: str | None
    error_type: str | None
    result: Any


@dataclass(frozen=True, slots=True)
class Answered:
    """What an endpoint answered; `retry_after` is how many seconds it asks to wait."""

    status: int
    retry_after: float | None = None


class WebhookDoor(Protocol):
    """The way to endpoints."""

    def check(self, url: str) -> None:
        """Let an address pass that could be sent to, without asking anybody.

        Raises:
            ValueError: it is none.
        """
        ...

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answered:
        """Send once; follows no redirect.

        Raises:
            PermanentError: such an address is not asked.
            TransientError: nothing was sent.
            AnswerLost: it was sent, and no answer came.
        """
        ...


def wants(wanted: Wanted, ended: Ended) -> bool:
    """Tell whether an endpoint is told of this end.

    Parts of something, and the service's own work, are told only to who names their category or name; what is told is
    told to nobody.
    """
    if ended.name == TASK or ended.state not in wanted.states:
        return False
    asked = (wanted.category, ended.category), (wanted.name, ended.name), (wanted.tenant, ended.tenant)
    if any(want is not None and want != found for want, found in asked):
        return False
    named = wanted.category is not None or wanted.name is not None
    return named or (ended.parent_id is None and ended.category not in OWN_WORK)


def webhook_id(endpoint_id: str, task_id: str, run: int) -> str:
    """Return the id of one end for one endpoint, and of the task that tells it: always the same."""
    return str(uuid5(NAMESPACE_OID, f"{endpoint_id}:{task_id}:{run}"))


def new_secret() -> str:
    """Return a new secret: `whsec_` and 256 random bits as base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def body_of_end(task: EndedTask) -> bytes:
    """Return what an endpoint is told of an end, with secrets masked."""
    data: dict[str, Any] = {
        "task_id": task.id,
        "name": task.name,
        "category": task.category,
        "queue": task.queue,
        "status": task.state,
        "created_at": task.created_at.isoformat(),
        "started_at": task.started_at and task.started_at.isoformat(),
        "finished_at": task.finished_at.isoformat(),
        "attempts": task.attempts,
        "tenant": task.tenant,
        "tags": list(task.tags),
        "error": task.error and redact_text(task.error),
        "error_type": task.error_type,
    }
    result = redact(task.result)
    if len(_json(result)) <= RESULT_BYTES:
        data["result"] = result
    return body_of(KINDS[task.state], task.finished_at, data)


def body_of(kind: str, moment: datetime, data: Mapping[str, Any]) -> bytes:
    """Return the body of one webhook."""
    return _json({"type": kind, "timestamp": moment.isoformat(), "data": data})


def headers_of(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of one attempt, signed with each secret; `timestamp` is its second, which is signed, too."""
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature_of(one, message_id, timestamp, body) for one in secrets),
    }


def signature_of(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of version 1: HMAC-SHA256 of id, second and body with dots between them, as base64."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def deliver(url: str, headers: Mapping[str, str], body: bytes, door: WebhookDoor, attempt: int) -> int:
    """Send; returns the status of HTTP with which it was taken.

    What the endpoint says beside its status goes nowhere: errors are shown to people, and it may say anything.

    Args:
        url: of the endpoint.
        headers: with the signature.
        body: what it is told.
        door: the way there.
        attempt: how many were made before.

    Raises:
        EndpointGone: it wants no more.
        TransientError: it was not taken, or nobody knows; with the seconds until the next attempt.
    """
    try:
        answered = door.post(url, headers, body)
    except (AnswerLost, PermanentError, TransientError) as error:  # whoever mends the address gets it all the same
        raise TransientError(str(error), wait_before_next(attempt)) from error
    status = answered.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return status
    said = f"The endpoint at {urlsplit(url).hostname} answers {status} {PHRASES.get(status, '')}".rstrip()
    if status == HTTPStatus.GONE:
        raise EndpointGone(f"{said}: it is told nothing more.")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        said += ", and no redirect is followed"
    raise TransientError(f"{said}.", wait_before_next(attempt, answered.retry_after))


def wait_before_next(
    attempt: int, asked: float | None = None, spread: Callable[[float, float], float] = random.uniform
) -> float:
    """Return the seconds before the next attempt, never less than an endpoint asks for, up to a day.

    Who asks for less gets the usual wait: else all attempts would be over within a moment.

    Args:
        attempt: how many were made before the one that failed.
        asked: what the endpoint asks for.
        spread: draws between two numbers.
    """
    usual = DELAYS[min(attempt, len(DELAYS) - 1)] * (1 + spread(0, JITTER))
    return max(usual, min(asked or 0.0, LONGEST_ASKED))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
