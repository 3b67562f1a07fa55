"""Small good files of every kind, which the fuzzer damages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from examples.celery_example import SAMPLES
from reading import options


@dataclass(frozen=True)
class Corpus:
    """What one job is fed: its files with their names, and its options."""

    job: str
    files: list[tuple[str, bytes]]
    options: Mapping[str, Any]


def documents() -> Corpus:
    """Documents of every kind."""
    return Corpus("document", [(path.name, path.read_bytes()) for path in sorted(SAMPLES.iterdir())], options())


CORPORA: dict[str, Callable[[], Corpus]] = {"document": documents}
"""By the name of what is fuzzed."""
