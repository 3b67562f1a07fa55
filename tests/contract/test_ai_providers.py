"""Every provider of AI makes of what an endpoint does an answer or one error with its code, and never waits long.

The endpoint is `ai_provider`: a real server that is as strict as OpenAI's, and misbehaves as it is told.
"""

import gzip
import json
import threading
import traceback
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import ai_protocol
from adapters import openai_models
from adapters.openai_models import OpenAiModels
from adapters.openai_refusals import CURES
from ai_provider import KEY, AiProvider, Fault
from ai_work import CHAT, SMALL, nothing, unheard
from processors.ai_interfaces import ChatCall, EmbeddingCall, LimitNews, Usage
from processors.errors import AiError, Cancelled, ProviderFault

ENOUGH = 60
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}, "score": {"type": "number"}},
    "required": ["label", "score"],
    "additionalProperties": False,
}
TOO_LARGE_WORDS = (
    "Request too large for gpt-4o-mini in organization org-1 on tokens per min (TPM): Limit 30000, Requested 40000. "
    "The input or output tokens must be reduced in order to run successfully."
)
CONTEXT_WORDS = [
    "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "Context size has been exceeded.",
    "the input length exceeds the context length",
    "input length exceeds maximum context length",
    "Invalid 'input[0]': maximum input length is 8192 tokens.",
    "Requested tokens (2285) exceed context window of 2048",
    "`inputs` must have less than 512 tokens. Given: 600",
    "input is too large to process. increase the physical batch size",
    "input (6554 tokens) is too large to process. increase the physical batch size (current batch size: 2048)",
]


class Openai:
    """The adapter of endpoints that speak OpenAI's protocol."""

    make = OpenAiModels


@pytest.fixture(params=[Openai], scope="module")
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def ai(kind, running):
    """One for all tests, because a client takes a while to be made."""
    adapter = kind.make(running.url, running.key)
    yield adapter
    adapter.close()


def embed(ai, *texts: str, model: str = SMALL, dimensions: int | None = 8, seconds: float = ENOUGH, look=nothing):
    return ai.embed(EmbeddingCall(model, texts or ("a text",), dimensions, seconds), look)


def chat(ai, text="Hello there, you.", *, on_text=None, schema=None, seconds=ENOUGH, look=nothing, **options):
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": text}]
    return ai.chat(ChatCall(options.pop("model", CHAT), messages, options, schema, seconds), look, on_text)


# --- Vectors -----------------------------------------------------------------------------------------------------


def right(*texts: str, dimensions: int = 8) -> np.ndarray:
    return np.stack([ai_protocol.vector_of(text, dimensions) for text in texts])


def test_each_text_gets_its_own_vector_in_float32_with_what_it_took(ai):
    answer = embed(ai, "one", "two", "three words here")
    assert answer.vectors.dtype == np.float32
    assert np.array_equal(answer.vectors, right("one", "two", "three words here"))
    assert (answer.model, answer.usage) == (SMALL, Usage(input_tokens=6))


def test_the_models_own_dimensions_are_the_default(ai):
    assert embed(ai, dimensions=None).vectors.shape == (1, 1536)


def test_vectors_in_another_order_or_as_numbers_are_the_same(ai, endpoint):
    endpoint.next(Fault.vectors(lambda data: data[::-1]), Fault.vectors(_as_numbers))
    for _ in range(2):
        assert np.allclose(embed(ai, "one", "two").vectors, right("one", "two"))


def _as_numbers(data):
    return [one | {"embedding": np.frombuffer(_bytes(one["embedding"]), "<f4").tolist()} for one in data]


def _bytes(text: str) -> bytes:
    return ai_protocol.base64.b64decode(text)


def with_vector(*numbers):
    return lambda data: [data[0] | {"embedding": list(numbers)}, *data[1:]]


