"""AI by the facade, with the models that run here: the document's own example, refusals, and one model a process."""

from types import SimpleNamespace

import numpy as np
import pytest

from ai_work import needs_weights
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
