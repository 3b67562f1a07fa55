"""Embeddings: a text as a vector, from a provider or from the model that runs here."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from processors.ai_arguments import DEFAULT_EMBEDDING_MODEL
from processors.ai_interfaces import Asker, Attempt, EmbeddingEngine, Serving, Usage
from processors.ai_requests import GenerateEmbedding
from processors.ai_results import AiResult, Cost, cost_of_all, cost_told, input_of
from processors.ai_routes import Routes
from processors.ai_vectors import Vector, Vectors
from processors.arrays import STORED, numpy
from processors.envelopes import Artefact, Timing, stored, warning
from processors.errors import AiError
from processors.interfaces import ObjectStorage, Report
from processors.results import Result
from processors.tokens import estimated_tokens

LOCAL_MODEL = "all-MiniLM-L6-v2"
LOCAL_PROVIDER = "local"
PIECES_AT_ONCE = 32
"""That the model which runs here gets between two looks at whether the task goes on: a second's work at most."""

INLINE_BYTES = 4_096
MIME = "application/octet-stream"
TOO_LONG = frozenset({"context_too_long", "too_large"})
SHORTEST_PIECE = 200
"""Characters; a piece that a provider finds too long is halved down to this."""


class Chunk(Result):
    """A piece of a long text: where it begins and ends in characters, and its tokens."""

    range: tuple[int, int]
    tokens: int


class EmbeddingFound(Result):
    """A vector: inline below 4 kB, else the artefact's `uri`, float32, little-endian."""

    model: str
    provider: str
    dimensions: int
    normalized: bool
    dtype: str = "float32"
    vector: list[float] | None
    uri: str | None
    tokens: int
    truncated: bool = False
    chunks: list[Chunk]
    usage: Usage
    cost: Cost | None
    attempts: list[Attempt]
    cached: bool


class EmbeddingGenerated(AiResult):
    """The vector of a text; a long text is cut, and its vector is the mean of its pieces', weighted by their tokens."""

    schema_name: str = Field(default="csai.embedding/1", serialization_alias="schema")
    result: EmbeddingFound


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingTools:
    """What embedding needs from outside.

    Attributes:
        routes: who serves which model.
        vectors: asks them.
        engine: returns the model that runs here.
        default_model: where a caller names none.
        asker: whose request it is.
        storage: keeps vectors that are too long to be told.
        task_id: whose artefacts they are.
    """

    routes: Routes
    vectors: Vectors
    engine: Callable[[], EmbeddingEngine]
    default_model: str
    asker: Asker
    storage: ObjectStorage
    task_id: str


@dataclass(frozen=True, slots=True)
class TextVector:
    """The vector of a whole text, what it took, and its pieces where it was cut.

    Attributes:
        cost: in the provider's currency; None where its price is not known, or its pieces' are in several.
        cached: whether it is another task's answer.
    """

    values: Any
    model: str
    provider: str
    usage: Usage
    cost: float | None
    currency: str
    chunks: list[Chunk]
    cached: bool


Place = tuple[int, int]
"""Where a piece of a text begins and ends, in characters."""

Ask = Callable[[Sequence[str]], Sequence[Vector | AiError]]
"""Returns the vectors of pieces, or why they have none."""


def generate_embedding(request: GenerateEmbedding, tools: EmbeddingTools, report: Report) -> EmbeddingGenerated:
    """Return the vector of a text.

    Args:
        request: the text, the model's name or alias, and how many dimensions are wanted.
        tools: what it needs from outside.
        report: told how far it is.

    Raises:
        AiError: nobody serves the model, or those who do refuse.
        FileError: the model that runs here is not installed.
        ProviderBusy: there is no room now.
        ProviderFault: no provider answers as it should.
        Cancelled: the task was cancelled.
    """
    began = time.monotonic()
    name = request.model or tools.default_model
    if runs_here(name, tools.routes):
        found, step, warnings = _here(request, name, tools, report)
    else:
        found, step, warnings = _elsewhere(request, tools.routes.of(name, fallbacks=False), tools, report)
    seconds = round(time.monotonic() - began, 3)
    values = numpy().asarray(found.values, STORED)
    artefacts: list[Artefact] = []
    if values.nbytes >= INLINE_BYTES:
        kept = stored(
            tools.storage, tools.task_id, "embedding", values.tobytes(), MIME, dtype="float32", shape=[len(values)]
        )
        artefacts.append(kept)
    return EmbeddingGenerated(
        status="ok",
        input=input_of(request.text),
        options={"model": name, "dimensions": request.dimensions},
        provenance=[{"step": "embed", "model": found.model, "seconds": seconds} | step],
        warnings=warnings,
        artefacts=artefacts,
        timing=Timing(run_s=round(time.monotonic() - began, 3)),
        result=EmbeddingFound(
            model=found.model,
            provider=found.provider,
            dimensions=len(values),
            normalized=bool(abs(float(numpy().linalg.norm(values)) - 1) < 1e-3),  # noqa: PLR2004 - what float32 and APIs round
            vector=None if artefacts else [float(one) for one in values],
            uri=artefacts[0].uri if artefacts else None,
            tokens=found.usage.input_tokens,
            chunks=found.chunks,
            usage=found.usage,
            cost=cost_told(found.cost, found.currency),
            attempts=tools.asker.attempts,
            cached=found.cached,
        ),
    )


