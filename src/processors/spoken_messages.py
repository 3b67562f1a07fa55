"""What is said on the phone: any text made safe to speak, in pieces that a provider takes, or SSML by an allow-list.

Sources: XML 1.0 §2.2 (which characters a document may have), twilio.com/docs/voice/twiml/say and
twilio.com/docs/api/errors/13521 (how much is spoken at once), w3.org/TR/speech-synthesis11 (SSML).
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from processors.errors import InvalidArgument
from processors.sentences import SENTENCE_END
from processors.shortening import joined
from processors.ssml import Part, read, text_of, written_length

LONGEST_MESSAGE = 10_000
"""Characters: some eleven minutes of speech."""

DEFAULT_VOICE, DEFAULT_LANGUAGE = "alice", "en-US"
BASIC_VOICES = frozenset({"alice", "man", "woman"})
POLLY = re.compile(r"Polly\.[A-Z][A-Za-z]{1,30}(-Neural|-Generative)?")
GOOGLE = re.compile(r"Google\.([a-z]{2,3}-[A-Z]{2})-[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){1,2}")
LANGUAGE = re.compile(r"[a-z]{2,3}(-([A-Z]{2}|[0-9]{3})(-[A-Z]{3})?)?")
VOICES = "alice, man, woman, a voice of Polly like Polly.Joanna-Neural, or one of Google like Google.en-GB-Standard-A"

MOST_BYTES = {"basic": 4_096, "Polly": 3_000, "Google": 5_000}
"""What one instruction takes by the kind of its voice; what is counted in characters there is counted in bytes here,
so that it is never more."""

MOST_QUOTED_BYTES = 4_500
"""The same for its text as part of a URL, whatever the voice."""

UNSPEAKABLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(chr(plane * 0x10000 + end) for plane in range(1, 17) for end in (0xFFFE, 0xFFFF))
    + "]"
)
"""Control characters, halves of characters and codes that are none: XML 1.0 forbids them, or advises against them."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is said.

    Attributes:
        voice: its name.
        language: of what is said; None: the voice's own.
        pieces: what is said in one instruction each, one after another: texts and what is marked.
    """

    voice: str
    language: str | None
    pieces: tuple[tuple[Part, ...], ...]


def spoken(message: Any, *, voice: Any = None, language: Any = None) -> Spoken:
    """Return a message as it can be said, whatever characters it has.

    Characters that cannot be said (control characters, halves of characters) are left out, and white space of any kind
    is one space. A message that begins with `<speak>` is SSML; in any other one, `<` and `&` are said as they are.

    Args:
        message: at most 10 000 characters.
        voice: its name; None: `alice`.
        language: of a form like `en-US` (BCP 47); None: the voice's own, for a basic voice `en-US`.

    Raises:
        InvalidArgument: the message is no text, empty, too long, or SSML that is not allowed; the voice or the language
            is none, or the voice speaks another language.
    """
    if not isinstance(message, str):
        raise InvalidArgument(f"message: must be a text; got {type(message).__name__}.")
    if len(message) > LONGEST_MESSAGE:
        raise InvalidArgument(f"message: must have at most {LONGEST_MESSAGE} characters; got {len(message)}.")
    name, tongue = _voice(DEFAULT_VOICE if voice is None else voice, language)
    possible = UNSPEAKABLE.sub("", re.sub(r"\s", " ", message)).strip()
    marked = re.match(r"<speak[\s>/]", possible) is not None
    if marked and name in BASIC_VOICES:
        raise InvalidArgument(f"voice: must be one of Polly or Google for SSML; got {name}.")
    parts: Sequence[Part] = read(possible) if marked else (" ".join(possible.split()),)
    if not any(unicodedata.category(character)[0] not in "CZ" for character in text_of(parts)):
        raise InvalidArgument("message: must have something to say; got an empty text, or white space only.")
    return Spoken(name, tongue, tuple(_pieces(parts, _limit(name))))


def _voice(voice: Any, language: Any) -> tuple[str, str | None]:
    """Return a voice and the language that is said, once both are known to be of an accepted form."""
    if language is not None and not (isinstance(language, str) and LANGUAGE.fullmatch(language)):
        raise InvalidArgument(f"language: must be of a form like en-US, cmn-CN or arb (BCP 47); got {language!r:.100}.")
    if isinstance(voice, str) and voice in BASIC_VOICES:
        return voice, language or DEFAULT_LANGUAGE
    if isinstance(voice, str) and POLLY.fullmatch(voice):
        return voice, language
    google = GOOGLE.fullmatch(voice) if isinstance(voice, str) else None
    if not google:
        raise InvalidArgument(f"voice: must be {VOICES}; got {voice!r:.100}.")
    if language not in {None, google[1]}:
        raise InvalidArgument(f"language: must be {google[1]}, which is what {voice} speaks; got {language}.")
    return voice, google[1]


def _limit(voice: str) -> Callable[[Sequence[Part]], bool]:
    """Return what tells whether one instruction of a voice takes some parts."""
    kind = "basic" if voice in BASIC_VOICES else voice.partition(".")[0]

    def fits(parts: Sequence[Part]) -> bool:
        text = text_of(parts)
        length = written_length(parts) if kind == "Google" else len(text.encode())
        return length <= MOST_BYTES[kind] and len(quote(text, safe="")) <= MOST_QUOTED_BYTES

    return fits


def _pieces(parts: Sequence[Part], fits: Callable[[Sequence[Part]], bool]) -> Iterator[tuple[Part, ...]]:
    """Yield parts in groups that fit, each as long as it can be, and none of white space alone.

    Raises:
        InvalidArgument: what is inside one mark does not fit.
    """
    group: list[Part] = []
    for part in _divided(parts, fits):
        two_texts = (
            bool(group) and isinstance(group[-1], str) and isinstance(part, str)
        )  # pieces of one, cut at a space
        if group and (two_texts or not fits([*group, part])):
            yield tuple(group)
            group = []
        if group or part != " ":
            group.append(part)
    if group:
        yield tuple(group)


def _divided(parts: Sequence[Part], fits: Callable[[Sequence[Part]], bool]) -> Iterator[Part]:
    """Yield parts that fit for themselves: texts in pieces, and what is marked as it is."""
    for part in parts:
        if isinstance(part, str):
            yield from _sentences(part, fits)
        elif fits([part]):
            yield part
        else:
            raise InvalidArgument(
                f"message: <{part.name}> holds more than is said at once ({len(text_of([part]))} characters); "
                "divide it into several."
            )


def _sentences(text: str, fits: Callable[[Sequence[Part]], bool]) -> Iterator[str]:
    """Yield a text in pieces that fit: it ends them with a sentence, else with a word, else with a character."""
    rest = text
    while not fits([rest]):
        end = _cut(rest, _longest(rest, fits))
        yield rest[:end].rstrip()
        rest = rest[end:].lstrip()
    if rest:
        yield rest


def _longest(text: str, fits: Callable[[Sequence[Part]], bool]) -> int:
    """Return how many characters from its beginning on fit, one at least."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits([text[:middle]]) else (low, middle - 1)
    return low


def _cut(text: str, longest: int) -> int:
    """Return where a text is cut, at its `longest` character at most."""
    ends = [mark.end() for mark in SENTENCE_END.finditer(text, 0, longest + 1) if 0 < mark.end() <= longest]
    if ends:
        return ends[-1]
    space = text.rfind(" ", 1, longest + 1)
    if space > 0:
        return space
    at = longest
    while at > 1 and joined(text, at):
        at -= 1
    return at if at > 1 else longest
