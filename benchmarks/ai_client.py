"""Submit texts to a service that runs, wait for their vectors, and check each: a process of the AI benchmark.

python benchmarks/ai_client.py tasks 10000 found.json
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ai_protocol import DIMENSIONS, vector_of
from processors.errors import ResultError
from services.celery_service import celery_service

MODEL = "text-embedding-3-small"
CHARACTERS = 200
LONGEST_SECONDS = 3600


def text_of(number: int) -> str:
    """Return a text of 200 characters, another one for each number."""
    return f"{number:06} The pump moved water all night, as it should. ".ljust(CHARACTERS, "x")


def from_tasks(count: int) -> Iterator[tuple[int, Any]]:
    """Embed each text by a task of its own; yield its number, and its vector or why there is none."""
    ids = [celery_service.generate_embedding(text_of(number), model=MODEL) for number in range(count)]
    for number, task_id in enumerate(ids):
        try:
            told = celery_service.get_task_result(task_id, timeout=LONGEST_SECONDS)["result"]
        except ResultError as error:
            yield number, str(error)
        else:
            yield number, np.frombuffer(celery_service.get_artefact(told["uri"]), "<f4")


def in_bulk(count: int) -> Iterator[tuple[int, Any]]:
    """Embed all texts by one task; yield the number of each that has a vector, and that."""
    task_id = celery_service.generate_embeddings([text_of(number) for number in range(count)], model=MODEL)
    celery_service.get_task_result(task_id, timeout=LONGEST_SECONDS)
    yield from celery_service.get_vectors(task_id)


WAYS = {"tasks": from_tasks, "bulk": in_bulk}


def main() -> None:
    """Write the seconds that it took, and which texts got no vector or another's, with the first one's reason."""
    way, count, target = WAYS[sys.argv[1]], int(sys.argv[2]), Path(sys.argv[3])
    began = time.monotonic()
    missing = dict.fromkeys(range(count), "no vector")
    for number, found in way(count):
        right = vector_of(text_of(number), DIMENSIONS[MODEL])
        if isinstance(found, str):
            missing[number] = found
        elif np.array_equal(found, right):
            del missing[number]
        else:
            missing[number] = "another vector"
    seconds = time.monotonic() - began
    target.write_text(json.dumps({"seconds": seconds, "missing": missing}))


if __name__ == "__main__":
    main()
