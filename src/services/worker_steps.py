"""What a worker and beat do beside Celery's own: check at the start, keep a leader, log, and say goodbye."""

import os
import signal
import socket
import subprocess
import sys
from typing import Any, cast

from celery import bootsteps, signals
from click import get_current_context
from click.core import ParameterSource

from broker import rabbitmq
from broker.allegiance import swear
from broker.location import check_reachable, resolve
from broker.warm_shutdown import GiveBackUnbegun
from config.child_process import die_with_parent
from config.log_setup import configure, get_logger
from config.settings import ensure_folders, settings
from processors.errors import ServiceUnavailable, WorkError
from processors.redaction import redact_shown
from services import pool_deaths, record_backend
from services.celery_app import celery_app
from services.late_ends import late_ends
from services.priority_order import StartByPriority
from services.threads import KeepTime, ending, replace_at_once
from services.wiring import parts
from services.working_process import working_process

logger = get_logger()

LEADER_CHECK_SECONDS = 2.0
LEADER_STOP_SECONDS = 10.0
"""How long a leader may take to end the duty that it is at; it may be killed at any line."""

node_name = ""
worker_pid = 0
REPORT_SECONDS = 60.0


class KeepLeader(cast("Any", bootsteps.StartStopStep)):
    """Starts a leader, as a process of its own, when none was seen: a lone worker has retries and delays too."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **_: Any) -> None:
        self.timer: Any = None
        self.keeper = LeaderKeeper()
        super().__init__(worker)  # pyright: ignore[reportUnknownMemberType] - untyped

    def start(self, worker: Any) -> None:
        """Look every few seconds, from the worker's own timer."""
        self.timer = worker.timer.call_repeatedly(LEADER_CHECK_SECONDS, self.keeper.check, priority=10)
        if worker.pool_cls.__module__.endswith("prefork"):
            record_backend.silent_process = os.getpid()

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        """End the leader that this worker started."""
        if self.timer is not None:
            self.timer.cancel()
        self.keeper.stop()


class ReportWorker(cast("Any", bootsteps.StartStopStep)):
    """One line per worker and minute."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **_: Any) -> None:
        self.timer: Any = None
        super().__init__(worker)  # pyright: ignore[reportUnknownMemberType] - untyped

    def start(self, worker: Any) -> None:
        """Log every minute, from the worker's own timer."""
        self.timer = worker.timer.call_repeatedly(REPORT_SECONDS, self.report, (worker,), priority=10)

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Log no more."""
        if self.timer is not None:
            self.timer.cancel()

    def report(self, worker: Any) -> None:
        """Log how much this worker has done and does."""
        state = worker.state
        done = sum(state.total_count.values())
        logger.info("worker_report", worker=worker.hostname, done=done, running=len(state.active_requests))


class LeaderKeeper:
    """Starts a leader process when none leads that reaches the broker, and ends it with its own process.

    Args:
        stands_by: keep one always, which stands by while another one leads.
    """

    def __init__(self, *, stands_by: bool = False) -> None:
        self._stands_by = stands_by
        self._process: subprocess.Popen[bytes] | None = None

    def check(self) -> None:
        """Start a leader where none was seen; what the database holds decides."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._stands_by:
            self._start("--beside")
            return
        try:
            leader = parts().leadership.heard()
        except ServiceUnavailable as error:
            logger.warning("leader_unknown", error=str(error))
            return
        finally:
            if os.getpid() == record_backend.silent_process:
                parts().database.close()
        if leader is None or (leader.yields and _reaches_broker()):
            logger.info("leader_missing", starting=True)
            self._start("--if-absent")

    def stop(self) -> None:
        """End the leader that was started here."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(LEADER_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                logger.warning("leader_killed", pid=self._process.pid)
                self._process.kill()
                self._process.wait()

    def _start(self, option: str) -> None:
        command = [sys.executable, "-m", "services.leader", f"{option}={os.getpid()}"]
        self._process = subprocess.Popen(command)  # noqa: S603 - a fixed command


def _reaches_broker() -> bool:
    try:
        check_reachable(resolve(settings), timeout=1)
    except WorkError:
        return False
    return True


def _check_start(sender: Any = None, **_: Any) -> None:
    """Refuse to start, with one line, where the broker, the database or the two together are not right."""
    global node_name, worker_pid  # what the children inherit by the fork
    node_name, worker_pid = str(sender), os.getpid()
    try:
        location = resolve(settings)
        check_reachable(location, timeout=5)
        with celery_app.connection_for_write() as connection:
            swear(connection, parts().database_id)
            if rabbitmq.serves(location.url):
                _prepare_rabbitmq(connection)
        _signer = parts().signer  # a key that cannot be used would fail every mail
        parts().database.prepare_children()
    except WorkError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


def _prepare_rabbitmq(connection: Any) -> None:
    """Make the queues, and tell what an older RabbitMQ does to long tasks."""
    rabbitmq.declare(connection, celery_app.conf.task_queues)
    found = rabbitmq.version(connection)
    if found < rabbitmq.OWN_TIMEOUT_VERSION:
        sys.stderr.write(
            f"RabbitMQ {'.'.join(map(str, found))} takes back what is unacknowledged for 30 minutes unless "
            "consumer_timeout says otherwise in rabbitmq.conf: see docs/rabbitmq.md.\n"
        )


def _configure_logs(loglevel: Any = None, **_: Any) -> None:
    context = get_current_context(silent=True)
    given = context is not None and context.get_parameter_source("loglevel") is ParameterSource.COMMANDLINE
    command = context.info_name if context is not None else None
    ensure_folders(settings)
    part, level = command or "worker", loglevel if given else settings.log_level
    task_level = settings.task_log_level if part == "worker" else None
    configure(part, level, redact=redact_shown, folder=settings.logs, task_level=task_level)


def _enter_child(**_: Any) -> None:
    """Tie a child's life to its worker's, and announce it before its worker claims anything for it.

    With the solo pool it is the worker itself, which outlives whoever started it.
    """
    if worker_pid not in (0, os.getpid()):  # 0: no worker of this service, such as Celery's own for tests
        die_with_parent(worker_pid, signal.SIGKILL)
    try:
        working_process.enter(node_name)
    except ServiceUnavailable as error:
        logger.warning("not_announced", error=str(error))
    if os.getpid() == worker_pid:
        working_process.watch.alone, working_process.watch.replace = True, replace_at_once
    pool_deaths.note(node_name)


def _leave_child(**_: Any) -> None:
    working_process.leave()


def _leave_worker(sender: Any = None, **_: Any) -> None:
    late_ends.wait()
    working_process.leave()
    try:
        parts().workers.stop_children(node_name, socket.gethostname(), os.getpid())
    except ServiceUnavailable as error:
        logger.warning("goodbye_unsaid", error=str(error))
    finally:
        parts().database.close()
    ending.end(sender)


cast("Any", celery_app.steps)["worker"].update({GiveBackUnbegun, KeepLeader, KeepTime, ReportWorker, StartByPriority})
signals.setup_logging.connect(_configure_logs, weak=False)
signals.celeryd_init.connect(_check_start, weak=False)
signals.beat_init.connect(_check_start, weak=False)
signals.worker_process_init.connect(_enter_child, weak=False)
signals.worker_process_shutdown.connect(_leave_child, weak=False)
signals.worker_shutdown.connect(_leave_worker, weak=False)
