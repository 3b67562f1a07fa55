"""Measure AI: embeddings within a provider's limit, what the gateway adds to the SDK, the model that runs here.

make bench-ai                                # all of it, half an hour; writes docs/ai-benchmarks.md
make bench-ai ARGUMENTS="--only local"       # the other figures of the page stay
make bench-ai ARGUMENTS="--short"            # a tenth of it, to try it out; writes nothing. Kills weigh ten times more.
"""

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import figures
import numpy as np
import onnxruntime
import openai
import psutil
from ai_client import MODEL, text_of
from figures import CORES, Figure, pinned, timed
from processes import Processes, ProcessFailed
from servers import Postgresql, free_port, postgresql_binaries

from adapters.openai_models import OpenAiModels
from ai_provider import KEY
from config.settings import PROJECT_ROOT, environment_of_another
from engines.minilm_embedder import DIMENSIONS, GRAPH, MiniLmEmbedder
from plain_bert import PlainBert, weights
from processors.ai_gateway import Gateway
from processors.ai_interfaces import Asker, CallPlan, Leave, ModelTerms, ProviderTerms, Serving, Share, Usage
from processors.ai_routes import Routes
from processors.ai_vectors import Vectors
from processors.interfaces import Run
from records import schema
from records.ai_answers import AiAnswers
from records.ai_calls import AiCalls
from records.database import Database

PROVIDER, CLIENT = PROJECT_ROOT / "tests" / "ai_provider.py", PROJECT_ROOT / "benchmarks" / "ai_client.py"
SERVICE = PROJECT_ROOT / "scripts" / "start_celery.py"
PER_MINUTE, MINUTE, ANSWER_SECONDS = 500, 60, 0.05
KILLS = 3
BLOCK = 10
NAME, ACCOUNT = "fake", "fake:1"
START_SECONDS, PATIENCE = 90, 3
LOCAL_TEXTS = 256


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        texts: that are embedded within the limit; not a multiple of it where that is short, since a call that a kill
            loses would cost a whole minute more.
        calls: each way, through the gateway and around it.
        rounds: of the model that runs here.
        seed: of the kills.
    """

    texts: int
    calls: int
    rounds: int
    seed: int


# --- Within the limit -------------------------------------------------------------------------------------------------


def single(scale: Scale) -> list[Figure]:
    """A task for each text and a request for each task, while the worker is killed: against what the limit allows."""
    ideal = allowed_seconds(scale.texts)
    print(f"seed {scale.seed}", flush=True)
    found = embedded("tasks", scale, max_inputs=1, kills_within=ideal)
    name = f"{scale.texts} embeddings, one a request, {KILLS} kills"
    ours = f"{found['seconds']:.1f} s, {found['requests']} requests, seed {scale.seed}"
    reason = next(iter(found["missing"].values()), "")
    return [
        Figure(name, "what the limit allows", 1.1, [found["seconds"] / ideal], ours, f"{ideal:.1f} s", at_most=True),
        Figure(f"{name}: answers 429", "the first", 1, [found["turned_away"]], "", "", at_most=True),
        Figure(f"{name}: lost or wrong", "none", 0, [len(found["missing"])], reason, "", at_most=True),
    ]


def together(scale: Scale) -> list[Figure]:
    """The same tasks where a request takes many texts, so that those that wait go together."""
    return _in_fewer_requests("tasks", scale, f"{scale.texts} embeddings, a task each, sent together")


def bulk(scale: Scale) -> list[Figure]:
    """All texts by one task."""
    return _in_fewer_requests("bulk", scale, f"{scale.texts} embeddings, one task")


def _in_fewer_requests(way: str, scale: Scale, name: str) -> list[Figure]:
    ideal = allowed_seconds(scale.texts)
    found = embedded(way, scale, max_inputs=2048, kills_within=0)
    ours = f"{found['seconds']:.1f} s, {found['requests']} requests"
    lost = len(found["missing"]) + found["turned_away"]
    return [
        Figure(name, "the limit, one a request", 1, [found["seconds"] / ideal], ours, f"{ideal:.1f} s", at_most=True),
        Figure(f"{name}: lost, wrong, or answers 429", "none", 0, [lost], "", "", at_most=True),
    ]


def allowed_seconds(texts: int) -> float:
    """Return the least time for so many requests: as many as the limit has at once, then as many each minute."""
    return (texts - 1) // PER_MINUTE * MINUTE + ANSWER_SECONDS


def embedded(way: str, scale: Scale, *, max_inputs: int, kills_within: float) -> dict[str, Any]:
    """Let an installation of its own embed texts; returns what the client found and what the provider counted.

    Args:
        way: of the client.
        scale: how many texts.
        max_inputs: texts in one request.
        kills_within: seconds within which the worker is killed three times, at random; 0: it is not.
    """
    port, web = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    with TemporaryDirectory() as name:
        folder = Path(name)
        provider = {"url": f"{url}/v1", "key": KEY, "models": [MODEL]}
        limits = {"requests_per_minute": PER_MINUTE, "max_inputs": max_inputs}
        environment = environment_of_another(
            PYTHONPATH=str(PROVIDER.parent),
            DATA_DIR=str(folder / "data"),
            PORT=str(web),
            FLOWER_PORT=str(free_port()),
            LIMIT_AI_PROCESSING="none",
            AI_PROVIDERS=json.dumps({NAME: provider | limits}),
        )
        with Processes(environment, folder) as processes:
            start_provider(processes, port, "--seconds", str(ANSWER_SECONDS), "--requests-per-minute", str(PER_MINUTE))
            service = processes.start([sys.executable, str(SERVICE), "all"])
            until_answers(f"http://127.0.0.1:{web}/readyz", processes)
            told = folder / "found.json"
            client = processes.start([sys.executable, str(CLIENT), way, str(scale.texts), str(told)])
            kill_workers(psutil.Process(service.pid), kills_within, random.Random(scale.seed), client)
            if client.wait():
                raise ProcessFailed(f"the client ended with {client.returncode}: {processes.last_words(client)}")
            with urlopen(f"{url}/counts") as answer:
                return json.loads(told.read_text()) | json.load(answer)


def start_provider(processes: Processes, port: int, *options: str) -> None:
    """Start the endpoint that stands for a provider, and wait until it answers."""
    processes.start([sys.executable, str(PROVIDER), "--port", str(port), *options])
    until_answers(f"http://127.0.0.1:{port}/counts", processes)


def until_answers(address: str, processes: Processes) -> None:
    """Wait until an address answers well.

    Raises:
        ProcessFailed: it does not for long, or one of the processes has ended.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        processes.check()
        try:
            with urlopen(address, timeout=START_SECONDS):
                return
        except URLError:
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{address} does not answer: {processes.all_last_words()}") from None
            time.sleep(0.1)


