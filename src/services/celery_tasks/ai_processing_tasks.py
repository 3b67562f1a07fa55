"""AI: vectors, chats, sentiment, the text of any content, and one doorway to all of them."""

from __future__ import annotations  # the modules that these name are imported on first use

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from config.settings import settings
from records.task_records import TaskRecord
from services.celery_app import celery_app
from services.celery_tasks.base import ParentTask, RecordedTask, recorded_task
from services.on_first_use import on_first_use

if TYPE_CHECKING:
    from processors import ai_dispatch, ai_requests, bulk_embeddings, chats, embeddings, envelopes, sentiment, texts
    from services import ai_terms, ai_tools, text_tools
else:
    ai_dispatch, ai_requests, bulk_embeddings = on_first_use(
        "processors", "ai_dispatch", "ai_requests", "bulk_embeddings"
    )
    chats, embeddings, sentiment, texts = on_first_use("processors", "chats", "embeddings", "sentiment", "texts")
    ai_terms, ai_tools, text_tools = on_first_use("services", "ai_terms", "ai_tools", "text_tools")

LIMITS = {"time_limit": settings.ai_task_time_limit, "soft_time_limit": settings.ai_task_soft_time_limit}


@recorded_task("ai_processing.generate_embedding", "processors.ai_requests:GenerateEmbedding", **LIMITS)
def generate_embedding(task: RecordedTask, request: ai_requests.GenerateEmbedding) -> embeddings.EmbeddingGenerated:
    """Turn a text into a vector."""
    return embeddings.generate_embedding(request, ai_tools.embedding_tools(task), task.report)


@recorded_task("ai_processing.embed_part", "processors.ai_requests:EmbedPart", **LIMITS)
def embed_part(task: RecordedTask, request: ai_requests.EmbedPart) -> bulk_embeddings.VectorsFound:
    """Turn a part of many texts into vectors."""
    return bulk_embeddings.embed_part(request, task.parts.members, ai_tools.embedding_tools(task), task.report)


class GenerateEmbeddingsParent(ParentTask):
    """Many texts: moved by their rows."""

    name = "ai_processing.generate_embeddings"
    category = "ai_processing"

    def result_of(
        self,
        record: TaskRecord,
        tally: Mapping[str, int],  # noqa: ARG002 - the rows tell more
        seconds: float,
    ) -> bulk_embeddings.EmbeddingsGenerated:
        """Return what the texts' rows add up to; they are read page by page."""
        request = ai_requests.GenerateEmbeddings.model_validate(record.kwargs)
        ends = self.parts.members.all_ends(record.id)
        return bulk_embeddings.conclude_embeddings(ends, request, ai_terms.default_embedding_model(), seconds)


celery_app.register_task(GenerateEmbeddingsParent())


@recorded_task("ai_processing.process_chat", "processors.ai_requests:ProcessChat", **LIMITS)
def process_chat(task: RecordedTask, request: ai_requests.ProcessChat) -> chats.ChatProcessed:
    """Answer a message."""
    return chats.process_chat(request, ai_tools.chat_tools(task), task.report)


@recorded_task("ai_processing.analyze_sentiment", "processors.sentiment:AnalyzeSentiment", **LIMITS)
def analyze_sentiment(task: RecordedTask, request: sentiment.AnalyzeSentiment) -> sentiment.SentimentAnalyzed:
    """Tell how a text sounds."""
    return sentiment.analyze_sentiment(request, task.parts.sentiment, task.report)


@recorded_task("ai_processing.extract_text", "processors.texts:ExtractText", **LIMITS)
def extract_text(task: RecordedTask, request: texts.ExtractText) -> texts.TextExtracted:
    """Extract the text of a content."""
    return texts.extract_text(request, text_tools.text_tools(task.parts, task.current.id), task.report)


@recorded_task("ai_processing.process_ai_request", "processors.ai_requests:ProcessAiRequest", **LIMITS)
def process_ai_request(task: RecordedTask, request: ai_requests.ProcessAiRequest) -> ai_dispatch.AiRequestProcessed:
    """Do what another AI method does."""
    methods: dict[str, Callable[[Any], envelopes.Envelope]] = {
        "embedding": lambda inner: embeddings.generate_embedding(inner, ai_tools.embedding_tools(task), task.report),
        "chat": lambda inner: chats.process_chat(inner, ai_tools.chat_tools(task), task.report),
        "sentiment": lambda inner: sentiment.analyze_sentiment(inner, task.parts.sentiment, task.report),
        "extract_text": lambda inner: texts.extract_text(
            inner, text_tools.text_tools(task.parts, task.current.id), task.report
        ),
    }
    return ai_dispatch.process_ai_request(request, methods)