BAD_VECTORS = {
    "one too few": (lambda data: data[:1], "1 vectors for 2 texts"),
    "one too many": (lambda data: [*data, data[0] | {"index": 2}], "3 vectors for 2 texts"),
    "the same index twice": (lambda data: [one | {"index": 0} for one in data], "not one for each"),
    "an index too far": (lambda data: [one | {"index": one["index"] + 1} for one in data], "not one for each"),
    "another size": (with_vector(1.0, 2.0), "2, 8 dimensions"),
    "beyond float32": (with_vector(*[1e39] * 8), "no number"),
    "not a number": (with_vector(*[float("nan")] * 8), "NaN is no JSON"),
    "texts": (with_vector(*["1"] * 8), "no list of numbers"),
    "nulls": (with_vector(*[None] * 8), "no list of numbers"),
    "a list in a list": (with_vector([1.0] * 8), "no list of numbers"),
    "broken base64": (lambda data: [one | {"embedding": "AAA"} for one in data], "padding"),
    "empty": (lambda data: [one | {"embedding": ""} for one in data], "0 dimensions"),
    "no embedding": (lambda data: [{"index": one["index"]} for one in data], "embedding"),
    "no data": (lambda _data: None, "NoneType"),
}


@pytest.mark.parametrize("name", BAD_VECTORS)
def test_vectors_that_are_not_one_of_the_same_size_for_each_text_are_no_answer(ai, endpoint, name):
    change, words = BAD_VECTORS[name]
    endpoint.next(Fault.vectors(change))
    with pytest.raises(AiError, match=words) as raised:
        embed(ai, "one", "two")
    assert raised.value.code == "provider_bad_response"


def test_other_dimensions_than_were_asked_for_are_no_answer(ai, endpoint):
    short = Fault.vectors(lambda data: [one | {"embedding": [1.0, 2.0]} for one in data])
    endpoint.next(short)
    with pytest.raises(
        AiError, match="answers what is no answer: the vectors have 2 dimensions, where 8 were asked for"
    ):
        embed(ai)


def test_texts_that_no_encoding_has_are_sent_as_what_can_be_sent(ai, endpoint):
    embed(ai, "half \ud800 a character")
    assert endpoint.texts == {"half � a character": 1}


# --- Chats -------------------------------------------------------------------------------------------------------


def test_a_chat_is_answered_with_what_it_took(ai):
    answer = chat(ai)
    assert (answer.text, answer.finish_reason, answer.model) == ("echo: Hello there, you.", "stop", CHAT)
    assert answer.usage == Usage(input_tokens=10, output_tokens=6)
    assert (answer.refusal, list(answer.tool_calls)) == (None, [])


@pytest.mark.parametrize("streams", [False, True])
def test_options_go_to_the_endpoint_by_its_own_names(ai, streams):
    on_text = unheard if streams else None
    answer = chat(ai, "many words " * 10, on_text=on_text, max_completion_tokens=2, temperature=0.5)
    assert (answer.text, answer.finish_reason) == ("echo: ma", "length")


@pytest.mark.parametrize(
    ("given", "name"),
    [(None, "max_tokens"), ("max_tokens", "max_tokens"), ("max_completion_tokens", "max_completion_tokens")],
)
def test_an_answer_is_bounded_by_the_name_that_the_endpoint_knows(kind, running, given, name):
    ai = kind.make(running.url, running.key, given)
    assert chat(ai, max_completion_tokens=3).finish_reason == "length"
    ai.close()
    sent = json.loads(running.asked[-1].body)
    assert {one: sent[one] for one in sent if one.startswith("max_")} == {name: 3}


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "https://eu.api.openai.com/v1"])
def test_openais_own_endpoint_knows_the_new_name(kind, url):
    ai = kind.make(url, KEY)
    assert ai._named("max_completion_tokens") == "max_completion_tokens"
    ai.close()


@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_by_a_schema_fulfils_it(ai, streams):
    on_text = unheard if streams else None
    assert chat(ai, schema=SCHEMA, on_text=on_text).text == '{"label": "good", "score": 0.5}'


