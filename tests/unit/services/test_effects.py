"""An effect happens once: what is known is kept, what is not known is waited for, looked up, or left to a person."""

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy import update

from processors import doubt
from processors.call_outcomes import what_next
from processors.errors import (
    Cancelled,
    EffectInDoubt,
    EffectUnknown,
    InvalidArgument,
    PermanentError,
    ServiceUnavailable,
    TransientError,
)
from processors.interfaces import Absent, Happened, Outcome, Run, Unknown
from records.call_records import CallRecords
from records.columns import Now
from records.deliveries import DeliveryRecords
from records.effects import EffectRecords, effects
from records.task_moves import Failure, TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers
from services import effects as module
from services import monitoring, retrying, until_written
from services.effects import NOT_GIVEN, OneEffect, effects_in_doubt, settle
from services.failures import failure_of

KEY, DEADLINE = "invoice:4711", 5
FAILURE = Failure("it broke", "ValueError")


class Installation:
    """Records, and a task that runs; its runs and charges are counted."""

    def __init__(self, database) -> None:
        self.database = database
        self.effects, self.deliveries = EffectRecords(database), DeliveryRecords(database)
        self.calls = CallRecords(database, what_next)
        self.tasks, self.moves = TaskRecords(database), TaskMoves(database)
        Workers(database).start("w1", "io@host", "host", 1, 0)
        self.run = self.begin("t")
        self.charged = 0

    def begin(self, task_id: str) -> Run:
        self.tasks.open(Draft(task_id, "shop.charge", "shop", "default"))
        return Run(task_id, self.moves.start(task_id, 0, "w1", "io@host", None).run)

    def next_run(self) -> Run:
        """Let the run have been lost, and another one begin."""
        assert self.moves.give_back(self.run.task_id, self.run.number)
        self.run = Run("t", self.moves.start("t", 0, "w1", "io@host", None).run)
        return self.run

    def call(self):
        self.charged += 1
        return {"number": self.charged}

    def take(self, call=None, reconcile=None, run=None, key=KEY, deadline=DEADLINE):
        return OneEffect(key, deadline, run or self.run, self.effects).take(call or self.call, reconcile)

    def found(self):
        return self.effects.find(KEY, self.run)

    def let_the_doubt_pass(self) -> None:
        self.database.write(
            lambda c: c.execute(update(effects).values(intended_at=Now(-doubt.doubt_seconds(DEADLINE))))
        )

    def lose(self) -> None:
        """Let the process die in the middle of the call."""
        with pytest.raises(KeyboardInterrupt):
            self.take(raising(KeyboardInterrupt()))
        self.next_run()


def raising(error: BaseException):
    def call(*_):
        raise error

    return call


@pytest.fixture
def here(database, monkeypatch) -> Installation:
    here = Installation(database)
    monkeypatch.setattr(module, "parts", lambda: here)
    monkeypatch.setattr(retrying, "parts", lambda: here)
    return here


# --- Once ------------------------------------------------------------------------------------------------------


def test_an_effect_happens_once_whoever_asks_for_it_again(here):
    assert here.take() == {"number": 1}

    assert here.take() == {"number": 1}
    here.next_run()
    assert here.take() == {"number": 1}
    assert here.take(run=here.begin("another")) == {"number": 1}
    assert here.charged == 1


def test_another_key_is_another_effect(here):
    here.take()
    assert here.take(key="invoice:4712") == {"number": 2}


@pytest.mark.parametrize(
    ("outcome", "stored"),
    [
        (None, None),
        ((1, 2), [1, 2]),
        ({1: "a"}, {"1": "a"}),
        (float("inf"), "inf"),
        (b"bytes", "b'bytes'"),
        (10**5000, "int"),
    ],
    ids=range(6),
)
def test_an_outcome_is_what_is_stored_and_what_is_no_json_is_its_text(here, outcome, stored):
    assert here.take(lambda: outcome) == stored
    assert here.take() == stored
    assert here.charged == 0


