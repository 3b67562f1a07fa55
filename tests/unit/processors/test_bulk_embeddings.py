"""Many texts: each gets its own vector, and what was paid is kept whatever happens between."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from adapters.disk_storage import DiskStorage
from ai_protocol import vector_of
from ai_provider import AiProvider, Asked, Fault
from ai_work import SMALL, AiWork
from processors.ai_gateway import Gateway
from processors.ai_interfaces import Asker, ModelTerms, ProviderTerms, Serving
from processors.ai_requests import EmbedPart, GenerateEmbeddings
from processors.ai_routes import Routes
from processors.ai_vectors import Vectors
from processors.bulk_embeddings import EmbeddingsGenerated, conclude_embeddings, embed_part, vectors_in
from processors.bulk_items import MAX_BULK_BYTES
from processors.bulk_texts import check_texts
from processors.embeddings import EmbeddingTools
from processors.errors import Cancelled, InvalidArgument, ProviderBusy, ProviderFault
from processors.interfaces import MemberEnd, Run
from records.ai_answers import AiAnswers
from records.ai_calls import AiCalls
from records.database import Database
from records.members import MemberRecords, insert_members

MODEL, DIMENSIONS = SMALL, 16
PER_REQUEST = 4
BULK = "bulk"
TEXTS = [f"text number {number}" for number in range(10)]


class Killed(BaseException):
    """The process ends here."""


class Storage(DiskStorage):
    """Ends the process before or after the n-th object is kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.puts, self.killed_before, self.killed_after = 0, 0, 0

    def put(self, content: bytes, *, mime: str, task_id: str) -> str:
        self.puts += 1
        if self.puts == self.killed_before:
            raise Killed
        address = super().put(content, mime=mime, task_id=task_id)
        if self.puts == self.killed_after:
            raise Killed
        return address


class Rows(MemberRecords):
    """Ends the process before or after the n-th closing of rows."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.closings, self.killed_before, self.killed_after = 0, 0, 0

    def close_all(self, parent_id, ends):
        self.closings += 1
        if self.closings == self.killed_before:
            raise Killed
        super().close_all(parent_id, ends)
        if self.closings == self.killed_after:
            raise Killed


class Engine:
    """A model that runs here: one dimension for each of three letters; a text is cut after every fourth word."""

    name, version, model, model_sha256 = "counting", "1", "letters", "0" * 64
    dimensions, max_tokens = 3, 4

    def pieces(self, text: str) -> list[tuple[int, int, int]]:
        words = text.split(" ")
        found, at = list[tuple[int, int, int]](), 0
        for first in range(0, len(words), 4):
            some = words[first : first + 4]
            found.append((at, at + len(" ".join(some)), len(some)))
            at += len(" ".join(some)) + 1
        return found

    def embed(self, texts):
        counted = np.asarray([[text.count(letter) for letter in "abc"] for text in texts], np.float32)
        return counted / np.linalg.norm(counted, axis=1, keepdims=True)


@dataclass
class Bench:
    """A bulk of texts, and all that embeds it."""

    database: Database
    provider: AiProvider
    storage: Storage
    rows: Rows
    servings: list[Serving]
    default_model: str = MODEL
    reports: list[str] = field(default_factory=list)
    total: int = 0

    def insert(self, texts: list[str]) -> None:
        self.total = len(texts)
        self.database.write(lambda c: insert_members(c, BULK, [{"text": one} for one in texts]))

    def tools(self) -> EmbeddingTools:
        routes = Routes(self.servings)
        gateway = Gateway(routes, AiCalls(self.database), AiAnswers(self.database), patience=0)
        return EmbeddingTools(
            routes=routes,
            vectors=Vectors(gateway),
            engine=Engine,
            default_model=self.default_model,
            asker=Asker(Run("part", 1), None, datetime.now(UTC), monotonic() + 60, lambda: None),
            storage=self.storage,
            task_id="part",
        )

    def run(self, first: int = 0, count: int | None = None, **more):
        dimensions = DIMENSIONS if self.servings else None
        request = EmbedPart(bulk_id=BULK, first=first, count=count or self.total, dimensions=dimensions, **more)
        return embed_part(request, self.rows, self.tools(), self.report)

    def report(self, percent: float, text: str) -> None:
        assert 0 <= percent <= 100
        self.reports.append(text)

    def concluded(self, **more) -> EmbeddingsGenerated:
        return conclude_embeddings(self.rows.all_ends(BULK), GenerateEmbeddings(**more), self.default_model, 2.0)

    def vectors(self) -> dict[int, np.ndarray]:
        return dict(vectors_in(self.concluded().as_json(), self.storage))

    def change_terms(self, **terms) -> None:
        (one,) = self.servings
        self.servings = [replace(one, terms=replace(one.terms, **terms))]

    def states(self) -> list[str]:
        return [one.state for one in self.rows.all_ends(BULK)]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The rows' own tests run on both databases."""
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture
def bench(work: AiWork, database: Database, tmp_path: Path) -> Bench:
    terms = ProviderTerms(
        name="fake", account="fake:0", models={MODEL: ModelTerms(input_price=2.0)}, max_inputs=PER_REQUEST
    )
    serving = Serving(work.adapter, terms, MODEL)
    return Bench(database, work.provider, Storage(tmp_path / "storage"), Rows(database), [serving])


