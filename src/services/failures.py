"""Failures: how they are stored, and what follows one that no worker reports (quarantine, time limit, expiry)."""

import hashlib
import re
import traceback
from typing import Any, cast
from uuid import NAMESPACE_OID, uuid5

from celery.app.task import Context
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError
from pydantic import ValidationError

from processors.errors import PermanentError
from processors.redaction import redact_text
from processors.results import sentence_of
from records.task_moves import CANCELLED, Failure
from records.task_records import TaskRecord, TaskState
from services.celery_app import celery_app
from services.wiring import parts

TRACEBACK_CHARACTERS = 20_000
PIECE = re.compile(r"""'[^']*'|"[^"]*"|[^\s'"]+""")
"""What is quoted, or a word."""

FIGURE = re.compile(r"[0-9a-f]{8,}|\d+")


def follow_failure(task_id: str) -> None:
    """Do what Celery does after a failure: fail the chain, return the chord's part, call the error callbacks."""
    record = parts().tasks.read(task_id)
    if record is None or not record.message.get("embed"):
        return
    backend = cast("Any", celery_app.backend)
    request = context_of(record)
    fix_follower_ids(request)
    backend.mark_as_failure(record.id, error_of(record), request=request, state=record.state.value)


def error_of(record: TaskRecord) -> Exception:
    """Return what a task that failed or was cancelled would have raised."""
    if record.state is TaskState.REVOKED:
        return TaskRevokedError(record.error or CANCELLED)
    return PermanentError(record.error or "The task failed.")


def context_of(record: TaskRecord) -> Any:
    """Return the request that a worker would have had."""
    embed: dict[str, Any] = record.message.get("embed", {})
    headers: dict[str, Any] = record.message.get("headers", {})
    return Context(
        headers,
        id=record.id,
        task=record.name,
        args=record.args,
        kwargs=record.kwargs,
        callbacks=embed.get("callbacks"),
        errbacks=embed.get("errbacks"),
        chain=embed.get("chain"),
        chord=embed.get("chord"),
        delivery_info={},
    )


def has_followers(request: Any) -> bool:
    """Tell whether something follows a task's end: callbacks, the rest of a chain, a chord."""
    return bool(request and (request.callbacks or request.errbacks or request.chain or request.chord))


def fix_follower_ids(request: Any) -> None:
    """Give callbacks ids made from their task's, so that repeating them submits nothing twice."""
    for kind in ("callbacks", "errbacks"):
        for index, signature in enumerate(getattr(request, kind) or []):
            follower_id = str(uuid5(NAMESPACE_OID, f"{request.id}:{kind}:{index}"))
            signature.setdefault("options", {}).setdefault("task_id", follower_id)


def failure_of(error: BaseException) -> Failure:
    """Return how an error is stored: its sentence and its traceback with their secrets masked."""
    kind = "TimeLimitExceeded" if isinstance(error, SoftTimeLimitExceeded) else type(error).__name__
    sentence = sentence_of(error) if isinstance(error, ValidationError) else _said(error) or kind
    if isinstance(error, SoftTimeLimitExceeded):
        sentence = "The task ran longer than its soft time limit."
    sentence = redact_text(sentence)
    text = redact_text("".join(traceback.format_exception(error)))  # whole: a cut might leave a secret without its name
    return Failure(sentence, kind, text[-TRACEBACK_CHARACTERS:], fingerprint(kind, sentence, error))


def _said(error: BaseException) -> str:
    """Return what an error says of itself; nothing where it cannot, as the traceback tells."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an adopter's class may do anything
        return ""


def fingerprint(kind: str, sentence: str, error: BaseException) -> str:
    """Return what equal failures share: the error's type, its sentence without figures and names, the place."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].name}" if frames else ""
    stable = PIECE.sub(lambda piece: _without_particulars(piece[0]), sentence)
    return hashlib.sha256(f"{kind}|{stable}|{place}".encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _without_particulars(piece: str) -> str:
    """Return a piece of a sentence without what differs between equal failures."""
    if piece[0] in "'\"" or "/" in piece or "@" in piece:
        return "…"
    return FIGURE.sub("…", piece)
