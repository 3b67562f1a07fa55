"""What can be told of a text without a model: its language, entities, keywords and summary."""

from dataclasses import dataclass
from typing import Any, Literal

from processors.entities import Entities, engine, find_entities
from processors.entity_results import Entity
from processors.envelopes import warning
from processors.keywords import METHOD, Keyword, find_keywords
from processors.languages import language_of
from processors.summaries import summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What was found in a text.

    Attributes:
        language: its tag of BCP 47.
        language_confidence: 0 to 1; None where the language is the one that was given.
        limits_hit: `max_entities` where there may be more of them.
    """

    language: str
    language_confidence: float | None
    language_source: Literal["given", "detected"]
    entities: list[Entity]
    keywords: list[Keyword]
    summary: dict[str, Any] | None
    provenance: list[dict[str, Any]]
    warnings: list[dict[str, Any]]
    limits_hit: list[str]


def describe(text: str, given: str) -> Description:
    """Describe a text.

    Args:
        text: any text.
        given: the language that it is said to have, a tag of BCP 47: counts where the text does not tell its own, and
            for its region where both are the same.
    """
    detected = language_of(text)
    found = _tag(detected["language"], given) if detected else given
    entities = find_entities(text, found)
    summary = summarise(text)
    warnings: list[dict[str, Any]] = []
    if found != given:
        message = f"The language was said to be {given}, the text reads as {found} and was taken for that."
        warnings.append(warning("language_differs", message))
    if summary is None:
        warnings.append(warning("no_summary", "There is no whole sentence to make a summary of."))
    return Description(
        language=found,
        language_confidence=detected["confidence"] if detected else None,
        language_source="detected" if detected else "given",
        entities=entities.found,
        keywords=find_keywords(_between(text, entities), found),
        summary=summary,
        provenance=[
            *([{"step": "language", "engine": detected["engine"]}] if detected else []),
            engine(),
            {"step": "keywords", "engine": METHOD},
            *([{"step": "summary", "engine": summary["method"]}] if summary else []),
        ],
        warnings=warnings,
        limits_hit=[] if entities.complete else ["max_entities"],
    )


def _tag(detected: str, given: str) -> str:
    """Return the detected language, as it was given where both are the same: `en-GB` says more than `en`."""
    return given if given.partition("-")[0] == detected else detected


def _between(text: str, entities: Entities) -> str:
    """Return a text without its entities: parts of addresses are no words."""
    ends = [0, *(one.range[1] for one in entities.found)]
    starts = [*(one.range[0] for one in entities.found), len(text)]
    return " ".join(text[end:start] for end, start in zip(ends, starts, strict=True))
