"""`start_celery.py` as people use it: one command starts everything, and nothing is left, however it ends."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from base64 import b64encode
from contextlib import closing, suppress

import psutil
import pytest

from config.settings import PROJECT_ROOT
from records import schema
from records.database import Database
from service import SCRIPT, Service
from waiting import until


@pytest.fixture
def service(tmp_path):
    """An installation that is not started yet."""
    service = Service(tmp_path)
    yield service
    service.end()
    print(service.said())  # noqa: T201 - a failing test shows it


@pytest.mark.slow
def test_one_command_starts_everything_and_ctrl_c_leaves_nothing(service: Service):  # noqa: PLR0915 - one start serves all
    service.start().until_ready()
    said = service.said()
    key, password = ((service.data / "run" / name).read_text() for name in ("api-key", "flower-password"))

    # what it says, and no secret of it outside a terminal
    for words in (f"http://127.0.0.1:{service.port}/api/v1", f"http://127.0.0.1:{service.flower_port}", "user csai"):
        assert words in said
    assert key not in said
    assert password not in said

    # mail in, result out, by the command line and over HTTP
    sent = service.run(
        *(sys.executable, "-m", "cli.main", "submit", "send_email", "--to-email", "ann@example.com"),
        *("--subject", "Hi", "--body", "<p>x</p>", "--wait"),
    )
    assert sent.returncode == 0, sent.stderr
    task_id = sent.stdout.split()[0]
    assert (service.data / "outbox" / f"{task_id}-0.eml").exists()
    status, body = service.get(service.port, f"/api/v1/tasks/{task_id}", Authorization=f"Bearer {key}")
    assert (status, json.loads(body)["status"]) == (200, "SUCCESS")
    assert service.get(service.port, f"/api/v1/tasks/{task_id}")[0] == 401
    assert service.get(service.port, "/readyz")[0] == 200
    shown = service.run(sys.executable, "-m", "cli.main", "show", task_id, "--json")
    assert json.loads(shown.stdout)["info"]["accepted"] == ["ann@example.com"]
    doctor = service.run(sys.executable, "-m", "cli.main", "doctor")
    assert doctor.returncode == 0, doctor.stdout

    # Flower: this machine only, behind its login, with true data
    login = "Basic " + b64encode(f"csai:{password}".encode()).decode()
    assert service.get(service.flower_port, "/workers")[0] == 401
    assert service.get(service.flower_port, "/workers", Authorization=login, Host="evil.example")[0] == 421
    task = until(lambda: flower_task(service, task_id, login), what="Flower knows the task")
    assert (task["name"], task["state"]) == ("email.send_email", "SUCCESS")
    status, broker = service.get(service.flower_port, "/broker", Authorization=login)
    assert status == 200
    assert "file_processing" in broker
    workers = json.loads(service.get(service.flower_port, "/api/workers?refresh=1", Authorization=login)[1])
    assert {name.split("@")[0] for name in workers} == {"io", "heavy"}
    metrics = service.get(service.flower_port, "/metrics", Authorization=login)[1]
    assert re.search(r"flower_task_runtime_seconds_count\{.*email\.send_email.*\} [1-9]", metrics)
    for listening in listeners(service):
        assert listening.laddr.ip == "127.0.0.1"

    # the example runs to its end
    example = service.run(sys.executable, "-m", "examples.celery_example")
    assert example.returncode == 0, example.stdout
    assert re.search(r"(\d+) of \1 rows are good", example.stdout)

    # a second one is refused in one line
    second = service.run(*SCRIPT, "all")
    assert second.returncode == 1
    assert re.fullmatch(r"The service of .* runs already \(process \d+\); stop that one first.*\n", second.stderr)

    # a part that dies comes back
    beat = started(service, "beat")[0]
    beat.kill()
    until(lambda: "beat ended (-9) and starts again in 1 s." in service.said(), what="the end of beat is told")
    until(lambda: started(service, "beat"), what="beat is back")
    service.note_processes()

    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(60) == 0
    assert service.said().endswith("Stopped.\n")
    assert "Soft Shutdown" not in (service.data / "logs" / "worker.log").read_text(), "who has no task does not wait"
    assert service.living() == []
    assert not [path for path in (service.data / "run").iterdir() if path.is_socket()]


HOLD_BOTH_SLOTS = """
from services.celery_service import celery_service as service
from services.wiring import parts
from waiting import until

