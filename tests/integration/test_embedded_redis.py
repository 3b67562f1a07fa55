"""The embedded Redis: real servers, started, killed, orphaned and put into awkward places."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from broker import embedded_redis
from broker.embedded_redis import EmbeddedRedis, find_server
from broker.embedded_socket import embedded_url, socket_path
from broker.location import DEFAULT_URL, BrokerLocation, check_reachable, resolve
from config.settings import Settings, ensure_folders
from processors.errors import ConfigurationError
from waiting import until

OWNER = """
import sys, time
from broker.embedded_redis import EmbeddedRedis
from config.settings import settings, ensure_folders
ensure_folders(settings)
server = EmbeddedRedis(settings)
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def own(tmp_path):
    """Settings of an installation of its own, and what is started in it is stopped."""
    own = Settings(data_dir=tmp_path / "data")
    ensure_folders(own)
    started: list[EmbeddedRedis] = []

    def server() -> EmbeddedRedis:
        started.append(EmbeddedRedis(own))
        return started[-1]

    yield own, server
    for one in started:
        one.stop()


def client(own: Settings, password: str | None = None) -> Redis:
    secret = password if password is not None else (own.run_dir / "redis-password").read_text()
    return Redis(unix_socket_path=str(socket_path(own)), password=secret or None, decode_responses=True)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"


def test_only_its_owner_with_the_password_can_use_it(own):
    settings, server = own
    server().start()
    with client(settings) as ours:
        assert ours.ping()
    with client(settings, "") as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    assert socket_path(settings).stat().st_mode & 0o777 == 0o600
    assert (settings.run_dir / "redis-password").stat().st_mode & 0o777 == 0o600


def test_it_listens_on_no_port_and_its_password_is_in_no_command_line(own):
    settings, server = own
    one = server()
    one.start()
    with client(settings) as ours:
        assert ours.config_get("port")["port"] == "0"
        assert ours.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    command = Path(f"/proc/{one.pid}/cmdline").read_bytes().decode()
    assert (settings.run_dir / "redis-password").read_text() not in command


def test_what_was_written_outlives_a_stop_and_a_kill(own):
    settings, server = own
    one = server()
    one.start()
    with client(settings) as ours:
        ours.set("a", "1")
    one.stop()
    one.start()
    with client(settings) as ours:
        assert ours.get("a") == "1"
        ours.set("b", "2")
        until(lambda: ours.info("persistence")["aof_pending_bio_fsync"] == 0)
    os.kill(one.pid, signal.SIGKILL)
    until(lambda: not one.alive(), what="the server is dead")
    one.start()
    with client(settings) as ours:
        assert ours.get("b") == "2"


def test_the_orphan_of_a_killed_owner_ends_or_is_ended_by_the_next_start(own):
    settings, server = own
    environment = {**os.environ, "DATA_DIR": str(settings.data_dir)}
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, env=environment, text=True)
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    one = server()
    one.start()
    until(lambda: not exists(pid), what="the orphan is gone")
    with client(settings) as ours:
        assert ours.info("server")["process_id"] == one.pid


def test_an_orphan_that_lives_on_is_ended_by_the_next_start(own, monkeypatch):
    _, server = own
    monkeypatch.setattr(embedded_redis, "die_with_parent", lambda _: None)
    orphan = server()
    orphan.start()
    pid = orphan.pid
    second = server()
    second.start()
    until(lambda: not orphan.alive(), what="the orphan is gone")
    assert second.pid != pid


def test_a_frozen_orphan_is_ended_before_it_can_take_the_new_socket_away(own, monkeypatch):
    settings, server = own
    monkeypatch.setattr(embedded_redis, "die_with_parent", lambda _: None)
    orphan = server()
    orphan.start()
    os.kill(orphan.pid, signal.SIGSTOP)

    server().start()

    assert not orphan.alive()
    with client(settings) as ours:
        assert ours.ping()


@pytest.mark.parametrize(
    "noted", ["", "nonsense", str(os.getpid()), "4194305"], ids=["none", "nonsense", "another", "nobody"]
)
def test_a_stale_pid_file_ends_nobody(own, noted):
    settings, server = own
    (settings.run_dir / "redis.pid").write_text(noted)
    server().start()
    with client(settings) as ours:
        assert ours.ping()


def test_a_stale_socket_does_not_keep_it_from_starting(own):
    settings, server = own
    socket_path(settings).touch()
    server().start()
    with client(settings) as ours:
        assert ours.ping()


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "apos'trophe", "sp ace", "what?x#y", "50%41", "ünï"])
def test_it_runs_in_a_folder_of_any_name(tmp_path, name):
    own = Settings(data_dir=tmp_path / name)
    ensure_folders(own)
    server = EmbeddedRedis(own)
    server.start()
    try:
        check_reachable(resolve(own), timeout=2)
        with client(own) as ours:
            assert ours.config_get("dir")["dir"] == str(own.redis_dir)
    finally:
        server.stop()


