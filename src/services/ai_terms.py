"""What the settings say of AI providers; no adapter is loaded, so that a program that only submits may ask."""

from typing import Any, cast

from config.ai_providers import AiProvider
from config.settings import settings
from processors.ai_arguments import DEFAULT_EMBEDDING_MODEL
from processors.ai_interfaces import ModelTerms, ProviderTerms, Serving
from processors.ai_routes import ANY_MODEL, Routes
from processors.errors import AiError
from services.ai_providers import account_of, providers_of


def terms_of(name: str, provider: AiProvider) -> ProviderTerms:
    """Return what is known of a provider."""
    return ProviderTerms(
        name=name,
        account=account_of(name, provider),
        models={
            model: ModelTerms(one.input_price, one.output_price, one.context_tokens)
            for model, one in provider.models.items()
        },
        requests_per_minute=provider.requests_per_minute,
        tokens_per_minute=provider.tokens_per_minute,
        budget_per_day=provider.budget_per_day,
        currency=provider.currency,
        max_inputs=provider.max_inputs,
        max_input_tokens=provider.max_input_tokens,
        max_request_tokens=provider.max_request_tokens,
        max_request_bytes=provider.max_request_bytes,
        call_seconds=provider.timeout_seconds,
    )


def models_of(provider: AiProvider) -> list[str]:
    """Return the models that a provider serves; those that it names come before any other."""
    return sorted(provider.models, key=lambda one: one == ANY_MODEL)


def default_embedding_model() -> str:
    """Return the model for vectors where a caller names none."""
    return settings.openai_embedding_model or settings.openai_model or DEFAULT_EMBEDDING_MODEL


def first_terms(model: str) -> ProviderTerms | None:
    """Return the terms of who is asked first for a model; None where these settings name nobody who serves it."""
    nobody = cast("Any", None)  # nothing is asked here
    servings = [
        Serving(nobody, terms_of(name, provider), one)
        for name, provider in providers_of(settings).items()
        for one in models_of(provider)
    ]
    try:
        return Routes(servings, settings.ai_aliases).of(model, fallbacks=False)[0].terms
    except AiError:
        return None