stuck, beside = (service.send_email("ann@example.com", "Hi", "x") for _ in range(2))
until(lambda: all(parts().deliveries.outcomes(one, 0) for one in (stuck, beside)))  # cancelled before, it would end
assert service.cancel_task(stuck)
service.get_task_result(service.get_system_stats(), timeout=100)
status = service.get_task_status(beside)["status"]
assert status in {"STARTED", "PROGRESS", "RETRY"}, status
"""


@pytest.mark.slow
def test_a_task_that_does_not_end_costs_no_slot_and_no_neighbour(service: Service):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        service.environment["EMAIL_URL"] = f"smtp://127.0.0.1:{silent.getsockname()[1]}"
        service.start().until_ready()
        first = started(service, "--hostname=io@%h")

        done = service.run(sys.executable, "-c", HOLD_BOTH_SLOTS)

        assert done.returncode == 0, done.stderr
        taken = "worker io has a task that does not end: another process takes its place."
        until(lambda: taken in service.said(), what="the supervisor says so")
        service.note_processes()
    until(lambda: "worker io ended (75); its place was taken before." in service.said(), what="the old one's end")
    (second,) = started(service, "--hostname=io@%h")
    assert [second] != first
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(60) == 0
    assert service.living() == []
    assert not list((service.data / "run").glob("draining-*"))


@pytest.mark.slow
def test_a_killed_supervisor_leaves_no_process_and_the_next_start_works(service: Service):
    service.start().until_ready()
    service.process.kill()
    service.process.wait()

    _, alive = psutil.wait_procs(service.living(), 30)
    assert alive == []
    service.log.unlink()
    service.start().until_ready()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    assert service.living() == []


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once_even_a_worker_that_is_busy(service: Service):
    service.environment |= {"PYTHONPATH": service.environment["PYTHONPATH"], "SOFT_SHUTDOWN_TIMEOUT": "500"}
    service.start().until_ready()
    worker = started(service, "--hostname=io@%h")[0]
    worker.suspend()
    service.process.send_signal(signal.SIGINT)
    until(lambda: "a second Ctrl-C stops at once" in service.said())
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(30) == 0
    assert service.living() == []


@pytest.mark.slow
def test_a_closed_terminal_is_a_clean_stop_however_often_it_is_told(service: Service):
    service.start().until_ready()
    worker = started(service, "--hostname=io@%h")[0]
    worker.suspend()
    service.process.send_signal(signal.SIGHUP)
    until(lambda: "Stopping" in service.said())
    service.process.send_signal(signal.SIGHUP)
    until(lambda: not started(service, "api"), what="the stop goes on")
    worker.resume()

    assert service.process.wait(60) == 0
    assert service.living() == []
    with closing(sqlite3.connect(service.data / "records.db")) as records:
        assert records.execute("SELECT count(*) FROM workers WHERE stopped_at IS NULL").fetchone() == (0,)


@pytest.mark.slow
def test_its_addresses_can_be_copied_where_it_listens_on_ipv6(service: Service):
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        service.environment |= {"HOST": "::1", "FLOWER_HOST": "::1"}
        service.start().until_ready()
        assert f"http://[::1]:{service.port}/livez" in service.said()
        assert f"http://[::1]:{service.flower_port}\n" in service.said()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        return
    pytest.skip("this machine has no IPv6")


@pytest.mark.slow
def test_under_nohup_it_outlives_its_terminal(service: Service):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        service.start()
    finally:
        signal.signal(signal.SIGHUP, before)
    service.until_ready()
    service.process.send_signal(signal.SIGHUP)
    beat = started(service, "beat")[0]
    beat.kill()
    until(lambda: "beat ended (-9)" in service.said(), what="it still watches")
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0


@pytest.mark.slow
def test_a_terminal_is_shown_the_key_and_closing_it_stops_everything(service: Service):
    terminal, inner = os.openpty()
    service.process = subprocess.Popen(
        [*SCRIPT, "all"], stdout=inner, stderr=inner, env=service.environment, cwd=PROJECT_ROOT
    )
    os.close(inner)
    shown = bytearray()

    def ready() -> bool:
        shown.extend(os.read(terminal, 65_536))
        return b"Try it: make example" in shown

    until(ready, 120, "it is ready")
    service.note_processes()
    assert (service.data / "run" / "api-key").read_bytes() in bytes(shown)
    assert (service.data / "run" / "flower-password").read_bytes() in bytes(shown)
    password = re.search(rb"user    admin, password (\S{24}) ", bytes(shown))[1]
    kept = [path for path in service.data.rglob("*") if path.is_file() and password in path.read_bytes()]
    assert kept == []  # the first password of the dashboard is in no log and no database
    assert service.get(service.port, "/login")[0] == 200
    os.close(terminal)
    service.process.send_signal(signal.SIGHUP)
    assert service.process.wait(60) == 0
    assert service.living() == []


def flower_task(service: Service, task_id: str, login: str) -> dict | None:
    status, body = service.get(service.flower_port, f"/api/task/info/{task_id}", Authorization=login)
    return json.loads(body) if status == 200 and json.loads(body)["state"] == "SUCCESS" else None


def children(service: Service) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children(recursive=True)


def started(service: Service, word: str) -> list[psutil.Process]:
    """Return the service's processes with a word in their command line; one that has just ended has none."""
    found: list[psutil.Process] = []
    for one in children(service):
        with suppress(psutil.NoSuchProcess):
            found += [one] if word in one.cmdline() else []
    return found


def listeners(service: Service) -> list:
    return [
        one
        for process in children(service)
        for one in process.net_connections(kind="tcp")
        if one.status == psutil.CONN_LISTEN
    ]


