"""What no worker can use is put aside by real workers, seen, put back and deleted; nothing is dropped."""

import json
import subprocess
import sys

from kombu import Producer

from broker.parked_messages import Parked
from config.settings import PROJECT_ROOT
from services import parked
from services.celery_app import celery_app
from waiting import until


def csai(*arguments: str) -> str:
    command = [sys.executable, "-m", "cli.main", "parked", *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def send(body, content_type: str, **headers) -> None:
    with celery_app.connection_for_write() as connection:
        Producer(connection.default_channel).publish(
            body,
            exchange="",
            routing_key="default",
            content_type=content_type,
            content_encoding="utf-8",
            headers=headers,
        )


def test_unknown_tasks_and_unreadable_bodies_are_parked_seen_and_put_back(installation):
    parked.drop()  # what other tests of this installation have sent
    send('[[1], {}, {"callbacks": null}]', "application/json", id="unknown-1", task="no.such.task", lang="py")
    send("[[1], {", "application/json", id="broken-1", task="health.ping", lang="py")
    send("hello", "text/plain")
    until(lambda: parked.count() == 3, what="all three are parked")
    found = {one.task_id: one for one in parked.look(10)}
    assert found["unknown-1"] == Parked(
        "default", "rejected", "unknown-1", "no.such.task", '[[1], {}, {"callbacks": null}]'
    )
    assert found["broken-1"].content == "[[1], {"
    assert found[None].content == "hello"
    assert len(json.loads(csai("list", "--json"))) == 3
    assert "no.such.task" in csai("list")
    assert csai("retry").startswith("2 messages are back")
    until(lambda: parked.count() == 3, what="they are parked again")
    assert csai("drop", "--yes") == "3 messages are deleted.\n"
    assert csai("list") == "Nothing is parked.\n"


def test_what_workers_park_again_at_once_is_put_back_once(installation):
    parked.drop()
    for number in range(30):
        body = '[[], {}, {"callbacks": null}]'
        send(body, "application/json", id=f"unknown-{number}", task="no.such.task", lang="py")
    until(lambda: parked.count() == 30, what="all are parked")
    assert csai("retry").startswith("30 messages are back")
    until(lambda: parked.count() == 30, what="they are parked again")
    csai("drop", "--yes")
