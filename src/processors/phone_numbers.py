"""Phone numbers: one form for all spellings, as they may be shown, whether they may be called, and where they are.

Sources: ITU-T E.164 (at most 15 digits, the calling codes), ITU-T E.123 (how numbers are written), RFC 3966 (`tel:`);
numbering plans and zones are those of the library phonenumbers, which is loaded on first use.
"""

import re
import unicodedata
from importlib import import_module
from typing import Any

from processors.errors import InvalidArgument

ACCEPTED = "must be a phone number like +1 234 567 8901: a plus, the calling code, 7 to 15 digits in all"
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
LONGEST_WRITTEN = 100
PLUSES = "+\uff0b\ufe62"
BETWEEN = ".\uff0e\u00b7\u30fb\u2212"
"""What people write between digits, beside white space, the dashes of Unicode and characters that show nothing."""

NOT_DIALLED = re.compile(r"(?<=[0-9])\(0\)")
"""The zero that is dialled inside a country only, as in +44 (0)20 7946 0000."""

CALLING_CODE = re.compile("1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[0-9]{3}")
"""Those of one and two digits; all others have three."""

LEAST_SHOWN_OF = 7
"""Digits; of what has fewer, two would be too much of it."""


def normalised(text: Any, *, name: str = "phone number") -> str:
    """Return a phone number in E.164 form, by its shape alone.

    Spaces, hyphens, dots, parentheses, the digits of any script, a `tel:` before it, and the zero in parentheses that
    is dialled inside a country only are understood. `00` for the plus is not: what follows it differs by country.

    Args:
        text: as somebody wrote it.
        name: what the sentence of an error calls it.

    Raises:
        InvalidArgument: it is none; the sentence shows its last two digits at most.
    """
    if not isinstance(text, str):
        raise InvalidArgument(f"{name}: {ACCEPTED}; got {type(text).__name__}.")
    kept = _kept(text[4:] if text[:4].lower() == "tel:" else text) if len(text) <= LONGEST_WRITTEN else ""
    number = NOT_DIALLED.sub("", kept, count=1).replace("(", "").replace(")", "")
    if not E164.fullmatch(number):
        raise InvalidArgument(f"{name}: {ACCEPTED}; got {_fault(text, number)}.")
    return number


def masked(number: str) -> str:
    """Return what may be shown of a phone number: its calling code and its last two digits, as `+1 *** **90`.

    Of what is no number in E.164 form no more than two digits are shown.
    """
    if E164.fullmatch(number):
        return f"+{calling_code(number)} *** **{number[-2:]}"
    digits = "".join(re.findall(r"[0-9]", number))
    return f"*** **{digits[-2:]}" if len(digits) >= LEAST_SHOWN_OF else "***"


def calling_code(number: str) -> str:
    """Return the calling code of a number in E.164 form, such as `44`, by the lengths that ITU-T E.164 has given."""
    found = CALLING_CODE.match(number, 1)
    return found[0] if found else ""


def check_valid(number: str, *, name: str = "phone number") -> None:
    """Let a number in E.164 form pass that is valid by the numbering plan of its country.

    Raises:
        InvalidArgument: it is not; plans change, so that a very new number may be refused.
    """
    parsed = _parsed(number)
    if parsed is None or not _library().is_valid_number(parsed):
        raise InvalidArgument(f"{name}: must be in the numbering plan of its country; got {masked(number)}.")


def refusal(number: str) -> str | None:
    """Return why a number in E.164 form is never called, or None.

    It is an emergency number, a short number or one at a premium rate, behind a calling code. A valid number that only
    begins like an emergency number is an ordinary one.
    """
    parsed = _parsed(number)
    if parsed is None:
        return None
    library = _library()
    if library.number_type(parsed) == library.PhoneNumberType.PREMIUM_RATE or calling_code(number) == "979":
        return "it is a premium-rate number"
    if library.is_valid_number(parsed):
        return None
    national = library.national_significant_number(parsed)
    regions = library.COUNTRY_CODE_TO_REGION_CODE[parsed.country_code]
    if any(library.connects_to_emergency_number(national, region) for region in regions):
        return "it begins with an emergency number"
    return "it is a short number" if library.is_valid_short_number(parsed) else None


def zones(number: str) -> tuple[str, ...]:
    """Return the IANA names of the zones in which a number in E.164 form may be; empty where nobody knows.

    A mobile phone may have been taken elsewhere, and where two zones share an area code the library may know one only.
    """
    parsed = _parsed(number)
    if parsed is None:
        return ()
    found = import_module("phonenumbers.timezone")
    names: tuple[str, ...] = tuple(found.time_zones_for_number(parsed))
    return () if found.UNKNOWN_TIMEZONE in names else names


def _kept(text: str) -> str:
    """Return a text with its digits in ASCII and without what stands between them; parentheses stay."""
    return "".join(_kept_of(character) for character in text)


def _kept_of(character: str) -> str:
    """Return what a character of a written number stands for."""
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if character in PLUSES:
        return "+"
    if character in "(\uff08":
        return "("
    if character in ")\uff09":
        return ")"
    between = character.isspace() or category in {"Pd", "Cf"} or character in BETWEEN
    return "" if between else character


def _fault(text: str, number: str) -> str:
    """Return what is wrong with what was given, and no more of it than may be shown."""
    if not text.strip():
        return "an empty text"
    if len(text) > LONGEST_WRITTEN:
        return f"{len(text)} characters"
    if number.startswith("00"):
        return f"{masked(number)} with 00 in place of the plus"
    if not re.fullmatch(r"\+?[0-9]*", number):
        return f"{masked(number)} with characters of no number (extensions and letters cannot be dialled)"
    if not number.startswith("+"):
        return f"{masked(number)} without a plus"
    return f"{masked(number)} with {len(number) - 1} digits" + (" that begin with 0" if number[1:2] == "0" else "")


def _parsed(number: str) -> Any:
    """Return the library's form of a number, or None where no country has its calling code."""
    library = _library()
    try:
        return library.parse(number)
    except library.NumberParseException:
        return None


def _library() -> Any:
    return import_module("phonenumbers")  # its tables are large, and an idle worker needs none of them
