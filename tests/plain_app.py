"""A Celery app as users have it: no records and no settings of ours; the environment says where its broker is.

Every effect of a task is an entry of the list `effects` in the database that `PLAIN_EFFECTS` names.
"""

import json
import os
import sys
import time
from functools import cache

from celery import Celery
from celery.exceptions import Reject
from redis import Redis

HOLD_SECONDS = 60
QUEUE = "work"


def app_of(broker: str, backend: str, **settings) -> Celery:
    """Return the app, for a worker or for a publisher."""
    made = Celery("plain", broker=broker, backend=backend, set_as_current=False)
    defaults = {
        "task_default_queue": QUEUE,
        "task_acks_late": True,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {"priority_steps": [0, 3, 6, 9]},
        "result_expires": 60,
        "worker_hijack_root_logger": False,
    }
    made.conf.update(defaults | settings)
    return made


@cache
def effects() -> Redis:
    return Redis.from_url(os.environ["PLAIN_EFFECTS"], decode_responses=True)


if os.environ.get("PLAIN_TRANSPORT") == "claims":
    from broker import redis_transport

    redis_transport.register()

app = app_of(
    os.environ.get("PLAIN_BROKER", "memory://"),
    os.environ.get("PLAIN_BACKEND", "cache+memory://"),
    **json.loads(os.environ.get("PLAIN_SETTINGS", "{}")),
)


if os.environ.get("PLAIN_GIVES_BACK_EARLY"):
    from broker.warm_shutdown import give_back_early

    give_back_early(app)


@app.task(shared=False, name="add")
def add(first: int, second: int) -> int:
    return first + second


@app.task(shared=False, name="total")
def total(values: list[int]) -> int:
    return sum(values)


@app.task(shared=False, name="note")
def note(value: object) -> None:
    effects().rpush("effects", value)


@app.task(shared=False, name="note_time")
def note_time(value: object) -> None:
    effects().rpush("effects", json.dumps([value, time.time()]))


@app.task(shared=False, name="hold")
def hold(value: object, name: str = "release") -> None:
    """Begin, wait until the key exists, end."""
    effects().rpush("effects", f"begin {value}")
    deadline = time.monotonic() + HOLD_SECONDS
    while not effects().exists(name) and time.monotonic() < deadline:
        time.sleep(0.01)
    effects().rpush("effects", f"end {value}")


@app.task(shared=False, name="note_process")
def note_process() -> None:
    effects().rpush("effects", os.getpid())


@app.task(shared=False, name="again", bind=True, max_retries=5)
def again(self, times: int) -> int:
    """Fail so often, then succeed."""
    effects().rpush("effects", f"attempt {self.request.retries}")
    if self.request.retries < times:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(shared=False, name="reject", bind=True)
def reject(self, requeue: bool) -> None:
    """Reject the message the first time, at its second delivery succeed."""
    redelivered = bool(self.request.delivery_info.get("redelivered"))
    effects().rpush("effects", f"redelivered {redelivered}")
    if not redelivered:
        raise Reject("not now", requeue=requeue)


@app.task(shared=False, name="die_once")
def die_once() -> None:
    """Kill the process that runs this, the first time."""
    if effects().incr("deaths") == 1:
        os.kill(os.getpid(), 9)
    effects().rpush("effects", "lived")


def fill(count: int) -> None:
    """Publish so many `note`s over all priorities."""
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(count):
            app.send_task("note", [number], priority=(0, 3, 6, 9)[number % 4], producer=producer)


if __name__ == "__main__":
    fill(int(sys.argv[1]))
