"""Which engine turns speech into text here, by the settings and by what is installed."""

from importlib import import_module
from typing import Literal

from config.ai_providers import OPENAI_URL
from config.settings import Settings
from processors.audio import SpeechChoice
from processors.interfaces import SpeechEndpoint


def speech_choice(settings: Settings) -> SpeechChoice:
    """Return the engine that SPEECH_ENGINE names.

    `auto` is Whisper where a model's folder is there, else the endpoint where one is set, else pocketsphinx. A model
    that is named and not there is missed by Whisper, and not replaced by a rough engine.
    """
    engine = settings.speech_engine
    if engine == "auto":
        engine = _found(settings)
    if engine == "endpoint":
        return SpeechChoice(engine=engine, endpoint=_endpoint(settings))
    return SpeechChoice(engine=engine, folder=str(settings.whisper_folder))


def _found(settings: Settings) -> Literal["whisper", "endpoint", "pocketsphinx"]:
    if settings.whisper_folder.is_dir():
        return "whisper"
    if _has_endpoint(settings):
        return "endpoint"
    return "whisper" if settings.speech_model else "pocketsphinx"


def _has_endpoint(settings: Settings) -> bool:
    """An endpoint without the name of a model, such as one that is there for chats, is none for speech."""
    named = settings.speech_url or settings.openai_base_url or settings.openai_api_key
    return bool(named and settings.speech_model)


def _endpoint(settings: Settings) -> SpeechEndpoint:
    return import_module("adapters.openai_speech").OpenAiSpeech(
        settings.speech_url or settings.openai_base_url or OPENAI_URL, settings.openai_api_key, settings.speech_model
    )
