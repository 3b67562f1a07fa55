"""One run of a recorded task: claim, start, work, finish. The base task's `__call__` is this."""

import json
import logging
import math
import random
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, cast

from celery.exceptions import Ignore, SoftTimeLimitExceeded
from celery.worker import state as worker_state
from pydantic import BaseModel, ValidationError

from broker import rabbitmq
from config.log_setup import bind_task, clear_task, get_logger
from config.settings import settings
from processors.errors import (
    Cancelled,
    CodedError,
    ConfigurationError,
    InvalidArgument,
    PermanentError,
    Postponed,
    ProviderFault,
    TimeLimitExceeded,
    TransientError,
    WorkError,
    WorkFailed,
)
from processors.interfaces import Reconcile, Run
from processors.json_text import MOST_LEVELS, is_deeper
from processors.redaction import redact_text
from processors.results import Result
from records.deliveries import SEND_EMAIL
from records.limited_starts import Held
from records.task_moves import Failure, Started
from records.task_records import DUE_HEADER, Draft, TaskRecord, TaskState, first_due
from services.celery_app import QUEUES
from services.effects import OneEffect
from services.failures import failure_of, fingerprint, fix_follower_ids, follow_failure, has_followers
from services.late_ends import late_ends
from services.limiting import limit_keys_of
from services.run_watch import RunInHand
from services.submission import category_of, kept_message, moment, storable
from services.submit_options import MAX_DELAY_SECONDS
from services.task_lines import TaskLines
from services.task_messages import ATTEMPT_HEADER
from services.until_written import until_written
from services.wiring import parts
from services.working_process import peak_memory_mb, working_process

logger = get_logger()

MOST_RESULT_LEVELS = MOST_LEVELS - 100
"""So that what follows a task may pass its result on within something else."""

PERMANENT = (PermanentError, InvalidArgument, ConfigurationError, ValidationError, SoftTimeLimitExceeded)
REPORT_SECONDS = 0.5
INTERRUPTED = "INTERRUPTED"
MOST_DOUBLINGS = 64
"""Of the wait before a retry: no setting allows more, and a number of a thousand is none that a float holds."""