def test_an_outcome_that_cannot_even_be_written_as_text_is_done_all_the_same(here):
    class Silent:
        def __repr__(self):
            raise RuntimeError("no text")

    assert here.take(Silent) == "Silent"
    assert here.found().state == "done"


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0b", "\ud800", 5, None, "mail:t:0:b@example.com"])
def test_a_bad_key_is_refused_before_anything_happens(here, key):
    with pytest.raises(InvalidArgument, match="effect: "):
        here.take(key=key)
    assert here.charged == 0


@pytest.mark.parametrize("deadline", [0, -1, 3601, float("nan"), float("inf"), True, "5", None])
def test_a_bad_deadline_is_refused_before_anything_happens(here, deadline):
    with pytest.raises(InvalidArgument, match="deadline must be seconds"):
        here.take(deadline=deadline)
    assert here.charged == 0


@pytest.mark.parametrize(("name", "call", "reconcile"), [("call", 5, None), ("reconcile", None, 5)])
def test_what_is_no_function_is_refused_before_anything_is_kept(here, name, call, reconcile):
    with pytest.raises(InvalidArgument, match=f"^{name}: must be a function"):
        here.take(call, reconcile)
    assert here.charged == 0
    assert here.found() is None


@pytest.mark.parametrize("how", ["cancelled", "taken over"])
def test_a_run_that_is_no_longer_the_records_begins_nothing(here, how):
    frozen = here.run
    if how == "cancelled":
        here.moves.revoke("t")
    else:
        here.next_run()

    with pytest.raises(Cancelled):
        here.take(run=frozen)
    assert here.charged == 0


