"""Files of the pages: in memory, each under a name with its hash, so that a browser never has to ask again."""

import gzip
import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HASH_CHARACTERS = 16
FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, as it is and compressed."""

    content: bytes
    compressed: bytes
    media_type: str


class StaticFiles:
    """Knows the files of a folder, those in its folders too, by names that change with them.

    Args:
        folder: where they lie; no two have one name.
        prefix: of their addresses.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._prefix = prefix
        self._files: dict[str, StaticFile] = {}
        self._names: dict[str, str] = {}
        for path in sorted(one for one in folder.rglob("*") if one.suffix in TYPES):
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:HASH_CHARACTERS]
            name = f"{path.stem}.{digest}{path.suffix}"
            self._names[path.name] = name
            self._files[name] = StaticFile(content, gzip.compress(content, mtime=0), TYPES[path.suffix])

    def address(self, name: str) -> str:
        """Return where a file is found."""
        return f"{self._prefix}{self._names[name]}"

    def answer(self, name: str, request: Request) -> Response:
        """Return a file by its name with the hash.

        Raises:
            HTTPException: there is none.
        """
        found = self._files.get(name)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such file.")
        headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(
                found.compressed, headers={**headers, "Content-Encoding": "gzip"}, media_type=found.media_type
            )
        return Response(found.content, headers=headers, media_type=found.media_type)