class TaskRun:
    """The run of one message.

    Args:
        task: the `RecordedTask`, with Celery's request pushed.
        args: the message's positional arguments.
        kwargs: the message's keyword arguments.

    Attributes:
        max_retries: how often it may be tried again: what the task says, or asks for in `retry`; None: the setting.
    """

    def __init__(self, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.task = task
        self.request = task.request
        self.args = args
        self.kwargs = kwargs
        self.id = str(self.request.id)
        self.hand: RunInHand | None = None
        self.max_retries: int | None = task.max_retries
        self._began = self._reported = 0.0
        self._unnoted: tuple[float, str, str | None] | None = None
        self._ends_later = False
        self._hard_limit, self._soft_limit = limits_of(task)

    def execute(self) -> Any:
        """Run the task if its record lets it; returns its result.

        Raises:
            Ignore: nothing is to be done; Celery acknowledges the message.
            Exception: the task's own, once its failure is recorded, so that Celery does what follows it.
        """
        fix_follower_ids(self.request)
        # The message stays in hand meanwhile: given back again and again, a broker would take it for one that kills.
        started = until_written(self.id, self._start)
        if isinstance(started, Held):
            logger.debug("held", task_id=self.id, scope=started.scope)
            raise Ignore
        if started is None:
            return self._not_started()
        return self._work(started)

    def report(self, percent: float, text: str, partial: str | None = None) -> None:
        """Note progress, at most twice a second; what comes sooner is noted by a later look, if nothing newer comes.

        Raises what `check_cancelled` does.

        Raises:
            InvalidArgument: `percent` is no number, or `text` or `partial` no text.
        """
        _check_progress(percent, text, partial)
        self._unnoted = max(0.0, min(100.0, float(percent))), text, partial
        self.check_cancelled()

    def check_cancelled(self) -> None:
        """Let the body go on, or end it.

        Raises:
            Cancelled: the record is no longer this run's.
            SoftTimeLimitExceeded: the soft time limit is over, and the body was not told yet.
        """
        if self.hand is None:
            return
        self.hand.check()
        if self._unnoted is None:
            return
        now, percent = time.monotonic(), self._unnoted[0]
        if now - self._reported >= REPORT_SECONDS or percent >= 100:  # noqa: PLR2004 - per cent
            parts().moves.report(self.id, self.hand.run, *self._unnoted)
            self._reported, self._unnoted = now, None

    @property
    def fence(self) -> Run:
        """This run, as what is written for it names it."""
        return Run(self.id, self.hand.run if self.hand else 0)

    @property
    def first_due(self) -> datetime:
        """When the task was due first, the same in every run of it."""
        return first_due(self.created_at, getattr(self.request, DUE_HEADER, None))

    def effect(self, key: str, call: Callable[[], Any], *, deadline: float, reconcile: Reconcile | None) -> Any:
        """Change the outside world once; see `RecordedTask.effect`."""
        self.check_cancelled()
        return OneEffect(key, deadline, self.fence, parts().effects).take(call, reconcile)

    def _start(self) -> Started | Held | None:
        attempt = getattr(self.request, ATTEMPT_HEADER, None)
        started = self._start_attempt(attempt or 0)
        if started is None and attempt is None and self._record_stranger():
            started = self._start_attempt(0)
        return started

    def _start_attempt(self, attempt: int) -> Started | Held | None:
        request, service = self.request, parts()
        worker = str(request.hostname or "")
        worker_id = working_process.enter(worker)
        try:
            keys = limit_keys_of(self.task.name, self.kwargs)
        except InvalidArgument as error:  # its record was opened by a program that did not know the task's class
            service.moves.fail_waiting(self.id, failure_of(error))
            return None
        limited = bool(service.default_limits.binding(category_of(self.task.name), _queue_of(request)))
        return service.moves.start(
            self.id, attempt, worker_id, worker, self._hard_limit, limited=limited, limit_keys=keys
        )

    def _record_stranger(self) -> bool:
        """Write the record of a task that came past the facade; False where it has one."""
        request = self.request
        headers = {
            key: getattr(request, key, None)
            for key in (
                "group",
                "group_index",
                "root_id",
                "parent_id",
                "origin",
                "ignore_result",
                "timelimit",
                "shadow",
            )
        }
        embed = {
            "callbacks": request.callbacks,
            "errbacks": request.errbacks,
            "chain": request.chain,
            "chord": request.chord,
        }
        due, message = moment(getattr(request, "due", None)), dict[str, Any]()
        try:
            message = kept_message(self.task.name, headers, embed, self.args, self.kwargs)
            args, kwargs, refused = storable(list(self.args)), storable(self.kwargs), None
            limit_keys = limit_keys_of(self.task.name, kwargs)
        except InvalidArgument as error:
            args, kwargs, refused, limit_keys = list[Any](), dict[str, Any](), error, None
            due = datetime.max.replace(tzinfo=UTC)  # never: it has lost its arguments
        draft = Draft(
            id=self.id,
            name=self.task.name,
            category=category_of(self.task.name),
            queue=_queue_of(request),
            args=args,
            kwargs=kwargs,
            message=message,
            due_at=due,
            expires_at=moment(request.expires),
            root_id=request.root_id,
            caller_id=request.parent_id,
            group_id=request.group,
            origin=request.origin,
            limit_keys=limit_keys,
        )
        opened = parts().tasks.open(draft)
        if refused is not None:
            parts().moves.fail_waiting(self.id, failure_of(refused))
        return opened

    def _not_started(self) -> Any:
        """Do what a delivery does that may not start: repeat what follows the end, or walk away."""
        record = until_written(self.id, lambda: parts().tasks.read(self.id))
        if record is not None and record.state is TaskState.SUCCESS and has_followers(self.request):
            return record.result
        if record is not None and record.state is TaskState.FAILURE and has_followers(self.request):
            raise PermanentError(record.error or "The task failed.")
        logger.debug("not_started", task_id=self.id, state=record.state.value if record else "UNKNOWN")
        raise Ignore

    def _work(self, started: Started) -> Any:
        bind_task(self.id, self.task.name)
        began = self._began = time.monotonic()
        hand = self.hand = RunInHand(
            self.id,
            started.run,
            self.task.name,
            soft_at=began + self._soft_limit,
            hard_at=began + self._hard_limit,
            give_up=partial(self._give_up, started),
        )
        working_process.begin(hand)
        self.attempt = started.attempt
        self.tenant = started.tenant
        self.created_at = started.created_at
        self.due_at = started.due_at
        try:
            return self._outcome(started, hand)
        except Exception as error:
            if self.ended == INTERRUPTED:  # what came of it cannot be recorded: left alone it would run for ever
                self._fail(started, error)
            raise
        finally:
            if not self._ends_later:
                working_process.end(hand)
            self._log(started)
            clear_task()

    def _outcome(self, started: Started, hand: RunInHand) -> Any:
        self.ended = INTERRUPTED
        lines = TaskLines(self.id, started.run)
        try:
            with lines:
                result = self._checked(self._body(hand))
        except Cancelled as error:
            if not (hand.lost or hand.overrun):  # its record refuses this end where it was cancelled just now
                self._fail(started, error)
                raise
            self.ended = "OVERRUN" if hand.overrun else "REVOKED"
            raise Ignore from None
        except PERMANENT as error:
            self._fail(started, error)
            raise
        except Exception as error:
            if started.attempt >= self._max_retries() and not isinstance(error, Postponed):
                self._fail(started, error)
                raise
            self._try_again(started, error, lines)
            raise Ignore from error
        except BaseException:
            self._interrupted(started)
            raise
        if late_ends.possible and not started.parent_id and not has_followers(self.request):
            late_ends.succeed(self.id, started.run, result, lambda moved: self._ended_later(started, moved=moved))
            self._ends_later, self.ended = True, "SUCCESS"
            return result
        if not self._persist(lambda: parts().moves.succeed(self.id, started.run, result)):
            self._refused(started)
        self.ended = "SUCCESS"
        self.task.success_recorded(self)
        self._tell_parent(started)
        return result

    def _ended_later(self, started: Started, *, moved: bool) -> None:
        if self.hand is not None:
            working_process.end(self.hand)
        state = TaskState.SUCCESS if moved else self._own_end(started)
        if state is None:
            logger.warning("end_refused", task_id=self.id, run=started.run)
        elif state is TaskState.SUCCESS:
            self.task.success_recorded(self)

    def _body(self, hand: RunInHand) -> Any:
        """Run the task's body; an exit or an end that no signal asked for is an error of the body like any other."""
        try:
            working_process.watch.enter(hand)
            return self.task.run_checked(self.args, self.kwargs, hand)
        except BaseException as error:
            if isinstance(error, Exception) or working_process.ends_by(error):
                raise
            did = f"called sys.exit({error.code!r})" if type(error) is SystemExit else f"raised {type(error).__name__}"
            raise WorkError(f"The task {did}; let it raise an error instead.") from error
        finally:
            working_process.watch.leave(hand)

    def _checked(self, result: Any) -> Any:
        """Return the result as JSON; a result in which nothing was done is a failure."""
        if not isinstance(result, Result):
            return _as_json(result.model_dump(mode="json") if isinstance(result, BaseModel) else result)
        if why := result.failure():
            raise WorkFailed(why, result.as_json())
        return _as_json(result.as_json())

    def _fail(self, started: Started, error: BaseException) -> None:
        failure, result = failure_of(error), _result_of(error)
        mail = self.task.name == SEND_EMAIL
        if not self._persist(lambda: parts().moves.fail(self.id, started.run, failure, result, mail=mail)):
            self._refused(started)
        self.ended = "FAILURE"
        self._tell_parent(started)

    def _try_again(self, started: Started, error: Exception, lines: TaskLines) -> None:
        asked = _asked_delay(error)
        delay = backoff(started.attempt) if asked is None else asked
        delay = min(max(0.0, delay), MAX_DELAY_SECONDS)
        failure, counted = failure_of(error), not isinstance(error, Postponed)
        if not self._persist(lambda: parts().moves.try_again(self.id, started.run, delay, failure, counted=counted)):
            self._refused(started)
        if counted:  # the record has the last failure alone
            lines.note(
                f"Attempt {started.attempt + 1} failed on {self.request.hostname} after {self._seconds():.1f} s, "
                f"the next one is due in {delay:.1f} s: {failure.error_type}: {redact_text(failure.error)}"
            )
        self.ended = "RETRY"

    def _interrupted(self, started: Started) -> None:
        """Give the task back without blame: a shutdown ends this process."""
        self._persist(lambda: parts().moves.give_back(self.id, started.run))

    def _give_up(self, started: Started) -> None:
        """End the record of a run whose body goes on past its hard time limit; another thread calls this."""
        error = TimeLimitExceeded(f"The task ran longer than its hard time limit of {self._hard_limit:g} s.")
        kind = type(error).__name__
        frame = sys._current_frames().get(self.hand.thread) if self.hand else None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no public way
        place = "".join(traceback.format_stack(frame)) if frame else None
        failure = Failure(str(error), kind, place, fingerprint(kind, str(error), error))
        mail = self.task.name == SEND_EMAIL
        if self._persist(lambda: parts().moves.fail(self.id, started.run, failure, mail=mail)):
            follow_failure(self.id)
            self._tell_parent(started)

    def _refused(self, started: Started) -> None:
        """Walk away from a record that another run or a cancellation has taken."""
        if until_written(self.id, lambda: self._own_end(started)) is None:
            self.ended = "FENCED"
            raise Ignore

    def _own_end(self, started: Started) -> TaskState | None:
        """Return the end that this run had written before, where a write moved nothing because its answer was lost."""
        record: TaskRecord | None = parts().tasks.read(self.id)
        ended = record is not None and record.run == started.run and record.state in {"SUCCESS", "FAILURE", "RETRY"}
        return record.state if record is not None and ended else None

    def _persist(self, write: Callable[[], bool]) -> bool:
        return until_written(self.id, write)

    def _max_retries(self) -> int:
        return settings.celery_task_max_retries if self.max_retries is None else self.max_retries

    def last_attempt(self) -> bool:
        """Tell whether a failure now would be the task's last."""
        return self.attempt >= self._max_retries()

    def _tell_parent(self, started: Started) -> None:
        if started.parent_id:
            self.task.parent_moved(started.parent_id)

    def _seconds(self) -> float:
        """Return for how long it has run."""
        return time.monotonic() - self._began

    def _log(self, started: Started) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        logger.info(
            "task_ended",
            state=self.ended,
            duration=round(self._seconds(), 3),
            wait=round((started.started_at - started.due_at).total_seconds(), 3),
            attempt=started.attempt + 1,
            run=started.run,
            memory_mb=peak_memory_mb(),
        )


def _result_of(error: BaseException) -> dict[str, Any] | None:
    """Return what a failure's `info` tells beside its error: the work's own result, or the code of what is wrong."""
    if isinstance(error, WorkFailed):
        return error.result
    return {"code": error.code} if isinstance(error, CodedError | ProviderFault) else None


def _check_progress(percent: Any, text: Any, partial: Any) -> None:
    if not isinstance(percent, int | float) or math.isnan(percent):
        raise InvalidArgument(f"report: percent must be a number from 0 to 100, got {percent!r:.100}.")
    if not isinstance(text, str):
        raise InvalidArgument(f"report: text must be a text, got {text!r:.100}.")
    if partial is not None and not isinstance(partial, str):
        raise InvalidArgument(f"report: partial must be a text, got {partial!r:.100}.")


def run_unrecorded(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a task that has no record, within its time limits.

    In a pool of processes it is Celery's parent that keeps the hard one, because it acknowledges the message.
    """
    hard, soft = limits_of(task)
    now = time.monotonic()
    hand = RunInHand(str(task.request.id), 0, task.name, soft_at=now + soft)
    request = worker_state.requests.get(hand.task_id)
    if late_ends.possible and request is not None:
        hand.hard_at = now + hard
        hand.give_up = partial(request.on_timeout, soft=False, timeout=hard)
    working_process.begin(hand)
    try:
        working_process.watch.enter(hand)
        return task.run_checked(args, kwargs, hand)
    finally:
        working_process.end(hand)
        working_process.watch.leave(hand)


def limits_of(task: Any) -> tuple[float, float]:
    """Return the hard and the soft time limit of a message, in seconds: its own, or its task's.

    A soft one that is not the earlier one is none.
    """
    hard, soft = task.request.timelimit or (None, None)
    usual_hard = task.time_limit or settings.celery_task_time_limit
    usual_soft = task.soft_time_limit or settings.celery_task_soft_time_limit
    return _limits(hard, soft, usual_hard, usual_soft)


@lru_cache
def _limits(hard: float | None, soft: float | None, usual_hard: float, usual_soft: float) -> tuple[float, float]:
    latest, told = _limit(hard, usual_hard), _limit(soft, usual_soft)
    return latest, told if told < latest else math.inf


def _limit(own: float | None, usual: float) -> float:
    """Return a limit that the database can add to its clock."""
    limit = float(own) if own and own > 0 and math.isfinite(own) else float(usual)
    return min(limit, float(MAX_DELAY_SECONDS))


def _queue_of(request: Any) -> str:
    """Return the queue that a message came from; the default one where it was published past our queues."""
    name = rabbitmq.logical_name((request.delivery_info or dict[str, Any]()).get("routing_key") or "")
    return name if name in QUEUES else "default"


def _asked_delay(error: Exception) -> float | None:
    """Return the seconds that an error asks to wait; None where it asks for none, or for what is no number."""
    try:
        seconds = float(cast("Any", error.retry_after)) if isinstance(error, TransientError) else math.nan
    except (TypeError, ValueError, OverflowError):  # a header of HTTP may be a date
        return None
    return seconds if math.isfinite(seconds) else None


def backoff(attempt: int) -> float:
    """Return the seconds to wait before the next attempt: exponential, at most the maximum, with full jitter."""
    factor = settings.celery_task_retry_backoff
    if not factor:
        return 0.0
    longest = min(settings.celery_task_retry_max_delay, float(factor) * 2 ** min(attempt, MOST_DOUBLINGS))
    return random.uniform(0, longest) if settings.celery_task_retry_jitter else longest  # noqa: S311 - no secret


def _as_json(result: Any) -> Any:
    if result is None or type(result) in {bool, str}:
        return result
    try:
        text = json.dumps(result, allow_nan=False)
        if is_deeper(result, text, MOST_RESULT_LEVELS):
            raise PermanentError(f"A task must return at most {MOST_RESULT_LEVELS} levels of lists and dicts.")
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise PermanentError(f"A task must return JSON values; got {type(result).__name__}: {error}.") from error