def test_a_process_that_was_slow_or_frozen_after_its_intent_does_not_begin(here, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(doubt, "clock", lambda: now[0])
    intend = here.effects.intend

    def intend_slowly(*arguments):
        kept = intend(*arguments)
        now[0] += doubt.BEGIN_SECONDS
        return kept

    monkeypatch.setattr(here.effects, "intend", intend_slowly)

    with pytest.raises(TransientError, match="was not begun"):
        here.take()

    assert here.charged == 0
    assert here.found() is None, "nothing happened, so that the next attempt may begin at once"


def test_a_process_that_was_frozen_and_begins_nothing_ends_the_doubt_of_those_who_gave_it_up(here, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(doubt, "clock", lambda: now[0])
    intend = here.effects.intend

    def intend_and_freeze(*arguments):
        monkeypatch.setattr(here.effects, "intend", intend)
        kept = intend(*arguments)
        here.let_the_doubt_pass()
        with pytest.raises(EffectUnknown):
            here.take(run=here.begin("another"))
        now[0] += 1000
        return kept

    monkeypatch.setattr(here.effects, "intend", intend_and_freeze)

    with pytest.raises(TransientError, match="was not begun"):
        here.take()
    assert here.found() is None
    assert here.charged == 0


# --- What a call raises ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [TransientError("busy", retry_after=7), InvalidArgument("no such currency")])
def test_a_call_that_knows_that_nothing_happened_leaves_nothing_behind(here, error):
    with pytest.raises(type(error)) as raised:
        here.take(raising(error))

    assert raised.value is error
    assert here.found() is None
    assert here.take() == {"number": 1}


def test_a_refusal_is_kept_and_another_attempt_may_ask_again(here):
    with pytest.raises(PermanentError, match="stolen card"):
        here.take(raising(PermanentError("stolen card")))

    assert (here.found().state, here.found().error) == ("refused", "stolen card")
    assert here.take() == {"number": 1}
    assert (here.found().state, here.found().error) == ("done", None)


@pytest.mark.parametrize("error", [TimeoutError("no answer"), ConnectionResetError(), EffectInDoubt("one within", 1)])
def test_any_other_error_is_a_doubt_that_the_task_waits_for(here, error):
    with pytest.raises(EffectInDoubt) as raised:
        here.take(raising(error))

    assert raised.value.__cause__ is error
    assert doubt.doubt_seconds(DEADLINE) - 5 < raised.value.retry_after <= doubt.doubt_seconds(DEADLINE)
    assert (here.found().state, here.found().error) == ("intended", str(error) or type(error).__name__)


@pytest.mark.parametrize("error", [Cancelled("it was cancelled"), SoftTimeLimitExceeded()], ids=["cancelled", "late"])
def test_a_call_that_notices_its_cancellation_or_its_time_limit_ends_of_it_and_is_in_doubt(here, error):
    with pytest.raises(type(error)):
        here.take(raising(error))
    assert here.found().state == "intended"


# --- In doubt --------------------------------------------------------------------------------------------------


def look_up(answer):
    """A look-up that notes what it was asked, and answers or raises."""
    asked = []

    def reconcile(key):
        asked.append(key)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    reconcile.asked = asked
    return reconcile


@pytest.mark.parametrize("who", ["next run", "another task", "the same run"])
def test_nothing_is_concluded_while_the_former_call_may_be_going_on(here, who):
    with pytest.raises(KeyboardInterrupt):
        here.take(raising(KeyboardInterrupt()))
    run = here.next_run() if who == "next run" else here.begin("another") if who == "another task" else here.run
    reconcile = look_up(Absent())

    with pytest.raises(EffectInDoubt) as raised:
        here.take(reconcile=reconcile, run=run)

    assert 0 < raised.value.retry_after <= doubt.doubt_seconds(DEADLINE)
    assert (reconcile.asked, here.charged) == ([], 0)


def test_what_a_look_up_finds_is_the_outcome(here):
    here.lose()
    here.let_the_doubt_pass()
    reconcile = look_up(Happened({"id": "ch_1"}))

    assert here.take(reconcile=reconcile) == {"id": "ch_1"}
    assert here.take(reconcile=reconcile) == {"id": "ch_1"}
    assert (reconcile.asked, here.charged) == ([KEY], 0)


def test_what_a_look_up_does_not_find_is_done_at_once_where_its_process_died(here):
    here.lose()
    here.let_the_doubt_pass()

    assert here.take(reconcile=look_up(Absent())) == {"number": 1}
    assert here.found().run == here.run.number


def test_a_call_that_failed_and_did_nothing_is_a_failed_attempt_and_the_next_one_asks_again(here):
    with pytest.raises(EffectInDoubt):
        here.take(raising(TimeoutError("no answer")))
    here.next_run()
    here.let_the_doubt_pass()

    with pytest.raises(TransientError, match="did not happen: no answer") as raised:
        here.take(reconcile=look_up(Absent()))
    assert not isinstance(raised.value, EffectInDoubt), "it is counted"
    assert here.take() == {"number": 1}


def test_another_task_does_what_a_failed_call_of_the_first_did_not(here):
    with pytest.raises(EffectInDoubt):
        here.take(raising(TimeoutError("no answer")))
    here.let_the_doubt_pass()

    assert here.take(reconcile=look_up(Absent()), run=here.begin("another")) == {"number": 1}


@pytest.mark.parametrize(
    ("reconcile", "why"),
    [
        (None, "there is no look-up for it"),
        (look_up(Unknown("their archive is down for good")), "their archive is down for good"),
        (look_up(KeyError("id")), "its look-up failed: 'id'"),
        (look_up("yes"), "its look-up returned str"),
    ],
)
def test_what_nobody_can_tell_is_unknown_and_never_repeated(here, reconcile, why):
    here.lose()
    here.let_the_doubt_pass()

    for _ in range(2):
        with pytest.raises(EffectUnknown, match="call settle_effect") as raised:
            here.take(reconcile=reconcile)
        assert why in str(raised.value)
    assert here.found().state == "unknown"
    assert here.charged == 0


def test_a_look_up_that_cannot_look_now_is_asked_again_like_the_task(here):
    here.lose()
    here.let_the_doubt_pass()
    busy = TransientError("busy", retry_after=3)

    with pytest.raises(TransientError) as raised:
        here.take(reconcile=look_up(busy))

    assert raised.value is busy
    assert here.found().state == "intended"
    assert here.take(reconcile=look_up(Happened(1))) == 1


def test_a_look_up_that_outlasts_the_soft_time_limit_ends_the_task_of_it_and_the_effect_is_listed_as_unknown(here):
    here.lose()
    here.let_the_doubt_pass()
    late = SoftTimeLimitExceeded()

    with pytest.raises(SoftTimeLimitExceeded) as raised:
        here.take(reconcile=look_up(late))

    assert raised.value is late
    assert (here.found().state, here.charged) == ("intended", 0)
    here.moves.fail("t", here.run.number, failure_of(late))
    assert here.tasks.read("t").error_type == "TimeLimitExceeded"
    assert [(one["key"], one["state"]) for one in effects_in_doubt()] == [(KEY, "unknown")]
    with pytest.raises(EffectUnknown):
        here.take(run=here.begin("another"))


def test_a_call_that_ends_after_it_was_given_up_still_tells_what_it_did(here):
    def call():
        here.let_the_doubt_pass()
        with pytest.raises(EffectUnknown):
            here.take(run=here.begin("another"))
        return {"late": True}

    assert here.take(call) == {"late": True}
    assert (here.found().state, here.found().outcome) == ("done", {"late": True})


def test_a_call_that_ends_after_another_run_did_it_again_does_not_hide_that(here, monkeypatch):
    said = []
    monkeypatch.setattr(module.logger, "error", lambda event, **_: said.append(event))

    def call():
        here.next_run()
        here.let_the_doubt_pass()
        assert here.take(reconcile=look_up(Absent())) == {"number": 1}
        return {"late": True}

    assert here.take(call) == {"late": True}
    assert here.found().outcome == {"number": 1}
    assert said == ["effect_after_takeover"]


# --- The database is away --------------------------------------------------------------------------------------


class Away:
    """A method that finds no database, so many times."""

    def __init__(self, method, times: int) -> None:
        self.method, self.times = method, times

    def __call__(self, *arguments, **options):
        self.times -= 1
        if self.times >= 0:
            raise ServiceUnavailable("the database is away")
        return self.method(*arguments, **options)


@pytest.mark.parametrize("method", ["intend", "close"])
def test_an_effect_waits_for_the_database_and_happens_once(here, monkeypatch, method):
    monkeypatch.setattr(until_written, "DATABASE_PAUSE_SECONDS", 0.001)
    away = Away(getattr(here.effects, method), 3)
    monkeypatch.setattr(here.effects, method, away)

    assert here.take() == {"number": 1}
    assert away.times < 0
    assert here.charged == 1
    assert here.found().state == "done"


def test_the_time_to_begin_is_counted_from_the_intent_that_was_kept(here, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(doubt, "clock", lambda: now[0])
    monkeypatch.setattr(until_written, "DATABASE_PAUSE_SECONDS", 0.001)
    intend, tries = here.effects.intend, []

    def intend_later(*arguments):
        tries.append(now[0])
        if len(tries) < 3:
            now[0] += doubt.BEGIN_SECONDS
            raise ServiceUnavailable("the database is away")
        return intend(*arguments)

    monkeypatch.setattr(here.effects, "intend", intend_later)

    assert here.take() == {"number": 1}


# --- Seen and settled ------------------------------------------------------------------------------------------


def unknown(here) -> None:
    here.lose()
    here.let_the_doubt_pass()
    with pytest.raises(EffectUnknown):
        here.take()


def test_an_unknown_effect_is_listed_and_the_health_check_says_what_to_call(here):
    assert monitoring.probes(here)["effects"]() == "no effect is unknown"
    unknown(here)

    [one] = effects_in_doubt()

    assert (one["key"], one["kind"], one["task_id"], one["name"], one["state"]) == (
        KEY,
        "effect",
        "t",
        "shop.charge",
        "unknown",
    )
    assert "no look-up" in one["error"]
    assert "T" in one["intended_at"]
    with pytest.raises(ServiceUnavailable, match=r"1 effects are unknown, such as invoice:4711: .*settle_effect"):
        monitoring.probes(here)["effects"]()


def test_a_doubt_that_its_task_will_look_at_is_listed_and_no_reason_to_alarm(here):
    here.lose()

    assert [one["state"] for one in effects_in_doubt()] == ["intended"]
    assert monitoring.probes(here)["effects"]() == "no effect is unknown"


def test_an_effect_that_a_person_has_seen_is_done_and_its_outcome_is_returned(here):
    unknown(here)

    settle(KEY, {"id": "ch_1"}, absent=False)

    assert effects_in_doubt() == []
    assert here.take() == {"id": "ch_1"}
    assert here.charged == 0


def test_an_effect_that_a_person_did_not_find_may_be_done_by_a_retry(here):
    unknown(here)
    here.moves.fail("t", here.run.number, FAILURE)
    record = here.tasks.read("t")
    assert "in doubt whether an effect" in retrying.reason_to_skip(record, 3)

    settle(KEY, NOT_GIVEN, absent=True)

    assert retrying.reason_to_skip(record, 3) is None
    assert here.take(run=here.begin("again")) == {"number": 1}


@pytest.mark.parametrize(
    ("key", "outcome", "absent"),
    [
        (KEY, NOT_GIVEN, False),
        (KEY, 1, True),
        (KEY, NOT_GIVEN, "yes"),
        (5, 1, False),
        ("nobody's", 1, False),
        ("a\0b", 1, False),
        ("mail:t", 1, False),
        ("mail:t:0:b@example.com", 1, False),
        ("mail:t:0:b\0@example.com", 1, False),
        ("mail:t:99999999999999999999:b@example.com", 1, False),
        (KEY, object(), False),
    ],
    ids=range(11),
)
def test_what_cannot_be_settled_is_refused_in_one_sentence_and_stays(here, key, outcome, absent):
    unknown(here)
    with pytest.raises(InvalidArgument) as refused:
        settle(key, outcome, absent=absent)
    assert "\n" not in str(refused.value)
    assert here.found().state == "unknown"


def test_an_effect_that_goes_on_cannot_be_settled(here):
    def call():
        with pytest.raises(InvalidArgument, match="nothing that can be settled"):
            settle(KEY, 1, absent=False)
        return 2

    assert here.take(call) == 2


@pytest.mark.parametrize(
    ("settled", "state"),
    [({"outcome": "in their log", "absent": False}, "accepted"), ({"outcome": NOT_GIVEN, "absent": True}, "deferred")],
)
def test_a_mail_in_doubt_is_settled_by_its_recipient(here, settled, state):
    here.deliveries.open("t", {0: {"b@example.com": "to"}})
    here.deliveries.turn("t", [], [(0, "b@example.com")], here.run)
    here.deliveries.turn("t", [(0, "b@example.com", Outcome("unknown", text="lost"))], [], here.run)
    [one] = effects_in_doubt()
    assert (one["key"], one["kind"], one["error"]) == ("mail:t:0:b@example.com", "mail", "lost")

    settle(one["key"], settled["outcome"], absent=settled["absent"])

    assert here.deliveries.outcomes("t", 0)["b@example.com"].state == state
    assert effects_in_doubt() == []


def test_a_retry_by_hand_does_not_repeat_what_the_failed_task_has_done(here, monkeypatch):
    here.take(key="t:charge")
    here.moves.fail("t", here.run.number, FAILURE)
    monkeypatch.setattr(retrying, "submit_retries", here.tasks.open_retries)

    new_id = retrying.replay("t", None)

    assert here.tasks.read("t").retried_as == new_id
    assert here.take(key=f"{new_id}:charge", run=here.begin(new_id)) == {"number": 1}
    assert here.charged == 1
