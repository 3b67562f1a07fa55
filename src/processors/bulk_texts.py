"""The texts of a bulk, checked before anything is recorded."""

from collections.abc import Iterator
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from processors.ai_arguments import Text
from processors.bulk_items import MAX_BULK_BYTES, items_of
from processors.errors import InvalidArgument
from processors.results import sentence_of

TEXT = TypeAdapter[str](Text, config=ConfigDict(strict=True, hide_input_in_errors=True))


def check_texts(texts: Any) -> Iterator[dict[str, str]]:
    """Check the texts of a bulk and return them as rows.

    Args:
        texts: a list of at most 1 000 000 texts, none empty, of 256 MB in all.

    Raises:
        InvalidArgument: at the first bad text, named by its place; or the whole is too much.
    """
    size = 0
    for index, given in enumerate(items_of("texts", texts, "text", "texts")):
        try:
            text = TEXT.validate_python(given)
        except ValidationError as error:
            raise InvalidArgument(f"texts[{index}]: {sentence_of(error)}.") from error
        size += len(text.encode())
        if size > MAX_BULK_BYTES:
            raise InvalidArgument(
                f"texts: at most {MAX_BULK_BYTES} bytes in all are accepted in one bulk; got {size} bytes at text "
                f"{index}."
            )
        yield {"text": text}