def runs_here(name: str, routes: Routes) -> bool:
    """Tell whether a model runs on this machine: by its own name, or for the default one where no provider is set."""
    return name == LOCAL_MODEL or (name == DEFAULT_EMBEDDING_MODEL and not routes.servings)


def _here(
    request: GenerateEmbedding, name: str, tools: EmbeddingTools, report: Report
) -> tuple[TextVector, dict[str, Any], list[dict[str, Any]]]:
    """Embed with the model that runs here.

    Raises:
        AiError: other dimensions are wanted than it has.
    """
    engine = engine_for(request.dimensions, tools)
    found = text_vector(vectors_here([request.text], engine, report)[0])
    step = {
        "engine": engine.name,
        "engine_version": engine.version,
        "model_sha256": engine.model_sha256,
        "device": "cpu",
    }
    return found, step, [substituted(name, engine.model)] if name != engine.model else []


def engine_for(dimensions: int | None, tools: EmbeddingTools) -> EmbeddingEngine:
    """Return the model that runs here.

    Raises:
        AiError: other dimensions are wanted than it has.
        FileError: it is not installed.
    """
    engine = tools.engine()
    if dimensions not in {None, engine.dimensions}:
        raise AiError(
            f"The model {engine.model} has {engine.dimensions} dimensions, not {dimensions}: leave dimensions out, or "
            "set OPENAI_API_KEY for a model that can be cut.",
            "model_missing",
        )
    return engine


def substituted(name: str, model: str) -> dict[str, Any]:
    """Warn that the model that runs here answers for another one."""
    return warning(
        "model_substituted",
        f"No provider is set, so {model} answers for {name}: set OPENAI_API_KEY or OPENAI_BASE_URL for {name}.",
    )


def vectors_here(texts: Sequence[str], engine: EmbeddingEngine, report: Report) -> list[dict[Place, Vector]]:
    """Return the vectors of each text's pieces by their places, from the model that runs here."""
    pieces = [(number, *piece) for number, text in enumerate(texts) for piece in engine.pieces(text)]
    found = [dict[Place, Vector]() for _ in texts]
    for first in range(0, len(pieces), PIECES_AT_ONCE):
        report(100 * first / len(pieces), f"piece {first + 1} of {len(pieces)}")
        some = pieces[first : first + PIECES_AT_ONCE]
        vectors = engine.embed([texts[number][start:end] for number, start, end, _ in some])
        for (number, start, end, tokens), values in zip(some, vectors, strict=True):
            usage = Usage(input_tokens=tokens)
            found[number][start, end] = Vector(values, engine.model, LOCAL_PROVIDER, usage, None, "")
    return found


def _elsewhere(
    request: GenerateEmbedding, servings: Sequence[Serving], tools: EmbeddingTools, report: Report
) -> tuple[TextVector, dict[str, Any], list[dict[str, Any]]]:
    found = text_vector(_vectors(request, servings, tools, report))
    return found, {"engine": "openai-compatible", "provider": found.provider, "cached": found.cached}, []


def _vectors(
    request: GenerateEmbedding, servings: Sequence[Serving], tools: EmbeddingTools, report: Report
) -> dict[Place, Vector]:
    """Return the vectors of a text's pieces by their places."""

    def ask(texts: Sequence[str]) -> Sequence[Vector | AiError]:
        report(0, f"{len(texts)} pieces left")
        return _answers(texts, request, servings, tools)

    return all_pieces(
        request.text, places := places_in(request.text, servings), ask(texts_at(request.text, places)), ask
    )


