"""What a worker that has nothing to do holds in memory: nothing that only a running task or another program needs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plain_worker import Plain
from records import schema
from records.database import Database
from records.workers import Workers
from redis_server import RedisServer, bundled
from waiting import until

TESTS = Path(__file__).parents[1]

NOT_LOADED = {
    # other programs of this project, and what they are made with
    "alembic",
    "mako",
    "typer",
    "flower",
    "tornado",
    "prometheus_client",
    "fastapi",
    "starlette",
    "uvicorn",
    "api",
    "cli",
    "broker.embedded_redis",
    "services.file_child",
    "services.leader",
    "services.supervisor",
    # what a task loads when it runs
    "adapters",
    "engines",
    "smtplib",
    "email.headerregistry",
    "html.parser",
    "services.attachment_files",
    "services.bulk",
    "services.channels",
    "services.contacts",
    "services.enclosures",
    "services.file_tools",
    "services.mail_intake",
    "services.monitoring",
    "services.notifications",
    # what libraries load wherever it is installed
    "attr",
    "greenlet",
    "psutil",
    "pygments",
    "rich",
    "yaml",
    "processors.document_formats",
    "processors.email_templates",
    "av",
    "boto3",
    "bs4",
    "cffi",
    "cryptography.hazmat",
    "css_inline",
    "cv2",
    "docx",
    "faster_whisper",
    "httpx2",
    "jinja2",
    "jsonschema",
    "lxml",
    "mrml",
    "numpy",
    "olefile",
    "onnxruntime",
    "openai",
    "openpyxl",
    "phonenumbers",
    "tokenizers",
    "twilio",
    "vaderSentiment",
    "PIL",
    "pptx",
    "puremagic",
    "pypdfium2",
    "rapidocr",
}
WORK_LOADED = {
    "ai_answers",
    "ai_arguments",
    "ai_interfaces",
    "ai_usage",
    "digests",
    "doubt",
    "errors",
    "interfaces",
    "json_text",
    "limits",
    "moments",
    "redaction",
    "results",
    "schedules",
    "scheduling",
}
"""Of `processors`, what every task, record or submit needs; all else is a task's, which loads it when it first runs."""

RECORDS_NOT_LOADED = {
    f"records.{name}" for name in ("ai_calls", "contacts", "email_events", "inbox", "people", "suppressions")
}
"""What some tasks alone read and write."""

OF_THE_OTHER_DATABASE = {
    "sqlite": {"psycopg", "records.postgresql", "sqlalchemy.dialects.postgresql"},
    "postgresql": {"records.sqlite", "sqlalchemy.dialects.sqlite"},
}


@pytest.fixture
def redis():
    server = RedisServer(bundled()).start()
    yield server
    server.stop()


@pytest.fixture
def probe(tmp_path):
    folder = tmp_path / "probe"
    folder.mkdir()
    return folder


def told(folder: Path, children: int = 2) -> dict[str, list[dict]]:
    """Ask the processes of a worker, and return what they say by their role."""
    (folder / "ask").touch()
    until(lambda: len(list(folder.glob("*.json"))) == 1 + children, what="the parent and its children have told")
    said = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return {role: [one for one in said if one["role"] == role] for role in ("parent", "child")}


def loaded(process: dict, names: set[str]) -> set[str]:
    return {name for name in process["modules"] if name in names or any(name.startswith(f"{one}.") for one in names)}


def test_an_idle_worker_has_loaded_nothing_that_it_does_not_need_and_its_children_share_the_rest(
    database_url, redis, probe, tmp_path
):
    database = Database(database_url)
    schema.prepare(database)
    environment = {
        **os.environ,
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": database_url,
        "CELERY_BROKER_URL": redis.url,
        "PROBE_FOLDER": str(probe),
    }
    modules = "idle_probe,services.celery_service"  # a task of one's own that submits others imports the facade
    command = [sys.executable, "-m", "services.celery_part", "worker", "-I", modules, "--concurrency=2"]
    log = tmp_path / "worker.txt"
    with log.open("wb") as output:
        worker = subprocess.Popen(command, env=environment, cwd=TESTS, stdout=output, stderr=output)
    try:
        until(lambda: " ready." in log.read_text() or worker.poll() is not None, what="the worker is ready")
        assert worker.poll() is None, log.read_text()
        until(lambda: both_have_renewed(database), what="both children have written to the database and read from it")
        (parent,), children = (said := told(probe))["parent"], said["child"]
        unwanted = NOT_LOADED | RECORDS_NOT_LOADED | OF_THE_OTHER_DATABASE[database.kind]
        assert [loaded(one, unwanted) for one in (parent, *children)] == [set(), set(), set()]
        work = {name.removeprefix("processors.") for name in loaded(parent, {"processors"})} - {"processors"}
        assert work - WORK_LOADED == set(), "what only a task needs is loaded by the task"
        own = [set(child["modules"]) - set(parent["modules"]) for child in children]
        assert own == [set(), set()], "what a child loads by itself is not shared"
        assert [child["compiled"] for child in children] == [[], []], "each child would touch all of SQLAlchemy"
        assert all(child["frozen"] > 50_000 for child in children), "the collector would write into what is shared"
    finally:
        database.close()
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)


def both_have_renewed(database: Database) -> bool:
    return sum(row.seen_at > row.started_at for row in Workers(database).living()) == 2


def test_the_children_of_a_plain_worker_on_our_transport_go_on_sharing_its_memory(redis, probe, tmp_path, monkeypatch):
    monkeypatch.setenv("PROBE_FOLDER", str(probe))
    plain = Plain(redis, tmp_path)
    try:
        plain.worker("-I", "idle_probe", "-c", "2")
        said = told(probe)
    finally:
        plain.close()
    assert all(child["frozen"] > 30_000 for child in said["child"])


def test_the_collector_leaves_alone_what_a_worker_of_threads_has_loaded(redis, probe, tmp_path, monkeypatch):
    monkeypatch.setenv("PROBE_FOLDER", str(probe))
    plain = Plain(redis, tmp_path)
    try:
        plain.worker("-I", "idle_probe", "-c", "2", "--pool=threads")
        said = told(probe, children=0)
    finally:
        plain.close()
    assert [one["frozen"] > 30_000 for one in said["parent"]] == [True]
