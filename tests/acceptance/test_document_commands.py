"""The commands of the service's own document, as they stand there, from the project's root."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import psutil
import pytest

from broker.embedded_redis import EmbeddedRedis
from config.settings import PROJECT_ROOT, Settings, ensure_folders
from ports import free_port
from waiting import until

BIN = Path(sys.executable).parent
WORKER_READY = " ready."
BEAT_READY = "beat: Starting..."
WEB_READY = "Application startup complete."

COMMANDS = {
    "python scripts/start_celery.py worker --queues default email file_processing ai_processing": WORKER_READY,
    "python scripts/start_celery.py worker --queues default email --concurrency 4 --loglevel INFO": WORKER_READY,
    "python scripts/start_celery.py beat": BEAT_READY,
    "python scripts/start_celery.py web": WEB_READY,
    "celery -A services.celery_app:celery_app worker --loglevel=INFO --concurrency=4": WORKER_READY,
    "celery -A services.celery_app:celery_app beat --loglevel=INFO": BEAT_READY,
    "celery -A services.celery_app:celery_app worker --queues=email --concurrency=2 --loglevel=INFO": WORKER_READY,
    "celery -A services.celery_app:celery_app worker --queues=default --loglevel=DEBUG --concurrency=1": WORKER_READY,
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A broker that runs, and the environment of a user without PYTHONPATH."""
    own = Settings(data_dir=tmp_path_factory.mktemp("commands") / "data")
    ensure_folders(own)
    redis = EmbeddedRedis(own)
    redis.start()
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "DATA_DIR"}}
    yield {
        **kept,
        "DATA_DIR": str(own.data_dir),
        "PORT": str(free_port()),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    redis.stop()


def start(command: str, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            shlex.split(command), env=environment, cwd=PROJECT_ROOT, stdout=out, stderr=out, start_new_session=True
        )


def end(process: subprocess.Popen[bytes]) -> None:
    family = [process.pid, *(one.pid for one in psutil.Process(process.pid).children(recursive=True))]
    process.send_signal(signal.SIGQUIT if process.poll() is None else 0)
    try:
        process.wait(30)
    finally:
        for pid in family:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "words"), COMMANDS.items(), ids=range(len(COMMANDS)))
def test_a_command_of_the_document_starts_its_part(environment, tmp_path, command, words):
    log = tmp_path / "log"
    process = start(command, environment, log)
    try:
        until(lambda: words in log.read_text() or process.poll() is not None, what=command)
        assert process.poll() is None, log.read_text()
        assert ("debug" in log.read_text()) is ("DEBUG" in command), "the command line's level wins"
        if words in (WORKER_READY, BEAT_READY) and "start_celery" in command:
            assert "services.celery_part" in psutil.Process(process.pid).cmdline(), "the small one of two ways"
    finally:
        end(process)


@pytest.mark.slow
def test_an_option_that_the_script_has_not_is_taken_from_celerys_own_variable(environment, tmp_path):
    log = tmp_path / "log"
    process = start("python scripts/start_celery.py worker", environment | {"CELERY_WORKER_POOL": "solo"}, log)
    try:
        until(lambda: WORKER_READY in log.read_text() or process.poll() is not None, what="the worker is ready")
        assert "(solo)" in log.read_text()
    finally:
        end(process)


@pytest.mark.slow
@pytest.mark.parametrize(
    "start_it", ["celery -A services.celery_app:celery_app flower", "python scripts/start_celery.py flower"]
)
def test_flower_as_the_document_starts_it_is_for_this_machine_and_behind_a_login(environment, tmp_path, start_it):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = start(f"{start_it} --port={port}", environment, tmp_path / "log")
    try:
        status = until(lambda: answer(port), what="Flower answers")
        listening = [one.laddr.ip for one in psutil.Process(process.pid).net_connections() if one.status == "LISTEN"]
    finally:
        process.terminate()
        process.wait(20)
    assert status == 401
    assert listening == ["127.0.0.1"]


@pytest.mark.slow
def test_flower_shows_nothing_to_strangers_and_to_other_sites(environment, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    start_it = f"celery -A services.celery_app:celery_app flower --port={port}"
    process = start(start_it, environment, tmp_path / "log")
    try:
        until(lambda: answer(port), what="Flower answers")
        password = (Path(environment["DATA_DIR"]) / "run" / "flower-password").read_text()
        login = {"Authorization": "Basic " + b64encode(f"csai:{password}".encode()).decode()}
        for path in ("/", "/workers", "/api/workers", "/api/tasks", "/metrics"):
            assert answer(port, path) == 401, path
            assert answer(port, path, **login) == 200, path
            assert answer(port, path, **login, Host="evil.example") == 421, path
            assert answer(port, path, **login, Origin="http://evil.example") == 403, path
            assert answer(port, path, **login, Origin="http://[") == 403, path
        assert answer(port, "/healthcheck") == 200
        assert answer(port, "/api/task/revoke/x", b"", **login) == 200
    finally:
        process.terminate()
        process.wait(20)


def answer(port: int, path: str = "/", data: bytes | None = None, **headers: str) -> int | None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answered:
            return answered.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None