def places_in(text: str, servings: Sequence[Serving]) -> list[Place]:
    """Return where the pieces of a text begin and end that each of these takes."""
    return cut(text, min(one.terms.max_input_tokens for one in servings))


def texts_at(text: str, places: Sequence[Place]) -> list[str]:
    """Return the pieces of a text."""
    return [text[start:end] for start, end in places]


def all_pieces(
    text: str, places: Sequence[Place], answers: Sequence[Vector | AiError], ask: Ask
) -> dict[Place, Vector]:
    """Return the vectors of a text's pieces by their places; one that was too long all the same is halved.

    Args:
        text: the whole.
        places: of its pieces.
        answers: to these.
        ask: asks for more.

    Raises:
        AiError: a piece was refused.
    """
    found = dict[Place, Vector]()
    while places:
        left = list[Place]()
        for (start, end), answer in zip(places, answers, strict=True):
            if not isinstance(answer, AiError):
                found[start, end] = answer
            elif answer.code not in TOO_LONG or end - start <= SHORTEST_PIECE:
                raise answer
            else:
                middle = _between_words(text, start, (start + end) // 2)
                left += [(start, middle), (middle, end)]
        places, answers = left, ask(texts_at(text, left)) if left else ()
    return found


def _answers(
    texts: Sequence[str], request: GenerateEmbedding, servings: Sequence[Serving], tools: EmbeddingTools
) -> Sequence[Vector | AiError]:
    """Ask for the vectors of pieces; a single one may go with those of other tasks."""
    if len(texts) > 1:
        return tools.vectors.of_pieces(texts, servings, request.dimensions, tools.asker)
    try:
        return [tools.vectors.of(texts[0], servings, request.dimensions, tools.asker)]
    except AiError as error:
        return [error]


def cut(text: str, most: int) -> list[Place]:
    """Cut a text into pieces of about so many tokens at most, between words where there are any."""
    ranges: list[Place] = []
    start = 0
    while start < len(text):
        end = min(len(text), start + most)  # no character is more than a token, as tokens are estimated here
        while end < len(text) and estimated_tokens(text[start:end]) < most:
            end = min(len(text), end + max(1, most - estimated_tokens(text[start:end])))
        if end < len(text):
            end = _between_words(text, start, end)
        if text[start:end].strip():
            ranges.append((start, end))
        start = end
    return ranges


def _between_words(text: str, start: int, end: int) -> int:
    """Return the last place before `end` that is behind a space, or `end` where there is none in its last half."""
    middle = (start + end) // 2
    space = max(text.rfind(" ", middle, end), text.rfind("\n", middle, end))
    return end if space < 0 else space + 1


def text_vector(pieces: Mapping[Place, Vector]) -> TextVector:
    """Return one vector for all pieces of a text: their mean, weighted by their tokens, of length 1 where it is one.

    Raises:
        AiError: they have different dimensions, as from providers that serve two models under one name.
    """
    vectors = [vector for _, vector in sorted(pieces.items())]
    first = vectors[0]
    chunks = [Chunk(range=place, tokens=one.usage.input_tokens) for place, one in sorted(pieces.items())]
    return TextVector(
        values=first.values if len(vectors) == 1 else _mean(vectors),
        model=first.model,
        provider=first.provider,
        usage=Usage(
            input_tokens=sum(one.usage.input_tokens for one in vectors),
            estimated=any(one.usage.estimated for one in vectors),
        ),
        cost=cost_of_all((one.cost, one.currency) for one in vectors),
        currency=first.currency,
        chunks=chunks if len(vectors) > 1 else [],
        cached=all(one.of_task is not None for one in vectors),
    )


def _mean(vectors: Sequence[Vector]) -> Any:
    served = {len(one.values): one.provider for one in vectors}
    if len(served) > 1:
        told = ", ".join(f"{provider} with {length}" for length, provider in sorted(served.items()))
        raise AiError(
            f"The pieces of the text have vectors of different dimensions ({told}): see that AI_PROVIDERS names "
            f"the same model {vectors[0].model} for all of them, or set dimensions.",
            "provider_bad_response",
        )
    weights = numpy().asarray([max(1, one.usage.input_tokens) for one in vectors], "f8")
    mean = numpy().average(numpy().stack([one.values for one in vectors]).astype("f8"), axis=0, weights=weights)
    return mean / (float(numpy().linalg.norm(mean)) or 1.0)
