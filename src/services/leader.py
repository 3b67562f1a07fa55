"""The leader: publishes what is due, fires schedules, takes back what dead workers left, finds what a broker lost.

One process leads over all machines (a lease in the database); others stand by. It is a process of its own, because a
thread would be copied into the children that a worker forks.
"""

import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from uuid import uuid4

from kombu import Connection

from broker import parked_messages, rabbitmq
from broker.allegiance import generation, remember
from broker.away import AWAY_ERRORS
from broker.envelopes import PARKED_QUEUE
from broker.location import resolve
from config.log_setup import configure, get_logger
from config.settings import ensure_folders, settings
from processors.errors import ConfigurationError, ServiceUnavailable, WorkError
from processors.redaction import redact_shown
from records.leadership import SURE_SECONDS, Lead
from records.task_following import TaskFollowing
from records.task_records import TaskState
from records.webhook_following import WebhookFollowing
from records.workers import RENEW_SECONDS
from services import settings_schedules
from services.celery_app import celery_app
from services.failures import follow_failure
from services.fires import Fires
from services.follower import Follower
from services.groups import sweep
from services.parent_tasks import conclude_all
from services.relay import follow, reconcile, relay, take_parked
from services.submission import submit_by_name
from services.submit_options import Options
from services.vacancy import Vacancy
from services.webhook_follower import WebhookFollower
from services.webhooks import draft_of_end
from services.wiring import parts

logger = get_logger()

TICK_SECONDS = 0.2
HOLDING_TICK_SECONDS = 0.05
"""While something is held that may be let go at any moment."""

LEASE_SECONDS = 0.5
RENEWAL_SECONDS = RENEW_SECONDS + 1.0
"""How long after a pause of the database every process that lives has renewed its row."""

FULL_SECONDS = 1.0
"""Between two looks past all that waits for a full queue."""

FIRE_SECONDS = 1.0
RELAY_SECONDS = 2.0
"""How long the other duties wait for what is due, however much of it there is."""

FAILED_SECONDS = 1.0
"""How long a duty is left alone that went wrong in a way that nobody foresaw."""

BURY_SECONDS = 0.5
REAP_SECONDS = 1.0
FOLLOW_SECONDS = 1.0
FOLLOW_CALLS_SECONDS = 1.0
FOLLOWER_SECONDS = 2.0
"""How long an end waits for what is just being listed."""

UNFOLLOWED_SECONDS = 60.0
FOLLOW_CALLS = "monitoring.follow_calls"
GENERATION_SECONDS = 1.0
RECONCILE_SECONDS = 300.0
RECONCILE_AGE_SECONDS = 60.0
PARKED_SECONDS = 15.0
SWEEP_SECONDS = 15.0
SETTLE_SECONDS = 15.0
SETTLE_AGE_SECONDS = 5.0
PRUNE_SECONDS = 600.0
BATCH = 500


