"""Cursors: where a list goes on, sealed, so that what was tampered with is no place at all."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from processors.errors import InvalidArgument
from services.wiring import parts

SEAL_BYTES = 12
LONGEST = 2_000


def sealed(place: list[Any], of: str) -> str:
    """Return the cursor of a place.

    Args:
        place: what the list's own query needs to go on, as JSON values.
        of: which list, with its filters: no other one takes the cursor.
    """
    text = json.dumps(place, separators=(",", ":")).encode()
    return _written(_seal(text, of) + text)


def opened(cursor: str, of: str) -> list[Any]:
    """Return the place of a cursor.

    Raises:
        InvalidArgument: it is none of this list's, or was changed.
    """
    try:
        raw = base64.b64decode(cursor[:LONGEST] + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    seal, text = raw[:SEAL_BYTES], raw[SEAL_BYTES:]
    if _written(raw) != cursor or not hmac.compare_digest(seal, _seal(text, of)):
        raise InvalidArgument(
            "cursor: must be the `next_cursor` of the page before, with the same filters; begin anew."
        )
    return json.loads(text)


def page_of(found: Sequence[Any], cursor: str | None, limit: int, of: str) -> dict[str, Any]:
    """Return a page of a list that is short enough to be read whole: `items`, and `next_cursor`.

    Args:
        found: all of it, in an order in which what is new comes last.
        cursor: `next_cursor` of the page before.
        limit: at most so many.
        of: which list.

    Raises:
        InvalidArgument: the cursor is none of this list's.
    """
    start: int = 0 if cursor is None else opened(cursor, of)[0]
    end = start + limit
    return {"items": found[start:end], "next_cursor": sealed([end], of) if end < len(found) else None}


def _written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _seal(text: bytes, of: str) -> bytes:
    """Return the seal, which every process on this database makes alike; it guards a place, not a right."""
    return hmac.digest(parts().database_id.encode(), of.encode() + b"\0" + text, hashlib.sha256)[:SEAL_BYTES]
