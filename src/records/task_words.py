"""The words of tasks: in name, arguments, result and error. Secrets are masked before anything of them is kept.

How they are searched is each database's own: `records.task_words_sqlite`, `records.task_words_postgresql`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice
from typing import Any, cast

from sqlalchemy import Connection

from processors.redaction import MASK, redact, redact_text

TEXT_CHARACTERS = 20_000
TEXT_BYTES = 20_000
ERROR_CHARACTERS = 5_000
GIVEN_CHARACTERS = 12_000
"""What there is room for of a task's arguments, so that they leave some for its result."""

VALUES = 5_000
DEEPEST = 20
RECENT = 100_000
"""Parts of words are looked for in so many of the newest tasks."""

WORD = re.compile(r"[^\W_]+")
LONE_OR_NUL = re.compile("[\x00\ud800-\udfff]")

Shown = Callable[[str, Sequence[Any]], Any]
"""Returns a task's positional arguments with its secrets masked."""


def plain(text: str) -> str:
    """Return a text as it is kept and looked for: without capitals, accents, and what no database takes."""
    text = text.casefold()
    if not text.isascii():
        kept = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
        text = unicodedata.normalize("NFC", "".join(kept)).casefold()
        text = LONE_OR_NUL.sub(" ", text)
    return text.replace("\0", " ")


def words_of(text: str) -> list[str]:
    """Return the words of a text, each once, in their order; all that is no letter or digit stands between words."""
    return list(dict.fromkeys(WORD.findall(plain(text))))


def text_of(row: Mapping[Any, Any], shown: Shown) -> str:
    """Return what is kept of a record: its texts, masked, each on a line, and no more than 20 KB.

    Args:
        row: name, args, kwargs, result, error_type and error.
        shown: masks positional arguments.
    """
    error = redact_text(row["error"])[:ERROR_CHARACTERS] if row["error"] else ""
    texts = [row["name"], row["error_type"] or "", error]
    given = [shown(row["name"], row["args"]) if row["args"] else None, redact(row["kwargs"])]
    texts += _within(given, GIVEN_CHARACTERS)
    texts += _within([redact(row["result"])], TEXT_CHARACTERS - sum(map(len, texts)))
    text = plain("\n".join(texts))[:TEXT_CHARACTERS]
    return text if text.isascii() else text.encode()[:TEXT_BYTES].decode("utf-8", "ignore")


def _within(value: Any, characters: int) -> Iterator[str]:
    """Return the texts and numbers in a JSON value, up to so many characters."""
    for text in islice(_texts(value), VALUES):
        if characters <= 0:
            return
        yield text[:characters]
        characters -= len(text)


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        if value != MASK:
            yield value
    elif isinstance(value, bool) or value is None or depth > DEEPEST:
        return
    elif isinstance(value, (int, float)):
        yield str(value)
    elif isinstance(value, (Mapping, list, tuple)):
        for inner in cast("Any", value.values() if isinstance(value, Mapping) else value):
            yield from _texts(inner, depth + 1)


def keep_words(connection: Connection, texts: Mapping[int, str]) -> None:
    """Keep the texts of these tasks, by the numbers of their rows in lists; what was kept of them before goes."""
    _own(connection).keep(connection, texts)


def remove_words(connection: Connection, numbers: Sequence[int]) -> None:
    """Forget what is kept of these tasks."""
    if numbers:
        _own(connection).remove(connection, numbers)


def with_words(connection: Connection, words: Sequence[str], least: int, below: int, limit: int) -> list[int]:
    """Return the numbers of tasks that have all these words, the greatest first.

    Args:
        connection: reads.
        words: as `words_of` returns them.
        least: of no lesser number.
        below: of lesser numbers alone.
        limit: at most so many; fewer than that are all.
    """
    return _own(connection).with_words(connection, words, least, below, limit)


def with_part(connection: Connection, part: str, least: int, below: int, limit: int) -> list[int]:
    """Return the numbers of tasks whose text has this in it; arguments as `with_words`."""
    return _own(connection).with_part(connection, part, least, below, limit)


def texts(connection: Connection, numbers: Sequence[int]) -> dict[int, str]:
    """Return what is kept of these tasks."""
    return _own(connection).texts(connection, numbers)


def _own(connection: Connection) -> Any:
    return import_module(f"records.task_words_{connection.dialect.name}")
