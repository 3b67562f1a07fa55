"""A change in the outside world, once: its intent is kept before it begins, and what nobody knows is never repeated.

One window stays: a process that is frozen between the last look at the clock and its first byte, for longer than the
doubt lasts, changes the world when it wakes. A provider that takes the key as its own closes it.
"""

import json
import re
from collections.abc import Callable, Mapping
from inspect import isawaitable, iscoroutine
from typing import Any, TypeVar

from celery.exceptions import SoftTimeLimitExceeded

from config.log_setup import get_logger
from processors import doubt
from processors.errors import (
    Cancelled,
    EffectInDoubt,
    EffectUnknown,
    InvalidArgument,
    PermanentError,
    TransientError,
)
from processors.interfaces import Absent, Happened, Outcome, Reconcile, Run, Unknown
from records.effects import Doubt, Effect, EffectRecords
from records.task_records import is_task_id
from services.until_written import until_written
from services.wiring import Parts, parts

logger = get_logger()

Result = TypeVar("Result")

LONGEST_DEADLINE_SECONDS = 3600.0
LISTED_DOUBTS = 10_000
NOTHING_HAPPENED = (TransientError, PermanentError, InvalidArgument)
"""What a call raises only where it knows that nothing happened; any other error leaves it in doubt."""

MAIL_PREFIX, CALL_PREFIX = "mail:", "call:"
CALL_NAME = re.compile(r"CA[0-9a-f]{32}")
MAIL_KEY = re.compile(r"mail:(?P<task_id>.+):(?P<position>\d{1,9}):(?P<address>[^:]+)", re.DOTALL)
NOT_GIVEN: Any = object()


class OneEffect:
    """One effect of one run.

    Args:
        key: names it for ever.
        deadline: seconds by which its call has ended, in whatever way.
        run: the run that wants it.
        records: where intents are kept.

    Raises:
        InvalidArgument: the key or the deadline is not acceptable.
    """

    def __init__(self, key: Any, deadline: Any, run: Run, records: EffectRecords) -> None:
        self.key = _checked_key(key)
        self.deadline = _checked_deadline(deadline)
        self.run = run
        self.records = records

    def take(self, call: Callable[[], Any], reconcile: Reconcile | None = None) -> Any:
        """Let it happen, unless it has; returns its outcome as it is stored, from whichever run that is.

        Args:
            call: changes the world and returns a JSON value. Raises `TransientError`, `PermanentError` or
                `InvalidArgument` only where nothing happened.
            reconcile: looks up by the key whether it happened, where a former call left that open.

        Raises:
            Cancelled: the record is no longer this run's.
            InvalidArgument: one of them is no function; nothing was kept.
            EffectInDoubt: a call may still be going on, or ended without saying what it did.
            EffectUnknown: nobody can tell whether it happened.
            SoftTimeLimitExceeded: the task's time was over, in the call or the look-up; what it did stays open.
            TransientError: it did not happen; another attempt may do it.
        """
        _check_callable("call", call)
        if reconcile is not None:
            _check_callable("reconcile", reconcile)
        while (began := self._persist(self._intend)) is None:
            found = self._persist(lambda: self.records.find(self.key, self.run))
            if found is None or found.state == "refused":
                continue  # it was given up just now: intend it
            if found.state == "done":
                return found.outcome
            began = self._resolve(found, reconcile)
            if began is not None:
                break
        return self._carry_out(call, began)

    def _intend(self) -> float | None:
        """Keep the intent; returns when that began, by this process's clock, or None where the key has an effect."""
        began = doubt.clock()
        return began if self.records.intend(self.key, self.run, self.deadline) else None

    def _take_over(self, found: Effect) -> float | None:
        began = doubt.clock()
        return began if self.records.take_over(found, self.run, self.deadline) else None

    def _carry_out(self, call: Callable[[], Any], began: float) -> Any:
        ready = doubt.clock()
        if ready - began >= doubt.BEGIN_SECONDS:
            self._persist(lambda: self.records.withdraw(self.key, self.run))
            raise TransientError(
                f"The effect {self.key!r} was not begun: keeping its intent took over {doubt.BEGIN_SECONDS:g} s, "
                "because the database or this process was too slow."
            )
        try:
            outcome = _ended(call())
        except Exception as error:
            self._failed(error)
            if isinstance(error, (Cancelled, SoftTimeLimitExceeded)) or _tells_that_nothing_happened(error):
                raise
            rest = doubt.doubt_seconds(self.deadline) - (doubt.clock() - ready)
            raise EffectInDoubt(
                f"It is not known whether the effect {self.key!r} happened: {_text(error)}", max(0.0, rest)
            ) from error
        stored = _storable(outcome)
        if not self._persist(lambda: self.records.close(self.key, self.run, stored)):
            logger.error("effect_after_takeover", key=self.key, task_id=self.run.task_id, run=self.run.number)
        return stored

    def _failed(self, error: Exception) -> None:
        """Store what an error says about the effect: nothing happened, it was refused for good, or it is in doubt."""
        store = self.records.note
        if _tells_that_nothing_happened(error):
            if not isinstance(error, PermanentError):
                self._persist(lambda: self.records.withdraw(self.key, self.run))
                return
            store = self.records.refuse
        self._persist(lambda: store(self.key, self.run, _text(error)))

    def _resolve(self, found: Effect, reconcile: Reconcile | None) -> float | None:
        """Find out what became of a former call; returns when it was intended anew, or None to look at it again."""
        if found.rest > 0:
            raise EffectInDoubt(
                f"It is not known yet whether the effect {self.key!r} happened: it may still be going on.", found.rest
            )
        answer = self._ask(found, reconcile)
        if isinstance(answer, Happened):
            outcome = _storable(answer.outcome)
            self._persist(lambda: self.records.conclude(found, "done", outcome=outcome))
            return None
        if isinstance(answer, Absent):
            failed = found.error if found.state == "intended" and found.task_id == self.run.task_id else None
            if failed is None:
                return self._persist(lambda: self._take_over(found))
            # An attempt of this task, as is known now: it is counted, and the next one comes after a pause.
            self._persist(lambda: self.records.conclude(found, "refused", error=failed))
            raise TransientError(f"The effect {self.key!r} did not happen: {failed}")
        if self._persist(lambda: self.records.conclude(found, "unknown", error=answer.why)):
            raise EffectUnknown(
                f"It is not known whether the effect {self.key!r} happened: {answer.why}; look at the other side and "
                "call settle_effect with outcome=… or absent=True."
            )
        return None

    def _ask(self, found: Effect, reconcile: Reconcile | None) -> Happened | Absent | Unknown:
        if reconcile is None:
            how = found.error or "its process ended or was cut off in the middle of it"
            return Unknown(f"{how}, and there is no look-up for it")
        try:
            answer: Any = reconcile(self.key)
        except (TransientError, Cancelled, SoftTimeLimitExceeded):
            raise
        except Exception as error:  # noqa: BLE001 - whatever else a look-up raises, it did not find out
            return Unknown(f"its look-up failed: {_text(error)}")
        if isinstance(answer, (Happened, Absent, Unknown)):
            return answer
        return Unknown(f"its look-up returned {type(answer).__name__} instead of Happened, Absent or Unknown")

    def _persist(self, write: Callable[[], Result]) -> Result:
        return until_written(self.run.task_id, write)


