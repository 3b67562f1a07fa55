"""Tasks with effects, for workers of their own: they die, freeze or lose an answer where a test says.

Loaded by those workers alone: here a doubt lasts less than it takes to declare a process dead, to spare the tests time.
"""

import http.client
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from processors import doubt
from processors.interfaces import Absent, Happened
from services.celery_app import celery_app

DEADLINE_SECONDS = 1.0
doubt.BEGIN_SECONDS, doubt.MARGIN_SECONDS = 4.0, 0.5


def request(port: int, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        connection.request(method, path, json.dumps(body), {"Idempotency-Key": key} if key else {})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@celery_app.task(name="effects.charge", bind=True, max_retries=0)
def charge(
    self: Any,
    order: str,
    port: int,
    at: str,
    after: float = 0.0,
    look_up: bool = True,
    provider_key: bool = False,
    frozen: str = "",
) -> Any:
    """Charge an order once.

    Args:
        order: the effect's key.
        port: the provider's.
        at: what befalls the first run, and where.
        after: seconds after which `any` strikes.
        look_up: whether the provider can be asked what it did.
        provider_key: whether it gets the key, too.
        frozen: the file in which a process that freezes writes its id.
    """
    strikes = at if self.current.fence.number == 1 else ""
    killer = threading.Timer(after, kill)
    killer.daemon = True

    def call() -> Any:
        if strikes == "before":
            kill()
        if strikes == "freeze":
            Path(frozen).write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        if strikes == "unsent":
            raise TimeoutError("the provider cannot be reached")
        answer = request(port, "POST", "/charges", {"order": order}, order if provider_key else None)
        if strikes == "after":
            kill()
        if strikes == "unanswered":
            raise TimeoutError("the provider does not answer")
        return answer

    def find(key: str) -> Happened | Absent:
        found = request(port, "GET", f"/charges?order={quote(key)}")
        return Happened(found) if found else Absent()

    if strikes == "any":
        killer.start()
    try:
        outcome = self.effect(order, call, deadline=DEADLINE_SECONDS, reconcile=find if look_up else None)
    finally:
        killer.cancel()
    if strikes == "done":
        kill()
    return outcome
