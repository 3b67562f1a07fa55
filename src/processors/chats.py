"""Chats: the next message of a conversation, from a provider."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal

from pydantic import Field

from processors import ai_chats
from processors.ai_chats import ANSWER_TOKENS, Prompt, Said
from processors.ai_gateway import Gateway
from processors.ai_interfaces import Asker, Attempt, ChatAnswer, Serving, Usage
from processors.ai_requests import ProcessChat
from processors.ai_results import AiResult, Cost, cost_of_all, cost_told, input_of
from processors.chat_context import Fitted, as_data, fitted, tokens_that_stay
from processors.envelopes import Limits, Timing, clean, warning
from processors.errors import AiError, ProviderFault
from processors.interfaces import Report
from processors.results import Result

SMALLEST_ROOM = 64
ANSWERING_PERCENT = 50

WITHOUT_SCHEMA = "Answer with JSON alone, and no other text. It must fulfil this JSON schema: "
REPAIR = "That answer does not fulfil the JSON schema ({problem}). Answer again, with JSON alone that does."


class Answer(Result):
    """The next message."""

    role: Literal["assistant"] = "assistant"
    content: str


class Context(Result):
    """What was sent of the conversation; tokens are estimates."""

    sent_messages: int
    dropped_messages: int
    trim_strategy: Literal["none", "oldest_first"]
    tokens_before: int
    tokens_after: int


class ChatSaid(Result):
    """The answer, what it is as JSON where a schema was given, and what it took."""

    message: Answer
    output: Any = None
    output_schema_valid: bool | None = None
    repairs: int = 0
    finish_reason: str
    model: str
    provider: str
    tool_calls: list[dict[str, Any]]
    usage: Usage
    cost: Cost | None
    context: Context
    attempts: list[Attempt]
    cached: bool


class ChatProcessed(AiResult):
    """An answer; `partial` is one that was cut, at the token limit or by a lost connection."""

    schema_name: str = Field(default="csai.chat/1", serialization_alias="schema")
    result: ChatSaid


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTools:
    """What a chat needs from outside.

    Attributes:
        gateway: the way to providers.
        default_model: where a caller names none.
        asker: whose request it is.
        show: gets the text so far while it comes.
    """

    gateway: Gateway
    default_model: str
    asker: Asker
    show: Callable[[str], None]


def process_chat(request: ProcessChat, tools: ChatTools, report: Report) -> ChatProcessed:
    """Return the next message of a conversation.

    Args:
        request: the message, the conversation so far, and how the answer is to be.
        tools: what it needs from outside.
        report: told what goes on.

    Raises:
        AiError: nobody serves the model; or it refuses (`content_filtered`), or finds no room even for the message
            (`context_too_long`), or answers otherwise than the schema says, twice (`provider_bad_response`), or not to
            the end of what the schema says (`too_large`).
        ProviderBusy: there is no room now.
        ProviderFault: no provider answers as it should.
        Cancelled: the task was cancelled.
    """
    began = time.monotonic()
    name = request.model or tools.default_model
    servings = tools.gateway.routes.of(name, fallbacks=True)
    report(ANSWERING_PERCENT, "asking the model")
    talk = _Talk(request, servings, tools)
    said = talk.answer()
    repairs, output, problem = 0, None, None
    if request.response_schema is not None:
        output, problem = _value_of(said.answer, request.response_schema)
        if problem is not None:
            repairs, said = 1, talk.repair(said, problem)
            output, problem = _value_of(said.answer, request.response_schema)
        if problem is not None:
            raise AiError(
                f"The model {said.answer.model} answers otherwise than the schema says, also when told: {problem}.",
                "provider_bad_response",
            )
    return _result(request, name, tools, talk, said, (output, repairs), began)


def _parsed(text: str, schema: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Return the value of an answer and what is wrong with it; its library is loaded on first use."""
    return import_module("processors.json_answers").parsed(text, schema)


def messages_of(request: ProcessChat) -> list[dict[str, str]]:
    """Return the whole conversation in OpenAI's form; data comes right before the message."""
    so_far = [{"role": one.role, "content": one.content} for one in request.context or []]
    return [*so_far, *map(as_data, request.data or []), {"role": "user", "content": request.message}]


def options_of(request: ProcessChat) -> dict[str, Any]:
    """Return the parameters of OpenAI's chat completions that a request sets."""
    return {("max_completion_tokens" if name == "max_output_tokens" else name): value for name, value in _set(request)}


def _set(request: ProcessChat) -> list[tuple[str, Any]]:
    """Return what a request asks of the model, by its own names."""
    given = ((name, getattr(request, name)) for name in ("temperature", "top_p", "max_output_tokens", "seed", "stop"))
    return [(name, value) for name, value in given if value is not None]


