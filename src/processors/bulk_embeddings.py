"""Vectors of many texts: a parent whose members are texts, embedded in parts that may run again.

After each answer of a provider its vectors are kept as one artefact, and their members closed in one transaction: what
a kill costs is one request that is paid twice.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import Field

from processors.ai_interfaces import Serving, Usage
from processors.ai_requests import EmbedPart, GenerateEmbeddings
from processors.ai_results import Cost, cost_told
from processors.ai_vectors import Vector
from processors.arrays import STORED, STORED_BYTES, numpy
from processors.embeddings import (
    LOCAL_PROVIDER,
    MIME,
    TOO_LONG,
    EmbeddingTools,
    TextVector,
    all_pieces,
    engine_for,
    places_in,
    runs_here,
    substituted,
    text_vector,
    texts_at,
    vectors_here,
)
from processors.envelopes import Artefact, Envelope, Timing, warning
from processors.errors import AiError, CodedError, InvalidArgument
from processors.interfaces import Member, MemberEnd, Members, ObjectStorage, Report
from processors.results import Result

LISTED_FAILURES = 1_000
DONE, REFUSED = "done", "refused"
Numbered = list[tuple[int, TextVector | CodedError]]
"""What became of some texts, each with its number in a list, or its position in a bulk."""


class VectorRange(Result):
    """Positions of a bulk, the last one not among them, whose vectors lie one after the other, from a row on."""

    positions: tuple[int, int]
    row: int


class VectorFile(Result):
    """An artefact with `count` vectors, one row each: float32, little-endian; `ranges` says whose they are."""

    uri: str
    count: int
    dimensions: int
    ranges: list[VectorRange]


class VectorsFound(Result):
    """What became of texts; `pending` ones were not tried, or not to an end.

    Attributes:
        cut: how many of those that are done were longer than the model takes: theirs is the mean of their pieces'.
        parts: where the vectors are, in the order of the texts.
        failures: the first 1 000 texts that were refused: `position`, `code`, `error`.
    """

    total: int
    done: int
    refused: int
    pending: int
    cut: int
    model: str | None
    provider: str | None
    dimensions: int | None
    dtype: str = "float32"
    parts: list[VectorFile]
    usage: Usage
    cost: Cost | None
    failures: list[dict[str, Any]]
    failures_truncated: bool

    def failure(self) -> str | None:
        """Nothing was done."""
        if self.done or not self.total:
            return None
        why = f"; the first: {self.failures[0]['error']}" if self.failures else "."
        return f"None of the {self.total} texts got a vector{why}"


class BulkVectorsFound(VectorsFound):
    """What became of all texts, and how long it took in seconds."""

    duration_s: float = Field(ge=0)


class EmbeddingsGenerated(Envelope):
    """The vectors of many texts."""

    schema_name: str = Field(default="csai.embeddings/1", serialization_alias="schema")
    result: BulkVectorsFound

    def failure(self) -> str | None:
        """Nothing was done."""
        return self.result.failure()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form; where nothing was done, with the code of the first cause, as other failures have it."""
        told = super().as_json()
        if self.failure() and self.result.failures:
            told["code"] = self.result.failures[0]["code"]
        return told


def embed_part(request: EmbedPart, members: Members, tools: EmbeddingTools, report: Report) -> VectorsFound:
    """Embed a part of a bulk; members that are done are passed over, so that it may run again.

    Args:
        request: which members, and the model.
        members: the bulk's rows.
        tools: what embedding needs from outside.
        report: told how far it is.

    Returns:
        What became of the part's members, in this run and in former ones. A text that is refused, and all of them where
        nobody serves the model, are closed with the code that says why.

    Raises:
        Postponed: there is no room now, or no time for one more request; what is done stays done.
        ProviderFault: no provider answers as it should; the same.
        Cancelled: the task was cancelled.
    """
    waiting = members.waiting(request.bulk_id, request.first, request.count)
    for answers in _answers(waiting, request, tools, report) if waiting else ():
        members.close_all(request.bulk_id, _kept(answers, request.bulk_id, tools.storage))
    return _Sum().of(members.ends(request.bulk_id, request.first, request.count)).found()