def kill_workers(
    service: psutil.Process, within: float, chance: random.Random, client: subprocess.Popen[bytes]
) -> None:
    """Kill the worker that runs AI tasks a few times, at moments of chance, until the client has ended."""
    began = time.monotonic()
    for moment in sorted(chance.uniform(0, within) for _ in range(KILLS if within else 0)):
        with suppress(subprocess.TimeoutExpired):
            client.wait(max(0.0, began + moment - time.monotonic()))
            return
        while not (found := [one for one in service.children() if "--hostname=io@%h" in one.cmdline()]):
            time.sleep(0.1)
        found[0].kill()
        print(f"killed the worker after {time.monotonic() - began:.1f} s", flush=True)


# --- What the gateway adds --------------------------------------------------------------------------------------------


def overhead(scale: Scale) -> list[Figure]:
    """Single requests through the gateway and through the bare SDK, in turns: milliseconds that each takes longer."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        processes = stack.enter_context(Processes(environment_of_another(), folder))
        port = free_port()
        start_provider(processes, port)
        urls = {"SQLite": iter(f"sqlite:///{folder}/records-{number}.db" for number in count())}
        if binaries := postgresql_binaries():
            postgresql = stack.enter_context(Postgresql(binaries))
            urls["PostgreSQL"] = iter(postgresql.fresh_database, None)
        return [
            _added(f"http://127.0.0.1:{port}/v1", next(fresh), kind, before, scale.calls)
            for kind, fresh in urls.items()
            for before in (0, PER_MINUTE)
        ]


def _added(url: str, database_url: str, kind: str, before: int, calls: int) -> Figure:
    ours, theirs = [], []
    with (
        through_the_gateway(url, database_url, before) as ask,
        openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client,
    ):
        bare = partial(_bare, client)
        ask(text_of(0))
        bare(text_of(0))
        for first in range(1, calls, BLOCK):
            texts = [text_of(number) for number in range(first, first + BLOCK)]
            theirs.append(statistics.median(timed(partial(bare, text)) * 1000 for text in texts))
            ours.append(statistics.median(timed(partial(ask, text)) * 1000 for text in texts))
    added = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    name = f"gateway on {kind}, {before} calls in the window before: milliseconds more"
    shown = (f"{statistics.median(one):.2f} ms" for one in (ours, theirs))
    return Figure(name, "the bare SDK", 3, added, *shown, at_most=True)


def _bare(client: openai.OpenAI, text: str) -> None:
    client.embeddings.create(model=MODEL, input=text)


@contextmanager
def through_the_gateway(url: str, database_url: str, before: int) -> Iterator[Callable[[str], None]]:
    """Give what asks for a vector as a task does, after so many calls that count in the account's window."""
    with closing(Database(database_url)) as database, closing(OpenAiModels(url, KEY)) as models:
        schema.upgrade(database)
        ledger = AiCalls(database)
        for number in range(before):
            _note_call(ledger, f"before-{number}")
        terms = ProviderTerms(name=NAME, account=ACCOUNT, models={MODEL: ModelTerms()}, requests_per_minute=10_000)
        vectors = Vectors(Gateway(Routes(), ledger, AiAnswers(database)))
        numbers = count()

        def ask(text: str) -> None:
            run, until = Run(f"task-{next(numbers)}", 1), time.monotonic() + MINUTE
            asker = Asker(run=run, tenant=None, created_at=datetime.now(UTC), until=until, look=lambda: None)
            vectors.of(text, [Serving(models, terms, MODEL)], None, asker)

        yield ask


