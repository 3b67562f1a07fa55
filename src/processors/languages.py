"""Which language a text is written in."""

from typing import Any, cast

from py3langid import langid  # pyright: ignore[reportMissingTypeStubs] - it has none

SAMPLE_CHARACTERS = 20_000
FEWEST_LETTERS = 20
LEAST_CONFIDENCE = 0.5
_identifiers: list[Any] = []


def language_of(text: str) -> dict[str, Any] | None:
    """Return the language (BCP 47) and how sure that is, 0 to 1; None where it cannot be told."""
    sample = text[:SAMPLE_CHARACTERS]
    if sum(character.isalpha() for character in sample) < FEWEST_LETTERS:
        return None
    if not _identifiers:
        _identifiers.append(cast("Any", langid).LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True))
    language, confidence = _identifiers[0].classify(sample)
    if confidence < LEAST_CONFIDENCE:
        return None
    return {"language": str(language), "confidence": round(float(confidence), 3), "engine": "py3langid"}