def _check_callable(name: str, given: object) -> None:
    if not callable(given):
        raise InvalidArgument(
            f"{name}: must be a function, which is called once the intent is kept; got {type(given).__name__}: pass "
            "`lambda: charge(cents)`, not `charge(cents)`."
        )


def _ended(outcome: Any) -> Any:
    """Return what a call came to; a coroutine has not even begun."""
    if iscoroutine(outcome):
        outcome.close()
        raise InvalidArgument(
            f"call: must be a plain function that does it; got one that returns the coroutine {outcome.__qualname__}, "
            "which nobody would await."
        )
    if isawaitable(outcome):
        raise TypeError(f"the call returned {type(outcome).__name__}, which goes on")
    return outcome


def effects_in_doubt() -> list[dict[str, Any]]:
    """Return what `get_effects_in_doubt` tells."""
    return [
        {
            "key": one.key,
            "kind": one.kind,
            "task_id": one.task_id,
            "name": one.name,
            "state": one.state,
            "intended_at": one.intended_at.isoformat() if one.intended_at else None,
            "error": one.error,
        }
        for one in doubts(parts())
    ]


def doubts(service: Parts) -> list[Doubt]:
    """Return the effects and mails of which it is not known whether they happened."""
    return [
        *service.effects.doubts(LISTED_DOUBTS),
        *service.deliveries.doubts(LISTED_DOUBTS),
        *service.calls.doubts(LISTED_DOUBTS),
    ]