def _note_call(ledger: AiCalls, task_id: str) -> None:
    plan = CallPlan(
        account=ACCOUNT,
        provider=NAME,
        model=MODEL,
        kind="embedding",
        tokens=50,
        cost=0.0,
        currency="USD",
        requests_per_minute=None,
        tokens_per_minute=None,
        budget_per_day=None,
        seconds=1.0,
        patience=0.0,
        run=Run(task_id, 1),
        tenant=None,
    )
    leave = ledger.ask(plan)
    if not isinstance(leave, Leave):
        raise TypeError(f"an account without limits has no room: {leave.text}")
    ledger.settle(leave, [Share(plan.run, None, Usage(50), 0.0)])


# --- The model that runs here -----------------------------------------------------------------------------------------


def local(scale: Scale) -> list[Figure]:
    """Short texts on one core: against the runtime by itself on the same graph, and the equations in float64."""
    engine = MiniLmEmbedder(1)
    texts = [f"Parcel {number} has been paid for, and nobody answers." for number in range(LOCAL_TEXTS)]
    vectors = engine.embed(texts)
    session, batches = runtime(), padded(texts)

    def alone() -> None:
        for batch in batches:
            session.run(["vectors"], batch)

    alone()
    pairs = [
        (pinned(CORES[:1], lambda: timed(lambda: engine.embed(texts))), pinned(CORES[:1], lambda: timed(alone)))
        for _ in range(scale.rounds)
    ]
    per_second = [LOCAL_TEXTS / mine for mine, _ in pairs]
    mine, theirs = (f"{LOCAL_TEXTS / statistics.median(one):.0f} texts/s" for one in zip(*pairs, strict=True))
    plain = PlainBert()
    some = range(0, LOCAL_TEXTS, LOCAL_TEXTS // 8)
    cosines = [float(vectors[one] @ plain.vector(engine._tokens(texts[one]))) for one in some]  # noqa: SLF001
    name = "vectors of short texts on one core"
    return [
        Figure(name, "onnxruntime alone", 0.9, [other / own for own, other in pairs], mine, theirs),
        Figure(name, "100 texts/s", 1, [one / 100 for one in per_second], mine, "100 texts/s"),
        Figure("cosine", "the equations in float64", 0.9999, cosines, f"{min(cosines):.7f} at least", ""),
    ]


def runtime() -> onnxruntime.InferenceSession:
    """Return the runtime with one thread, on the graph and the weights."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights().parent))
    return onnxruntime.InferenceSession(GRAPH.read_bytes(), options, providers=["CPUExecutionProvider"])


@dataclass
class Recorder:
    """Stands in the runtime's place, and notes what it is given."""

    taken: list[dict[str, Any]] = field(default_factory=list)

    def run(self, _names: Sequence[str], batch: dict[str, Any]) -> list[Any]:
        """Return vectors of zeros."""
        self.taken.append(batch)
        return [np.zeros((len(batch["ids"]), DIMENSIONS), np.float32)]


def padded(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the batches that the engine makes of texts, as the graph takes them."""
    engine, recorder = MiniLmEmbedder(1), Recorder()
    engine._parts = (engine._tokenizer, recorder)  # noqa: SLF001 - the one place where batches come out
    engine.embed(texts)
    return recorder.taken


# --- The run ----------------------------------------------------------------------------------------------------------

MEASUREMENTS: dict[str, Callable[[Scale], list[Figure]]] = {
    one.__name__: one for one in (single, together, bulk, overhead, local)
}

HOW = f"""\
The provider is `tests/ai_provider.py` in a process of its own: it answers in 50 ms, and takes {PER_MINUTE} requests in
any 60 s. The service runs as `start_celery.py all` starts it, with SQLite and its own Redis; its worker for AI tasks is
killed with SIGKILL at moments of chance and started again by the supervisor. What the limit allows: {PER_MINUTE}
requests at once, as many again each 60 s, and the last answer. Time runs from the first submit until the last vector
was read, and each vector is compared with its text's. The gateway and the bare SDK take turns in blocks of {BLOCK}
requests, in one process, with a provider that answers at once; a round's figure is the difference of their medians. The
runtime by itself gets the engine's own batches, which are padded already; the engine cuts texts into tokens, too.
"""


def main() -> int:
    """Measure; 1 where a figure is not reached."""
    parser = figures.parser(__doc__, MEASUREMENTS)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the kills")
    parser.add_argument("--short", action="store_true", help="a tenth, and no page")
    given = parser.parse_args()
    scale = Scale(900, 100, 3, given.seed) if given.short else Scale(10_000, 300, given.rounds, given.seed)
    page = figures.Page("ai-benchmarks", "AI: limits, overhead, and the model that runs here", "make bench-ai", HOW)
    measurements = {name: partial(work, scale) for name, work in MEASUREMENTS.items()}
    return figures.run(None if given.short else page, measurements, given.only, scale.rounds)


if __name__ == "__main__":
    sys.exit(main())
