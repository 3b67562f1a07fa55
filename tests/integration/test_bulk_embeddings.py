"""Many texts over a real worker that is killed: each gets its vector, and a kill costs one request at most."""

import json
import os
import random
from collections.abc import Iterator

import numpy as np
import pytest

from ai_protocol import vector_of
from ai_provider import AiProvider
from installation import Installation
from services.celery_service import celery_service
from waiting import until

MODEL, DIMENSIONS = "text-embedding-3-small", 16
TEXTS = [f"text number {number}" for number in range(3_000)]
PER_REQUEST, KILLS, AT_ONCE = 50, 3, 2
"""The worker's two processes have a request each under way."""


@pytest.fixture
def provider(installation: Installation) -> Iterator[AiProvider]:
    """A provider that takes a while for each answer, so that a kill meets one, and a worker that knows it."""
    with AiProvider(seconds=0.1) as running:
        named = {"fake": {"url": running.url, "key": running.key, "models": [MODEL], "max_inputs": PER_REQUEST}}
        installation.worker.stop()
        installation.worker.variables["AI_PROVIDERS"] = json.dumps(named)
        installation.start_worker()
        yield running
        installation.worker.stop()
        del installation.worker.variables["AI_PROVIDERS"]
        installation.start_worker()


def test_three_kills_lose_no_vector_and_pay_one_request_twice_each(installation, provider):
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    print("seed", seed)  # noqa: T201 - a failing run shows it
    chance = random.Random(seed)
    task_id = celery_service.generate_embeddings(TEXTS, MODEL, dimensions=DIMENSIONS)

    for kill in range(KILLS):
        wanted = len(provider.asked) + chance.randrange(3, 12)
        until(lambda wanted=wanted: len(provider.asked) >= wanted, what=f"request {wanted}, kill {kill}")
        installation.worker.kill()
        installation.start_worker()
    result = celery_service.get_task_result(task_id, timeout=120)

    assert (result["status"], result["result"]["done"], result["result"]["pending"]) == ("ok", len(TEXTS), 0)
    found = dict(celery_service.get_vectors(task_id))
    assert sorted(found) == list(range(len(TEXTS)))
    assert all(np.allclose(found[at], vector_of(text, DIMENSIONS), atol=1e-6) for at, text in enumerate(TEXTS))
    counts = provider.counts()
    print(counts["requests"], "requests,", counts["paid_twice"], "texts paid twice")  # noqa: T201 - its figures
    assert counts["paid_twice"] <= KILLS * AT_ONCE * PER_REQUEST