@pytest.mark.parametrize("streams", [False, True])
def test_calls_of_tools_come_whole(ai, streams):
    tool = {"type": "function", "function": {"name": "clock", "parameters": {}}}
    answer = chat(ai, tools=[tool], tool_choice="required", on_text=unheard if streams else None)
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    assert list(answer.tool_calls) == [
        {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    ]


def test_a_call_of_a_function_in_the_older_form_is_a_call_of_a_tool(ai, endpoint):
    function = {"name": "clock", "arguments": "{}"}
    endpoint.next(Fault.message("function_call", content=None, function_call=function))
    answer = chat(ai)
    assert (answer.finish_reason, answer.tool_calls) == ("tool_calls", [{"type": "function", "function": function}])


@pytest.mark.parametrize("streams", [False, True])
def test_a_refusal_is_told_beside_the_text(ai, endpoint, streams):
    endpoint.next(Fault.message("stop", content=None, refusal="I cannot help with that."))
    answer = chat(ai, on_text=unheard if streams else None)
    assert (answer.text, answer.refusal, answer.finish_reason) == ("", "I cannot help with that.", "stop")


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("function_call", "tool_calls"),
        ("abort", "interrupted"),
    ],
)
def test_how_a_message_ended_is_told_in_known_words(ai, endpoint, streams, said, told):
    endpoint.next(Fault.message(said))
    assert chat(ai, on_text=unheard if streams else None).finish_reason == told


@pytest.mark.parametrize("streams", [False, True])
def test_usage_that_is_not_told_is_unknown_and_more_of_it_is_kept(ai, endpoint, streams):
    on_text = unheard if streams else None
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    endpoint.next(Fault.without_usage(), Fault.changed(lambda answer: answer | {"usage": usage}))
    assert chat(ai, on_text=on_text).usage is None
    assert chat(ai, on_text=on_text).usage == Usage(7, 3, 5, 2)


@pytest.mark.parametrize("streams", [False, True])
def test_usage_that_nobody_can_have_had_is_unknown(ai, endpoint, streams):
    endpoint.next(
        Fault.changed(lambda answer: answer | {"usage": {"prompt_tokens": 2**63 - 1, "completion_tokens": 1}})
    )
    answer = chat(ai, on_text=unheard if streams else None)
    assert (answer.text, answer.usage) == ("echo: Hello there, you.", None)


def test_half_characters_in_an_answer_become_storable(ai, endpoint):
    endpoint.next(Fault.message("stop", content="half \ud800"))
    assert chat(ai).text == "half �"


NO_MESSAGES = {
    "no choice": lambda answer: answer | {"choices": []},
    "null": lambda answer: answer | {"choices": None},
    "no message": lambda answer: answer | {"choices": [{"finish_reason": "stop"}]},
    "a number": lambda answer: answer | {"choices": [{"message": {"content": 3}}]},
    "a list": lambda _answer: [],
    "a text": lambda _answer: "text",
}


@pytest.mark.parametrize("name", NO_MESSAGES)
def test_what_is_no_message_is_no_answer(ai, endpoint, name):
    endpoint.next(Fault.changed(NO_MESSAGES[name]))
    with pytest.raises(AiError) as raised:
        chat(ai)
    assert raised.value.code == "provider_bad_response"


# --- Streams -----------------------------------------------------------------------------------------------------


def test_the_text_so_far_is_told_while_it_comes_in_the_thread_that_waits(ai, endpoint):
    gate, texts, threads = threading.Event(), [], set()

    def tell(text: str) -> None:
        texts.append(text)
        threads.add(threading.current_thread())
        gate.set()

    endpoint.next(Fault.held(3, gate))
    answer = chat(ai, on_text=tell)
    assert texts[0] == "echo: Hello "
    assert texts[-1] == answer.text == "echo: Hello there, you."
    assert answer.usage == Usage(input_tokens=10, output_tokens=6)
    assert threads == {threading.current_thread()}


WHOLE = {
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "half \ud800"}}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}