def inputs(asked: Asked) -> list[str]:
    return json.loads(asked.body)["input"]


def assert_right(bench: Bench, texts: list[str]) -> None:
    found = bench.vectors()
    assert sorted(found) == list(range(len(texts)))
    for position, vector in found.items():
        assert vector.dtype == np.float32
        assert np.allclose(vector, vector_of(texts[position], DIMENSIONS), atol=1e-6)


# --- What comes out ---------------------------------------------------------------------------------------------


def test_every_text_gets_its_own_vector_in_as_few_requests_as_the_provider_takes(bench):
    bench.insert(TEXTS)

    part = bench.run()

    assert [len(inputs(one)) for one in bench.provider.asked] == [4, 4, 2]
    assert [(one.count, one.ranges[0].positions) for one in part.parts] == [(4, (0, 4)), (4, (4, 8)), (2, (8, 10))]
    assert (part.total, part.done, part.refused, part.pending) == (10, 10, 0, 0)
    assert_right(bench, TEXTS)


def test_the_whole_adds_up_tokens_and_cost_and_says_who_answered(bench):
    bench.insert(TEXTS)
    bench.run(0, 6)
    bench.run(6, 4)

    told = bench.concluded(dimensions=DIMENSIONS)

    tokens = sum(-(-len(text) // 4) for text in TEXTS)
    assert told.status == "ok"
    assert told.result.usage.input_tokens == tokens
    assert told.result.cost.amount == pytest.approx(tokens * 2.0 / 1e6)
    assert (told.result.model, told.result.provider, told.result.dimensions) == (MODEL, "fake", DIMENSIONS)
    assert told.options == {"model": MODEL, "dimensions": DIMENSIONS}
    assert told.provenance == [{"step": "embed", "provider": "fake", "model": MODEL, "texts": 10}]
    assert told.as_json()["schema"] == "csai.embeddings/1"
    assert [one.bytes for one in told.artefacts] == [4 * DIMENSIONS * 4, 2 * DIMENSIONS * 4, 4 * DIMENSIONS * 4]


def test_the_vectors_are_the_bulks_and_go_with_it(bench):
    bench.insert(TEXTS)
    bench.run()
    assert bench.storage.remove("part") == 0
    assert bench.storage.remove(BULK) == 10 * DIMENSIONS * 4


def test_a_text_that_is_refused_costs_the_others_nothing_and_is_told_with_its_code(bench):
    bench.provider.choose = lambda asked: (
        Fault.status(400, "It was filtered.", "content_filter") if any("bad" in one for one in inputs(asked)) else None
    )
    texts = [*TEXTS[:3], "a bad text", *TEXTS[3:]]
    bench.insert(texts)

    bench.run()
    told = bench.concluded()

    assert told.status == "partial"
    assert told.failure() is None
    assert (told.result.done, told.result.refused) == (10, 1)
    assert [(one["position"], one["code"]) for one in told.result.failures] == [(3, "content_filtered")]
    assert "filtered" in told.result.failures[0]["error"]
    found = bench.vectors()
    assert 3 not in found
    assert all(np.allclose(vector, vector_of(texts[at], DIMENSIONS), atol=1e-6) for at, vector in found.items())


def test_a_text_that_is_too_long_is_cut_and_told(bench):
    bench.change_terms(max_input_tokens=20)
    long = "word " * 40
    bench.insert([TEXTS[0], long, TEXTS[1]])

    bench.run()

    end = bench.rows.ends(BULK, 1, 1)[0]
    assert len(end.outcome["chunks"]) > 1
    assert end.outcome["tokens"] == sum(one["tokens"] for one in end.outcome["chunks"])
    assert bench.concluded().result.cut == 1
    vectors = bench.vectors()
    assert np.linalg.norm(vectors[1]) == pytest.approx(1, abs=1e-5)
    assert np.allclose(vectors[2], vector_of(TEXTS[1], DIMENSIONS), atol=1e-6)


def test_a_text_that_only_the_provider_finds_too_long_is_halved_after_the_others_are_kept(bench):
    long = "word " * 100
    bench.provider.choose = lambda asked: (
        Fault.status(400, "This model's maximum context length is 60 tokens.", "context_length_exceeded")
        if any(len(one) > 300 for one in inputs(asked))
        else None
    )
    bench.insert([TEXTS[0], long, TEXTS[1]])
    bench.rows.killed_after = 1

    with pytest.raises(Killed):
        bench.run()
    assert bench.states() == ["done", "waiting", "done"]
    bench.run()

    assert bench.states() == ["done"] * 3
    assert len(bench.rows.ends(BULK, 1, 1)[0].outcome["chunks"]) == 2


@pytest.mark.parametrize("model", ["gpt-unknown", None])
def test_a_model_that_nobody_serves_is_every_texts_refusal(bench, model):
    bench.servings, bench.default_model = [], "no-such-model"
    bench.insert(TEXTS)

    part = bench.run(model=model)
    told = bench.concluded(model=model)

    assert {one["code"] for one in part.failures} == {"model_missing"}
    assert "None of the 10 texts got a vector; the first: No provider serves the model" in part.failure()
    assert told.failure() == part.failure()
    assert bench.provider.asked == []


def test_a_bulk_that_fails_has_the_code_of_its_first_cause_and_one_that_does_not_has_none(bench):
    refused = MemberEnd(0, "refused", {"code": "content_filtered", "error": "no"})
    assert conclude_embeddings([refused], GenerateEmbeddings(), MODEL, 1.0).as_json()["code"] == "content_filtered"
    bench.insert(TEXTS)
    bench.run()
    ends = [*bench.rows.ends(BULK, 0, 1), MemberEnd(1, "refused", refused.outcome)]
    assert "code" not in conclude_embeddings(ends, GenerateEmbeddings(), MODEL, 1.0).as_json()


def test_no_more_than_a_thousand_failures_are_listed(bench):
    ends = [MemberEnd(at, "refused", {"code": "content_filtered", "error": "no"}) for at in range(1_001)]
    told = conclude_embeddings(ends, GenerateEmbeddings(), MODEL, 1.0).result
    assert (told.refused, len(told.failures), told.failures_truncated) == (1_001, 1_000, True)


def test_vectors_that_two_runs_have_kept_are_each_told_with_their_row(bench):
    def end(position: int, uri: str, row: int) -> MemberEnd:
        paid = {"tokens": 1, "estimated": False, "cost": None, "currency": "USD", "model": MODEL, "provider": "fake"}
        return MemberEnd(position, "done", {"uri": uri, "row": row, "dimensions": 2} | paid)

    address = {
        name: bench.storage.put(np.asarray(rows, "<f4").tobytes(), mime="", task_id=BULK)
        for name, rows in {"a": [[0, 0], [1, 1], [2, 2], [3, 3]], "b": [[1, 10], [2, 20]]}.items()
    }
    rows = [("a", 0), ("b", 0), ("b", 1), ("a", 3)]
    told = conclude_embeddings(
        [end(at, address[name], row) for at, (name, row) in enumerate(rows)], GenerateEmbeddings(), MODEL, 1.0
    )

    assert [[one.positions for one in part.ranges] for part in told.result.parts] == [[(0, 1), (3, 4)], [(1, 3)]]
    assert told.result.cost is None
    vectors = dict(vectors_in(told.as_json(), bench.storage))
    assert [vectors[at].tolist() for at in range(4)] == [[0, 0], [1, 10], [2, 20], [3, 3]]


def test_only_results_with_vectors_give_vectors(bench):
    single = {"schema": "csai.embedding/1", "result": {"vector": [0.5, 0.25], "uri": None}}
    assert [(at, one.tolist()) for at, one in vectors_in(single, bench.storage)] == [(0, [0.5, 0.25])]
    for other in (None, "text", [], {"schema": "csai.chat/1"}):
        with pytest.raises(InvalidArgument, match="has no vectors"):
            vectors_in(other, bench.storage)


# --- What runs here ---------------------------------------------------------------------------------------------


def test_the_model_that_runs_here_embeds_where_no_provider_is_set(bench):
    bench.servings, bench.default_model = [], "text-embedding-ada-002"
    bench.insert(["a b", "c c c c a", "b"])

    bench.run()
    told = bench.concluded()

    assert [one.tolist() for one in bench.vectors().values()][2] == [0, 1, 0]
    assert (told.result.model, told.result.provider, told.result.cut) == ("letters", "local", 1)
    assert [one["code"] for one in told.warnings] == ["model_substituted"]
    assert told.result.cost is None
    assert len(told.result.parts) == 1


def test_other_dimensions_than_the_model_that_runs_here_has_are_every_texts_refusal(bench):
    bench.servings, bench.default_model = [], "text-embedding-ada-002"
    bench.insert(TEXTS[:2])
    request = EmbedPart(bulk_id=BULK, first=0, count=2, dimensions=7)
    part = embed_part(request, bench.rows, bench.tools(), bench.report)
    assert "3 dimensions, not 7" in part.failure()


# --- Whatever happens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("when", ["killed_before", "killed_after"])
@pytest.mark.parametrize("what", ["storage", "rows"])
def test_a_kill_at_any_step_loses_nothing_and_pays_at_most_one_request_twice(bench, what, when, number):
    bench.insert(TEXTS)
    setattr(getattr(bench, what), when, number)

    with pytest.raises(Killed):
        bench.run()
    part = bench.run()

    kept = what == "rows" and when == "killed_after"
    twice = {text for text, times in bench.provider.texts.items() if times > 1}
    lost = set(TEXTS[(number - 1) * PER_REQUEST : number * PER_REQUEST])
    assert twice == (set() if kept else lost)
    assert max(bench.provider.texts.values()) <= 2
    assert (part.done, part.pending) == (10, 0)
    assert_right(bench, TEXTS)


def test_a_part_that_runs_again_asks_for_nothing(bench):
    bench.insert(TEXTS)
    first = bench.run()
    again = bench.run()
    assert len(bench.provider.asked) == 3
    assert first == again


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Fault.status(500), ProviderFault),
        (Fault.rate_limited(seconds=30), ProviderBusy),
        (Fault.status(401, "Bad key.", "invalid_api_key"), ProviderBusy),
        (Fault.cut_body(), ProviderFault),
    ],
)
def test_what_was_done_before_a_fault_stays_done_and_the_rest_stays_open(bench, fault, raised):
    bench.insert(TEXTS)
    bench.provider.next(None, fault)

    with pytest.raises(raised):
        bench.run()

    assert bench.states() == ["done"] * 4 + ["waiting"] * 6
    told = bench.concluded()
    assert (told.status, told.result.pending) == ("partial", 6)