# --- What cannot start says why in one line ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PORT": "taken"}, r"PORT \d+ on 127.0.0.1 cannot be used: Address already in use; set PORT to a free port."),
        ({"FLOWER_PORT": "taken"}, r"FLOWER_PORT \d+ on 127.0.0.1 cannot be used"),
        ({"HOST": "192.0.2.1"}, r"PORT \d+ on 192.0.2.1 cannot be used.*; set HOST to an address of this machine."),
        (
            {"FLOWER_HOST": "no.such.host.invalid"},
            r"FLOWER_PORT \d+ on no\S+ cannot be used: no machine has this name; set FLOWER_HOST to an address",
        ),
        ({"PORT": "7000", "FLOWER_PORT": "7000"}, "PORT and FLOWER_PORT are both 7000"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL is 'LOUD': must be one of"),
        ({"DATA_DIR": "/proc/nothing"}, "cannot be written.*set DATA_DIR"),
        (
            {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0"},
            "The broker redis://127.0.0.1:1/0 .*does not answer.*CELERY_BROKER_URL",
        ),
        ({"DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}, "127.0.0.1:1"),
    ],
    ids=range(9),
)
def test_a_start_that_cannot_work_is_one_line_and_starts_nothing(service: Service, variables, words):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = {name: str(taken.getsockname()[1]) if value == "taken" else value for name, value in variables.items()}
        done = service.run(*SCRIPT, "all", **given)
    assert done.returncode != 0
    assert re.search(words, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("part", ["all", "web"])
@pytest.mark.parametrize(
    ("version", "cures"),
    [
        ("9999", {"all": "is version 9999, .* start the newer program", "web": "start the newer program"}),
        ("0000", {"all": "cannot be brought to version .*0000", "web": "is version 0000, .* run `csai db upgrade`"}),
    ],
    ids=["ahead", "behind"],
)
def test_a_schema_that_is_not_this_programs_is_one_line_with_the_cure(service: Service, part, version, cures):
    service.data.mkdir()
    database = Database(f"sqlite:///{service.data}/records.db")
    schema.prepare(database)
    database.write(lambda c: c.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'"))
    database.close()
    done = service.run(*SCRIPT, part)
    assert done.returncode == 1
    assert re.search(cures[part], done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("kilobytes", [4, 40])
def test_a_disk_that_takes_nothing_more_is_one_line(service: Service, kilobytes):
    service.environment.pop("COVERAGE_PROCESS_CONFIG", None)  # its own file would not fit either
    done = service.run("sh", "-c", f"ulimit -f {2 * kilobytes}; exec {sys.executable} {SCRIPT[1]} all")
    assert done.returncode == 1
    assert re.fullmatch(r".*(disk I/O error|File too large).*; (check|make room) .*\n", done.stderr)


def test_a_secret_that_could_not_be_written_leaves_nothing_behind(service: Service, tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir()
    code = f"from config.secret_files import secret; from pathlib import Path; secret(Path({str(folder / 'key')!r}))"
    done = service.run("sh", "-c", f'ulimit -f 0; exec {sys.executable} -c "$0"', code)
    assert "File too large" in done.stderr
    assert list(folder.iterdir()) == []


def test_ctrl_c_while_it_loads_is_no_traceback(service: Service, tmp_path):
    stub = tmp_path / "config"
    stub.mkdir()
    (stub / "__init__.py").touch()
    (stub / "settings.py").write_text("import signal\nprint('loads', flush=True)\nsignal.pause()\n")
    service.environment["PYTHONPATH"] = str(tmp_path)
    service.start()
    until(lambda: service.said() == "loads\n", what="it loads")
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(60) == -signal.SIGINT
    assert service.said() == "loads\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["worker", "--queues", "mail"], "no queue is named 'mail'; the queues are high_priority, default"),
        (["worker", "--concurrency", "0"], "must be a whole number of 1 or more; got '0'"),
        (["worker", "--loglevel", "loud"], "invalid choice: 'LOUD'"),
        (["everything"], "invalid choice: 'everything'"),
        ([], "the following arguments are required"),
    ],
    ids=range(5),
)
def test_a_wrong_argument_is_named_with_what_is_accepted(service: Service, arguments, words):
    done = service.run(*SCRIPT, *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_python_without_the_packages_is_told_the_cure(service: Service):
    done = service.run(sys.executable, "-S", "-E", "scripts/start_celery.py", "all")
    assert done.returncode == 1
    assert re.fullmatch(r"\w+ is not installed for .*: run `make setup`, then .*\n", done.stderr)


@pytest.mark.parametrize(
    "command",
    [
        [*SCRIPT, "worker"],
        [*SCRIPT, "beat"],
        [sys.executable, "-m", "celery", "-A", "services.celery_app:celery_app", "worker"],
    ],
    ids=["script", "beat", "celery"],
)
def test_a_single_part_without_a_broker_is_one_line_with_the_cure(service: Service, command):
    done = service.run(*command, CELERY_BROKER_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert "does not answer" in done.stderr.splitlines()[-1]
    assert "make run" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