class Leader:
    """Leads while it holds the lease; every duty has its own beat."""

    def __init__(self) -> None:
        self.holder = str(uuid4())
        self.term: int | None = None
        self.stopping = threading.Event()
        self._renewed = -math.inf  # when the last renewal of the lease began
        self._vacancy = Vacancy()
        self._adopted: int | None = None  # the term whose leader took the settings' schedules over
        self._fires = Fires()
        self._broker: Connection | None = None
        self._generation: str | None = None
        self._reaches_broker = True  # until a look says otherwise
        self._parked = 0
        self._settled_at = math.inf
        self._next: dict[str, float] = {}
        self._tick_seconds = TICK_SECONDS
        self._following: str | None = None  # the last task that asks what became of calls

    @property
    def lead(self) -> Lead:
        """The lead as it was taken last: the fence of what is decided; none is held before the first term."""
        return Lead(self.holder, self.term or 0)

    def run(self, starter: int | None = None, *, stands_by: bool = True) -> None:
        """Lead, or stand by, until stopped or until the process that started it is gone.

        Args:
            starter: the process that wants a leader; by default this one's parent.
            stands_by: whether to stand by where another one leads; else end.
        """
        parent = starter or os.getppid()
        database = parts().database
        followers = (
            Follower(TaskFollowing(database), parts().minutes, self._sure_lead, self.stopping),
            WebhookFollower(WebhookFollowing(database, draft_of_end), self._sure_lead, self.stopping),
        )
        for follower in followers:
            follower.start()
        while not self.stopping.wait(self._tick_seconds) and os.getppid() == parent:
            try:
                self._each("lease", LEASE_SECONDS, self._take_lease)
                if self.term is not None:
                    self.tick()
                elif not stands_by and parts().leadership.heard():
                    return
            except ServiceUnavailable as error:
                self.term = None
                logger.warning("database_away", error=str(error))
                self.stopping.wait(LEASE_SECONDS)
        self.stopping.set()
        for follower in followers:
            follower.join(FOLLOWER_SECONDS)
        if self.term is not None:
            parts().leadership.give_up(self.holder)

    def tick(self) -> None:
        """Do what is due of a leader's duties."""
        full = parts().publisher.full_queues()
        self._each("holds", 0.0, self._let_go)
        self._each("adopt", 0.0, self._adopt)
        self._each("fire", 0.0, self._fire)
        self._each("relay", FULL_SECONDS if full else 0.0, self._relay)
        self._each("bury", BURY_SECONDS, self._bury)
        self._each("reap", REAP_SECONDS, self._reap)
        self._each("follow", FOLLOW_SECONDS, lambda: follow(BATCH, self.lead, self._may_publish))
        self._each("generation", GENERATION_SECONDS, self._watch_broker)
        self._each("reconcile", RECONCILE_SECONDS, lambda: self._reconcile(RECONCILE_AGE_SECONDS))
        self._each("parked", PARKED_SECONDS, self._look_at_parked)
        self._each("sweep", SWEEP_SECONDS, sweep)
        self._each("calls", FOLLOW_CALLS_SECONDS, self._follow_calls)
        self._each("prune", PRUNE_SECONDS, _prune)

    def _follow_calls(self) -> None:
        """Let a worker ask what became of calls, once the time has come; one such task waits at a time."""
        former = self._following and parts().tasks.read(self._following)
        if former and former.state is TaskState.FAILURE:  # no account, or a login that is refused: it would fail again
            self._following = None
            self._next["calls"] = time.monotonic() + UNFOLLOWED_SECONDS
            return
        if parts().calls.looks_due() and (not former or former.final):
            self._following = submit_by_name(
                FOLLOW_CALLS, {}, queue="twilio_calls", origin="leader", options=Options(priority="high")
            )

    def _each(self, duty: str, seconds: float, do: Callable[[], object]) -> None:
        """Do a duty whose time has come; one that goes wrong must not keep the others from being done."""
        now = time.monotonic()
        if now < self._next.get(duty, 0.0):
            return
        self._next[duty] = now + seconds
        try:
            do()
        except (ServiceUnavailable, ConfigurationError):
            raise
        except Exception:
            logger.exception("duty_failed", duty=duty)
            self._next[duty] = time.monotonic() + max(seconds, FAILED_SECONDS)

    def _take_lease(self) -> None:
        """Take or renew the lead; while the broker is away from here, leave it to one that reaches the broker."""
        leadership = parts().leadership
        other = leadership.current() if self.term is None else None
        self._vacancy.asks(other, leads=self.term is not None)
        yielded = other is not None and other.yields and other.holder != self.holder
        if yielded:
            self._look_for_broker()
        began = time.monotonic()
        term = leadership.take(self.holder, socket.gethostname(), os.getpid(), reaches_broker=self._reaches_broker)
        self._vacancy.answered()
        self._renewed = began
        if term is not None and term != self.term:
            logger.info("leading", term=term)
            if not yielded:
                # Nobody may have been able to renew until now: let the living do so before anyone is declared dead.
                self._next["bury"] = time.monotonic() + max(0.0, RENEWAL_SECONDS - self._vacancy.seconds)
        self.term = term
        if term is None:
            self._tick_seconds = TICK_SECONDS

    def _may_publish(self) -> bool:
        """Tell whether the lease lasts for sure: one that was frozen publishes nothing when it wakes."""
        return self.term is not None and time.monotonic() - self._renewed < SURE_SECONDS

    def _sure_lead(self) -> Lead | None:
        """Return the lead while it lasts for sure."""
        return self.lead if self._may_publish() else None

    def _adopt(self) -> None:
        """Take the settings' schedules over, once in a term."""
        if self._adopted != self.term and settings_schedules.adopt(self.lead):
            self._adopted = self.term

    def _fire(self) -> None:
        """Fire what is due, but let what was fired be published before there is very much of it."""
        until = time.monotonic() + FIRE_SECONDS
        while self._fires.fire(self.lead) and time.monotonic() < until:
            self._each("lease", LEASE_SECONDS, self._take_lease)

    def _relay(self) -> None:
        until = time.monotonic() + RELAY_SECONDS
        while self.term is not None and time.monotonic() < until:
            full = parts().publisher.full_queues()
            taken = relay(BATCH, self.lead, self._may_publish)
            if taken < BATCH and parts().publisher.full_queues() <= full:
                return  # where another queue turned out to be full, there may be more behind what goes to it
            self._each("lease", LEASE_SECONDS, self._take_lease)

    def _let_go(self) -> None:
        soon = parts().holds.let_go(self.lead).soon
        self._tick_seconds = HOLDING_TICK_SECONDS if soon else TICK_SECONDS

    def _bury(self) -> None:
        buried = parts().workers.bury(self.lead)
        if buried:
            logger.warning("workers_dead", worker_ids=buried)
            self._reap()  # at once: of the 10 s that a dead worker's tasks may wait, 8 are over
            self._reconcile(0.0)

    def _reap(self) -> None:
        service = parts()
        returned, failed = service.moves.reap(self.lead)
        if returned:
            logger.warning("taken_back", count=len(returned))
        for task_id in [*failed, *service.moves.expire(self.lead)]:
            follow_failure(task_id)
        conclude_all(service.parents.done(), lambda: self._each("lease", LEASE_SECONDS, self._take_lease))

    def _watch_broker(self) -> None:
        """Publish again what a broker that was started anew may have lost."""
        try:
            connection = self._connected()
            found = generation(connection, parts().database_id)
            if found is None or found != self._generation:
                parts().publisher.broker_answers()
            if found is None:
                logger.warning("broker_empty")
                self._reconcile(0.0, all_lost=True)
                remember(connection)
                found = self._generation = generation(connection, parts().database_id)
        except AWAY_ERRORS as error:
            logger.warning("broker_away", error=str(error))
            self._disconnect()
            return
        self._reaches_broker = True
        if found != self._generation:
            logger.info("broker_found", generation=found)
            self._generation = found
            self._reconcile(0.0)
            self._settled_at = time.monotonic() + SETTLE_SECONDS
        elif time.monotonic() >= self._settled_at:
            # A worker that was just finding the broker again may have dropped what it took.
            self._settled_at = math.inf
            self._reconcile(SETTLE_AGE_SECONDS)

    def _look_for_broker(self) -> None:
        """Find out whether the broker answers here."""
        try:
            generation(self._connected(), parts().database_id)
            self._reaches_broker = True
        except AWAY_ERRORS:
            self._disconnect()

    def _connected(self) -> Connection:
        """Return the connection that is watched; RabbitMQ would log a new one every second."""
        if self._broker is None:
            connection = celery_app.connection_for_write()
            try:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)
            except BaseException:
                connection.release()
                raise
            self._broker = connection
        return self._broker

    def _disconnect(self) -> None:
        """Give up the connection; the broker that is found next is looked at as a new one."""
        self._generation = None
        self._reaches_broker = False
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.collect()

    def _look_at_parked(self) -> None:
        """Publish again what RabbitMQ parked although its record still waits; tell what stays parked."""
        if not rabbitmq.serves(resolve(settings).url):
            return
        try:
            found = parked_messages.count(self._connected())
            if found > self._parked:
                logger.warning("messages_parked", queue=PARKED_QUEUE, count=found)
                found = take_parked()
        except AWAY_ERRORS as error:
            logger.warning("broker_away", error=str(error))
            self._disconnect()
            return
        self._parked = found

    def _reconcile(self, older_than: float, *, all_lost: bool = False) -> None:
        count = reconcile(older_than, lambda: self._each("lease", LEASE_SECONDS, self._take_lease), all_lost=all_lost)
        if count:
            logger.warning("published_again", count=count)


