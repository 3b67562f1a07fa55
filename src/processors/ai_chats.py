"""Chats with providers: who is asked, in which order, and what the answer took."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from processors.ai_gateway import Gateway, Planned, cost_of, digest_of, first_that_answers, seconds_for
from processors.ai_interfaces import Asker, ChatAnswer, ChatCall, Serving, Usage
from processors.tokens import estimated_of_messages, estimated_tokens

ANSWER_TOKENS = 1_024
"""What room is taken for an answer that has no bound; what it really was is noted afterwards."""

RECOVERABLE = frozenset({"context_too_long", "model_missing", "too_large"})
"""Refusals after which the next one is asked: another model may have more room, or be there."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked.

    Attributes:
        messages: in OpenAI's form.
        options: more parameters of OpenAI's chat completions.
        schema: a JSON schema for the answer, or None.
    """

    messages: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """The answer, who gave it to which prompt, and what it took.

    Attributes:
        cost: None where a price is not known; 0 where another task has paid.
        of_task: whose answer it is, where it is another task's.
    """

    answer: ChatAnswer
    serving: Serving
    prompt: Prompt
    usage: Usage
    cost: float | None
    of_task: str | None = None


def ask(
    gateway: Gateway,
    servings: Sequence[Serving],
    prompt_for: Callable[[Serving], Prompt],
    asker: Asker,
    on_text: Callable[[str], None] | None,
) -> Said:
    """Return the next message of a chat, from the first one that answers.

    Args:
        gateway: the way to providers.
        servings: who is asked, in this order.
        prompt_for: returns what a model is asked, cut to its room.
        asker: whose request it is.
        on_text: gets the text so far while it comes.

    Raises:
        AiError: those who serve the model refuse.
        ProviderBusy: there is no room now.
        ProviderFault: nobody answers as it should.
        Cancelled: the task was cancelled.
    """
    return first_that_answers(
        servings, lambda serving: _once(gateway, serving, prompt_for(serving), asker, on_text), RECOVERABLE
    )


def _once(
    gateway: Gateway, serving: Serving, prompt: Prompt, asker: Asker, on_text: Callable[[str], None] | None
) -> Said:
    """Ask one provider, and pay once for all tasks that ask the same now."""
    messages, options = prompt.messages, prompt.options
    digest = digest_of("chat", serving, asker.tenant, [list(messages), dict(options), prompt.schema])

    def answered() -> dict[str, Any]:
        call = ChatCall(serving.model, messages, options, prompt.schema, seconds_for(serving, asker))
        most = int(options.get("max_completion_tokens") or ANSWER_TOKENS)
        planned = Planned("chat", estimated_of_messages(messages), most, call.seconds)
        expected = [(asker, Usage(planned.sent, planned.most, estimated=True))]
        leave, answer = gateway.call(
            planned, serving, expected, lambda: serving.provider.chat(call, asker.look, on_text)
        )
        usage = answer.usage or _estimated(messages, answer.text)
        gateway.settle(leave, serving, [(asker, usage)], answer.news)
        return _stored(answer, usage)

    told, of_task = gateway.once(digest, asker, answered, worth_keeping=_is_whole)
    usage = Usage(**told["usage"])
    answer = ChatAnswer(usage=usage, **told["answer"])
    cost = cost_of(serving.model_terms, usage) if of_task is None else 0.0
    return Said(answer, serving, prompt, usage, cost, of_task)


def _estimated(messages: Sequence[Mapping[str, Any]], text: str) -> Usage:
    return Usage(estimated_of_messages(messages), estimated_tokens(text), estimated=True)


def _stored(answer: ChatAnswer, usage: Usage) -> dict[str, Any]:
    """Return an answer as JSON values."""
    fields = {name: getattr(answer, name) for name in ("text", "finish_reason", "model", "refusal")}
    return {"answer": fields | {"tool_calls": [dict(one) for one in answer.tool_calls]}, "usage": usage.as_json()}


def _is_whole(told: Mapping[str, Any]) -> bool:
    """Tell whether an answer was neither cut nor filtered nor refused: nobody else is given such a one."""
    return told["answer"]["finish_reason"] in {"stop", "tool_calls"} and told["answer"]["refusal"] is None
