"""Vectors of texts from providers: what waits together goes in one request, and a bad text costs the others nothing."""

import base64
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from processors.ai_gateway import (
    SHORTEST_CALL_SECONDS,
    Gateway,
    Planned,
    cost_of,
    digest_of,
    first_that_answers,
    seconds_for,
)
from processors.ai_gathering import Gathering, Sending
from processors.ai_interfaces import Asker, EmbeddingCall, Look, Serving, Usage
from processors.ai_packing import packed
from processors.arrays import STORED, numpy
from processors.errors import AiError, Postponed, ProviderFault
from processors.tokens import estimated_tokens

ONE_TEXTS_FAULT = frozenset({"provider_bad_response", "context_too_long", "content_filtered", "too_large"})
TOO_LONG = "context_too_long"
MOST_REFUSALS = 64
"""In a row; then no part of a request is halved any more: what refuses everything is not asked for each text."""

ROOM_FOR_ONE_MORE = 2
"""Times what the longest request so far has taken."""

NEXT_RUN_SECONDS = 1.0
"""After which a task goes on whose time was over, with what is left to ask."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One text that a vector is wanted for, and who pays."""

    text: str
    asker: Asker

    def looking(self, look: Look) -> "Wanted":
        """Return the same with another look, for a request that goes on for several."""
        return replace(self, asker=replace(self.asker, look=look))


@dataclass(frozen=True, slots=True)
class Vector:
    """One text's vector as float32, the model that the provider says it was, and what it took.

    Attributes:
        cost: in the provider's currency; None where its price is not known; 0 where another task has paid.
        of_task: whose answer it is, where it is another task's.
    """

    values: Any
    model: str
    provider: str
    usage: Usage
    cost: float | None
    currency: str
    of_task: str | None = None


