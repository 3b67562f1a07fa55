"""The providers that settings name, and the accounts that their calls are counted for."""

import hashlib

from config.ai_providers import OPENAI_URL, AiProvider
from config.settings import Settings

IMPLICIT = "openai"
"""The provider that OPENAI_API_KEY and OPENAI_BASE_URL make, unless AI_PROVIDERS has one of this name."""

DIGEST_CHARACTERS = 12


def providers_of(settings: Settings) -> dict[str, AiProvider]:
    """Return the providers by their names; the implicit one is the last that is asked."""
    given = dict(settings.ai_providers)
    if (settings.openai_api_key or settings.openai_base_url) and IMPLICIT not in given:
        given[IMPLICIT] = AiProvider.model_validate(
            {"url": settings.openai_base_url or OPENAI_URL, "key": settings.openai_api_key}
        )
    return given


def account_of(name: str, provider: AiProvider) -> str:
    """Return what calls are counted for: the provider's name, and what tells its key from another one."""
    digest = hashlib.sha256((provider.secret or "").encode()).hexdigest()
    return f"{name}:{digest[:DIGEST_CHARACTERS]}"
