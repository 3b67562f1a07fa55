"""The one rule by which secrets are hidden wherever arguments leave: logs, events, messages, pages, exports."""

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import zip_longest
from typing import Any, cast

MASK = "***"

SECRET_NAMES = re.compile(
    r"(?<![a-z])(password|passwd|passphrase|secret|token|api_?key|private_?key|credentials?|authorization|cookie|pin|otp)s?"
    r"(?![a-z])",
    re.IGNORECASE,
)
NEW_WORD = re.compile("(?<=[a-z0-9])(?=[A-Z])")
URL_PASSWORD = re.compile(r"(://[^/@:\s]*:)[^@/\s]+@")
QUOTED_NAME = re.compile(r"""(?P<quote>['"])(?P<name>[^'"]{1,100})(?P=quote)\s*:\s*""")
VALUE_TEXT = re.compile(
    r"""(?!None|null|[Tt]rue|[Ff]alse)"""
    r"""('([^'\\]|\\.)*'?|"([^"\\]|\\.)*"?|\[[^\]]*\]?|\{[^}]*\}?|\([^)]*\)?|[^\s,}\])]+)"""
)
DEEPEST = 20
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
    parts: list[str] = []
    kept = 0
    for name in QUOTED_NAME.finditer(text):
        value = VALUE_TEXT.match(text, name.end()) if name.start() >= kept and is_secret(name["name"]) else None
        if value:
            parts += [text[kept : name.end()], f"'{MASK}'"]
            kept = value.end()
    return str(redact("".join([*parts, text[kept:]])))


def unmasked(edited: Any, stored: Any) -> Any:
    """Return what was shown masked and came back edited, with those secrets that nobody changed as they are stored.

    Args:
        edited: a JSON value.
        stored: what it was shown of.
    """
    if isinstance(edited, Mapping) and isinstance(stored, Mapping):
        return _unmasked_fields(cast("Mapping[Any, Any]", edited), cast("Mapping[Any, Any]", stored))
    if isinstance(edited, list) and isinstance(stored, list):
        ours, theirs = cast("list[Any]", edited), cast("list[Any]", stored)
        return [unmasked(one, before) for one, before in zip_longest(ours, theirs[: len(ours)])]
    return _unless_masked(edited, redact(stored), stored)


def _unmasked_fields(edited: Mapping[Any, Any], stored: Mapping[Any, Any]) -> dict[Any, Any]:
    shown = redact(stored)  # whole: what a field hides is told by its name
    return {
        key: unmasked(_unless_masked(value, shown.get(key), stored.get(key)), stored.get(key))
        for key, value in edited.items()
    }


def _unless_masked(edited: Any, shown: Any, stored: Any) -> Any:
    """Return what is stored where it was shown masked and came back so."""
    return stored if edited == shown != stored else edited


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Tell whether a field of this name holds a secret, in whatever way its words are joined (`accessToken`)."""
    return SECRET_NAMES.search(NEW_WORD.sub("_", name)) is not None


def _hides(key: Any, value: Any) -> bool:
    """Tell whether a field's value is a secret; absent ones and switches are not."""
    return isinstance(key, str) and is_secret(key) and value is not None and not isinstance(value, bool)
