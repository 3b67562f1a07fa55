"""Which of the code pages of Latin letters a text is in: that by which it has its languages' letters.

Statistics of bytes cannot tell them apart: `città` of one is `cittŕ` of another, and both are good letters. But no
language has `ŕ` and `ę`, so that the pages are compared by how many letters the best language for them knows.
"""

import re

from processors.file_types import CONTROL

LETTERS = {
    "cp1252": (
        "äöüß",  # German
        "£¥²³¹¼½¾éèïç",  # English, with the signs of others
        "àâæçéèêëîïôœùûüÿ",  # French
        "áéíñóúü¿¡ªº",  # Spanish
        "àáâãçéêíóôõúü",  # Portuguese
        "àèéìíîòóùú",  # Italian
        "àçéèíïòóúü·",  # Catalan
        "äëéèïöüóíêôûç",  # Dutch
        "åäöé",  # Swedish, Finnish
        "æøåéó",  # Danish, Norwegian
        "áæéíðóöúýþ",  # Icelandic
    ),
    "cp1250": (
        "ąćęłńóśźż",  # Polish
        "áčďéěíňóřšťúůýž",  # Czech
        "áäčďéíĺľňóôŕšťúýž",  # Slovak
        "áéíóöőúüű",  # Hungarian
        "ăâîşţ",  # Romanian
        "čćđšž",  # Croatian, Slovene
    ),
    "cp1254": ("çğıöşüâîû\u0307",),  # Turkish; a small İ is an i with a dot of its own
    "cp1257": (
        "ąčęėįšųūž",  # Lithuanian
        "āčēģīķļņšūž",  # Latvian
        "äõöüšž",  # Estonian
    ),
}
"""The letters beyond ASCII of the languages of each page, the most common page first."""

BEYOND_ASCII, RUN = re.compile(rb"[\x80-\xff]"), re.compile(rb"[\x80-\xff]{3,}")
MOST_IN_RUNS = 0.5
LETTERS_AT_ONCE = 8


def is_latin(raw: bytes) -> bool:
    """Tell whether a text that is no UTF-8 is in Latin letters: what is beyond ASCII stands alone among what is not.

    The letters of other scripts stand together as words, and most of their characters in the code pages of East Asia
    are two bytes beyond ASCII.

    Args:
        raw: the text, or a sample of it.
    """
    in_runs = sum(map(len, RUN.findall(raw)))
    return not CONTROL.search(raw) and in_runs <= MOST_IN_RUNS * len(BEYOND_ASCII.findall(raw))


def latin_page(raw: bytes) -> str:
    """Return the code page, one of `LETTERS`, by which a text has most letters of its languages.

    Args:
        raw: the text, or a sample of it; one without letters beyond ASCII is of the first page.
    """
    beyond = b"".join(BEYOND_ASCII.findall(raw))
    return max(LETTERS, key=lambda page: _known(beyond.decode(page, "replace").lower(), LETTERS[page]))


def _known(text: str, languages: tuple[str, ...]) -> int:
    """Count the letters that the best language for them knows, a few at a time: a text may be in several languages."""
    pieces = (text[at : at + LETTERS_AT_ONCE] for at in range(0, len(text), LETTERS_AT_ONCE))
    return sum(max(sum(map(piece.count, letters)) for letters in languages) for piece in pieces)
