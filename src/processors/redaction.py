"""The one rule by which secrets are hidden wherever arguments leave: logs, events, messages, pages, exports."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, cast

from processors.errors import InvalidArgument

MASK = "***"

SECRET_NAMES = re.compile(
    r"(password|passwd|passphrase|secret(key)?"
    r"|(?<![a-z])((auth|access|refresh|bearer|session)?token|(api|private|access)[\W_]?key|pwd|credentials?|authorization"
    r"|cookie|pin|otp))s?(?![a-z])",
    re.IGNORECASE,
)
COUNTED = re.compile(r"(?<![a-z])tokens(?![a-z])", re.IGNORECASE)
"""What a number of is a count, of what a model has read or may say."""

NEW_WORD = re.compile("(?<=[a-z0-9])(?=[A-Z])")
URL_PASSWORD = re.compile(r"""(://[^/@:\s]*:)[^@/\s]+@([^@/\s'",;]*+@)*+""")
MASKED_URL = re.compile(rf"://[^/@:\s]*:{re.escape(MASK)}@")
QUOTED_NAME = re.compile(r"""(?P<quote>['"])(?P<name>[^'"]{1,100})(?P=quote)\s*:\s*""")
QUOTED = (
    r"""('[^'\\]*+(\\.[^'\\]*+)*+'?|"[^"\\]*+(\\.[^"\\]*+)*+"?"""
    r"""|(?P<escaped>\\{1,8}['"]).*?((?<!\\)(?P=escaped)|\Z))"""
)
"""A text in quotes, perhaps inside another text, to its last quote or to the end."""

VALUE_TEXT = re.compile(
    r"(?!(None|null|[Tt]rue|[Ff]alse)([\s,}\])]|\Z))"
    rf"((?P<opening>([^\W\d][\w.]*)?[\[{{(])|[bBrRuUfF]{{0,2}}{QUOTED}|[^\s,}}\])]+)",
    re.DOTALL,
)
BRACKET = re.compile(rf"{QUOTED}|[\[\]{{}}()]", re.DOTALL)
CLOSING = {"[": "]", "{": "}", "(": ")"}
DEEPEST = 20
PHONE_NUMBER = re.compile(r"(?<![\w+])\+[1-9][0-9]{6,14}(?![0-9])")
PLAIN = frozenset({bool, int, float})


def redact(value: Any, depth: int = 0) -> Any:
    """Return a copy in which secrets are masked.

    Args:
        value: any JSON value; mappings are searched by field name, texts for passwords in URLs.
        depth: how deep this value lies; what lies deeper than 20 is masked whole.
    """
    if depth > DEEPEST:
        return MASK
    if value is None or type(value) in PLAIN:
        return value
    if isinstance(value, str):
        return URL_PASSWORD.sub(rf"\1{MASK}@", value) if "://" in value else value
    if type(value) is dict or isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {key: MASK if _hides(key, inner) else redact(inner, depth + 1) for key, inner in items}
    if isinstance(value, (list, tuple)):
        return [redact(inner, depth + 1) for inner in cast("list[Any]", value)]
    return value


def redact_text(text: str) -> str:
    """Return the text of a dictionary, in Python or JSON and perhaps cut off, with its secrets masked."""
    if "'" not in text and '"' not in text:
        return str(redact(text))
    parts: list[str] = []
    kept = 0
    for name in QUOTED_NAME.finditer(text):
        value = VALUE_TEXT.match(text, name.end()) if name.start() >= kept and is_secret(name["name"]) else None
        if value:
            parts += [text[kept : name.end()], f"'{MASK}'"]
            kept = _end(value)
    return str(redact("".join([*parts, text[kept:]])))


def without_numbers(text: str) -> str:
    """Return a text with the phone numbers in it masked that are written in E.164 form."""
    if "+" not in text or not PHONE_NUMBER.search(text):
        return text
    phone_numbers = import_module("processors.phone_numbers")  # an idle worker needs none of it
    return PHONE_NUMBER.sub(lambda found: phone_numbers.masked(found[0]), text)


def _end(value: re.Match[str]) -> int:
    """Return where a value ends: one that opens a bracket with the bracket that closes it, or with the text."""
    if not value["opening"]:
        return value.end()
    awaited = [CLOSING[value["opening"][-1]]]
    for piece in BRACKET.finditer(value.string, value.end()):
        if piece[0] in CLOSING:
            awaited.append(CLOSING[piece[0]])
        elif piece[0] == awaited[-1]:
            awaited.pop()
            if not awaited:
                return piece.end()
    return len(value.string)


def redact_shown(value: Any) -> Any:
    """Return a value or a text with secrets masked, also those in the text of a dictionary."""
    return redact_text(value) if isinstance(value, str) else redact(value)


def unmasked(edited: Any, stored: Any, depth: int = 0, name: str = "") -> Any:
    """Return what was shown masked and came back edited, with those secrets that nobody changed as they are stored.

    A field is known by its name. An entry of a list is known by how it looks: one that was edited, or that looks like
    others of which some were moved, added or removed, might get the secret of another entry.

    Args:
        edited: a JSON value.
        stored: what it was shown of.
        depth: how deep both lie.
        name: what they are called.

    Raises:
        InvalidArgument: it holds a mask of which it cannot be told what secret it stands for.
    """
    if depth <= DEEPEST and isinstance(edited, Mapping) and isinstance(stored, Mapping):
        return _unmasked_fields(cast("Mapping[Any, Any]", edited), cast("Mapping[Any, Any]", stored), depth, name)
    if depth <= DEEPEST and isinstance(edited, list) and isinstance(stored, list):
        return _unmasked_entries(cast("list[Any]", edited), cast("list[Any]", stored), depth, name)
    shown = redact(stored, depth)
    if edited == shown:
        return stored if shown != stored else cast("Any", edited)
    return _without_masks(edited, depth, name)


def _unmasked_fields(edited: Mapping[Any, Any], stored: Mapping[Any, Any], depth: int, name: str) -> dict[Any, Any]:
    fields: dict[Any, Any] = {}
    for key, value in edited.items():
        before, inner = stored.get(key), f"{name}.{key}" if name else str(key)
        if _hides(key, before) and value == MASK:
            fields[key] = before
        elif _hides(key, value):
            fields[key] = _without_masks(value, depth + 1, inner, hidden=True)
        else:
            fields[key] = unmasked(value, before, depth + 1, inner)
    return fields


def _unmasked_entries(edited: list[Any], stored: list[Any], depth: int, name: str) -> list[Any]:
    ours, theirs = _places_by_look(edited), _places_by_look(redact(stored, depth))
    entries: list[Any] = []
    for place, entry in enumerate(edited):
        look, inner = _look(entry), f"{name}[{place}]"
        places = theirs.get(look, [])
        if len(places) == 1:
            entries.append(unmasked(entry, stored[places[0]], depth + 1, inner))
        elif places == ours[look]:  # all that look alike are where they were
            entries.append(unmasked(entry, stored[place], depth + 1, inner))
        else:
            entries.append(_without_masks(entry, depth + 1, inner))
    return entries


def _places_by_look(entries: list[Any]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, entry in enumerate(entries):
        places.setdefault(_look(entry), []).append(place)
    return places


def _look(entry: Any) -> str:
    return json.dumps(entry, sort_keys=True)


def _without_masks(edited: Any, depth: int, name: str, *, hidden: bool = False) -> Any:
    """Return what came back, if nothing in it can be a mask.

    Args:
        edited: a JSON value.
        depth: how deep it lies.
        name: what it is called.
        hidden: whether its name says that it is a secret.

    Raises:
        InvalidArgument: something in it can.
    """
    left = [(edited, depth, name, hidden)]
    while left:  # no recursion: it may be nested deeper than what is stored
        value, depth, name, hidden = left.pop()
        if isinstance(value, str):
            if (value == MASK and (hidden or depth > DEEPEST)) or MASKED_URL.search(value):
                raise InvalidArgument(
                    f"{name}: came back masked ({MASK}), and it cannot be told which secret that was; give it anew."
                )
        elif isinstance(value, Mapping):
            for key, inner in cast("Mapping[Any, Any]", value).items():
                left.append((inner, depth + 1, f"{name}.{key}" if name else str(key), hidden or _hides(key, inner)))
        elif isinstance(value, list):
            entries = enumerate(cast("list[Any]", value))
            left.extend((inner, depth + 1, f"{name}[{place}]", hidden) for place, inner in entries)
    return edited


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Tell whether a field of this name holds a secret, in whatever way its words are joined (`accessToken`)."""
    return SECRET_NAMES.search(NEW_WORD.sub("_", name)) is not None


def _hides(key: Any, value: Any) -> bool:
    """Tell whether a field's value is a secret; absent ones, switches and numbers of tokens are not."""
    if not isinstance(key, str) or value is None or isinstance(value, bool) or not is_secret(key):
        return False
    return not isinstance(value, (int, float)) or COUNTED.search(NEW_WORD.sub("_", key)) is None
