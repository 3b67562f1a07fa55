"""What every test stands on: a scrubbed environment and one temporary installation for the whole run."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SOURCE = Path(__file__).parents[1] / "src"
HOME = Path(tempfile.mkdtemp(prefix="csai-tests-"))

KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "TERM",
    "REQUIRE_SERVICES",
    "VIRTUAL_ENV",
    "COVERAGE_PROCESS_START",
    "TMPDIR",
    "TEST_DATABASE",
    "TEST_BROKER",
    "LIVES",
    "REQUESTS",
    "SEED",
    "SCREENSHOTS",
)
for name in set(os.environ) - set(KEPT):
    if not name.startswith(("LC_", "PYTEST", "PYTHON", "COV", "OPENBLAS")):
        del os.environ[name]
os.environ.update(
    DATA_DIR=str(HOME / "var"),
    PYTHONPATH=os.pathsep.join([str(SOURCE), str(Path(__file__).parent)]),
    CELERY_TASK_RETRY_MAX_DELAY="1",
    # No test waits for a limit but those that are about limits.
    LIMIT_DEFAULT="none",
    LIMIT_HIGH_PRIORITY="none",
    LIMIT_AI_PROCESSING="none",
    LIMIT_FILE_PROCESSING="none",
    SOFT_SHUTDOWN_TIMEOUT="3",
)

# A run in the background ignores these, and every process that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes is the machine's, and no promise.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

SERVER = None
if os.environ.get("TEST_DATABASE") == "postgresql":
    from postgresql import PostgresqlServer

    SERVER = PostgresqlServer()
    atexit.register(SERVER.stop)  # a run that ends before its first test stops the server too
    SERVER.start()
    os.environ["DATABASE_URL"] = SERVER.fresh_database()

if os.environ.get("TEST_BROKER") == "rabbitmq":
    from rabbitmq_server import shared_server

    atexit.register(shared_server().end)
    shared_server().start()
    os.environ["CELERY_BROKER_URL"] = shared_server().url()

# What needs RabbitMQ as the broker of the whole run is no test of a run on Redis.
collect_ignore = [] if os.environ.get("TEST_BROKER") == "rabbitmq" else ["integration/test_rabbitmq.py"]

pytest_plugins = ["installation", "databases", "services.testing", "ai_work", "smtp_mailers", "calling", "csai_command"]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Leave nothing behind."""
    shutil.rmtree(HOME, ignore_errors=True)
