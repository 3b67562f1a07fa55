"""Many texts by the facade: a bulk whose parts are what one request of a provider takes, and the way to its vectors."""

from collections.abc import Iterator

import numpy as np
import pytest

from ai_protocol import vector_of
from ai_provider import AiProvider
from config.ai_providers import AiModel
from config.ai_providers import AiProvider as ProviderSettings
from config.settings import settings
from processors.errors import IdempotencyConflict, InvalidArgument, TaskFailed, UnknownTask
from processors.limits import DefaultLimits, rate_of
from records.task_records import TaskRecord, columns
from services.celery_service import celery_service
from services.testing import InlineService
from services.wiring import parts

MODEL = "text-embedding-3-small"


@pytest.fixture
def provider() -> Iterator[AiProvider]:
    with AiProvider() as running:
        yield running


@pytest.fixture(autouse=True)
def _provider_is_set(inline_service: InlineService, provider: AiProvider, monkeypatch) -> None:
    known = ProviderSettings.model_validate(
        {"url": provider.url, "key": provider.key, "max_inputs": 3, "models": {MODEL: AiModel(input_price=1.0)}}
    )
    monkeypatch.setattr(settings, "ai_providers", {"fake": known})


def parts_of(bulk: str) -> list[TaskRecord]:
    return sorted(parts().tasks._select(columns.parent_id == bulk), key=lambda one: one.kwargs["first"])


def test_every_text_has_its_vector(provider):
    texts = [f"text {number}" for number in range(8)]

    bulk = celery_service.generate_embeddings(texts, MODEL, dimensions=8)

    result = celery_service.get_task_result(bulk)["result"]
    assert (result["total"], result["done"], len(result["parts"])) == (8, 8, 3)
    assert result["cost"]["currency"] == "USD"
    for position, vector in celery_service.get_vectors(bulk):
        assert np.allclose(vector, vector_of(texts[position], 8), atol=1e-6)
    assert [position for position, _ in celery_service.get_vectors(bulk)] == list(range(8))
    assert len(provider.asked) == 3


def test_a_part_is_what_one_request_of_the_provider_takes_and_tells_its_own_share():
    bulk = celery_service.generate_embeddings([f"text {number}" for number in range(8)], MODEL)
    found = parts_of(bulk)
    assert [(one.kwargs["first"], one.kwargs["count"]) for one in found] == [(0, 3), (3, 3), (6, 2)]
    assert [one.result["done"] for one in found] == [3, 3, 2]
    assert found[1].result["parts"][0]["ranges"] == [{"positions": [3, 6], "row": 0}]
    assert all(one.name == "ai_processing.embed_part" and one.root_id == bulk for one in found)


def test_where_this_program_knows_no_provider_parts_are_of_256_and_the_bulk_fails_with_the_code(monkeypatch):
    monkeypatch.setattr(settings, "ai_providers", {})

    bulk = celery_service.generate_embeddings(["text"] * 300, "gpt-unknown")

    assert [one.kwargs["count"] for one in parts_of(bulk)] == [256, 44]
    with pytest.raises(TaskFailed, match="None of the 300 texts got a vector; the first: No provider serves") as failed:
        celery_service.get_task_result(bulk)
    assert failed.value.result["result"]["failures"][299] == {
        "position": 299,
        "code": "model_missing",
        "error": failed.value.result["result"]["failures"][0]["error"],
    }


def test_the_vector_of_a_single_text_is_read_the_same_way():
    inline = celery_service.generate_embedding("one", MODEL, dimensions=8)
    kept = celery_service.generate_embedding("one", MODEL)
    for task_id, dimensions in ((inline, 8), (kept, 1536)):
        ((position, vector),) = celery_service.get_vectors(task_id)
        assert position == 0
        assert np.allclose(vector, vector_of("one", dimensions), atol=1e-6)


def test_another_methods_task_has_no_vectors_and_nobodys_is_unknown():
    other = celery_service.extract_text("A text.")
    with pytest.raises(InvalidArgument, match="has no vectors"):
        celery_service.get_vectors(other)
    with pytest.raises(UnknownTask):
        celery_service.get_vectors("nobody")


def test_a_key_gives_one_bulk_and_other_texts_or_another_model_are_an_error(provider):
    first = celery_service.generate_embeddings(["a", "b"], MODEL, idempotency_key="k")
    assert celery_service.generate_embeddings(["a", "b"], MODEL, idempotency_key="k") == first
    for texts, model in ((["a"], MODEL), (["a", "b"], "another")):
        with pytest.raises(IdempotencyConflict):
            celery_service.generate_embeddings(texts, model, idempotency_key="k")
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"texts": []}, "at least one text"),
        ({"texts": ["a", ""]}, r"texts\[1\]: must not be empty"),
        ({"texts": ["a"], "model": ""}, "model"),
        ({"texts": ["a"], "dimensions": 0}, "dimensions"),
        ({"texts": ["a"], "queue": "none"}, "no queue is named"),
    ],
)
def test_a_bad_argument_records_nothing(given, words):
    with pytest.raises(InvalidArgument, match=words):
        celery_service.generate_embeddings(**given)
    assert parts().tasks.active(limit=10) == []


def test_parts_wait_for_no_limit_of_starts():
    limits = DefaultLimits(categories={"ai_processing": rate_of("1/m")})
    assert limits.binding("ai_processing", "ai_processing")
    assert not limits.binding("ai_processing", "ai_processing", parent_id="bulk")
