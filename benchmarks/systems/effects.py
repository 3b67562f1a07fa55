"""What every system's tasks have in common: their argument, and the effect by which they are counted.

Imported in each system's own environment: it needs redis-py and nothing else.
"""

import json
import os
import time

from redis import Redis

PAYLOAD_BYTES = 200
WAIT_SECONDS = 0.05
EFFECTS_KEY = "effects"

BROKER_URL = os.environ["BENCH_BROKER_URL"]  # noqa: TID251 - the runner's word to a process of another environment
KEEPS_RESULTS = os.environ["BENCH_RESULTS"] == "1"  # noqa: TID251 - the same
_effects = Redis.from_url(os.environ["BENCH_EFFECTS_URL"])  # noqa: TID251 - the same


class NotBuilt(Exception):
    """The measured way does not exist in this version; the row says so."""


def payload(number: int) -> dict[str, object]:
    """Return the only argument of a task: a dict that has 200 bytes as JSON and carries the task's number."""
    bare = {"number": number, "text": ""}
    return {"number": number, "text": "x" * (PAYLOAD_BYTES - len(json.dumps(bare)))}


def note_effect(argument: dict[str, object]) -> None:
    """Leave a marker with the task's number and the moment (CLOCK_MONOTONIC, one clock for all processes)."""
    _effects.rpush(EFFECTS_KEY, f"{argument['number']} {time.monotonic():.6f}")


def no_operation(argument: dict[str, object]) -> None:
    """Do nothing but be counted."""
    note_effect(argument)


def wait(argument: dict[str, object]) -> None:
    """Wait 50 ms, as for an answer from far away, and be counted."""
    time.sleep(WAIT_SECONDS)
    note_effect(argument)


def echo(argument: dict[str, object]) -> int:
    """Return the task's number."""
    return int(str(argument["number"]))