def conclude_embeddings(
    ends: Iterable[MemberEnd], request: GenerateEmbeddings, default_model: str, seconds: float
) -> EmbeddingsGenerated:
    """Add up the members of a bulk.

    Args:
        ends: of all members, in their order; read one after the other.
        request: as it was submitted.
        default_model: where a caller names none.
        seconds: since it was submitted.
    """
    whole = _Sum().of(ends)
    found, name, seconds = whole.found(), request.model or default_model, max(0.0, round(seconds, 3))
    return EmbeddingsGenerated(
        status="ok" if found.done == found.total else "partial",
        options={"model": name, "dimensions": request.dimensions},
        provenance=[
            {"step": "embed", "provider": provider, "model": model, "texts": texts}
            for (provider, model), texts in whole.models.items()
        ],
        warnings=_warnings(found, name, len(whole.models)),
        artefacts=[_artefact(one) for one in found.parts],
        timing=Timing(run_s=seconds),
        result=BulkVectorsFound(**dict(found), duration_s=seconds),
    )


def vectors_in(result: Any, storage: ObjectStorage) -> Iterator[tuple[int, Any]]:
    """Return the vectors that a result names, with the positions of their texts.

    Args:
        result: of `generate_embeddings` or `generate_embedding`, as JSON values.
        storage: where artefacts are kept; one of them is held in memory at a time.

    Returns:
        Pairs: the position (0 for a single text), and the vector as a numpy array of float32 of one dimension.

    Raises:
        InvalidArgument: it is another method's result.
    """
    told = cast("dict[str, Any]", result if isinstance(result, dict) else {})
    if told.get("schema") == "csai.embeddings/1":
        return _vectors_of_bulk(told["result"]["parts"], storage)
    if told.get("schema") == "csai.embedding/1":
        return iter([(0, _single(told["result"], storage))])
    raise InvalidArgument(
        "task_id: must be of generate_embeddings or generate_embedding; that task's result has no vectors."
    )


def _answers(
    waiting: Sequence[Member], request: EmbedPart, tools: EmbeddingTools, report: Report
) -> Iterator[Numbered]:
    """Yield what became of the texts, after each request to a provider."""
    name = request.model or tools.default_model
    texts = [str(member.arguments["text"]) for member in waiting]
    try:
        if runs_here(name, tools.routes):
            pieces = vectors_here(texts, engine_for(request.dimensions, tools), report)
            requests: Iterable[Numbered] = [list(enumerate(map(text_vector, pieces)))]
        else:
            requests = _elsewhere(texts, tools.routes.of(name, fallbacks=False), request.dimensions, tools)
    except CodedError as error:
        requests = [[(number, error) for number in range(len(texts))]]
    done = 0
    for found in requests:
        yield [(waiting[number].position, one) for number, one in found]
        done += len(found)
        report(100 * done / len(texts), f"{done} of {len(texts)} texts")


def _elsewhere(
    texts: Sequence[str], servings: Sequence[Serving], dimensions: int | None, tools: EmbeddingTools
) -> Iterator[Numbered]:
    """Yield the vectors of texts after each request; of those that must be cut once more, after those of the others."""
    places = [places_in(text, servings) for text in texts]

    def ask(pieces: Sequence[str]) -> list[Vector | AiError]:
        return tools.vectors.of_pieces(pieces, servings, dimensions, tools.asker)

    def whole(number: int, answers: Sequence[Vector | AiError]) -> tuple[int, TextVector | CodedError]:
        try:
            return number, text_vector(all_pieces(texts[number], places[number], answers, ask))
        except AiError as error:
            return number, error

    groups, done = [texts_at(text, its) for text, its in zip(texts, places, strict=True)], 0
    for answers in tools.vectors.in_requests(groups, servings, dimensions, tools.asker):
        numbered = list(enumerate(answers, done))
        done += len(answers)
        yield [whole(number, its) for number, its in numbered if not _too_long(its)]
        for number, its in numbered:
            if _too_long(its):
                yield [whole(number, its)]


def _too_long(answers: Sequence[Vector | AiError]) -> bool:
    return any(isinstance(one, AiError) and one.code in TOO_LONG for one in answers)


def _kept(answers: Numbered, bulk_id: str, storage: ObjectStorage) -> list[MemberEnd]:
    """Keep vectors as one artefact of the bulk, and return how their members end."""
    found = [(position, one) for position, one in answers if isinstance(one, TextVector)]
    ends = [
        MemberEnd(position, REFUSED, {"code": one.code, "error": str(one)})
        for position, one in answers
        if isinstance(one, CodedError)
    ]
    if not found:
        return ends
    matrix = numpy().stack([one.values for _, one in found]).astype(STORED)
    uri = storage.put(matrix.tobytes(), mime=MIME, task_id=bulk_id)
    return ends + [
        MemberEnd(position, DONE, {"uri": uri, "row": row, "dimensions": matrix.shape[1]} | _told(one))
        for row, (position, one) in enumerate(found)
    ]


