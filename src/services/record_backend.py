"""Celery's result backend over records: `AsyncResult` works for every recorded id, and a result is stored once."""

import json
import os
from collections.abc import Iterator
from typing import Any, cast

from celery import states
from celery.backends.base import Backend, SyncBackendMixin
from celery.canvas import chord, group, maybe_signature
from celery.exceptions import ChordError
from celery.result import GroupResult, result_from_tuple

from config.log_setup import get_logger
from processors.errors import InvalidArgument, ServiceUnavailable
from records.chords import Part
from records.task_moves import EXPIRED
from records.task_records import Draft, TaskRecord, TaskState
from services.celery_app import celery_app
from services.failures import failure_of, has_followers
from services.parent_progress import progress_of
from services.submission import category_of, following
from services.wiring import parts

logger = get_logger()

NEVER_SECONDS = 365 * 24 * 3600
silent_process: int | None = None
"""A worker's parent that forks its children: it must open no database."""


class RecordBackend(cast("Any", Backend), cast("Any", SyncBackendMixin)):
    """Reads states and results from records; counts the parts of chords in the database."""

    supports_autoexpire = True
    persistent = True
    supports_native_join = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # pyright: ignore[reportUnknownMemberType] - untyped
        self.url = "records"

    def as_uri(self, include_password: bool = True) -> str:  # noqa: ARG002, FBT001, FBT002 - Celery's signature
        """Return where results are kept, for the worker's banner."""
        return "records://"

    def _store_result(self, *_: Any, **__: Any) -> None:
        """Do nothing: the base task has written the record before Celery calls this."""

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,  # noqa: ARG002 - Celery's signature
        request: Any = None,
        **_: Any,
    ) -> Any:
        """Record the end of a task that never ran (a chain's next link, a chord's body); others wrote their end."""
        if state in states.PROPAGATE_STATES and isinstance(result, BaseException):
            name = getattr(request, "task", None)
            if name:
                parts().tasks.open(_unpublished(task_id, name, request))
            if state == states.REVOKED and str(result) == "expired":
                parts().moves.fail_waiting(task_id, EXPIRED, TaskState.REVOKED)
            elif state == states.REVOKED:
                parts().moves.revoke(task_id)
            else:
                parts().moves.fail_waiting(task_id, failure_of(result))
        return result

    def mark_as_revoked(self, *args: Any, **options: Any) -> None:
        """Cancel what Celery's own `revoke` or an expiry stopped; a worker's parent says so, and keeps nothing open."""
        try:
            super().mark_as_revoked(*args, **options)  # pyright: ignore[reportUnknownMemberType] - untyped
        except ServiceUnavailable as error:
            logger.warning("database_away", revoking=args[:1], error=str(error))
        finally:
            if os.getpid() == silent_process:
                parts().database.close()

    def mark_as_done(self, task_id: str, result: Any, request: Any = None, *options: Any, **named: Any) -> None:
        """Return a chord's part; Celery has published the callbacks and the chain's next before it calls this."""
        super().mark_as_done(task_id, result, request, *options, **named)  # pyright: ignore[reportUnknownMemberType] - untyped
        _followed(task_id, request)

    def mark_as_failure(
        self, task_id: str, exc: Any, traceback: Any = None, request: Any = None, **options: Any
    ) -> None:
        """Do what follows a failure; a worker's parent leaves that to the leader, who knows the record."""
        if os.getpid() != silent_process:
            super().mark_as_failure(task_id, exc, traceback, request, **options)  # pyright: ignore[reportUnknownMemberType] - untyped
            _followed(task_id, request)

    def _forget(self, task_id: str) -> None:
        """Refuse to forget: records are removed by clean-up."""

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        record = parts().tasks.read(task_id)
        if record is None:
            return {"status": states.PENDING, "result": None}
        return self.meta_from_decoded(meta_of(record))

    def wait_for(self, task_id: str, timeout: float | None = None, interval: float = 0.05, **options: Any) -> Any:
        """Poll the record until it is final."""
        return cast("Any", super().wait_for)(  # pyright: ignore[reportUnknownMemberType] - untyped
            task_id, timeout=timeout, interval=interval, **options
        )

    def _save_group(self, group_id: str, result: Any) -> Any:
        parts().chords.save_header(group_id, result.as_tuple())
        return result

    def save_group(self, group_id: str, result: Any) -> Any:
        """Keep a group's form, so that it can be restored by its id."""
        return self._save_group(group_id, result)

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        header = parts().chords.header(group_id)
        return None if header is None else {"result": result_from_tuple(header, self.app)}

    def restore_group(self, group_id: str, cache: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002 - Celery's signature
        """Return a group saved before, or None."""
        meta = self._restore_group(group_id)
        return None if meta is None else meta["result"]

    def _delete_group(self, group_id: str) -> None:
        parts().chords.forget(group_id)

    def delete_group(self, group_id: str) -> None:
        """Remove a group's form."""
        self._delete_group(group_id)

    def apply_chord(self, header_result_args: Any, body: Any, **_: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Keep the form of a header with parts inside parts, which its results are put back into."""
        header = (
            GroupResult(*header_result_args, app=self.app)
            if not isinstance(header_result_args, GroupResult)
            else header_result_args
        )
        if any(isinstance(part, GroupResult) for part in cast("list[Any]", header.results or [])):
            header.save(backend=self)

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Note how many parts the header has; Celery says so before it publishes the last one."""
        parts().chords.set_size(group_id, chord_size)

    def add_to_chord(self, chord_id: str, result: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Count one part more."""
        parts().chords.add(chord_id)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:
        """Keep a part's result, and publish the body when it was the last one; safe to repeat."""
        if not request.group or not request.id:
            return
        part = Part(request.id, state, self._encodable(result, state))
        if parts().chords.part_returned(request.group, request.group_index or 0, part):
            self._publish_body(request)

    def _encodable(self, result: Any, state: str) -> Any:
        encoded = self.encode_result(result, state)
        return json.loads(json.dumps(encoded, default=str))

    def _publish_body(self, request: Any) -> None:
        body = cast("Any", maybe_signature(request.chord, app=self.app))
        try:
            results = self._joined(request.group)
            with following():
                body.delay(results)
        except (ChordError, InvalidArgument) as error:
            logger.warning("chord_failed", group=request.group, error=str(error))
            for one in _results_of(body):
                parts().tasks.open(_unpublished(one.id, one.task, one))
            self.chord_error_from_stack(body, error)
            for one in _results_of(body):  # Celery fails no body of a body that is a chord
                parts().moves.fail_waiting(one.id, failure_of(error))
        parts().chords.fired(request.group)

    def _joined(self, group_id: str) -> list[Any]:
        found = parts().chords.parts(group_id)
        for part in found:
            if part.state in states.PROPAGATE_STATES:
                cause = self.exception_to_python(part.result)
                raise ChordError(f"Dependency {part.part_id} raised {cause!r}") from cause
        header = self.restore_group(group_id)
        if header is None:
            return [part.result for part in found]
        by_id = {part.part_id: part.result for part in found}
        return cast("list[Any]", _filled(header, by_id))


def _followed(task_id: str, request: Any) -> None:
    if has_followers(request):
        parts().moves.followed(task_id)


def _results_of(signature: Any) -> Iterator[Any]:
    """Return what has the ids of a signature's results: of a group its parts, of a chord its body."""
    if isinstance(signature, group):
        for one in cast("Any", signature).tasks:
            yield from _results_of(one)
    elif isinstance(signature, chord):
        yield from _results_of(cast("Any", signature).body)
    else:
        yield signature


def _unpublished(task_id: str, name: str, signature: Any) -> Draft:
    """Return the draft of a task that will never be published, from its signature or request."""
    return Draft(
        id=task_id,
        name=name,
        category=category_of(name),
        queue=celery_app.conf.task_default_queue,
        args=list(signature.args or []),
        kwargs=dict(signature.kwargs or {}),
        delay=NEVER_SECONDS,
        origin="workflow",
    )


def meta_of(record: TaskRecord) -> dict[str, Any]:
    """Return a record in the form in which Celery's backends keep results."""
    meta: dict[str, Any] = {
        "task_id": record.id,
        "status": record.state.value,
        "result": record.result,
        "traceback": record.traceback,
        "children": [],
        "date_done": record.finished_at.isoformat() if record.finished_at else None,
    }
    if record.state in {"FAILURE", "RETRY", "REVOKED"}:
        kind = "TaskRevokedError" if record.state == "REVOKED" else record.error_type or "Exception"
        module = "celery.exceptions" if record.state == "REVOKED" else "processors.errors"
        meta["result"] = {"exc_type": kind, "exc_message": [record.error or ""], "exc_module": module}
    elif not record.final:
        meta["result"] = {"progress": record.progress, "status": record.progress_text}
        if record.is_parent:
            meta["result"] |= progress_of(record)
    return meta


def _filled(result: Any, by_id: dict[str, Any]) -> Any:
    if isinstance(result, GroupResult):
        return [_filled(part, by_id) for part in cast("list[Any]", result.results)]
    return by_id.get(result.id)
