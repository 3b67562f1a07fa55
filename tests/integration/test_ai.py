"""AI through a real worker: against an endpoint as strict as OpenAI's, which misbehaves as a test tells it."""

import random
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import update

from ai_protocol import vector_of
from ai_provider import KEY, AiProvider, Fault
from installation import Installation
from processors.errors import TaskFailed
from records.ai_accounts import ai_accounts
from records.columns import Now
from records.task_records import task_records
from services.celery_service import celery_service
from services.wiring import parts
from waiting import until

CHAT, SMALL = "gpt-4o-mini", "text-embedding-3-small"


@pytest.fixture(scope="module")
def provider(installation: Installation) -> Iterator[AiProvider]:
    """An endpoint, and the installation's worker with its address and key."""
    usual = installation.worker.variables
    with AiProvider() as endpoint:
        installation.worker.stop()
        installation.worker.variables = usual | {"OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": KEY}
        installation.start_worker()
        yield endpoint
        installation.worker.stop()
    installation.worker.variables = usual
    installation.start_worker()


def failed(task_id: str) -> dict:
    with pytest.raises(TaskFailed):
        celery_service.get_task_result(task_id, timeout=60)
    return celery_service.get_task_status(task_id)["info"]


def test_a_chat_is_answered_with_its_usage_in_the_result_and_in_the_report(provider):
    task_id = celery_service.process_chat("Hello there", [{"role": "user", "content": "Before"}], CHAT)
    done = celery_service.get_task_result(task_id, timeout=60)
    assert (done["status"], done["schema"]) == ("ok", "csai.chat/1")
    assert done["result"]["message"]["content"]
    (line,) = celery_service.get_ai_usage(task_id=task_id)
    assert (line["calls"], line["kind"]) == (1, "chat")
    assert line["input_tokens"] == done["result"]["usage"]["input_tokens"] > 0
    assert any(one["model"] == CHAT for one in celery_service.get_ai_usage())


def test_a_vector_is_the_one_that_the_provider_gave(provider):
    task_id = celery_service.generate_embedding("A text of its own", SMALL)
    done = celery_service.get_task_result(task_id, timeout=60)
    kept = np.frombuffer(celery_service.get_artefact(done["result"]["uri"]), "<f4")
    assert np.allclose(kept, vector_of("A text of its own", len(kept)))
    assert done["warnings"] == []


def test_the_text_so_far_is_seen_while_it_comes(provider):
    gate = threading.Event()
    provider.next(Fault.held(4, gate))
    task_id = celery_service.process_chat("one two three four five six seven", model=CHAT)
    try:
        until(
            lambda: (celery_service.get_task_status(task_id)["info"] or {}).get("partial_text"), what="a partial text"
        )
        partial = celery_service.get_task_status(task_id)["info"]["partial_text"]
    finally:
        gate.set()
    done = celery_service.get_task_result(task_id, timeout=60)
    assert done["result"]["message"]["content"].startswith(partial)
    assert parts().tasks.read(task_id).partial_text is None


def test_a_key_that_is_refused_burns_no_attempt_is_told_and_goes_on_once_it_works(provider):
    provider.key = "sk-another"
    task_id = celery_service.process_chat("Do you take my key?", model=CHAT)
    until(lambda: celery_service.get_task_status(task_id)["status"] == "RETRY", what="the task waits")
    info = celery_service.get_task_status(task_id)["info"]
    assert info["error_type"] == "ProviderBusy"
    assert "sk-" not in info["error"]
    health = celery_service.get_task_result(celery_service.health_check(), timeout=60)
    (told,) = [one for one in health["checks"] if one["name"] == "providers"]
    assert told["status"] == "degraded"
    assert "openai is not asked (provider_auth)" in told["detail"]
    assert parts().tasks.read(task_id).attempt == 0
    provider.key = KEY
    parts().database.write(lambda c: c.execute(update(ai_accounts).values(paused_until=None)))  # a minute later
    due = update(task_records).where(task_records.c.id == task_id).values(relay_at=Now(), due_at=Now())
    parts().database.write(lambda c: c.execute(due))
    done = celery_service.get_task_result(task_id, timeout=60)
    assert done["result"]["message"]["content"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.message("content_filter", content=""), "content_filtered"),
        (Fault.no_credit(), "budget_exceeded"),
        (Fault.status(404, "no such model", "model_not_found"), "model_missing"),
        (Fault.status(400, "maximum context length is 9 tokens", "context_length_exceeded"), "context_too_long"),
        (Fault.validation(), "provider_bad_response"),
    ],
)
def test_what_a_provider_refuses_fails_at_once_with_a_code_of_its_own(provider, fault, code):
    provider.next(fault)
    task_id = celery_service.process_ai_request("chat", {"message": f"refuse me: {code}"}, {"model": CHAT})
    assert failed(task_id)["code"] == code
    assert parts().tasks.read(task_id).attempt == 0


def test_an_answer_cut_at_the_token_limit_is_partial(provider):
    provider.next(Fault.message("length", content="cut"))
    task_id = celery_service.process_ai_request("chat", {"message": "go on and on"}, {"model": CHAT})
    done = celery_service.get_task_result(task_id, timeout=60)
    assert (done["status"], done["limits"]["hit"]) == ("partial", ["max_output_tokens"])


@pytest.mark.slow
def test_none_is_lost_though_the_worker_is_killed(provider, installation: Installation):
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 - a failing run shows it
    chance = random.Random(seed)
    provider.seconds = 0.02
    texts = [f"text number {number}" for number in range(200)]
    tasks = [
        celery_service.generate_embedding(text, SMALL) if number % 2 else celery_service.process_chat(text, model=CHAT)
        for number, text in enumerate(texts)
    ]

    def ended() -> int:
        return sum(bool(parts().tasks.is_final(task_id)) for task_id in tasks)

    def until_ended(least: int) -> None:
        until(lambda: ended() >= least, 180, f"{least} have ended")

    for kill in range(3):
        until_ended(40 * kill + chance.randint(20, 40))
        installation.worker.kill()
        installation.start_worker()
    until_ended(len(tasks))
    results = [celery_service.get_task_result(task_id, timeout=0) for task_id in tasks]
    assert {one["status"] for one in results} == {"ok"}
    for text, done in list(zip(texts, results, strict=True))[1::2]:
        kept = np.frombuffer(celery_service.get_artefact(done["result"]["uri"]), "<f4")
        assert np.allclose(kept, vector_of(text, len(kept))), text
