"""AI by the facade, with the models that run here: the document's own example, refusals, and one model a process."""

from types import SimpleNamespace

import numpy as np
import pytest

from ai_protocol import vector_of
from ai_provider import AiProvider
from ai_work import CHAT, needs_weights
from config.ai_providers import read_providers
from config.settings import settings
from documentation import examples
from processors.errors import TaskFailed
from records.ai_calls import UsageLine
from services import wiring
from services.celery_service import celery_service
from services.celery_tasks.ai_processing_tasks import analyze_sentiment
from services.status import usage_of
from services.wiring import parts


@pytest.mark.usefixtures("inline_service")
def test_the_documents_text_is_positive():
    task_id = celery_service.analyze_sentiment(text="I love this product!", detailed=True)
    result = celery_service.get_task_result(task_id)
    assert (result["schema"], result["status"], result["result"]["label"]) == ("csai.sentiment/1", "ok", "positive")
    assert [one["text"] for one in result["result"]["sentences"]] == ["I love this product!"]


@pytest.mark.usefixtures("inline_service")
def test_the_pages_examples_work_against_a_provider(endpoint: AiProvider, monkeypatch):
    for name, value in {"base_url": endpoint.url, "api_key": endpoint.key, "model": CHAT}.items():
        monkeypatch.setattr(settings, f"openai_{name}", value)
    chat, single, many = examples("ai.md")
    names: dict[str, object] = {"offer_1": "Tea: 3 EUR", "offer_2": "Tea: 2 EUR"}
    exec(chat, names)
    assert names["answer"]["result"]["message"]["content"] == "echo: Which of these is the cheapest?"

    names["done"] = celery_service.get_task_result(celery_service.generate_embedding("a", "text-embedding-3-small"))
    exec(single, names)
    assert np.allclose(names["vector"], vector_of("a", 1536), atol=1e-6)

    found: dict[int, np.ndarray] = {}
    names |= {"texts": ["a", "b", "c"], "index": SimpleNamespace(add=found.__setitem__)}
    exec(many, names)
    assert all(np.allclose(found[at], vector_of(text, 256), atol=1e-6) for at, text in enumerate(names["texts"]))


def test_the_pages_table_of_providers_is_taken(tmp_path):
    (tmp_path / "providers.toml").write_text(examples("ai.md", "toml")[0].replace("…", "0123456789"))
    assert {name: one.currency for name, one in read_providers("providers.toml", tmp_path).items()} == {
        "openai": "USD",
        "house": "USD",
    }


@pytest.mark.usefixtures("inline_service")
def test_another_language_fails_the_task_with_what_there_is():
    task_id = celery_service.analyze_sentiment("Das Essen war kalt, und der Kellner hat uns nicht beachtet.")
    with pytest.raises(TaskFailed, match=r"language 'de' .* vader scores en only"):
        celery_service.get_task_result(task_id)


def test_the_task_has_the_time_limits_of_ai():
    assert (analyze_sentiment.time_limit, analyze_sentiment.soft_time_limit) == (600, 540)


@needs_weights
def test_the_parts_hold_one_model_that_turns_texts_into_vectors():
    engine = parts().embedding_engine
    assert engine is parts().embedding_engine
    (vector,) = engine.embed(["a cat"])
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_a_forked_child_makes_a_model_of_its_own(monkeypatch):
    own = wiring._own_parts()
    own.__dict__["embedding_engine"] = SimpleNamespace()
    wiring._fresh_after_fork()
    assert "embedding_engine" not in own.__dict__


def test_a_forked_child_waits_for_no_order_of_a_call_that_its_parent_holds_up():
    held = wiring._own_parts().order_pace
    wiring._fresh_after_fork()
    assert wiring._own_parts().order_pace is not held


def test_the_report_of_calls_has_its_parts_in_the_order_asked_for_and_costs_without_the_noise_of_adding():
    line = UsageLine(
        tenant="acme",
        model="small",
        calls=3,
        input_tokens=1,
        output_tokens=2,
        cached_tokens=0,
        reasoning_tokens=0,
        cost=0.1 + 0.2,
        currency="USD",
        estimated=0.0,
    )
    told = usage_of(line, ["tenant", "model"])
    assert list(told)[:3] == ["tenant", "model", "calls"]
    assert told["cost"] == 0.3
