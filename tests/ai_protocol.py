"""What OpenAI's endpoints take, refuse and answer, as openai-openapi's `openapi.yaml` and the API reference say.

Tokens are counted roughly: one for each 4 characters begun, and one for each number of an input of tokens. Answers
depend on nothing but the request, so that a test can tell whose answer it got.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Body = dict[str, Any]

MOST_INPUTS = 2048
MOST_INPUT_TOKENS = 8192
MOST_REQUEST_TOKENS = 300_000
CHARACTERS_PER_TOKEN = 4
DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
CONTEXTS = {"gpt-4o-mini": 128_000, "gpt-3.5-turbo": 16_385, "o4-mini": 200_000}
WITHOUT_MAX_TOKENS = frozenset({"o4-mini"})
SCHEMA_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
PARTS = frozenset({"text", "image_url", "input_audio", "file", "refusal"})
CREATED = 1_700_000_000
SIMPLE = {"string": "text", "integer": 1, "number": 0.5, "boolean": True, "null": None}


class Refused(Exception):
    """A request that OpenAI would not take; all four keys are in the answer, whatever they hold."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True)
class Taken:
    """A request that is in order.

    Attributes:
        tokens: that it counts against the limits.
        texts: that are turned into vectors.
        answer: makes the answer.
    """

    tokens: int
    texts: list[str]
    answer: Callable[[], Body]


def tokens_of(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def vector_of(key: Any, dimensions: int) -> np.ndarray:
    """The vector of a text, or of a list of tokens: of length 1, and another one for each."""
    noise = hashlib.shake_256(json.dumps(key).encode()).digest(4 * dimensions)
    vector = np.frombuffer(noise, "<i4").astype(np.float32)
    return vector / np.linalg.norm(vector)


# --- What every request is checked for ---------------------------------------------------------------------------


def _check_names(body: Body, known: frozenset[str], required: tuple[str, ...]) -> None:
    for name in sorted(set(body) - known):
        raise Refused(f"Unrecognized request argument supplied: {name}", param=name, code="unknown_parameter")
    for name in required:
        if body.get(name) is None:
            raise Refused(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def _check_model(model: Any, known: dict[str, int]) -> None:
    if not isinstance(model, str):
        raise _invalid("model", "expected a string")
    if model not in known:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refused(message, status=404, code="model_not_found")


def _check_number(body: Body, name: str, least: float, most: float, kind: Any = (int, float)) -> None:
    value = body.get(name)
    if value is None:
        return
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _invalid(name, "expected a number of the right kind")
    if not least <= value <= most:
        raise _invalid(name, f"expected a value from {least} to {most}, but got {value} instead")


def _invalid(name: str, why: str) -> Refused:
    return Refused(f"Invalid value for '{name}': {why}.", param=name, code="invalid_value")


# --- POST /v1/embeddings -----------------------------------------------------------------------------------------


class Embeddings:
    """Takes a request for vectors, or refuses it."""

    known = frozenset({"model", "input", "dimensions", "encoding_format", "user"})

    def take(self, body: Body) -> Taken:
        _check_names(body, self.known, ("model", "input"))
        _check_model(body["model"], DIMENSIONS)
        inputs = self._inputs(body["input"])
        counts = [tokens_of(one) if isinstance(one, str) else len(one) for one in inputs]
        self._check_tokens(counts)
        dimensions = self._dimensions(body)
        if body.get("encoding_format", "float") not in {"float", "base64"}:
            raise _invalid("encoding_format", "expected 'float' or 'base64'")
        texts = [one if isinstance(one, str) else json.dumps(one) for one in inputs]
        return Taken(sum(counts), texts, lambda: self._answer(body, inputs, dimensions, sum(counts)))

    def _inputs(self, given: Any) -> list[Any]:
        """The inputs one by one: a text, texts, tokens, or lists of tokens."""
        inputs = [given] if isinstance(given, str) or _is_tokens(given) else given
        texts_or_tokens = isinstance(inputs, list) and (
            all(isinstance(one, str) for one in inputs) or all(_is_tokens(one) for one in inputs)
        )
        if not inputs or not texts_or_tokens:
            raise Refused("'$.input' is invalid. Please check the API reference.", param="input")
        if len(inputs) > MOST_INPUTS:
            raise Refused(f"'$.input' is too long: the maximum is {MOST_INPUTS} elements.", param="input")
        if "" in inputs:
            raise Refused("'$.input' is invalid: input cannot be an empty string.", param="input")
        return inputs

    def _check_tokens(self, counts: list[int]) -> None:
        most, together = max(counts), sum(counts)
        if most > MOST_INPUT_TOKENS:
            raise Refused(
                f"This model's maximum context length is {MOST_INPUT_TOKENS} tokens, however you requested {most} "
                f"tokens ({most} in your prompt; 0 for the completion). Please reduce your prompt; or completion "
                "length."
            )
        if together > MOST_REQUEST_TOKENS:
            raise Refused(
                f"Requested {together} tokens, max {MOST_REQUEST_TOKENS} tokens per request",
                kind="max_tokens_per_request",
                code="max_tokens_per_request",
            )

    def _dimensions(self, body: Body) -> int:
        own = DIMENSIONS[body["model"]]
        if body.get("dimensions") is None:
            return own
        if not body["model"].startswith("text-embedding-3"):
            raise Refused("This model does not support specifying dimensions.", param="dimensions")
        _check_number(body, "dimensions", 1, own, int)
        return body["dimensions"]

    def _answer(self, body: Body, inputs: list[Any], dimensions: int, tokens: int) -> Body:
        in_base64 = body.get("encoding_format") == "base64"
        vectors = [vector_of(one, dimensions) for one in inputs]
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _encoded(vector) if in_base64 else vector.tolist()}
                for index, vector in enumerate(vectors)
            ],
            "model": body["model"],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }


def _is_tokens(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(type(one) is int and one >= 0 for one in given)


def _encoded(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


# --- POST /v1/chat/completions -----------------------------------------------------------------------------------


class Chats:
    """Takes a request for the next message of a chat, or refuses it."""

    numbers = (
        ("temperature", 0, 2, (int, float)),
        ("top_p", 0, 1, (int, float)),
        ("frequency_penalty", -2, 2, (int, float)),
        ("presence_penalty", -2, 2, (int, float)),
        ("n", 1, 128, int),
        ("top_logprobs", 0, 20, int),
        ("max_tokens", 1, 10**6, int),
        ("max_completion_tokens", 1, 10**6, int),
        ("seed", -(2**63), 2**63 - 1, int),
    )
    known = frozenset({name for name, *_ in numbers}) | {
        *("model", "messages", "stream", "stream_options", "response_format", "tools", "tool_choice", "stop"),
        *("logprobs", "logit_bias", "user", "metadata", "store", "service_tier", "reasoning_effort", "verbosity"),
        *("parallel_tool_calls", "modalities", "audio", "prediction", "functions", "function_call"),
        *("prompt_cache_key", "safety_identifier", "web_search_options"),
    }

    def take(self, body: Body) -> Taken:
        _check_names(body, self.known, ("model", "messages"))
        _check_model(body["model"], CONTEXTS)
        for name, least, most, kind in self.numbers:
            _check_number(body, name, least, most, kind)
        self._check_lengths(body)
        self._check_stream(body)
        _check_format(body.get("response_format") or {"type": "text"})
        tokens = self._tokens(body["messages"])
        room = CONTEXTS[body["model"]]
        asked = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        if tokens + asked > room:
            raise Refused(
                f"This model's maximum context length is {room} tokens. However, you requested {tokens + asked} tokens "
                f"({tokens} in the messages, {asked} in the completion).",
                param="messages",
                code="context_length_exceeded",
            )
        return Taken(tokens + asked, [], lambda: self._answer(body, tokens))

    def _check_lengths(self, body: Body) -> None:
        if body.get("max_tokens") is None:
            return
        if body["model"] in WITHOUT_MAX_TOKENS or body.get("max_completion_tokens") is not None:
            raise Refused(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                "instead.",
                param="max_tokens",
                code="unsupported_parameter",
            )

    def _check_stream(self, body: Body) -> None:
        if body.get("stream_options") is not None and not body.get("stream"):
            message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise Refused(message, param="stream_options")
        if body.get("top_logprobs") is not None and not body.get("logprobs"):
            raise _invalid("top_logprobs", "'logprobs' must be true")
        if isinstance(body.get("stop"), list) and len(body["stop"]) > 4:
            raise _invalid("stop", "expected at most 4 texts")

    def _tokens(self, messages: Any) -> int:
        if not isinstance(messages, list) or not messages:
            raise _invalid("messages", "expected an array with at least one message")
        return sum(_message_tokens(message, f"messages[{at}]") for at, message in enumerate(messages))

    def _answer(self, body: Body, tokens: int) -> Body:
        message, finish = self._message(body)
        written = tokens_of(message["content"] or "")
        return {
            "id": f"chatcmpl-{hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]}",
            "object": "chat.completion",
            "created": CREATED,
            "model": body["model"],
            "choices": [
                {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
                for index in range(body.get("n") or 1)
            ],
            "usage": {
                "prompt_tokens": tokens,
                "completion_tokens": written,
                "total_tokens": tokens + written,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
            },
            "system_fingerprint": None,
        }

    def _message(self, body: Body) -> tuple[Body, str]:
        """The answering message, and why it ends."""
        message: Body = {"role": "assistant", "content": None, "refusal": None}
        if body.get("tools") and body.get("tool_choice") == "required":
            function = {"name": body["tools"][0]["function"]["name"], "arguments": "{}"}
            return message | {"tool_calls": [{"id": "call_1", "type": "function", "function": function}]}, "tool_calls"
        text = self._text(body)
        most = body.get("max_completion_tokens") or body.get("max_tokens")
        if most and tokens_of(text) > most:
            return message | {"content": text[: most * CHARACTERS_PER_TOKEN]}, "length"
        return message | {"content": text}, "stop"

    def _text(self, body: Body) -> str:
        """The echo of the last message, or what fulfils the form that was asked for."""
        wanted = body.get("response_format") or {"type": "text"}
        if wanted["type"] == "json_schema":
            return json.dumps(instance_of(wanted["json_schema"]["schema"]))
        echo = f"echo: {_text_of(body['messages'][-1])}"
        return json.dumps({"echo": echo}) if wanted["type"] == "json_object" else echo


def _message_tokens(message: Any, place: str) -> int:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise _invalid(f"{place}.role", f"supported values are {', '.join(sorted(ROLES))}")
    if message["role"] == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise Refused(f"Missing required parameter: '{place}.tool_call_id'.", param=f"{place}.tool_call_id")
    content = message.get("content")
    calls = message["role"] == "assistant" and (message.get("tool_calls") or message.get("function_call"))
    parts = isinstance(content, list) and all(isinstance(part, dict) and part.get("type") in PARTS for part in content)
    if not (isinstance(content, str) or (content and parts) or (content is None and calls)):
        raise _invalid(f"{place}.content", "expected a string or an array of parts")
    return tokens_of(_text_of(message)) + 1


def _text_of(message: Body) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _check_format(wanted: Any) -> None:
    if not isinstance(wanted, dict) or wanted.get("type") not in {"text", "json_object", "json_schema"}:
        raise _invalid("response_format", "supported types are text, json_object and json_schema")
    if wanted["type"] != "json_schema":
        return
    given = wanted.get("json_schema")
    if not isinstance(given, dict) or not SCHEMA_NAME.fullmatch(str(given.get("name"))):
        raise _invalid("response_format.json_schema.name", "expected 1 to 64 letters, digits, '_' or '-'")
    if not isinstance(given.get("schema"), dict):
        raise _invalid("response_format.json_schema.schema", "expected an object")
    if given.get("strict"):
        _check_strict(given["schema"], given["name"])


def _check_strict(schema: Body, name: str) -> None:
    """A strict schema names all its properties as required, and allows no more."""
    properties = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(properties)
    if schema.get("type") == "object" and not closed:
        raise Refused(
            f"Invalid schema for response_format '{name}': 'additionalProperties' is required to be supplied and to be "
            "false, and 'required' to name every property.",
            param="response_format",
        )
    for inner in [*properties.values(), *([schema["items"]] if "items" in schema else [])]:
        _check_strict(inner, name)


def instance_of(schema: Body) -> Any:
    """A small value that fulfils a schema of the usual kind."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: instance_of(inner) for name, inner in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [instance_of(schema["items"])]
    return SIMPLE[schema.get("type", "string")]


# --- Streams -----------------------------------------------------------------------------------------------------


def events_of(completion: Body, *, with_usage: bool) -> list[bytes]:
    """The events of a stream that bring a message: its text word by word, its end, its usage where asked for."""
    shared = {name: completion[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    usage = {"usage": None} if with_usage else {}
    chunks = [
        shared | {"choices": [_choice(choice["index"], delta, finish)]} | usage
        for choice in completion["choices"]
        for delta, finish in _deltas(choice)
    ]
    if with_usage and "usage" in completion:
        chunks.append(shared | {"choices": [], "usage": completion["usage"]})
    return [*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]


def _choice(index: int, delta: Body, finish: str | None) -> Body:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _deltas(choice: Body) -> list[tuple[Body, str | None]]:
    message = choice["message"]
    deltas: list[Body] = [{"role": "assistant", "content": "" if message["content"] is not None else None}]
    for name in ("content", "refusal"):
        deltas += [{name: word} for word in re.findall(r"\S*\s+|\S+$", message.get(name) or "")]
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        deltas.append({"tool_calls": [call | {"index": index, "function": function | {"arguments": ""}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": letter}}]} for letter in function["arguments"]
        ]
    return [*((delta, None) for delta in deltas), ({}, choice["finish_reason"])]
