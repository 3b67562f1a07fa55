"""Files that a caller hands over with a mail as bytes: they go into the storage, and the record names them only."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from processors.attachments import UNKNOWN_TYPE
from processors.errors import InvalidArgument, PermanentError, SubmitUnknown
from processors.stored_places import uri_in
from services.wiring import parts

MIB = 1024**2
MOST_BYTES = 256_000_000
"""Of all files of a bulk, each counted once: they are in this program's memory."""


class Enclosures:
    """The files of one submit.

    Args:
        max_mb: the largest mail, which no file can be larger than.
    """

    def __init__(self, max_mb: int) -> None:
        self._max_mb = max_mb
        self._contents: dict[str, tuple[bytes, str]] = {}
        self._referred: set[str] = set()
        self._bytes = 0

    def named(self, mail: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        """Return the arguments of a mail, with every `content` replaced by the `path` at which it will lie.

        Args:
            mail: as a caller gave it; what else is wrong with it is left for its own check.
            where: what the mail is called in an error, such as `emails[3]: `.

        Raises:
            InvalidArgument: a content is neither bytes nor base64, or too large.
        """
        named = dict(mail)
        files, images = mail.get("attachments"), mail.get("inline_images")
        if isinstance(files, (list, tuple)):
            some = cast("Sequence[Any]", files)
            named["attachments"] = [self._file(one, f"{where}attachments.{at}") for at, one in enumerate(some)]
        if isinstance(images, Mapping):
            pairs = cast("Mapping[Any, Any]", images).items()
            named["inline_images"] = {cid: self._file(one, f"{where}inline_images.{cid!s:.80}") for cid, one in pairs}
        return named

    def submitted(self, task_id: str, submit: Callable[[], str]) -> str:
        """Store the files for a task, then submit it; where that comes to nothing they are removed again.

        Args:
            task_id: the id that the task is to have.
            submit: returns the id that it has, another one where its idempotency key was used before.

        Raises:
            InvalidArgument: an artefact that a mail names is not there.
            Exception: as raised by `submit`.
        """
        if not self._contents and not self._referred:
            return submit()
        storage = parts().storage
        try:
            self._store(task_id)
            given = submit()
        except SubmitUnknown:
            raise  # the task may be there, and needs them
        except BaseException:
            storage.remove(task_id)
            raise
        if given != task_id:
            storage.remove(task_id)
        return given

    def _store(self, task_id: str) -> None:
        storage = parts().storage
        for content, mime in self._contents.values():
            storage.put(content, mime=mime, task_id=task_id)
        for address in self._referred - set(self._contents):
            try:
                storage.refer(address, task_id)
            except PermanentError as error:
                raise InvalidArgument(f"attachments: {error}") from error

    def _file(self, given: Any, where: str) -> Any:
        if not isinstance(given, Mapping):
            return given
        file = dict(cast("Mapping[Any, Any]", given))
        if "content" not in file:
            path = file.get("path")
            if isinstance(path, str) and (uri := uri_in(path)):
                self._referred.add(uri)
            return file
        if "path" in file:
            raise InvalidArgument(f"{where}: give either path or content; got both.")
        content = self._bytes_of(file.pop("content"), where)
        address = f"store://sha256/{hashlib.sha256(content).hexdigest()}"
        if address not in self._contents:
            self._bytes += len(content)
            if self._bytes > MOST_BYTES:
                raise InvalidArgument(
                    f"{where}: all files of a submit may have {MOST_BYTES} bytes; give paths instead."
                )
            kind = file.get("type")
            self._contents[address] = (content, kind if isinstance(kind, str) else UNKNOWN_TYPE)
        return {"path": address} | file

    def _bytes_of(self, content: Any, where: str) -> bytes:
        most = self._max_mb * MIB
        if isinstance(content, str):
            if len(content) > most * 4 // 3 + 4:
                raise self._too_large(where, len(content) * 3 // 4)
            try:
                content = base64.b64decode(content, validate=True)
            except ValueError:
                raise InvalidArgument(f"{where}.content: must be bytes, or base64 text without line ends.") from None
        if isinstance(content, (bytearray, memoryview)):
            content = bytes(cast("bytearray", content))
        if not isinstance(content, bytes) or not content:
            got = "none" if content == b"" else type(content).__name__
            raise InvalidArgument(f"{where}.content: must be at least one byte, or base64 text; got {got}.")
        if len(content) > most:
            raise self._too_large(where, len(content))
        return content

    def _too_large(self, where: str, size: int) -> InvalidArgument:
        return InvalidArgument(
            f"{where}.content: must fit a mail of {self._max_mb} MB (EMAIL_MAX_MB); got {size / MIB:.1f} MB."
        )
