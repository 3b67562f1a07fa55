"""What AI work needs from outside, made of the settings and parts."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from time import monotonic

from config.ai_providers import AiProvider
from config.settings import Settings, settings
from processors.ai_arguments import DEFAULT_CHAT_MODEL
from processors.ai_gateway import Gateway
from processors.ai_interfaces import Asker, Serving
from processors.ai_routes import Routes
from processors.ai_vectors import Vectors
from processors.chats import ANSWERING_PERCENT, ChatTools
from processors.embeddings import EmbeddingTools
from services.ai_providers import providers_of
from services.ai_terms import default_embedding_model, models_of, terms_of
from services.celery_tasks.base import RecordedTask

SHARE = 0.9
"""Of a task's time until its soft limit, by which providers must have answered: the rest is for what follows."""

PARTIAL_CHARACTERS = 100_000


def routes_of(settings: Settings) -> Routes:
    """Return who serves which model, by the settings; their adapters are made here."""
    servings = [one for name, provider in providers_of(settings).items() for one in _servings(name, provider)]
    return Routes(servings, settings.ai_aliases, settings.ai_fallbacks)


def embedding_tools(task: RecordedTask) -> EmbeddingTools:
    """Return what embedding needs, for one task."""
    parts = task.parts
    return EmbeddingTools(
        routes=parts.ai_gateway.routes,
        vectors=_vectors(parts.ai_gateway),
        engine=lambda: parts.embedding_engine,
        default_model=default_embedding_model(),
        asker=asker_of(task),
        storage=parts.storage,
        task_id=task.current.id,
    )


def chat_tools(task: RecordedTask) -> ChatTools:
    """Return what a chat needs, for one task."""
    return ChatTools(
        gateway=task.parts.ai_gateway,
        default_model=settings.openai_model or DEFAULT_CHAT_MODEL,
        asker=asker_of(task),
        show=_show(task),
    )


def asker_of(task: RecordedTask) -> Asker:
    """Return whose request it is that a task makes, and by when it must be answered."""
    run = task.current
    return Asker(
        run=run.fence,
        tenant=run.tenant,
        created_at=run.created_at,
        until=monotonic() + SHARE * settings.ai_task_soft_time_limit,
        look=task.check_cancelled,
    )


@cache
def _vectors(gateway: Gateway) -> Vectors:
    """Return what asks for vectors: one for all threads, so that what waits together goes together."""
    return Vectors(gateway)


def _show(task: RecordedTask) -> Callable[[str], None]:
    def show(text: str) -> None:
        task.report(ANSWERING_PERCENT, "answering", text[-PARTIAL_CHARACTERS:])

    return show


def _servings(name: str, provider: AiProvider) -> list[Serving]:
    """Return what a provider serves; the models that it names come before any other."""
    adapter = import_module("adapters.openai_models").OpenAiModels(provider.url, provider.secret, provider.answer_limit)
    terms = terms_of(name, provider)
    return [Serving(adapter, terms, model) for model in models_of(provider)]