def test_a_folder_too_long_for_a_socket_gets_a_short_one_of_its_own(tmp_path):
    deep = tmp_path / ("d" * 120)
    own = Settings(data_dir=deep)
    ensure_folders(own)
    server = EmbeddedRedis(own)
    server.start()
    try:
        assert len(str(socket_path(own))) < 100
        with client(own) as ours:
            assert ours.ping()
        assert socket_path(own).parent.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()
        socket_path(own).parent.rmdir()


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    theirs = tmp_path / "theirs"
    theirs.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="is not ours"):
        embedded_redis._own_folder(theirs)


def test_a_damaged_store_is_one_line_that_names_the_folder(own):
    settings, server = own
    folder = settings.redis_dir / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_text("nonsense\n")
    (settings.redis_dir / "appendonly.aof").write_text("nonsense\n")
    with pytest.raises(ConfigurationError, match=rf"(?i)at once \(.*(AOF|append).*\).*{settings.redis_dir} away"):
        server().start()


@pytest.mark.parametrize(
    ("program", "words"),
    [("garbage", "cannot be started: Exec format error"), ("#!/bin/sh\necho no luck\n", r"at once \(no luck\)")],
)
def test_a_server_that_does_not_run_is_one_line_with_the_cause(own, tmp_path, monkeypatch, program, words):
    broken = tmp_path / "redis-server"
    broken.write_text(program)
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(ConfigurationError, match=words):
        own[1]().start()


def test_no_server_at_all_is_one_line_with_every_cure(monkeypatch):
    monkeypatch.setattr(embedded_redis.shutil, "which", lambda _name: None)
    monkeypatch.setattr(embedded_redis, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"apt install redis-server.*brew install redis.*docker run"):
        find_server()


# --- Where the broker is ---------------------------------------------------------------------------------------


def test_a_named_broker_wins_then_the_embedded_one_then_the_documents_default(own):
    settings, server = own
    assert resolve(settings).url == DEFAULT_URL
    one = server()
    one.start()
    assert resolve(settings).url == one.url == embedded_url(settings)
    one.stop()
    assert resolve(settings).url == one.url, "once it has existed, no stranger takes its place"
    assert resolve(Settings(data_dir=settings.data_dir, celery_broker_url="redis://h/1")).url == "redis://h/1"


def test_a_broker_that_answers_is_reachable(own):
    settings, server = own
    server().start()
    check_reachable(resolve(settings), timeout=2)


@pytest.mark.parametrize(
    ("source", "cure"),
    [
        ("the default", "start one with `make run` .*, or set CELERY_BROKER_URL."),
        ("CELERY_BROKER_URL", "start it .*, or remove CELERY_BROKER_URL: then `make run` brings its own."),
    ],
)
def test_a_broker_that_does_not_answer_is_one_line_with_a_cure_that_works(source, cure):
    with pytest.raises(ConfigurationError, match=f"does not answer: .*[^.]; {cure}") as error:
        check_reachable(BrokerLocation("redis://127.0.0.1:1/0", source), timeout=1)
    assert "\n" not in str(error.value)


def test_a_refused_password_is_told_and_never_shown(own):
    settings, server = own
    server().start()
    wrong = f"redis+socket://:planted@{socket_path(settings)}?virtual_host=0"
    with pytest.raises(ConfigurationError, match="refuses the password") as error:
        check_reachable(BrokerLocation(wrong, "CELERY_BROKER_URL"), timeout=1)
    assert "planted" not in str(error.value)


def test_a_broker_that_may_throw_tasks_away_is_refused(own):
    settings, server = own
    server().start()
    with client(settings) as ours:
        ours.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(ConfigurationError, match="may lose tasks"):
        check_reachable(resolve(settings), timeout=1)


def test_a_broker_that_is_too_old_is_refused(own, monkeypatch):
    settings, server = own
    server().start()
    monkeypatch.setattr("broker.location.OLDEST_REDIS", (99, 0))
    with pytest.raises(ConfigurationError, match=r"is Redis \d+\.\d+\.\d+; install Redis"):
        check_reachable(resolve(settings), timeout=1)


def test_a_hosted_broker_that_forbids_config_is_reachable(own):
    settings, server = own
    server().start()
    with client(settings) as ours:
        ours.execute_command("ACL", "SETUSER", "default", "-config")
    check_reachable(resolve(settings), timeout=1)


def test_a_hosted_broker_without_the_command_config_is_reachable(tmp_path):
    socket = tmp_path / "redis.sock"
    hosted = subprocess.Popen(
        [find_server(), "--port", "0", "--unixsocket", socket, "--save", "", "--rename-command", "CONFIG", ""],
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    try:
        until(socket.exists)
        check_reachable(BrokerLocation(f"redis+socket://{socket}?virtual_host=0", "CELERY_BROKER_URL"), timeout=1)
    finally:
        hosted.terminate()
        hosted.wait(60)
