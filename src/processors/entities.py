"""Entities that need no model: e-mail addresses, phone numbers, URLs, dates, amounts of money.

No search takes longer than a text's length asks for: repetitions are possessive, bounded, or begin at one place only.
"""

import importlib.metadata
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from processors.amounts import find_amounts
from processors.entity_results import Entity
from processors.summaries import UNSPACED
from processors.written_dates import FORMS

MOST_ENTITIES = 1_000
SEARCHED_CHARACTERS = 1_000_000
MOST_PHONE_TRIES = 10_000
"""Groups of digits that are no phone number, after which none is looked for: each costs some 50 microseconds."""

LONGEST_URL, LONGEST_LOCAL, LONGEST_DOMAIN = 2_048, 64, 253
"""Characters; the last two are of RFC 5321 and RFC 1035."""

ADJOINING = rf"{UNSPACED}\u3005-\u3007\uac00-\ud7a3"
"""Han, kana and Hangul: they stand right before and behind an address, without a space."""

LETTER, ADJOINING_LETTER = rf"[^\W{ADJOINING}]", rf"(?:(?!\W)[{ADJOINING}])"
BEFORE_EMAIL, IN_LOCAL = rf"(?:{LETTER}|[.%+-])", rf"(?:{LETTER}|[%+-])"
IN_DOMAIN = rf"(?:(?!_){LETTER}(?:{LETTER}|-)*+|{ADJOINING_LETTER}++)"
URL = re.compile(
    rf"(?<!{LETTER})"
    r"(?:(?:https?|ftp)://|www\.)[^\s<>\"“”„«»\u2039\u203a\u3000-\u303f\uff01-\uff0f{}|\\^`\x00-\x1f\x7f]++",
    re.IGNORECASE,
)
EMAIL = re.compile(
    rf"(?<!{BEFORE_EMAIL})(?<!{BEFORE_EMAIL}')"
    rf"(?P<local>{IN_LOCAL}++(?:[.']{IN_LOCAL}++)*+|(?<!\w){ADJOINING_LETTER}++)"
    rf"@(?P<domain>{IN_DOMAIN}(?:\.{IN_DOMAIN})++)"
)
LABEL = re.compile(r"[^\W_](?:[^\W_]|-(?!\Z)){0,62}")
TOP_LEVEL = re.compile(r"[^\W\d_]{2,}|xn--[a-z0-9-]+")
BEHIND_URL = ".,;:!?'\u2019*_"
"""What ends a sentence or a quotation around a URL rather than the URL."""

REGIONS = {
    "cs": "CZ",
    "da": "DK",
    "de": "DE",
    "en": "US",
    "es": "ES",
    "fi": "FI",
    "fr": "FR",
    "it": "IT",
    "ja": "JP",
    "ko": "KR",
    "nl": "NL",
    "pl": "PL",
    "pt": "BR",
    "ru": "RU",
    "sv": "SE",
    "tr": "TR",
    "uk": "UA",
    "zh": "CN",
}
"""Where most people live who write a language, as Unicode's CLDR tells it (likely subtags)."""

REGION = re.compile(r"-([A-Z]{2})(?:-|\Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entities:
    """What was found, in the text's order; `complete` is false where more may be there."""

    found: list[Entity]
    complete: bool


def find_entities(text: str, language: str) -> Entities:
    """Return the entities of a text, at most 1 000 of its first million characters; none lies over another.

    Args:
        text: any text.
        language: its tag of BCP 47. Phone numbers without `+` are taken for those of its region, or of the region where
            most people live who write it; of a language that is not known here, they are not found.
    """
    searched = text if len(text) <= SEARCHED_CHARACTERS else _whole_words(text[:SEARCHED_CHARACTERS])
    phones = _PhoneSearch(_region_of(language))
    kinds: list[Callable[[str], Iterator[Entity]]] = [_urls, _emails, *FORMS, phones.find, find_amounts]
    taken = bytearray(len(searched))
    found: list[Entity] = []
    for kind in kinds:
        found += islice(_free(kind(searched), taken), MOST_ENTITIES + 1)
    found.sort(key=lambda one: one.range)
    complete = len(found) <= MOST_ENTITIES and len(searched) == len(text) and not phones.gave_up
    return Entities(found[:MOST_ENTITIES], complete)


def engine() -> dict[str, Any]:
    """Return what the result tells of how entities are found."""
    version = importlib.metadata.version("phonenumbers")
    return {"step": "entities", "engine": "patterns and phonenumbers", "engine_version": version}


def _free(entities: Iterator[Entity], taken: bytearray) -> Iterator[Entity]:
    """Yield those that lie where nothing was found before, and note where they lie."""
    for one in entities:
        start, end = one.range
        if taken.find(1, start, end) < 0:
            taken[start:end] = b"\1" * (end - start)
            yield one


def _whole_words(text: str) -> str:
    """Return a text without its last word, which was cut."""
    return text.rsplit(None, 1)[0] if text.split(None, 1)[1:] else text


def _urls(text: str) -> Iterator[Entity]:
    for match in URL.finditer(text):
        found = _without_end(match[0])
        if found.lower() == "www":
            continue
        assumed = None if "://" in found else "http"
        if len(found) <= LONGEST_URL and _has_host(value := f"{assumed}://{found}" if assumed else found):
            place = (match.start(), match.start() + len(found))
            yield Entity(kind="url", text=found, value=value, range=place, assumed=assumed)


def _without_end(url: str) -> str:
    """Return a URL without what belongs to the sentence around it, such as a bracket that was opened before it."""
    end, unopened = len(url), url.count(")") - url.count("(")
    while end and (url[end - 1] in BEHIND_URL or (url[end - 1] in ")]" and (url[end - 1] == "]" or unopened > 0))):
        end -= 1
        unopened -= url[end] == ")"
    return url[:end]


def _has_host(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # brackets that hold no address
        return False
    return bool(host) and (":" in host or all(host.rstrip(".").split(".")))


def _emails(text: str) -> Iterator[Entity]:
    """Yield e-mail addresses as people write them: RFC 5321 without quoted local parts and literal addresses."""
    for match in EMAIL.finditer(text):
        local, domain = match["local"], match["domain"]
        labels = domain.split(".")
        short = len(local) <= LONGEST_LOCAL and len(domain) <= LONGEST_DOMAIN
        if short and all(map(LABEL.fullmatch, labels)) and TOP_LEVEL.fullmatch(labels[-1].lower()):
            yield Entity(kind="email", text=match[0], value=f"{local}@{domain.lower()}", range=match.span())


class _PhoneSearch:
    """Finds phone numbers that are valid by the numbering plan of their country; `gave_up` where it ended too early."""

    def __init__(self, region: str | None) -> None:
        self._region = region
        self.gave_up = False

    def find(self, text: str) -> Iterator[Entity]:
        """Yield the phone numbers in a text."""
        phonenumbers: Any = import_module("phonenumbers")  # its tables are large, and few tasks need them
        matcher = phonenumbers.PhoneNumberMatcher(text, self._region, max_tries=MOST_PHONE_TRIES)
        for match in matcher:
            international = match.raw_string.lstrip("([").startswith(("+", "\uff0b"))
            yield Entity(
                kind="phone",
                text=match.raw_string,
                value=phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164),
                range=(match.start, match.end),
                assumed=None if international else self._region,
            )
        self.gave_up = matcher._max_tries <= 0  # noqa: SLF001 - nothing else tells


def _region_of(language: str) -> str | None:
    """Return the region that a tag names, else the one that its language stands for here."""
    if named := REGION.search(language):
        return named[1].upper()
    return REGIONS.get(language.partition("-")[0].lower())
