"""One text as a vector: from a provider, or from the model that runs here."""

import numpy as np
import pytest

from ai_provider import Fault
from ai_work import ADA, SMALL, AiWork, needs_weights, unheard
from processors.ai_interfaces import ModelTerms, Usage
from processors.ai_requests import GenerateEmbedding
from processors.ai_vectors import Vector, Vectors
from processors.embeddings import EmbeddingGenerated, EmbeddingTools, generate_embedding, text_vector
from processors.errors import AiError
from services.wiring import parts


def made(work: AiWork, *servings, default: str = ADA, **request) -> EmbeddingGenerated:
    gateway = work.gateway(*servings)
    tools = EmbeddingTools(
        routes=gateway.routes,
        vectors=Vectors(gateway),
        engine=lambda: parts().embedding_engine,
        default_model=default,
        asker=(asker := work.asker()),
        storage=parts().storage,
        task_id=asker.run.task_id,
    )
    return generate_embedding(GenerateEmbedding(**request), tools, unheard)


def codes(done: EmbeddingGenerated) -> list[str]:
    return [one["code"] for one in done.warnings]


@needs_weights
def test_without_a_provider_the_documents_model_is_served_here_and_says_so(work):
    done = made(work, text="Sample text for embedding")
    assert (done.result.model, done.result.provider, codes(done)) == (
        "all-MiniLM-L6-v2",
        "local",
        ["model_substituted"],
    )
    assert (done.result.dimensions, len(done.result.vector), done.result.uri) == (384, 384, None)
    assert np.linalg.norm(done.result.vector) == pytest.approx(1, abs=1e-5)


@needs_weights
def test_the_model_that_runs_here_is_served_by_its_own_name_without_a_warning(work):
    assert codes(made(work, work.serving(ADA), text="x", model="all-MiniLM-L6-v2")) == []


def test_with_a_provider_nothing_is_substituted(work):
    done = made(work, work.serving(ADA), text="with a provider")
    assert (done.result.model, codes(done), done.provenance[0]["engine"]) == (ADA, [], "openai-compatible")
    with pytest.raises(AiError, match="No provider serves the model") as error:
        made(work, work.serving(SMALL), text="x")
    assert error.value.code == "model_missing"


def test_another_name_that_nobody_serves_is_an_error_that_names_the_settings(work):
    with pytest.raises(AiError, match=r"'text-embedding-9'.*OPENAI_API_KEY") as error:
        made(work, text="x", model="text-embedding-9")
    assert error.value.code == "model_missing"


@pytest.mark.parametrize(("currency", "cost"), [("EUR", 0.0004), ("USD", None)])
def test_what_the_pieces_of_a_text_cost_is_one_sum_in_one_currency_alone(currency, cost):
    def piece(currency: str) -> Vector:
        return Vector(np.ones(2, "f4"), "m", "p", Usage(input_tokens=100), 0.0002, currency)

    assert text_vector({(0, 5): piece("EUR"), (5, 9): piece(currency)}).cost == cost


def test_pieces_of_which_two_providers_give_different_dimensions_are_refused_by_name():
    def piece(provider: str, dimensions: int) -> Vector:
        return Vector(np.ones(dimensions, "f4"), "m", provider, Usage(input_tokens=1), None, "")

    with pytest.raises(AiError, match=r"one with 2, other with 3\): see that AI_PROVIDERS.*model m") as error:
        text_vector({(0, 5): piece("one", 2), (5, 9): piece("other", 3)})
    assert error.value.code == "provider_bad_response"


def test_a_vector_of_less_than_4_kb_is_told_and_a_longer_one_is_an_artefact(work):
    short = made(work, work.serving(SMALL), text="short", model=SMALL, dimensions=1023).result
    assert (len(short.vector), short.uri) == (1023, None)
    done = made(work, work.serving(SMALL), text="long", model=SMALL, dimensions=1024)
    assert done.result.vector is None
    kept = np.frombuffer(parts().storage.get(done.result.uri), "<f4")
    assert (len(kept), done.artefacts[0].uri, done.artefacts[0].bytes) == (1024, done.result.uri, 4096)


def test_what_it_took_is_told_and_noted_for_the_task(work):
    done = made(work, work.serving(SMALL, prices=ModelTerms(input_price=20.0)), text="what it took", model=SMALL)
    assert done.result.usage.input_tokens > 0
    assert not done.result.usage.estimated
    assert done.result.cost.amount == pytest.approx(done.result.usage.input_tokens * 20 / 1e6)
    assert [one.status for one in done.result.attempts] == ["ok"]


def test_a_long_text_is_cut_between_words_and_its_vector_is_the_weighted_mean_of_its_pieces(work):
    text = " ".join(f"word{number}" for number in range(3000))
    serving = work.serving(SMALL, max_input_tokens=2000)
    done = made(work, serving, text=text, model=SMALL, dimensions=16)
    chunks = done.result.chunks
    assert len(chunks) > 1
    pieces = [text[slice(*one.range)] for one in chunks]
    assert "".join(pieces) == text
    assert all(piece.startswith("word") for piece in pieces)
    vectors = [made(work, serving, text=piece, model=SMALL, dimensions=16).result.vector for piece in pieces]
    mean = np.average(vectors, axis=0, weights=[one.tokens for one in chunks])
    assert np.allclose(done.result.vector, mean / np.linalg.norm(mean), atol=1e-5)
    assert done.result.normalized


def test_a_text_that_the_provider_finds_too_long_is_halved(work):
    work.provider.next(
        Fault.status(400, "This model's maximum context length is 8192 tokens.", "context_length_exceeded")
    )
    done = made(work, work.serving(SMALL), text="too long for it " * 40, model=SMALL, dimensions=8)
    assert len(done.result.chunks) == 2


@needs_weights
def test_other_dimensions_than_the_local_models_are_refused(work):
    with pytest.raises(AiError, match="has 384 dimensions, not 7"):
        made(work, text="x", dimensions=7)