class _Talk:
    """Asks, and asks again with less where the model has less room than was thought."""

    def __init__(self, request: ProcessChat, servings: Sequence[Serving], tools: ChatTools) -> None:
        self.request = request
        self.context: Fitted | None = None
        self.paid: list[Said] = []
        self._servings = servings
        self._tools = tools
        self._room: int | None = None
        self._schema = request.response_schema
        self._messages: list[dict[str, str]] = messages_of(request)
        self._kept_last = 1 + len(request.data or [])

    def answer(self) -> Said:
        """Return the answer.

        Raises:
            AiError: it is a refusal, or there is no room.
        """
        while True:
            try:
                said = self._asked()
            except AiError as error:
                if not self._made_room(error) and not self._described_schema(error):
                    raise
                continue
            self.paid.append(said)
            return _checked(said)

    def repair(self, said: Said, problem: str) -> Said:
        """Tell what is wrong with an answer, and return the next one."""
        self._messages += [
            {"role": "assistant", "content": said.answer.text or "(nothing)"},
            {"role": "user", "content": REPAIR.format(problem=problem)},
        ]
        self._kept_last += 2
        return self.answer()

    def _asked(self) -> Said:
        tools = self._tools
        return ai_chats.ask(tools.gateway, self._servings, self._prompt, tools.asker, tools.show)

    def _prompt(self, serving: Serving) -> Prompt:
        """Return what a model is asked: what fits into its room beside the answer."""
        room = self._room
        if (most := serving.model_terms.context_tokens) is not None:
            own = max(SMALLEST_ROOM, most - (self.request.max_output_tokens or ANSWER_TOKENS))
            room = own if room is None else min(room, own)
        self.context = fitted(self._messages, room, self._kept_last)
        return Prompt(self.context.messages, options_of(self.request), self._schema)

    def _made_room(self, error: AiError) -> bool:
        """Halve the room that nobody told, where a provider finds the conversation too long."""
        if error.code != "context_too_long" or self.context is None:
            return False
        sent = self.context.tokens_after if self._room is None else min(self._room, self.context.tokens_after)
        self._room = max(sent // 2, tokens_that_stay(self._messages, self._kept_last))
        return self._room < sent  # less each time, so that it comes to an end

    def _described_schema(self, error: AiError) -> bool:
        """Tell the schema in words, where an endpoint does not know the parameter for it."""
        if self._schema is None or error.code != "provider_bad_response" or "response_format" not in str(error):
            return False
        self._messages.insert(0, {"role": "system", "content": WITHOUT_SCHEMA + json.dumps(self._schema)})
        self._schema = None
        return True


def _checked(said: Said) -> Said:
    """Return an answer that is none of a filter's refusals.

    Raises:
        AiError: it is one (`content_filtered`).
    """
    answer = said.answer
    if answer.refusal is not None or answer.finish_reason == "content_filter":
        why = f": {answer.refusal.rstrip('. ')}" if answer.refusal else "; what it said until then is not kept"
        raise AiError(
            f"The model {answer.model} refuses to answer, or a filter of its provider does{why}.", "content_filtered"
        )
    return replace(said, answer=replace(answer, text=clean(answer.text)))


def _value_of(answer: ChatAnswer, schema: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Return the JSON value of an answer, and what the model is to be told that is wrong with it.

    Raises:
        AiError: it was cut at the token limit, and would be again (`too_large`).
        ProviderFault: its connection was lost.
    """
    value, problem = _parsed(answer.text, schema)
    if problem is not None and answer.finish_reason == "length":
        raise AiError(
            "The answer was cut at the token limit before it fulfilled the schema: raise max_output_tokens, or name a "
            "model that takes more.",
            "too_large",
        )
    if problem is not None and answer.finish_reason == "interrupted":
        raise ProviderFault(
            f"The connection to {answer.model} was lost before its answer fulfilled the schema; it is asked again "
            "later.",
            "provider_unavailable",
        )
    return value, problem


def _result(
    request: ProcessChat,
    name: str,
    tools: ChatTools,
    talk: _Talk,
    said: Said,
    output: tuple[Any, int],
    began: float,
) -> ChatProcessed:
    answer, context = said.answer, talk.context or fitted(messages_of(request), None, 1)
    errors, limits = list[dict[str, Any]](), Limits()
    if answer.finish_reason == "length":
        limits = Limits(hit=["max_output_tokens"])
        errors.append(
            warning("too_large", "The answer was cut at the token limit: raise max_output_tokens.", step="answer")
        )
    if answer.finish_reason == "interrupted":
        errors.append(
            warning("provider_unavailable", "The connection was lost in mid-answer; what came is kept.", step="answer")
        )
    warnings: list[dict[str, Any]] = []
    if context.dropped:
        message = (
            f"The oldest {context.dropped} messages were left out: the conversation is longer than the model's room."
        )
        warnings.append(warning("context_trimmed", message))
    if not answer.text.strip() and not answer.tool_calls and not errors:
        warnings.append(warning("no_text", f"The model {answer.model} ended its answer without a text."))
    total = sum((one.usage for one in talk.paid), Usage())
    cost = cost_of_all((one.cost, one.serving.terms.currency) for one in talk.paid)
    seconds = round(time.monotonic() - began, 3)
    value, repairs = output
    result = ChatSaid(
        message=Answer(content=answer.text),
        output=value,
        output_schema_valid=None if request.response_schema is None else True,
        repairs=repairs,
        finish_reason=answer.finish_reason,
        model=answer.model,
        provider=said.serving.terms.name,
        tool_calls=[clean(dict(one)) for one in answer.tool_calls],
        usage=total,
        cost=cost_told(cost, said.serving.terms.currency),
        context=Context(
            sent_messages=len(context.messages),
            dropped_messages=context.dropped,
            trim_strategy="oldest_first" if context.dropped else "none",
            tokens_before=context.tokens_before,
            tokens_after=context.tokens_after,
        ),
        attempts=tools.asker.attempts,
        cached=said.of_task is not None,
    )
    step = {
        "step": "chat",
        "engine": "openai-compatible",
        "provider": result.provider,
        "model": answer.model,
        "seconds": seconds,
        "cached": result.cached,
    }
    texts = [one.content for one in request.context or []]
    return ChatProcessed(
        status="partial" if errors else "ok",
        input=input_of(request.message, *texts, *(request.data or [])),
        options={"model": name, **dict(_set(request))},
        provenance=[step],
        warnings=warnings,
        errors=errors,
        limits=limits,
        timing=Timing(run_s=seconds),
        result=result,
    )