HOURS_OF_ANSWERS = 24
"""So long the answer to an AI request is kept for its own task, whose worker may die before it is noted there."""


def _prune() -> None:
    parts().workers.prune()
    parts().chords.prune()
    parts().submit_keys.prune()
    parts().limits.prune()
    parts().effects.prune(settings.keep_records_days)
    parts().deliveries.prune(settings.keep_records_days)
    parts().members.prune()
    parts().suppressions.prune()
    parts().mail_rests.prune()
    parts().email_events.prune(settings.keep_records_days)
    parts().inbox.prune(settings.keep_inbox_days)
    parts().calls.prune(settings.keep_call_days)
    parts().ai_calls.prune(settings.keep_ai_usage_days)
    parts().audit.prune(settings.keep_audit_days)
    parts().minutes.prune(settings.keep_records_days)
    parts().ai_answers.prune(settings.ai_cache_seconds / 3600 + HOURS_OF_ANSWERS)


def main() -> None:
    """Run the leader as a process: `python -m services.leader [--if-absent=PID | --beside=PID]`.

    PID is the process that starts it and with which it ends; with `--if-absent` it ends where another one leads.
    """
    ensure_folders(settings)
    configure("leader", settings.log_level, redact=redact_shown, folder=settings.logs)
    leader = Leader()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        leader.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        celery_app.loader.import_default_modules()
        given = dict(word.split("=", 1) for word in sys.argv if "=" in word)
        starter = given.get("--if-absent") or given.get("--beside")
        leader.run(int(starter) if starter else None, stands_by="--if-absent" not in given)
    except WorkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