def test_an_endpoint_that_streams_nothing_is_understood_all_the_same(ai, endpoint):
    endpoint.next(Fault.said(json.dumps(WHOLE).encode(), 200))
    texts = []
    answer = chat(ai, on_text=texts.append)
    assert (answer.text, answer.finish_reason, answer.model) == ("half �", "length", "m")
    assert (answer.usage, answer.refusal, texts) == (Usage(7, 3), None, ["half �"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "Rate limit exceeded", "code": 429}, "provider_rate_limited"),
        ({"message": "Provider returned error", "code": 502}, "provider_unavailable"),
        ({"message": "Bad", "code": 400}, "provider_bad_response"),
        ({"message": "too long", "code": "context_length_exceeded"}, "context_too_long"),
        ("overloaded", "provider_unavailable"),
    ],
)
@pytest.mark.parametrize("ask", [embed, chat, lambda ai: chat(ai, on_text=unheard)])
def test_an_error_with_the_status_of_an_answer_is_that_error(ai, endpoint, ask, error, code):
    endpoint.next(Fault.said(json.dumps({"error": error}).encode(), 200))
    with pytest.raises(
        (AiError, ProviderFault), match=str(error["message"] if isinstance(error, dict) else error)
    ) as it:
        ask(ai)
    assert it.value.code == code


def test_a_broken_answer_in_the_place_of_a_stream_is_none(ai, endpoint):
    endpoint.next(Fault.said(b'{"choices": []}', 200))
    with pytest.raises(AiError, match="no answer") as raised:
        chat(ai, on_text=unheard)
    assert raised.value.code == "provider_bad_response"


@pytest.mark.parametrize("fault", [Fault.cut_stream(3), Fault.short_stream(3)])
def test_a_stream_that_is_cut_after_its_first_text_is_an_interrupted_answer(ai, endpoint, fault):
    endpoint.next(fault)
    texts = []
    answer = chat(ai, on_text=texts.append)
    assert (answer.text, answer.finish_reason, answer.usage) == ("echo: Hello ", "interrupted", None)
    assert texts[-1] == answer.text


def test_a_stream_whose_error_comes_after_its_first_text_is_an_interrupted_answer(ai, endpoint):
    endpoint.next(Fault.broken_stream(3, {"message": "overloaded", "type": "server_error", "code": None}))
    assert chat(ai, on_text=unheard).finish_reason == "interrupted"


@pytest.mark.parametrize("fault", [Fault.cut_stream(1), Fault.short_stream(1), Fault.short_stream(0)])
def test_a_stream_that_is_cut_before_its_first_text_is_a_fault(ai, endpoint, fault):
    endpoint.next(fault)
    with pytest.raises(ProviderFault) as raised:
        chat(ai, on_text=unheard)
    assert (raised.value.code, raised.value.charged) == ("provider_unavailable", True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "overloaded", "code": None}, "provider_unavailable"),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, "provider_rate_limited"),
        ({"message": "too long", "code": "context_length_exceeded"}, "context_too_long"),
        ("overloaded", "provider_unavailable"),
    ],
)
def test_an_error_in_the_place_of_the_first_text_is_that_error(ai, endpoint, error, code):
    endpoint.next(Fault.broken_stream(1, error))
    with pytest.raises((AiError, ProviderFault)) as raised:
        chat(ai, on_text=unheard)
    assert raised.value.code == code


