"""Which of the code pages of Latin letters a text is in: that by which it has its languages' letters.

Statistics of bytes cannot tell them apart: `città` of one is `cittŕ` of another, and both are good letters. But no
language has `ŕ` and `ę`, so that the pages are compared by how many letters the best language for them knows.
"""

import re
from operator import itemgetter

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
PAIRS = re.compile(
    rb"(?:\x83[\x40-\x7e\x80-\x96]|\x81[\x40-\x5b])+"  # katakana and their marks in Shift JIS
    rb"|(?:[\xa4-\xc6][\x40-\x7e\xa1-\xfe]){2,}"  # words of the frequent characters of Big5
)
"""Characters of East Asia of which the second byte is often one of ASCII, so that the first one stands alone."""

MOST_IN_RUNS, LEAST_KNOWN = 0.5, 0.5
LETTERS_AT_ONCE = 8


def is_latin(raw: bytes) -> bool:
    """Tell whether a text that is no UTF-8 is in Latin letters: what is beyond ASCII stands alone among what is not.

    The letters of other scripts stand together as words, and most of their characters in the code pages of East Asia
    are two bytes beyond ASCII.

    Args:
        raw: the text, or a sample of it.
    """
    beyond = BEYOND_ASCII.findall(raw)
    in_runs = sum(map(len, RUN.findall(raw)))
    if CONTROL.search(raw) or in_runs > MOST_IN_RUNS * len(beyond):
        return False
    in_pairs = len(BEYOND_ASCII.findall(b"".join(PAIRS.findall(raw))))
    return in_pairs <= MOST_IN_RUNS * len(beyond) or _best(beyond)[0] > LEAST_KNOWN * len(beyond)


def latin_page(raw: bytes) -> str:
    """Return the code page, one of `LETTERS`, by which a text has most letters of its languages.

    Args:
        raw: the text, or a sample of it; one without letters beyond ASCII is of the first page.
    """
    return _best(BEYOND_ASCII.findall(raw))[1]


def _best(beyond: list[bytes]) -> tuple[int, str]:
    """Return how many of these letters the best page for them knows, and that page; of equal ones the first."""
    raw = b"".join(beyond)
    known = [(_known(raw.decode(page, "replace").lower(), LETTERS[page]), page) for page in LETTERS]
    return max(known, key=itemgetter(0))


def _known(text: str, languages: tuple[str, ...]) -> int:
    """Count the letters that the best language for them knows, a few at a time: a text may be in several languages."""
    pieces = (text[at : at + LETTERS_AT_ONCE] for at in range(0, len(text), LETTERS_AT_ONCE))
    return sum(max(sum(map(piece.count, letters)) for letters in languages) for piece in pieces)