def settle(key: Any, outcome: Any, *, absent: bool) -> None:
    """Store what a person has found out about an effect in doubt.

    Args:
        key: as `effects_in_doubt` tells it.
        outcome: what it came to, where it happened; else `NOT_GIVEN`.
        absent: whether it did not happen.

    Raises:
        InvalidArgument: nothing in doubt has this key, or not exactly one of `outcome` and `absent` is given.
    """
    if not isinstance(key, str) or not isinstance(absent, bool) or absent is not (outcome is NOT_GIVEN):  # pyright: ignore[reportUnnecessaryIsInstance] - callers have no types
        raise InvalidArgument(
            f"settle_effect: takes the key of an effect in doubt and either outcome=… (it happened) or absent=True "
            f"(it did not); got {key!r:.300}."
        )
    kind = next((prefix for prefix in SETTLERS if key.startswith(prefix)), "")
    settled = SETTLERS.get(kind, _settle_effect)(key, outcome)
    if not settled:
        raise InvalidArgument(
            f"key: nothing that can be settled has the key {key!r:.300}; get_effects_in_doubt lists what is in doubt."
        )


def _settle_effect(key: str, outcome: Any) -> bool:
    if not is_task_id(key):
        return False
    if outcome is NOT_GIVEN:
        return parts().effects.settle(key, "refused", error="settled by a person: it did not happen")
    return parts().effects.settle(key, "done", outcome=_given_outcome(outcome))


def _settle_mail(key: str, outcome: Any) -> bool:
    named = MAIL_KEY.fullmatch(key)
    if named is None or not is_task_id(named["task_id"]) or not named["address"].isprintable():
        return False
    if outcome is NOT_GIVEN:
        found = Outcome("deferred", text="settled by a person: it did not arrive")
    else:
        found = Outcome("accepted", text=f"settled by a person: {json.dumps(_given_outcome(outcome))}")
    return parts().deliveries.settle(named["task_id"], int(named["position"]), named["address"], found)


def _settle_call(key: str, outcome: Any) -> bool:
    """Store whether a call was made; what it came to is its provider's name for it."""
    attempt = parts().calls.attempt(key.removeprefix(CALL_PREFIX))
    if attempt is None or attempt.state not in {"unknown", "ambiguous"}:
        return False
    if outcome is NOT_GIVEN:
        return parts().calls.settle_absent(attempt.id)
    sid = _given_outcome(outcome)
    if not isinstance(sid, str) or not CALL_NAME.fullmatch(sid):
        raise InvalidArgument(
            f"outcome: of a call is the provider's name for it, CA and 32 digits of 0-9 and a-f; got {sid!r:.50}."
        )
    return parts().calls.settle_made(attempt.id, sid)


SETTLERS: Mapping[str, Callable[[str, Any], bool]] = {MAIL_PREFIX: _settle_mail, CALL_PREFIX: _settle_call}


def _given_outcome(outcome: Any) -> Any:
    try:
        return json.loads(json.dumps(outcome, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"outcome: must be a JSON value; got {type(outcome).__name__}: {error}.") from error


def _storable(outcome: Any) -> Any:
    """Return an outcome as it is stored; the effect has happened, so that what is no JSON is kept as a text."""
    try:
        return _given_outcome(outcome)
    except InvalidArgument:
        return _text(outcome, repr)


def _text(value: object, write: Callable[[object], str] = str) -> str:
    """Return a text for a value, whatever its own methods do."""
    try:
        return write(value) or type(value).__name__
    except Exception:  # noqa: BLE001 - what it says of itself must not stand in the way of what happened
        return type(value).__name__


def _tells_that_nothing_happened(error: Exception) -> bool:
    return isinstance(error, NOTHING_HAPPENED) and not isinstance(error, (EffectInDoubt, EffectUnknown))


def _checked_key(key: Any) -> str:
    if not is_task_id(key):
        raise InvalidArgument(
            f"effect: its key must be text of 1 to 255 characters without NUL and lone surrogates; got {key!r:.100}."
        )
    if key.startswith((MAIL_PREFIX, CALL_PREFIX)):
        raise InvalidArgument(
            f"effect: no key begins with {MAIL_PREFIX} (mails') or {CALL_PREFIX} (calls'); got {key!r:.100}."
        )
    return key


def _checked_deadline(deadline: Any) -> float:
    number = not isinstance(deadline, bool) and isinstance(deadline, (int, float))
    if not number or not 0 < deadline <= LONGEST_DEADLINE_SECONDS:
        raise InvalidArgument(
            f"effect: its deadline must be seconds, more than 0 and at most {LONGEST_DEADLINE_SECONDS:g}; "
            f"got {deadline!r:.100}."
        )
    return float(deadline)