def _told(one: TextVector) -> dict[str, Any]:
    told: dict[str, Any] = {
        "model": one.model,
        "provider": one.provider,
        "tokens": one.usage.input_tokens,
        "estimated": one.usage.estimated,
        "cost": one.cost,
        "currency": one.currency,
    }
    return told | ({"chunks": [chunk.as_json() for chunk in one.chunks]} if one.chunks else {})


@dataclass(slots=True)
class _Sum:
    """Adds up members in their order, without keeping them."""

    total: int = 0
    done: int = 0
    refused: int = 0
    cut: int = 0
    tokens: int = 0
    estimated: bool = False
    cost: float | None = 0.0
    currency: str | None = None
    dimensions: int | None = None
    models: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    files: dict[str, VectorFile] = field(default_factory=dict[str, VectorFile])
    failures: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def of(self, ends: Iterable[MemberEnd]) -> "_Sum":
        """Add all of these."""
        for end in ends:
            self.total += 1
            outcome = dict(end.outcome or {})
            if end.state == DONE:
                self._add_done(end.position, outcome)
            elif end.state == REFUSED:
                self.refused += 1
                if len(self.failures) < LISTED_FAILURES:
                    self.failures.append({"position": end.position} | outcome)
        return self

    def _add_done(self, position: int, outcome: dict[str, Any]) -> None:
        self.done += 1
        self.cut += "chunks" in outcome
        self.tokens += outcome["tokens"]
        self.estimated |= outcome["estimated"]
        self.dimensions = self.dimensions or outcome["dimensions"]
        self.currency = outcome["currency"] if self.currency is None else self.currency
        if self.cost is None or outcome["cost"] is None or outcome["currency"] != self.currency:
            self.cost = None
        else:
            self.cost += outcome["cost"]
        served = outcome["provider"], outcome["model"]
        self.models[served] = self.models.get(served, 0) + 1
        uri = outcome["uri"]
        if uri not in self.files:
            self.files[uri] = VectorFile(uri=uri, count=0, dimensions=outcome["dimensions"], ranges=[])
        _extend(self.files[uri], position, outcome["row"])

    def found(self) -> VectorsFound:
        """Return the sum."""
        provider, model = max(self.models, key=self.models.__getitem__) if self.models else (None, None)
        return VectorsFound(
            total=self.total,
            done=self.done,
            refused=self.refused,
            pending=self.total - self.done - self.refused,
            cut=self.cut,
            model=model,
            provider=provider,
            dimensions=self.dimensions,
            parts=list(self.files.values()),
            usage=Usage(input_tokens=self.tokens, estimated=self.estimated),
            cost=cost_told(self.cost, self.currency) if self.currency else None,
            failures=self.failures,
            failures_truncated=self.refused > len(self.failures),
        )


def _extend(file: VectorFile, position: int, row: int) -> None:
    """Add a position to the ranges of a file: to the last one where it follows that without a gap."""
    file.count += 1
    last = file.ranges[-1] if file.ranges else None
    if last is not None and last.positions[1] == position and row - last.row == position - last.positions[0]:
        last.positions = (last.positions[0], position + 1)
    else:
        file.ranges.append(VectorRange(positions=(position, position + 1), row=row))


def _warnings(found: VectorsFound, name: str, models: int) -> list[dict[str, Any]]:
    warnings: list[dict[str, Any]] = []
    if found.provider == LOCAL_PROVIDER and found.model and name != found.model:
        warnings.append(substituted(name, found.model))
    if models > 1:
        told = f"{models} models answered, as provenance says: only vectors of the same one can be compared."
        warnings.append(warning("several_models", told))
    return warnings


def _artefact(file: VectorFile) -> Artefact:
    shape, size = [file.count, file.dimensions], file.count * file.dimensions * STORED_BYTES
    told: dict[str, Any] = {"kind": "embeddings", "uri": file.uri, "mime": MIME, "bytes": size}
    return Artefact.model_validate(told | {"dtype": "float32", "shape": shape})


def _vectors_of_bulk(parts: Sequence[Mapping[str, Any]], storage: ObjectStorage) -> Iterator[tuple[int, Any]]:
    for part in parts:
        matrix = numpy().frombuffer(storage.get(part["uri"]), STORED).reshape(-1, part["dimensions"])
        for one in part["ranges"]:
            first, end = one["positions"]
            for position in range(first, end):
                yield position, matrix[one["row"] + position - first].astype("f4")


def _single(found: Mapping[str, Any], storage: ObjectStorage) -> Any:
    if found["uri"] is None:
        return numpy().asarray(found["vector"], "f4")
    return numpy().frombuffer(storage.get(found["uri"]), STORED).astype("f4")
