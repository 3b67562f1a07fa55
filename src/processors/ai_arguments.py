"""What AI methods take in common: texts, and names of models."""

from typing import Annotated

from pydantic import AfterValidator, Field

from processors.results import storable

MOST_CHARACTERS = 10_000_000
LONGEST_NAME = 255
LONGEST_STOP = 1_000


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return storable(value)


Text = Annotated[str, Field(max_length=MOST_CHARACTERS), AfterValidator(_text)]
Stop = Annotated[str, Field(min_length=1, max_length=LONGEST_STOP), AfterValidator(storable)]
ModelName = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\s\x00-\x1f\x7f]+$")]


class DefaultModel(str):
    """A method's own default for a model, which OPENAI_MODEL replaces; the same name given by a caller is not one."""

    __slots__ = ()


DEFAULT_EMBEDDING_MODEL = DefaultModel("text-embedding-ada-002")
DEFAULT_CHAT_MODEL = DefaultModel("gpt-4")
