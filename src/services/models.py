"""The model files of this installation."""

from functools import cache

from adapters.model_store import ModelStore
from config.settings import settings


@cache
def model_store() -> ModelStore:
    """Return the store over MODELS_DIR."""
    return ModelStore(settings.models_dir, allow_downloads=settings.allow_model_downloads)
