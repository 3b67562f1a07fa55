"""The endpoint that plays OpenAI in tests is faithful: OpenAI's own SDK is served by it, and refused where it would be.

What it takes and refuses: openai-openapi's `openapi.yaml`, createEmbedding and createChatCompletion.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from ai_protocol import vector_of
from ai_provider import KEY, AiProvider, Fault, Window
from ai_work import CHAT, SMALL

USER = [{"role": "user", "content": "Hello there, you."}]
ENOUGH = 60


@pytest.fixture(scope="module")
def sdk(running):
    """One for all tests, because a client takes a while to be made."""
    with openai.OpenAI(base_url=running.url, api_key=KEY, max_retries=0) as client:
        yield client


def refusal(ask: Callable[[], Any], status: int = 400) -> dict[str, Any]:
    """What a refused request is told; all four keys of an error are there."""
    with pytest.raises(openai.APIStatusError) as raised:
        ask()
    assert raised.value.status_code == status
    error = raised.value.response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


# --- Vectors -----------------------------------------------------------------------------------------------------


def test_the_sdk_gets_the_same_vectors_in_both_encodings(sdk, endpoint):
    in_base64 = sdk.embeddings.create(model=SMALL, input=["one", "two"], dimensions=8)
    as_numbers = sdk.embeddings.create(model=SMALL, input=["one", "two"], dimensions=8, encoding_format="float")
    assert json.loads(endpoint.asked[0].body)["encoding_format"] == "base64", "the SDK's own default"
    for answer in (in_base64, as_numbers):
        assert [one.index for one in answer.data] == [0, 1]
        assert np.allclose([one.embedding for one in answer.data], [vector_of("one", 8), vector_of("two", 8)])
    assert in_base64.usage.prompt_tokens == in_base64.usage.total_tokens == 2


@pytest.mark.parametrize(
    ("model", "size"), [(SMALL, 1536), ("text-embedding-3-large", 3072), ("text-embedding-ada-002", 1536)]
)
def test_each_model_has_its_dimensions(sdk, model, size):
    assert len(sdk.embeddings.create(model=model, input="text").data[0].embedding) == size


@pytest.mark.parametrize(
    ("given", "count"),
    [("text", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), (["x"] * 2048, 2048), ("x" * 4 * 8192, 1)],
    ids=["a text", "texts", "tokens", "lists of tokens", "as many as may be", "as long as may be"],
)
def test_every_form_of_input_is_taken(sdk, given, count):
    assert len(sdk.embeddings.create(model=SMALL, input=given, dimensions=2).data) == count


BAD_INPUTS = {
    "an empty text": ({"input": ""}, "empty string"),
    "an empty text among others": ({"input": ["a", ""]}, "empty string"),
    "nothing": ({"input": []}, "invalid"),
    "one too many": ({"input": ["x"] * 2049}, "2048"),
    "a text and tokens": ({"input": ["a", [1]]}, "invalid"),
    "broken tokens": ({"input": [1.5]}, "invalid"),
    "a longer text than may be": ({"input": "x" * (4 * 8192 + 1)}, "maximum context length is 8192 tokens"),
    "more tokens than may be": ({"input": [1] * 8193}, "2048|8192"),
    "a longer request than may be": ({"input": ["x" * 4 * 8000] * 38}, "max 300000 tokens per request"),
    "no input": ({"input": None}, "Missing required parameter: 'input'"),
    "no dimensions": ({"input": "a", "dimensions": 0}, "dimensions"),
    "more dimensions than there are": ({"input": "a", "dimensions": 1537}, "dimensions"),
    "an old model's dimensions": ({"input": "a", "model": "text-embedding-ada-002", "dimensions": 8}, "not support"),
    "an unknown encoding": ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    "an unknown parameter": ({"input": "a", "extra_body": {"truncate": True}}, "Unrecognized request argument"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_request_for_vectors_that_openai_refuses_is_refused_and_not_counted(sdk, endpoint, name):
    arguments, words = BAD_INPUTS[name]
    error = refusal(lambda: sdk.embeddings.create(**{"model": SMALL} | arguments))
    assert any(part in error["message"] for part in words.split("|"))
    assert not endpoint.texts


def test_a_request_that_is_too_large_has_a_code_of_its_own(sdk):
    error = refusal(lambda: sdk.embeddings.create(model=SMALL, input=["x" * 4 * 8000] * 38))
    assert error["code"] == "max_tokens_per_request"


def test_what_is_paid_twice_is_seen(sdk, endpoint):
    sdk.embeddings.create(model=SMALL, input=["a", "b"], dimensions=2)
    sdk.embeddings.create(model=SMALL, input=["b"], dimensions=2)
    assert endpoint.texts == {"a": 1, "b": 2}
    assert endpoint.counts()["paid_twice"] == 1


# --- Chats -------------------------------------------------------------------------------------------------------


def test_the_sdk_gets_an_answer_whole_and_the_same_in_a_stream(sdk):
    whole = sdk.chat.completions.create(model=CHAT, messages=USER)
    chunks = list(sdk.chat.completions.create(model=CHAT, messages=USER, stream=True))
    assert whole.choices[0].message.content == "echo: Hello there, you."
    assert whole.choices[0].finish_reason == "stop"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert all("usage" not in chunk.model_fields_set for chunk in chunks), "usage comes only where it is asked for"


def test_usage_comes_last_in_a_stream_that_asks_for_it(sdk):
    chunks = list(
        sdk.chat.completions.create(model=CHAT, messages=USER, stream=True, stream_options={"include_usage": True})
    )
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 6)
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])


def test_an_answer_in_json_fulfils_what_was_asked_for(sdk):
    asked = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": closed(tags=["string"]), "strict": True},
    }
    answer = sdk.chat.completions.create(model=CHAT, messages=USER, response_format=asked)
    assert json.loads(answer.choices[0].message.content) == {"tags": "text"}
    free = sdk.chat.completions.create(model=CHAT, messages=USER, response_format={"type": "json_object"})
    assert json.loads(free.choices[0].message.content) == {"echo": "echo: Hello there, you."}


def closed(**properties):
    inner = {name: {"type": kinds[0]} for name, kinds in properties.items()}
    return {"type": "object", "properties": inner, "required": [*inner], "additionalProperties": False}


def schema(**given):
    return {"response_format": {"type": "json_schema", "json_schema": given}}


BAD_CHATS = {
    "no messages": {"messages": []},
    "an unknown role": {"messages": [{"role": "wizard", "content": "x"}]},
    "no content": {"messages": [{"role": "user"}]},
    "a number": {"messages": [{"role": "user", "content": 3}]},
    "a tool without its call": {"messages": [{"role": "tool", "content": "x"}]},
    "an unknown parameter": {"extra_body": {"top_k": 3}},
    "too warm": {"temperature": 2.1},
    "a warm text": {"temperature": "1"},
    "no choice": {"n": 0},
    "too many choices": {"n": 129},
    "a penalty": {"presence_penalty": 3},
    "top_logprobs alone": {"top_logprobs": 3},
    "five stops": {"stop": ["a", "b", "c", "d", "e"]},
    "options of no stream": {"stream_options": {"include_usage": True}},
    "no tokens": {"max_completion_tokens": 0},
    "both lengths": {"max_completion_tokens": 9, "max_tokens": 9},
    "an old length": {"model": "o4-mini", "max_tokens": 9},
    "an unknown form": {"response_format": {"type": "yaml"}},
    "a bad name": schema(name="a b", schema={}),
    "a long name": schema(name="a" * 65, schema={}),
    "no schema": schema(name="answer"),
    "an open schema": schema(name="answer", schema={"type": "object", "properties": {}}, strict=True),
    "an optional property": schema(name="answer", schema=closed(a=["string"]) | {"required": []}, strict=True),
}


@pytest.mark.parametrize("name", BAD_CHATS)
def test_a_chat_that_openai_refuses_is_refused(sdk, name):
    refusal(lambda: sdk.chat.completions.create(**{"model": CHAT, "messages": USER} | BAD_CHATS[name]))


def test_a_chat_that_is_longer_than_the_context_is_refused_by_its_code(sdk):
    long = [{"role": "user", "content": "x" * 4 * 16_000}]
    error = refusal(lambda: sdk.chat.completions.create(model="gpt-3.5-turbo", messages=long, max_tokens=1000))
    assert error["code"] == "context_length_exceeded"


# --- Keys, models, places ----------------------------------------------------------------------------------------


def test_the_models_are_listed_and_others_are_not_found(sdk):
    assert {SMALL, CHAT} <= {model.id for model in sdk.models.list()}
    error = refusal(lambda: sdk.embeddings.create(model="unknown", input="a"), 404)
    assert error["code"] == "model_not_found"


def test_a_wrong_key_is_refused_and_echoed_only_in_part(endpoint):
    with openai.OpenAI(base_url=endpoint.url, api_key="sk-wrong-987654", max_retries=0) as client:
        error = refusal(client.models.list, 401)
    assert error["code"] == "invalid_api_key"
    assert "sk-wr********7654" in error["message"]


def test_what_is_no_request_is_refused(endpoint):
    authority = {"authorization": f"Bearer {KEY}"}
    place = f"{endpoint.url}/embeddings"
    assert httpx2.post(place, json={}).status_code == 401
    assert httpx2.post(place, headers=authority, content=b"{").status_code == 415
    assert httpx2.post(place, headers=authority | {"content-type": "application/json"}, content=b"{").status_code == 400
    assert httpx2.post(place, headers=authority, json=[]).status_code == 400
    assert httpx2.get(place, headers=authority).status_code == 404
    assert httpx2.post(f"{endpoint.url}/unknown", headers=authority, json={}).status_code == 404


# --- Limits ------------------------------------------------------------------------------------------------------


def test_requests_beyond_the_limit_are_told_when_to_come_back():
    with (
        AiProvider(requests_per_window=2) as limited,
        openai.OpenAI(base_url=limited.url, api_key=KEY, max_retries=0) as client,
    ):
        for left in (1, 0):
            raw = client.embeddings.with_raw_response.create(model=SMALL, input="a", dimensions=2)
            assert raw.headers["x-ratelimit-limit-requests"] == "2"
            assert raw.headers["x-ratelimit-remaining-requests"] == str(left)
            assert raw.headers["x-ratelimit-reset-requests"] == "1m0s"
        with pytest.raises(openai.RateLimitError) as raised:
            client.embeddings.create(model=SMALL, input="a", dimensions=2)
        assert (raised.value.code, limited.turned_away) == ("rate_limit_exceeded", 1)
        assert 50 < int(raised.value.response.headers["retry-after"]) <= 60
        assert 50_000 < int(raised.value.response.headers["retry-after-ms"]) <= 60_000


class Clock:
    """A clock that stands until it is told."""

    def __init__(self, monkeypatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("ai_provider.time.monotonic", lambda: self.now)


def test_the_window_slides(monkeypatch):
    clock, window = Clock(monkeypatch), Window(requests=2, tokens=None, seconds=60)
    assert window.wait(1) == 0
    clock.now += 30
    assert window.wait(1) == 0
    assert window.wait(1) == 30
    clock.now += 30
    assert window.wait(1) == 0
    assert window.wait(1) == 30


def test_tokens_are_limited_as_requests_are(monkeypatch):
    clock, window = Clock(monkeypatch), Window(requests=None, tokens=100, seconds=60)
    assert window.wait(40) == 0
    clock.now += 10
    assert window.wait(60) == 0
    assert (window.wait(40), window.wait(41)) == (50, 60)


# --- Faults ------------------------------------------------------------------------------------------------------


def test_faults_come_in_order_and_then_all_is_well(sdk, endpoint):
    date = datetime(2030, 1, 1, tzinfo=UTC)
    endpoint.next(Fault.rate_limited(seconds=3, milliseconds=2500), None, Fault.rate_limited(until=date))
    with pytest.raises(openai.RateLimitError) as first:
        sdk.embeddings.create(model=SMALL, input="a")
    sdk.embeddings.create(model=SMALL, input="a")
    with pytest.raises(openai.RateLimitError) as third:
        sdk.embeddings.create(model=SMALL, input="a")
    sdk.embeddings.create(model=SMALL, input="a")
    assert (first.value.response.headers["retry-after"], first.value.response.headers["retry-after-ms"]) == (
        "3",
        "2500",
    )
    assert parsedate_to_datetime(third.value.response.headers["retry-after"]) == date


def test_a_fault_may_be_chosen_by_the_request(sdk, endpoint):
    endpoint.choose = lambda asked: Fault.no_credit() if b"poison" in asked.body else None
    sdk.embeddings.create(model=SMALL, input="a")
    with pytest.raises(openai.RateLimitError) as raised:
        sdk.embeddings.create(model=SMALL, input="poison")
    assert raised.value.code == "insufficient_quota"


def test_a_cut_answer_and_a_cut_stream_are_broken_connections(sdk, endpoint):
    endpoint.next(Fault.cut_body(), Fault.cut_stream(2))
    with pytest.raises(openai.APIConnectionError):
        sdk.embeddings.create(model=SMALL, input="a")
    chunks = iter(sdk.chat.completions.create(model=CHAT, messages=USER, stream=True))
    assert [next(chunks).choices[0].delta.content for _ in range(2)] == ["", "echo: "]
    with pytest.raises(openai.APIConnectionError):
        next(chunks)
    assert endpoint.texts == {"a": 1}, "what was made is paid, whether it arrived or not"


def test_an_error_in_a_stream_is_raised_where_it_comes(sdk, endpoint):
    endpoint.next(Fault.broken_stream(2, {"message": "overloaded", "type": "server_error"}))
    chunks = iter(sdk.chat.completions.create(model=CHAT, messages=USER, stream=True))
    next(chunks), next(chunks)
    with pytest.raises(openai.APIError, match="overloaded"):
        next(chunks)


def test_a_held_stream_goes_on_when_the_gate_opens(sdk, endpoint):
    gate = threading.Event()
    endpoint.next(Fault.held(2, gate))
    chunks = iter(sdk.chat.completions.create(model=CHAT, messages=USER, stream=True))
    next(chunks), next(chunks)
    gate.set()
    assert len(list(chunks)) == 4


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault.proxy_page(), 502), (Fault.validation(), 422), (Fault.status(500), 500)]
)
def test_the_sdk_sees_the_status_of_a_fault(sdk, endpoint, fault, status):
    endpoint.next(fault)
    with pytest.raises(openai.APIStatusError) as raised:
        sdk.embeddings.create(model=SMALL, input="a")
    assert (raised.value.status_code, endpoint.texts) == (status, {})


def test_who_goes_away_from_a_drip_is_noticed(endpoint):
    endpoint.left.clear()
    endpoint.next(Fault.slow_drip())
    with (
        openai.OpenAI(base_url=endpoint.url, api_key=KEY, max_retries=0) as client,
        client.embeddings.with_streaming_response.create(model=SMALL, input="a") as response,
    ):
        response.close()
    assert endpoint.left.wait(ENOUGH)


def test_a_benchmark_runs_it_as_a_process_and_reads_its_counts():
    script = Path(__file__).parent.parent / "ai_provider.py"
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
                client.embeddings.create(model=SMALL, input=["a", "b", "b"])
            counts = httpx2.get(url.removesuffix("/v1") + "/counts").json()
        finally:
            process.terminate()
    assert (counts["requests"], counts["texts"], counts["paid_twice"]) == (1, 3, 1)
