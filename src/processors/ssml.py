"""SSML by an allow-list: how a text is said, and nothing else; what is not known is refused by its name.

Sources: w3.org/TR/speech-synthesis11, and twilio.com/docs/voice/twiml/say/text-speech, whose elements these are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn, TypeAlias

from processors.errors import InvalidArgument

DEEPEST = 10
MOST_ELEMENTS = 1_000
ROOT = "speak"
NUMBER = r"[0-9]{1,3}(\.[0-9]{1,2})?"


@dataclass(frozen=True, slots=True)
class Form:
    """What the value of an attribute may be: words of its own, or what matches a pattern.

    Attributes:
        accepted: the same for people.
    """

    words: frozenset[str]
    pattern: re.Pattern[str]
    accepted: str


def _form(words: str, pattern: str = "(?!)", accepted: str = "") -> Form:
    named = words.split()
    return Form(frozenset(named), re.compile(pattern), ", ".join([*named, accepted] if accepted else named))


TEXT = _form("", r"[^\x00-\x1f]{1,200}", "1 to 200 characters")
ATTRIBUTES: Mapping[str, Mapping[str, Form]] = {
    ROOT: {"version": _form("1.0 1.1"), "xmlns": _form("http://www.w3.org/2001/10/synthesis")},
    "break": {
        "strength": _form("none x-weak weak medium strong x-strong"),
        "time": _form("10s 10000ms", r"[0-9](\.[0-9]{1,3})?s|[0-9]{1,4}ms", "a shorter time like 1.5s or 300ms"),
    },
    "emphasis": {"level": _form("strong moderate reduced none")},
    "lang": {"xml:lang": _form("", "[a-z]{2,3}(-[A-Z]{2})?", "a language like en-US")},
    "p": {},
    "phoneme": {
        "alphabet": _form("ipa x-sampa", "x-amazon-[a-z-]{1,20}", "one of Polly like x-amazon-pinyin"),
        "ph": TEXT,
    },
    "prosody": {
        "volume": _form("silent x-soft soft medium loud x-loud default", rf"[+-]{NUMBER}dB", "a change like +6dB"),
        "rate": _form("x-slow slow medium fast x-fast default", f"{NUMBER}%", "a share like 90%"),
        "pitch": _form(
            "x-low low medium high x-high default", rf"[+-]?{NUMBER}%|[+-]{NUMBER}st", "a change like -10% or +2st"
        ),
    },
    "s": {},
    "say-as": {
        "interpret-as": _form(
            "spell-out characters cardinal number ordinal digits fraction unit date time address expletive bleep "
            "telephone verbatim currency"
        ),
        "format": _form("", "[A-Za-z0-9]{1,12}", "letters and digits like mdy or hms12"),
    },
    "sub": {"alias": TEXT},
    "w": {"role": _form("", "amazon:[A-Z_0-9]{1,12}", "a role of Polly like amazon:VB")},
}
"""The elements, and what their attributes may be. A pause is ten seconds at most."""

NEEDED = {"lang": "xml:lang", "phoneme": "ph", "say-as": "interpret-as", "sub": "alias", "w": "role"}
"""The attribute without which an element says nothing."""

WITHIN_WORDS = frozenset({"break", "emphasis", "phoneme", "prosody", "say-as", "sub"})
WITHIN_SENTENCE = WITHIN_WORDS | {"lang", "w"}
ANYTHING = WITHIN_SENTENCE | {"p", "s"}
CHILDREN: Mapping[str, frozenset[str]] = {
    ROOT: ANYTHING,
    "emphasis": WITHIN_SENTENCE,
    "lang": ANYTHING,
    "p": WITHIN_SENTENCE | {"s"},
    "prosody": ANYTHING,
    "s": WITHIN_SENTENCE,
    "w": WITHIN_WORDS,
}
"""What may stand in what; the others hold a text alone, and a pause holds nothing."""


@dataclass(frozen=True, slots=True)
class Marked:
    """An element, its attributes and what it holds."""

    name: str
    attributes: tuple[tuple[str, str], ...] = ()
    parts: tuple["Part", ...] = ()


Part: TypeAlias = str | Marked


def read(document: str) -> tuple[Part, ...]:
    """Return what a `<speak>` element holds.

    Nothing is fetched and no entity is defined; white space of any kind is one space.

    Raises:
        InvalidArgument: it is not well-formed, has what is not allowed, is nested more than 10 deep or has more than
            1000 elements.
    """
    expat: Any = import_module("xml.parsers.expat")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.begin
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.instruction
    parser.ProcessingInstructionHandler = reader.instruction
    try:
        parser.Parse(document.encode(), True)  # noqa: FBT003 - expat takes it by position
    except expat.ExpatError as error:
        raise InvalidArgument(f"message: must be well-formed SSML; got one with this fault: {error}.") from None
    return reader.parts


def text_of(parts: Sequence[Part]) -> str:
    """Return the text of parts, without their marks."""
    return "".join(part if isinstance(part, str) else text_of(part.parts) for part in parts)


def written_length(parts: Sequence[Part]) -> int:
    """Return how many bytes parts have with their marks."""
    return sum(len(part.encode()) if isinstance(part, str) else _length(part) for part in parts)


def _length(marked: Marked) -> int:
    attributes = sum(len(f' {name}="{value}"'.encode()) for name, value in marked.attributes)
    return 2 * len(marked.name) + len("<></>") + attributes + written_length(marked.parts)


class _Reader:
    """Builds what is marked from what a parser meets."""

    def __init__(self) -> None:
        self.parts: tuple[Part, ...] = ()
        self._open: list[tuple[str, tuple[tuple[str, str], ...], list[Part]]] = []
        self._elements = 0

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self._elements += 1
        if len(self._open) >= DEEPEST or self._elements > MOST_ELEMENTS:
            _refuse(f"more, at <{name:.50}>", f"at most {MOST_ELEMENTS} elements, {DEEPEST} deep")
        allowed = CHILDREN.get(self._open[-1][0], frozenset[str]()) if self._open else {ROOT}
        if name not in allowed:
            within = f" in <{self._open[-1][0]}>" if self._open else ""
            _refuse(f"<{name:.50}>{within}", ", ".join(sorted(allowed)) or "text alone there")
        _check_attributes(name, attributes)
        kept = () if name == ROOT else tuple(sorted(attributes.items()))
        self._open.append((name, kept, []))

    def end(self, _: str) -> None:
        """An element ends."""
        name, attributes, parts = self._open.pop()
        if self._open:
            self._open[-1][2].append(Marked(name, attributes, tuple(parts)))
        else:
            self.parts = tuple(parts)

    def text(self, text: str) -> None:
        """A text, or a part of one."""
        name, _, parts = self._open[-1]
        plain = re.sub(r"\s+", " ", text)
        if name == "break":
            if plain.strip():
                _refuse("text in <break>", "nothing there")
            return
        if parts and isinstance(parts[-1], str):  # what a comment divides is one text
            plain = f"{parts.pop()}{plain}"
        parts.append(plain)

    def instruction(self, *_: str | int | None) -> None:
        """A document type, or an instruction to whoever reads it."""
        _refuse("a document type or a processing instruction", "elements and text")


def _check_attributes(name: str, attributes: Mapping[str, str]) -> None:
    for attribute, value in attributes.items():
        form = ATTRIBUTES[name].get(attribute)
        if form is None:
            _refuse(f"{attribute:.50} of <{name}>", ", ".join(ATTRIBUTES[name]) or "no attributes there")
        if value not in form.words and not form.pattern.fullmatch(value):
            _refuse(f"{value!r:.100}", f"as {attribute} of <{name}> {form.accepted}")
    if name in NEEDED and NEEDED[name] not in attributes:
        _refuse(f"<{name}> without {NEEDED[name]}", f"one that has {NEEDED[name]}")


def _refuse(given: str, accepted: str) -> NoReturn:
    raise InvalidArgument(f"message: SSML may have {accepted}; got {given}.")