# --- Refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.status(401), "provider_auth"),
        (Fault.status(403), "provider_auth"),
        (Fault.status(403, "no access", "model_not_found"), "model_missing"),
        (Fault.status(404), "model_missing"),
        (Fault.no_credit(), "budget_exceeded"),
        (Fault.status(402, "Insufficient Balance"), "budget_exceeded"),
        (Fault.rate_limited(), "provider_rate_limited"),
        (Fault.status(408), "provider_unavailable"),
        (Fault.status(409), "provider_unavailable"),
        (Fault.status(500), "provider_unavailable"),
        (Fault.proxy_page(502), "provider_unavailable"),
        (Fault.status(501, "This server does not support embeddings."), "model_missing"),
        (Fault.status(503), "provider_unavailable"),
        (Fault.status(400), "provider_bad_response"),
        (Fault.status(400, "filtered", "content_filter"), "content_filtered"),
        (Fault.status(400, "policy", "content_policy_violation"), "content_filtered"),
        (Fault.status(400, "too long", "context_length_exceeded"), "context_too_long"),
        (Fault.status(413), "too_large"),
        (Fault.status(400, "Requested too much", "max_tokens_per_request"), "too_large"),
        (Fault.status(429, TOO_LARGE_WORDS, "rate_limit_exceeded", retry_after="2"), "too_large"),
        (Fault.status(413, TOO_LARGE_WORDS, "rate_limit_exceeded"), "too_large"),
        (Fault.validation(), "provider_bad_response"),
        (Fault.proxy_page(418), "provider_bad_response"),
        (Fault.said(b'{"data": ['), "provider_bad_response"),
        (Fault.said(b"[" * 100_000), "provider_bad_response"),
        (Fault.said(b"\xff\xfe"), "provider_bad_response"),
        (Fault.said(b"<html>Welcome</html>"), "provider_bad_response"),
        (Fault.cut_body(), "provider_unavailable"),
        *((Fault.status(400, words), "context_too_long") for words in CONTEXT_WORDS),
        (Fault.said(b'{"error": "the input length exceeds the context length"}', 400), "context_too_long"),
        (
            Fault.said(b'{"error": {"code": 500, "message": "Context size has been exceeded."}}', 500),
            "context_too_long",
        ),
        (Fault.said(b'{"error": {"type": "exceed_context_size_error", "code": 400}}', 400), "context_too_long"),
    ],
)
@pytest.mark.parametrize("ask", [embed, chat])
def test_each_refusal_has_its_code_one_sentence_and_the_setting_that_cures_it(ai, endpoint, ask, fault, code):
    endpoint.next(fault)
    with pytest.raises((AiError, ProviderFault)) as raised:
        ask(ai)
    assert raised.value.code == code
    assert len(endpoint.asked) == 1, "nothing is repeated inside"
    message = str(raised.value)
    assert message.startswith(f"The provider of AI at 127.0.0.1:{endpoint.port} ")
    assert message.endswith(f"; {CURES[code]}.")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("fault", "charged"),
    [
        *((Fault.status(status), False) for status in (400, 401, 404, 408, 429, 500, 503)),
        (Fault.status(504), True),
        (Fault.said(b'{"data": ['), True),
        (Fault.cut_body(), True),
    ],
)
def test_only_what_was_sent_and_not_refused_may_be_charged(ai, endpoint, fault, charged):
    endpoint.next(fault)
    with pytest.raises((AiError, ProviderFault)) as raised:
        embed(ai)
    assert raised.value.charged is charged


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fault.rate_limited(seconds=7), 7.0),
        (Fault.rate_limited(seconds=7, milliseconds=1500), 1.5),
        (Fault.rate_limited(until=datetime(2015, 10, 21, tzinfo=UTC)), 0.0),
        (Fault.rate_limited(), None),
        (Fault.status(503, retry_after="30"), 30.0),
    ],
)
def test_the_wait_that_is_asked_for_is_handed_on(ai, endpoint, fault, seconds):
    endpoint.next(fault)
    with pytest.raises(ProviderFault) as raised:
        embed(ai)
    assert raised.value.retry_after == seconds


def test_a_wait_until_a_date_is_the_seconds_until_then(ai, endpoint):
    endpoint.next(Fault.rate_limited(until=datetime.now(UTC) + timedelta(hours=1)))
    with pytest.raises(ProviderFault) as raised:
        embed(ai)
    assert 3000 < raised.value.retry_after <= 3600


def test_the_limits_that_headers_tell_are_handed_on(kind):
    with AiProvider(requests_per_window=2, tokens_per_window=1000) as limited:
        ai = kind.make(limited.url, limited.key)
        told = LimitNews(requests_per_minute=2, tokens_per_minute=1000)
        assert embed(ai).news == told
        assert chat(ai, on_text=unheard).news == told
        with pytest.raises(ProviderFault) as raised:
            embed(ai)
        ai.close()
    assert raised.value.code == "provider_rate_limited"
    assert 50 < raised.value.retry_after < 61


