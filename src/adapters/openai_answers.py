"""Answers in OpenAI's form, read with the doubt that belongs to what others send.

Source: OpenAI's API reference: the embeddings object, the chat completion object and its chunks. What is said to be
raised here is one of `UNREADABLE`: the answer is not in that form.
"""

import base64
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from adapters.strict_json import read_json
from processors.ai_interfaces import ChatAnswer, Embedded, EmbeddingCall, FinishReason, LimitNews, Usage
from processors.envelopes import clean

LARGEST_FIGURE = 10**9
"""What is more is none: `sys.maxsize`, as some proxies say for no limit, has no place in an integer of a database."""

FINISHES: dict[Any, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class ErrorInstead(Exception):
    """An answer that holds an error, whatever its status; OpenRouter sends such ones with 200.

    Args:
        body: the error in OpenAI's form.
    """

    def __init__(self, body: object) -> None:
        super().__init__()
        self.body = body


def embedded(body: bytes, call: EmbeddingCall, headers: Mapping[str, str]) -> Embedded:
    """Read vectors, one for each input and in the inputs' order, whatever the order in the answer.

    Raises:
        ValueError: or one of its kind: there is not one vector of the right size for each input.
        ErrorInstead: it is an error.
    """
    answer = _decoded(body)
    vectors = {int(one["index"]): _vector(one["embedding"]) for one in answer["data"]}
    if len(answer["data"]) != len(call.inputs) or sorted(vectors) != list(range(len(call.inputs))):
        raise ValueError(f"there are {len(answer['data'])} vectors for {len(call.inputs)} texts, or not one for each")
    sizes = {vector.size for vector in vectors.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"the vectors have {_listed(sizes)} dimensions")
    if call.dimensions not in {None, *sizes}:
        raise ValueError(f"the vectors have {_listed(sizes)} dimensions, where {call.dimensions} were asked for")
    together = np.stack([vectors[index] for index in range(len(vectors))])
    if not np.isfinite(together).all():
        raise ValueError("a vector holds what is no number")
    return Embedded(together, _model(answer, call.model), _usage(answer), limit_news(headers))


def _vector(given: Any) -> Any:
    """Return a vector that came as numbers, or as base64 of float32 with the lowest byte first."""
    if isinstance(given, str):
        return np.frombuffer(base64.b64decode(given, validate=True), "<f4")
    numbers = np.asarray(given)
    if numbers.ndim != 1 or numbers.dtype.kind not in "fiu":
        raise TypeError("a vector is no list of numbers")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused for that
        return numbers.astype(np.float32)


def _listed(sizes: set[int]) -> str:
    return ", ".join(map(str, sorted(sizes)[:5]))


def chat_answer(body: bytes, model: str, headers: Mapping[str, str]) -> ChatAnswer:
    """Read the next message of a chat.

    Args:
        body: the whole answer.
        model: what was asked, for an answer that does not name its model.
        headers: of the answer.

    Raises:
        ValueError: or one of its kind: it is no message.
        ErrorInstead: it is an error.
    """
    answer = _decoded(body)
    choice = answer["choices"][0]
    message = choice["message"]
    return ChatAnswer(
        text=_text(message.get("content")) or "",
        finish_reason=_finish(choice.get("finish_reason")),
        model=_model(answer, model),
        usage=_usage(answer),
        refusal=_text(message.get("refusal")),
        tool_calls=clean(_tool_calls(message)),
        news=limit_news(headers),
    )


class StreamedAnswer:
    """The next message of a chat, gathered from the chunks of a stream.

    Args:
        model: what was asked, for an answer that does not name its model.
    """

    def __init__(self, model: str) -> None:
        self.news = LimitNews()
        self._model = model
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._tool_calls: dict[int, dict[str, Any]] = {}
        self._finish: Any = None
        self._usage: Usage | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return str(clean("".join(self._texts)))

    @property
    def ended(self) -> bool:
        """Whether the message is whole."""
        return self._finish is not None

    def take(self, chunk: Any) -> None:
        """Add one chunk.

        Raises:
            ValueError: or one of its kind: it is none.
        """
        self._model = _model(chunk, self._model)
        self._usage = _usage(chunk) or self._usage
        choices: list[Any] = chunk.get("choices") or []
        for choice in choices[:1]:
            self._add(choice.get("delta") or {})
            self._finish = choice.get("finish_reason") or self._finish

    def take_whole(self, answer: ChatAnswer) -> None:
        """Take an answer that came in one piece, from an endpoint that streams none."""
        self.news, self._model, self._usage = answer.news, answer.model, answer.usage
        self._texts, self._refusals = [answer.text], [answer.refusal or ""]
        self._tool_calls = dict(enumerate(map(dict, answer.tool_calls)))
        self._finish = answer.finish_reason

    def answer(self) -> ChatAnswer:
        """Return what came: an answer that was `interrupted` where it did not come to its end."""
        return ChatAnswer(
            text=self.text,
            finish_reason=_finish(self._finish),
            model=self._model,
            usage=self._usage,
            refusal=clean("".join(self._refusals)) or None,
            tool_calls=clean([self._tool_calls[index] for index in sorted(self._tool_calls)]),
            news=self.news,
        )

    def _add(self, delta: Mapping[str, Any]) -> None:
        self._texts.append(_text(delta.get("content")) or "")
        self._refusals.append(_text(delta.get("refusal")) or "")
        for piece in _tool_calls(delta):
            call = self._tool_calls.setdefault(int(piece.get("index") or 0), {"type": "function"})
            call.update({name: piece[name] for name in ("id", "type") if piece.get(name)})
            _join(call.setdefault("function", {"name": "", "arguments": ""}), piece.get("function") or {})


def _join(function: dict[str, str], piece: Mapping[str, Any]) -> None:
    for name in function:
        function[name] += _text(piece.get(name)) or ""


def limit_news(headers: Mapping[str, str]) -> LimitNews:
    """Return the limits per minute that an answer's headers tell of."""
    return LimitNews(
        _figure(headers.get("x-ratelimit-limit-requests")), _figure(headers.get("x-ratelimit-limit-tokens"))
    )


def _figure(value: str | None) -> int | None:
    if not value or not value.isascii() or not value.isdecimal():
        return None
    figure = int(value)
    return figure if 0 < figure <= LARGEST_FIGURE else None


def _decoded(body: bytes) -> dict[str, Any]:
    answer = read_json(body)
    if error := answer.get("error"):
        raise ErrorInstead(error)
    return answer


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return clean(value) or None
    raise TypeError("what should be a text is none")


def _model(answer: Mapping[str, Any], asked: str) -> str:
    return str(clean(answer.get("model")) or asked)


def _finish(reason: Any) -> FinishReason:
    """Return why a message ended; one that ended for none of the known reasons is not known to be whole."""
    return FINISHES.get(reason, "interrupted")


def _tool_calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the calls of tools in a message or a part of one; `function_call` is their older form."""
    if function := message.get("function_call"):
        return [{"type": "function", "function": function}]
    return list(message.get("tool_calls") or [])


def _usage(answer: Mapping[str, Any]) -> Usage | None:
    usage: Mapping[str, Any] | None = answer.get("usage")
    if not usage:
        return None
    counts = (
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
        _count(usage.get("prompt_tokens_details"), "cached_tokens"),
        _count(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )
    return Usage(*counts) if max(counts) <= LARGEST_FIGURE else None


def _count(counts: Any, name: str) -> int:
    return max(0, int(cast("Mapping[str, Any]", counts or {}).get(name) or 0))
