"""AI_PROVIDERS, AI_ALIASES and AI_FALLBACKS: endpoints of AI by name, and other names of models."""

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

ANY_MODEL = "*"
OPENAI_URL = "https://api.openai.com/v1"
KEY_PATTERN = re.compile(r"[!-~]*")
"""What a header of HTTP carries as it is; an error of the HTTP library would tell any other key whole."""

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")

Figure = Annotated[int, Field(gt=0, le=10**12)]
Price = Annotated[float, Field(ge=0, le=10**6, allow_inf_nan=False)]


def checked_address(url: str) -> str:
    """Return the address of an endpoint.

    Raises:
        ValueError: it is none, or holds a secret.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its words may tell a password, which a / or # ends too early
        raise ValueError(f"must be an address such as {OPENAI_URL}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError(f"must be an address such as {OPENAI_URL}")
    if parts.username or parts.password or parts.query:
        raise ValueError("must hold no user, password or query: the key belongs into a setting of its own")
    return url


def checked_key(key: str) -> str:
    """Return a key that can be sent.

    Raises:
        ValueError: it cannot.
    """
    if not KEY_PATTERN.fullmatch(key):
        raise ValueError("must be printable ASCII without spaces and ends of lines")
    return key


class AiModel(BaseModel):
    """A model at a provider: its prices for a million tokens, and what it takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    input_price: Price | None = None
    output_price: Price | None = None
    context_tokens: Figure | None = None


class AiProvider(BaseModel):
    """An endpoint that speaks OpenAI's protocol; `*` among its models stands for every name that nobody else serves."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str
    key: SecretStr | None = None
    models: dict[str, AiModel] = Field(default={ANY_MODEL: AiModel()}, min_length=1)
    requests_per_minute: Figure | None = None
    tokens_per_minute: Figure | None = None
    budget_per_day: Price | None = None
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    max_inputs: Figure = 2048
    max_input_tokens: Figure = 8191
    max_request_tokens: Figure = 300_000
    max_request_bytes: Figure = 50_000_000
    answer_limit: Literal["max_tokens", "max_completion_tokens"] | None = None
    timeout_seconds: float = Field(default=120, gt=0, le=3600)

    @model_validator(mode="before")
    @classmethod
    def _list_of_models(cls, value: Any) -> Any:
        """Take a list of names for models of which no more is known."""
        given = cast("dict[str, Any]", value if isinstance(value, dict) else {"url": value})
        models: Any = given.get("models")
        if isinstance(models, list) and all(isinstance(name, str) for name in cast("list[Any]", models)):
            return given | {"models": {name: AiModel() for name in cast("list[str]", models)}}
        return given

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_address(value)

    @field_validator("key")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        return value and SecretStr(checked_key(value.get_secret_value()))

    @property
    def secret(self) -> str | None:
        """The key."""
        return self.key.get_secret_value() if self.key else None


def read_providers(value: Any, folder: Path) -> Any:
    """Return the providers that AI_PROVIDERS names, by their names.

    Args:
        value: JSON text that begins with a brace, or the path of a TOML file with a table for each provider.
        folder: what the path begins at, where it is relative.

    Raises:
        ValueError: it is neither; the sentence names the provider and the key.
    """
    if not isinstance(value, str):
        return value
    try:
        given = (
            json.loads(value) if value.lstrip().startswith("{") else tomllib.loads((folder / value).read_text("utf-8"))
        )
    except OSError as error:
        raise ValueError(f"must be JSON text or a readable TOML file: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"must be JSON text or a TOML file: {error}") from None
    if bad := [name for name in given if not NAME_PATTERN.fullmatch(name)]:
        raise ValueError(f"names of providers are small letters, digits, _ . and -; {bad[0]!r} is none")
    try:
        return TypeAdapter(dict[str, AiProvider]).validate_python(given)
    except ValidationError as error:  # what was given is not repeated: it may be a key
        raise ValueError("; ".join(_problem(dict(one)) for one in error.errors())) from None


def read_names(value: Any) -> Any:
    """Return names by names: `fast=gpt-4o-mini,smart=gpt-4`."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(name.strip() and target.strip() for name, _, target in pairs):
        raise ValueError("must be pairs, comma-separated, such as fast=gpt-4o-mini,smart=gpt-4")
    return {name.strip(): target.strip() for name, _, target in pairs}


def read_name_lists(value: Any) -> Any:
    """Return lists of names by names: `gpt-4=gpt-4o|llama3`."""
    named = read_names(value)
    if named is value:
        return value
    return {name: [one.strip() for one in targets.split("|") if one.strip()] for name, targets in named.items()}


def _problem(problem: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {str(problem['msg']).removeprefix('Value error, ')}"