def test_a_limit_that_stands_for_none_is_none(kind):
    with AiProvider(requests_per_window=2**63 - 1, tokens_per_window=10) as unlimited:
        ai = kind.make(unlimited.url, unlimited.key)
        assert embed(ai, "one").news == LimitNews(tokens_per_minute=10)
        ai.close()


def test_what_validation_says_is_told_without_the_input_that_it_repeats(ai, endpoint):
    endpoint.next(Fault.validation())
    with pytest.raises(AiError, match=r"answers 422: body\.model: Input should be a valid string;"):
        chat(ai)


@pytest.mark.parametrize("words", ["word " * 1000, "x" * 5_000_000], ids=["words", "one word"])
def test_long_words_are_cut(ai, endpoint, words):
    endpoint.next(Fault.status(400, words))
    with pytest.raises(AiError) as raised:
        chat(ai)
    assert len(str(raised.value)) < 500


# --- The key -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        f"Incorrect API key provided: {KEY}.",
        f"Incorrect API key provided: {KEY[:5]}********{KEY[-4:]}.",
        f"The key {KEY[:7]}...{KEY[-4:]} is unknown.",
        f"The key that ends in {KEY[-4:]} is unknown.",
        f"The header 'Bearer {KEY}' is bad.",
        "x" * 290 + KEY,
    ],
)
@pytest.mark.parametrize("status", [400, 401, 500])
def test_no_part_of_the_key_is_ever_told(ai, endpoint, words, status, caplog):
    caplog.set_level("INFO")
    endpoint.next(Fault.status(status, words))
    with pytest.raises((AiError, ProviderFault)) as raised:
        chat(ai)
    told = f"{raised.value} {caplog.text} {raised.value.__cause__}"
    assert not any(part in told for part in (KEY, KEY[:5], KEY[-4:]))


@pytest.mark.parametrize("words", ["swordfish is unknown", "sw*****sh is unknown"])
def test_a_key_of_no_usual_form_is_hidden_too(kind, endpoint, words):
    ai = kind.make(endpoint.url, "swordfish")
    endpoint.next(Fault.status(400, words))
    with pytest.raises(AiError, match=r"answers 400: \*\*\* is unknown;"):
        chat(ai)
    ai.close()


def test_no_address_is_logged_because_it_may_hold_a_secret(ai, caplog):
    caplog.set_level("INFO")
    embed(ai)
    assert "http://" not in caplog.text


def test_a_wrong_key_is_the_providers_fault_to_be_mended_by_a_person(kind, endpoint):
    ai = kind.make(endpoint.url, "sk-another-key-987654")
    with pytest.raises(ProviderFault, match=r"401.*OPENAI_API_KEY") as raised:
        embed(ai)
    ai.close()
    assert raised.value.code == "provider_auth"
    assert "7654" not in str(raised.value)