class Vectors:
    """Asks providers for vectors; one for all threads of a process.

    Args:
        gateway: the way to providers.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._gathering = Gathering[Wanted, Vector | AiError]()

    def of(self, text: str, servings: Sequence[Serving], dimensions: int | None, asker: Asker) -> Vector:
        """Return the vector of one text, from the first provider of its model that answers.

        Raises:
            AiError: they refuse.
            ProviderBusy: there is no room now.
            ProviderFault: none of them answers as it should.
            Cancelled: the task was cancelled.
        """
        return first_that_answers(servings, lambda serving: self._once(text, serving, dimensions, asker))

    def in_requests(
        self, groups: Sequence[Sequence[str]], servings: Sequence[Serving], dimensions: int | None, asker: Asker
    ) -> Iterator[list[list[Vector | AiError]]]:
        """Yield the vectors of the next groups of texts after each request, so that they can be kept before the next.

        A group is never shared out among requests, but for one that is larger than a request by itself.

        Raises:
            Postponed: there is no room now, or no time for one more request, and the task goes on in another run: one
                that is cut short would count as the provider's failure.
            ProviderFault: none of the providers answers as it should.
            Cancelled: the task was cancelled.
        """
        done, longest = 0, 0.0
        while done < len(groups):
            began = time.monotonic()
            if done:
                _check_time(asker, longest)
            answers = first_that_answers(servings, partial(self._first_of, groups[done:], dimensions, asker))
            longest = max(longest, time.monotonic() - began)
            yield answers
            done += len(answers)

    def _first_of(
        self, groups: Sequence[Sequence[str]], dimensions: int | None, asker: Asker, serving: Serving
    ) -> list[list[Vector | AiError]]:
        """Return the vectors of as many groups as one request can take, at least of one.

        Where that is asked again in halves and room is short meanwhile, those are returned that are answered.
        """
        taken = groups[: packed(serving.terms, groups)]
        texts = [text for group in taken for text in group]
        if packed(serving.terms, ([text] for text in texts)) < len(texts):  # a text that is larger than a request
            try:
                return [self._kept(texts, serving, dimensions, asker, {})]
            except AiError as error:
                return [[error] * len(texts)]
        wanted = [Wanted(text, asker) for text in texts]
        answers = iter(_so_far(self.embed(wanted, serving, dimensions), least=len(taken[0])))
        found = ((group, list(islice(answers, len(group)))) for group in taken)
        return [its for group, its in found if len(its) == len(group)]

    def of_pieces(
        self, texts: Sequence[str], servings: Sequence[Serving], dimensions: int | None, asker: Asker
    ) -> list[Vector | AiError]:
        """Return the vectors of one text's pieces, each kept at once, so that the same task never pays it again.

        Without that, a text with more tokens than a minute has room for would begin anew for ever. Where one piece is
        too long, no other one is asked for in that length: they are of one kind, and each would be refused by itself.

        Raises:
            AiError: the task has no time left (`timeout`).
            Postponed: there is no room now, or no time for one more request, or another task asks for one of them.
            ProviderFault: none of the providers answers as it should.
            Cancelled: the task was cancelled.
        """
        found: dict[int, Vector | AiError] = {}  # what one provider has answered the next one is not asked
        return first_that_answers(servings, lambda serving: self._kept(texts, serving, dimensions, asker, found))

    def _kept(
        self,
        texts: Sequence[str],
        serving: Serving,
        dimensions: int | None,
        asker: Asker,
        found: dict[int, Vector | AiError],
    ) -> list[Vector | AiError]:
        """Add to what is found by the numbers of the texts, and return all of it."""
        digests = [_digest(text, serving, dimensions, asker) for text in texts]
        begun: set[int] = set()
        try:
            for number, digest in enumerate(digests):
                if number in found:
                    continue
                if told := self._gateway.begin(digest, asker):
                    found[number] = _vector(*told)
                else:
                    begun.add(number)
            for number, vector in self._asked(texts, serving, dimensions, asker, found):
                self._gateway.finish(digests[number], asker, _stored(vector))
                begun.discard(number)
        finally:
            for number in begun:
                self._gateway.give_up(digests[number], asker)
        return [found[number] for number in range(len(texts))]

    def _asked(
        self,
        texts: Sequence[str],
        serving: Serving,
        dimensions: int | None,
        asker: Asker,
        found: dict[int, Vector | AiError],
    ) -> Iterator[tuple[int, Vector]]:
        """Ask for what is not found yet, add each answer to what is found, and yield the vectors by their numbers."""
        longest = 0.0
        while left := [number for number in range(len(texts)) if number not in found]:
            began = time.monotonic()
            if longest:
                _check_time(asker, longest)
            part = left[: packed(serving.terms, ([texts[number]] for number in left))]
            wanted = [Wanted(texts[number], asker) for number in part]
            answers = self.embed(wanted, serving, dimensions, halved=ONE_TEXTS_FAULT - {TOO_LONG})
            for number, one in zip(part, answers, strict=True):
                found[number] = one
                if isinstance(one, Vector):
                    yield number, one
                elif one.code == TOO_LONG:
                    found.update(dict.fromkeys(left, one) | found)
            longest = max(longest, time.monotonic() - began)

    def _once(self, text: str, serving: Serving, dimensions: int | None, asker: Asker) -> Vector:
        """Return a vector that is paid once for all tasks that want it now."""
        digest = _digest(text, serving, dimensions, asker)
        sending: Sending[Wanted, Vector | AiError] = Sending(
            key=(serving.terms.account, serving.model, dimensions),
            packed=lambda wanted: packed(serving.terms, ([one.text] for one in wanted)),
            send=lambda wanted, look: self.embed([one.looking(look) for one in wanted], serving, dimensions),
        )

        def ask() -> dict[str, Any]:
            found = self._gathering.ask(Wanted(text, asker), sending, asker.look)
            if isinstance(found, AiError):
                raise found
            return _stored(found)

        told, of_task = self._gateway.once(digest, asker, ask)
        return _vector(told, of_task)

    def embed(
        self,
        wanted: Sequence[Wanted],
        serving: Serving,
        dimensions: int | None,
        halved: Collection[str] = ONE_TEXTS_FAULT,
    ) -> Iterator[Vector | AiError]:
        """Yield the vectors of texts that one request can take, or for each why it has none.

        A request that is refused is asked again in halves, so that a bad text costs the others nothing: one in 2 048
        takes 23 requests.

        Raises:
            ProviderBusy: there is no room now.
            ProviderFault: the provider does not answer as it should.
            Cancelled: as raised by the first one's look.
        """
        parts, refusals = [list(wanted)], 0
        while parts:
            part = parts.pop()
            try:
                vectors = self._request(part, serving, dimensions)
            except AiError as error:
                refusals += 1
                if len(part) == 1 or error.code not in halved or refusals >= MOST_REFUSALS:
                    yield from [error] * len(part)
                    continue
                half = len(part) // 2
                parts += [part[half:], part[:half]]  # the first half is taken first
            else:
                refusals = 0
                yield from vectors

    def _request(self, wanted: Sequence[Wanted], serving: Serving, dimensions: int | None) -> list[Vector]:
        asker, tokens = wanted[0].asker, [estimated_tokens(one.text) for one in wanted]
        seconds = max(seconds_for(serving, one.asker) for one in wanted)  # it goes on while one of them waits for it
        call = EmbeddingCall(serving.model, [one.text for one in wanted], dimensions, seconds)
        planned = Planned("embedding", sum(tokens), 0, call.seconds)
        expected = [(one.asker, usage) for one, usage in zip(wanted, _shared(None, tokens), strict=True)]
        leave, embedded = self._gateway.call(
            planned, serving, expected, lambda: serving.provider.embed(call, asker.look)
        )
        usages, terms = _shared(embedded.usage, tokens), serving.model_terms
        taken = [(one.asker, usage) for one, usage in zip(wanted, usages, strict=True)]
        self._gateway.settle(leave, serving, taken, embedded.news)
        return [
            Vector(values, embedded.model, serving.terms.name, usage, cost_of(terms, usage), serving.terms.currency)
            for values, usage in zip(embedded.vectors, usages, strict=True)
        ]


def _check_time(asker: Asker, longest: float) -> None:
    """Leave what is not asked yet to the task's next run, where one more request would be cut short.

    Raises:
        Postponed: less time is left than a request may need, the longest of which took so many seconds.
    """
    if asker.until - time.monotonic() < max(SHORTEST_CALL_SECONDS, ROOM_FOR_ONE_MORE * longest):
        raise Postponed("The task's time is too short for one more request; it goes on anew.", NEXT_RUN_SECONDS)


def _so_far(answers: Iterator[Vector | AiError], least: int) -> list[Vector | AiError]:
    """Return all answers, or those until one cannot be had now: they are paid, and must not be lost.

    Raises:
        Postponed: there is no room now, and there are less than `least`.
        ProviderFault: the provider does not answer as it should, and there are less.
    """
    found: list[Vector | AiError] = []
    try:
        for one in answers:
            found.append(one)  # noqa: PERF402 - what came before an error is kept
    except (Postponed, ProviderFault):
        if len(found) < least:
            raise
    return found


def _shared(usage: Usage | None, tokens: Sequence[int]) -> list[Usage]:
    """Share the tokens that a provider counted for a request among its texts, by their estimates."""
    if usage is None:
        return [Usage(input_tokens=one, estimated=True) for one in tokens]
    total, shares, given, weight = sum(tokens), list[Usage](), 0, 0
    for one in tokens:  # cumulated, so that the shares add up to the whole
        weight += one
        so_far = round(usage.input_tokens * weight / total)
        shares.append(Usage(input_tokens=so_far - given, estimated=usage.estimated))
        given = so_far
    return shares


def _digest(text: str, serving: Serving, dimensions: int | None, asker: Asker) -> str:
    return digest_of("embedding", serving, asker.tenant, [text, dimensions])


def _stored(vector: Vector) -> dict[str, Any]:
    """Return a vector as JSON values."""
    return {
        "values": base64.b64encode(numpy().asarray(vector.values, STORED).tobytes()).decode(),
        "model": vector.model,
        "provider": vector.provider,
        "usage": vector.usage.as_json(),
        "cost": vector.cost,
        "currency": vector.currency,
    }


def _vector(told: dict[str, Any], of_task: str | None) -> Vector:
    """Return a vector that was stored."""
    found: dict[str, Any] = told | {
        "values": numpy().frombuffer(base64.b64decode(told["values"]), STORED),
        "usage": Usage(**told["usage"]),
    }
    vector = Vector(**found, of_task=of_task)
    return vector if of_task is None else replace(vector, cost=0.0)