def test_a_cancellation_is_noticed_between_requests(bench):
    bench.insert(TEXTS)

    def cancelled(percent: float, text: str) -> None:
        raise Cancelled(text)

    bench.report = cancelled
    with pytest.raises(Cancelled, match="4 of 10 texts"):
        bench.run()
    assert len(bench.provider.asked) == 1


def test_the_next_provider_of_a_model_answers_only_what_the_first_did_not(bench):
    first = bench.servings[0]
    second = ProviderTerms(name="second", account="second:0", models=first.terms.models, max_inputs=3)
    bench.servings.append(Serving(first.provider, second, MODEL))
    bench.insert(TEXTS)
    bench.provider.next(None, Fault.status(500))

    bench.run()

    assert [len(inputs(one)) for one in bench.provider.asked] == [4, 4, 3, 3]
    assert set(bench.provider.texts.values()) == {1}
    assert_right(bench, TEXTS)


# --- What is taken ----------------------------------------------------------------------------------------------


class Many(list):
    """A list that says it is longer than it is."""

    def __len__(self) -> int:
        return 1_000_001


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "texts: must be a list of at least one text; got an empty list"),
        ("text", "got str"),
        (Many(["a"]), "at most 1000000 texts are accepted in one bulk; got 1000001"),
        (["a", 5], r"texts\[1\]: Input should be a valid string"),
        (["a", b"b"], r"texts\[1\]: Input should be a valid string"),
        (["a", " \n"], r"texts\[1\]: must not be empty"),
        (["a\0b"], r"texts\[0\]: must be text without NUL"),
        (["a", "b", "c\ud800"], r"texts\[2\]: must be text without NUL and lone surrogates\."),
        (["x" * 10_000_001], r"texts\[0\]: String should have at most 10000000 characters"),
        (["ä" * 5_000_000] * (MAX_BULK_BYTES // 10_000_000 + 1), "at most 256000000 bytes in all.*at text 25"),
    ],
)
def test_a_bad_text_refuses_the_bulk_and_is_named_by_its_place(texts, words):
    with pytest.raises(InvalidArgument, match=words):
        list(check_texts(texts))


def test_texts_become_rows_in_their_order_equal_ones_too():
    assert list(check_texts(("a", "b", "a"))) == [{"text": "a"}, {"text": "b"}, {"text": "a"}]


def test_an_error_of_the_whole_request_is_told_for_each_of_its_texts(bench):
    bench.change_terms(budget_per_day=0)
    bench.insert(TEXTS[:2])
    part = bench.run()
    assert [one["code"] for one in part.failures] == ["budget_exceeded"] * 2
