"""What a provider of calls tells in its forms: read as far as it is of its form, and no further.

Source: twilio.com/docs/voice/twiml (fields of a request), …/voice/api/call-resource#statuscallback,
…/voice/answering-machine-detection, …/voice/twiml/gather. Fields that nobody here knows are left alone.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from processors.call_states import CallProgress, spelled

MOST_FIELDS = 500
LONGEST_SPEECH = 2_000
FIGURE = re.compile(r"[0-9]{1,7}")
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,31}")
KEYS = re.compile(r"[0-9*#]{1,20}")
CONFIDENCE = re.compile(r"[01](\.[0-9]{1,20})?")
NAME = re.compile(r"[A-Za-z0-9]{1,64}")
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
MACHINES = ("machine", "fax")
SECONDS_PER_MINUTE = 60


def pairs_of(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form in their order, blanks kept, as they are signed.

    Raises:
        ValueError: it is no form of UTF-8, or has too many fields.
    """
    text = body.decode()
    return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)


def progress_of(fields: Mapping[str, str]) -> CallProgress:
    """Return what a form says of how its call stands.

    `Duration` is in minutes there, begun ones counted whole, and taken where `CallDuration` is missing.
    """
    status = word_of(fields.get("CallStatus"))
    seconds, minutes = figure_of(fields.get("CallDuration")), figure_of(fields.get("Duration"))
    if seconds is None and minutes is not None:
        seconds = minutes * SECONDS_PER_MINUTE
    return CallProgress(
        status=None if status is None else spelled(status),
        sequence=figure_of(fields.get("SequenceNumber")),
        answered_by=word_of(fields.get("AnsweredBy")),
        duration_seconds=seconds,
        sip_code=figure_of(fields.get("SipResponseCode")),
    )


def heard_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the keys and the speech of a form; empty where it has neither: the key that ended a recording is none."""
    if any(name.startswith("Recording") for name in fields):
        return {}
    keys, speech = fields.get("Digits", ""), fields.get("SpeechResult", "").strip()
    heard: dict[str, Any] = {}
    if KEYS.fullmatch(keys):
        heard["digits"] = keys
    if speech:
        heard["speech"] = speech[:LONGEST_SPEECH]
        confidence = fields.get("Confidence", "")
        if CONFIDENCE.fullmatch(confidence) and float(confidence) <= 1:
            heard["confidence"] = float(confidence)
    return heard


def is_machine(answered_by: str | None) -> bool:
    """Tell whether a machine answered; of whom nobody knows it, it is a person."""
    return answered_by is not None and answered_by.startswith(MACHINES)


def name_of(text: str | None) -> str | None:
    """Return a provider's name for something; None where it is none."""
    return text if text is not None and NAME.fullmatch(text) else None


def token_of(text: str | None) -> str | None:
    """Return a provider's name for a message, such as a UUID; None where it is none."""
    return text if text is not None and TOKEN.fullmatch(text) else None


def word_of(text: str | None) -> str | None:
    """Return a word of a few letters; None where it is none."""
    return text if text is not None and WORD.fullmatch(text) else None


def figure_of(text: str | None) -> int | None:
    """Return a figure of at most seven digits; None where it is none."""
    return int(text) if text is not None and FIGURE.fullmatch(text) else None


def values_of(pairs: Sequence[tuple[str, str]], name: str) -> list[str]:
    """Return the values of a field, in their order."""
    return [value for field, value in pairs if field == name]
