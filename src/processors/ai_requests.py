"""What AI methods take."""

from importlib import import_module
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from processors.ai_arguments import ModelName, Stop, Text
from processors.results import Request, sentence_of
from processors.sentiment import AnalyzeSentiment
from processors.texts import ExtractText

MOST_DIMENSIONS = 100_000
MOST_MESSAGES = 10_000
MOST_DATA = 100
MOST_STOPS = 4
LARGEST_SEED = 2**63 - 1


class GenerateEmbedding(Request):
    """Turn a text into a vector.

    Attributes:
        text: which.
        model: its name or alias.
        dimensions: of the vector, for models that can be cut.
    """

    text: Text
    model: ModelName | None = None
    dimensions: int | None = Field(default=None, ge=1, le=MOST_DIMENSIONS)


class GenerateEmbeddings(Request):
    """Turn many texts into vectors; the texts are rows.

    Attributes:
        model: its name or alias.
        dimensions: of each vector, for models that can be cut.
    """

    model: ModelName | None = None
    dimensions: int | None = Field(default=None, ge=1, le=MOST_DIMENSIONS)


class EmbedPart(GenerateEmbeddings):
    """A part of many texts: the members at positions first .. first + count - 1."""

    bulk_id: str
    first: int
    count: int


class Message(Request):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text


def _check_schema(value: dict[str, Any]) -> dict[str, Any]:
    """Check a JSON schema; its library is loaded on first use."""
    return import_module("processors.json_answers").checked_schema(value)


class ProcessChat(Request):
    """Answer a message.

    Attributes:
        message: what is asked now.
        context: the conversation so far, the oldest first.
        model: its name or alias.
        data: texts that the answer is about; they give no instructions.
        response_schema: a JSON schema that the answer must fulfil.
        temperature: 0 to 2, how much chance there is in it.
        top_p: 0 to 1, the share of likely tokens that it is chosen from.
        max_output_tokens: of the answer.
        seed: for providers that can repeat an answer.
        stop: texts at which the answer ends.
    """

    message: Text
    context: Annotated[list[Message], Field(strict=False, max_length=MOST_MESSAGES)] | None = None
    model: ModelName | None = None
    data: Annotated[list[Text], Field(strict=False, max_length=MOST_DATA)] | None = None
    response_schema: Annotated[dict[str, Any], AfterValidator(_check_schema)] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    max_output_tokens: int | None = Field(default=None, ge=1, le=10**7)
    seed: int | None = Field(default=None, ge=-LARGEST_SEED, le=LARGEST_SEED)
    stop: Annotated[list[Stop], Field(strict=False, max_length=MOST_STOPS)] | None = None


KINDS: dict[str, type[Request]] = {
    "embedding": GenerateEmbedding,
    "chat": ProcessChat,
    "sentiment": AnalyzeSentiment,
    "extract_text": ExtractText,
}


class ProcessAiRequest(Request):
    """Do what another method does, by its kind.

    Attributes:
        request_type: which.
        input_data: that method's arguments.
        settings: more of them, that shape how the model works: `model`, `temperature`, `dimensions`, …; never where it
            is asked or with which key.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    request_type: Literal["embedding", "chat", "sentiment", "extract_text"]
    input_data: dict[str, Any]
    settings: dict[str, Any] | None = Field(default=None, alias="model_config")

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.inner()
        return self

    def inner(self) -> Request:
        """Return the request of the method that is meant.

        Raises:
            ValueError: the arguments are none of its.
        """
        twice = sorted(self.input_data.keys() & (self.settings or {}).keys())
        if twice:
            raise ValueError(f"{twice[0]} is given in input_data and in model_config: give it once")
        kind = KINDS[self.request_type]
        unknown = sorted((self.settings or {}).keys() - (kind.model_fields.keys() - CONTENTS))
        if unknown:
            raise ValueError(
                f"model_config has {unknown[0]!r}, which {self.request_type} does not take; it takes "
                f"{', '.join(sorted(kind.model_fields.keys() - CONTENTS)) or 'nothing'}"
            )
        try:
            return kind.model_validate({**self.input_data, **(self.settings or {})})
        except ValidationError as error:
            raise ValueError(f"input_data: {sentence_of(error)}") from None


CONTENTS = frozenset({"text", "message", "context", "data", "content", "content_type", "language"})
"""What is no matter of a model, and so belongs into `input_data`."""
