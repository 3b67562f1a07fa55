"""Files in the storage as places of files: `store://sha256/<digest>`, and behind a slash the name that one goes by."""

import re
from urllib.parse import quote, unquote

PLACE = re.compile(r"(?P<uri>store://sha256/[0-9a-f]{64})(?:/(?P<name>[^/]+))?", re.DOTALL)
LONGEST_NAME = 200
LONGEST_ENDING = 16
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, and those that turn or hide what stands beside them: `exe.fdp` would be shown as `pdf.exe`."""

SEPARATORS = re.compile(r"[/\\]")


def address_of(digest: str) -> str:
    """Return the address of the bytes with a digest."""
    return f"store://sha256/{digest}"


def uri_in(place: str) -> str | None:
    """Return the address of the bytes at a place, without a name; None where the place is no file in the storage."""
    found = PLACE.fullmatch(place)
    return found and found["uri"]


def name_at(place: str) -> str:
    """Return the name that a place in the storage says; without one, its digest."""
    found = PLACE.fullmatch(place)
    return unquote((found and found["name"]) or place.rpartition("/")[2])


def place_of(uri: str, name: str) -> str:
    """Return the place of a file in the storage that goes by a name."""
    return f"{uri}/{quote(name, safe='')}"


def made_safe(given: str, otherwise: str) -> str:
    """Return what is left of a file's name: its last part, without what is in no name, cut at its longest.

    A name that is too long keeps its ending. Where nothing is left, it is `otherwise`.
    """
    name = UNSEEN.sub("", SEPARATORS.split(given)[-1]).strip()
    if len(name) > LONGEST_NAME:
        stem, dot, ending = name.rpartition(".")
        kept = f"{dot}{ending}" if stem and len(ending) <= LONGEST_ENDING else ""
        name = (name[: LONGEST_NAME - len(kept)] + kept).strip()
    return name if name.strip(".") else otherwise


def check(place: str) -> None:
    """Let a place in the storage pass that is one.

    Raises:
        ValueError: it names no bytes, or its name could not be a file's.
    """
    found = PLACE.fullmatch(place)
    if found is None:
        raise ValueError("must be store://sha256/ and 64 hex digits in small letters, and may have / and a name behind")
    if found["name"] is not None and made_safe(name := unquote(found["name"]), "") != name:
        raise ValueError(
            f"must end with a file's name of at most {LONGEST_NAME} characters, without slashes and control characters"
        )
