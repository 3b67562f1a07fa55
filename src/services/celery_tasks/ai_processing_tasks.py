"""AI: vectors, chats, sentiment, the text of any content, and one doorway to all of them."""

from collections.abc import Callable, Mapping
from typing import Any

from config.settings import settings
from processors import bulk_embeddings
from processors.ai_dispatch import AiRequestProcessed
from processors.ai_dispatch import process_ai_request as do_ai_request
from processors.ai_requests import EmbedPart, GenerateEmbedding, GenerateEmbeddings, ProcessAiRequest, ProcessChat
from processors.bulk_embeddings import EmbeddingsGenerated, VectorsFound, conclude_embeddings
from processors.chats import ChatProcessed
from processors.chats import process_chat as talk
from processors.embeddings import EmbeddingGenerated
from processors.embeddings import generate_embedding as embed
from processors.envelopes import Envelope
from processors.sentiment import AnalyzeSentiment, SentimentAnalyzed
from processors.sentiment import analyze_sentiment as judge
from processors.texts import ExtractText, TextExtracted
from processors.texts import extract_text as read_text
from records.task_records import TaskRecord
from services.ai_terms import default_embedding_model
from services.ai_tools import chat_tools, embedding_tools
from services.celery_app import celery_app
from services.celery_tasks.base import ParentTask, RecordedTask, recorded_task
from services.text_tools import text_tools

LIMITS = {"time_limit": settings.ai_task_time_limit, "soft_time_limit": settings.ai_task_soft_time_limit}


@recorded_task("ai_processing.generate_embedding", GenerateEmbedding, **LIMITS)
def generate_embedding(task: RecordedTask, request: GenerateEmbedding) -> EmbeddingGenerated:
    """Turn a text into a vector."""
    return embed(request, embedding_tools(task), task.report)


@recorded_task("ai_processing.embed_part", EmbedPart, **LIMITS)
def embed_part(task: RecordedTask, request: EmbedPart) -> VectorsFound:
    """Turn a part of many texts into vectors."""
    return bulk_embeddings.embed_part(request, task.parts.members, embedding_tools(task), task.report)


class GenerateEmbeddingsParent(ParentTask):
    """Many texts: moved by their rows."""

    name = "ai_processing.generate_embeddings"
    category = "ai_processing"

    def result_of(self, record: TaskRecord, tally: Mapping[str, int], seconds: float) -> EmbeddingsGenerated:  # noqa: ARG002 - the rows tell more
        """Return what the texts' rows add up to; they are read page by page."""
        request = GenerateEmbeddings.model_validate(record.kwargs)
        ends = self.parts.members.all_ends(record.id)
        return conclude_embeddings(ends, request, default_embedding_model(), seconds)


celery_app.register_task(GenerateEmbeddingsParent())


@recorded_task("ai_processing.process_chat", ProcessChat, **LIMITS)
def process_chat(task: RecordedTask, request: ProcessChat) -> ChatProcessed:
    """Answer a message."""
    return talk(request, chat_tools(task), task.report)


@recorded_task("ai_processing.analyze_sentiment", AnalyzeSentiment, **LIMITS)
def analyze_sentiment(task: RecordedTask, request: AnalyzeSentiment) -> SentimentAnalyzed:
    """Tell how a text sounds."""
    return judge(request, task.parts.sentiment, task.report)


@recorded_task("ai_processing.extract_text", ExtractText, **LIMITS)
def extract_text(task: RecordedTask, request: ExtractText) -> TextExtracted:
    """Extract the text of a content."""
    return read_text(request, text_tools(task.parts, task.current.id), task.report)


@recorded_task("ai_processing.process_ai_request", ProcessAiRequest, **LIMITS)
def process_ai_request(task: RecordedTask, request: ProcessAiRequest) -> AiRequestProcessed:
    """Do what another AI method does."""
    methods: dict[str, Callable[[Any], Envelope]] = {
        "embedding": lambda inner: embed(inner, embedding_tools(task), task.report),
        "chat": lambda inner: talk(inner, chat_tools(task), task.report),
        "sentiment": lambda inner: judge(inner, task.parts.sentiment, task.report),
        "extract_text": lambda inner: read_text(inner, text_tools(task.parts, task.current.id), task.report),
    }
    return do_ai_request(request, methods)