@pytest.mark.parametrize("key", [None, "-"])
def test_where_no_key_is_wanted_none_is_sent(kind, endpoint, key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    monkeypatch.setattr(endpoint, "key", None)
    ai = kind.make(endpoint.url, key)
    embed(ai)
    ai.close()
    assert "authorization" not in endpoint.asked[0].headers


def test_a_redirect_is_not_followed_and_gets_no_key(kind, ai, endpoint):
    with AiProvider() as other:
        endpoint.next(Fault.redirect(f"{other.url}/embeddings?secret=1"))
        with pytest.raises(
            AiError, match=r"answers 307: it is elsewhere, at http://127\.0\.0\.1:\d+/v1/embeddings;"
        ) as raised:
            embed(ai)
        assert (raised.value.code, other.asked) == ("provider_bad_response", [])


def test_an_error_tells_the_host_alone(kind, running):
    ai = kind.make(running.url.replace("127", "user:secret@127") + "?secret=1", "sk-key")
    with pytest.raises((AiError, ProviderFault), match=f"The provider of AI at 127.0.0.1:{running.port} ") as raised:
        embed(ai)
    ai.close()
    assert "secret" not in str(raised.value)


# --- Time and size -----------------------------------------------------------------------------------------------


def test_nobody_listening_is_a_fault_that_tells_why(kind):
    with AiProvider() as gone:
        url = gone.url
    ai = kind.make(url, KEY)
    with pytest.raises(ProviderFault, match=r"cannot be reached: .*refused.*OPENAI_BASE_URL") as raised:
        embed(ai)
    ai.close()
    assert (raised.value.code, raised.value.charged) == ("provider_unavailable", False)


@pytest.mark.parametrize("fault", [Fault.slow_drip(), Fault.slow_drip(head=False)])
@pytest.mark.parametrize("ask", [embed, chat])
def test_an_answer_that_drips_ends_at_the_calls_seconds_in_all(ai, endpoint, fault, ask):
    endpoint.next(fault)
    with pytest.raises(ProviderFault, match=r"did not answer within 0\.3 s") as raised:
        ask(ai, seconds=0.3)
    assert (raised.value.code, raised.value.charged) == ("provider_unavailable", True)


def test_a_stream_that_drips_after_its_first_text_is_interrupted_and_closed(ai, endpoint):
    endpoint.next(Fault.slow_drip(3))
    answer = chat(ai, on_text=unheard, seconds=0.7)
    assert (answer.text, answer.finish_reason) == ("echo: Hello ", "interrupted")
    assert endpoint.left.wait(ENOUGH), "the endpoint is told that nobody reads"


@pytest.mark.parametrize("ask", [embed, chat])
def test_a_cancellation_ends_the_wait_and_closes_the_connection(ai, endpoint, ask):
    def cancelled() -> None:
        raise Cancelled("the task was cancelled")

    endpoint.next(Fault.slow_drip())
    with pytest.raises(Cancelled):
        ask(ai, look=cancelled, seconds=10 * ENOUGH)
    assert endpoint.left.wait(ENOUGH)


def test_what_on_text_raises_ends_the_wait_and_closes_the_stream(ai, endpoint):
    def full(_text: str) -> None:
        raise Cancelled("the task was cancelled")

    endpoint.next(Fault.slow_drip(3))
    with pytest.raises(Cancelled):
        chat(ai, on_text=full, seconds=10 * ENOUGH)
    assert endpoint.left.wait(ENOUGH)


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_is_too_large_is_none(ai, endpoint, status, monkeypatch):
    monkeypatch.setattr(openai_models, "LARGEST_ANSWER", 1000)
    endpoint.next(Fault.said(b" " * 2000, status))
    with pytest.raises(AiError, match="more than 1000 bytes") as raised:
        embed(ai)
    assert raised.value.code == "provider_bad_response"


def test_an_answer_that_is_compressed_unasked_is_none_because_its_size_is_not_known(ai, endpoint):
    endpoint.next(Fault.said(gzip.compress(b'{"data": []}'), content_encoding="gzip"))
    with pytest.raises(AiError, match="compressed"):
        embed(ai)
    assert endpoint.asked[0].headers["accept-encoding"] == "identity"


def test_many_threads_share_the_connections_and_get_each_their_own(ai, endpoint):
    texts = [f"text {number}" for number in range(40)]
    vectors = {}
    threads = [
        threading.Thread(target=lambda text=text: vectors.update({text: embed(ai, text).vectors})) for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ENOUGH)
    assert all(np.array_equal(vectors[text], right(text)) for text in texts)
    assert set(endpoint.texts.values()) == {1}


def test_a_key_that_cannot_be_sent_is_in_no_traceback(kind, running):
    key = "abcdefgh12345678zz"
    ai = kind.make(running.url, f"{key}\n")
    with pytest.raises(ProviderFault) as raised:
        embed(ai)
    ai.close()
    assert key not in "".join(traceback.format_exception(raised.value))
