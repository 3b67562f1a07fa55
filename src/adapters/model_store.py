"""Model files in one folder: what is there, whether it is what it must be, and fetching what is not."""

import fcntl
import hashlib
import os
import ssl
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urljoin, urlsplit

import urllib3

from processors.errors import InvalidArgument, PermanentError, TransientError
from processors.model_files import State, read_manifest, state_by_size, worst
from processors.model_manifest import MEGABYTE, Model, ModelFile

BLOCK_BYTES = 256 * 1024
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
OK = 200
TIMEOUT = urllib3.Timeout(connect=10, read=30)
FIRST_SECONDS = 60.0
SLOWEST_BYTES_PER_SECOND = 50_000
"""A file may take the first seconds, and then as long as it takes at this rate: a host that drips is given up."""


class Progress(Protocol):
    """Is told of every block that arrived."""

    def __call__(self, file: ModelFile, received: int) -> None:
        """Take note that so many bytes of a file are here."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """A model of the manifest, where it lies or would lie, and in which state."""

    model: Model
    path: Path
    state: State


class ModelStore:
    """Keeps the files of MODELS_DIR.

    Args:
        folder: MODELS_DIR; made by the first fetch where there is none.
        allow_downloads: whether anything may be fetched.
        context: what certificates are trusted; None trusts the system's.
    """

    def __init__(self, folder: Path, *, allow_downloads: bool, context: ssl.SSLContext | None = None) -> None:
        self._folder = folder
        self._allow_downloads = allow_downloads
        self._context = context

    def listed(self) -> list[Stored]:
        """Return every model of the manifest, by name; a file of another size is damaged, a hash is not looked at."""
        return [self._stored(model, hashed=False) for _, model in sorted(read_manifest(self._folder).items())]

    def verify(self, names: Sequence[str] = ()) -> list[Stored]:
        """Return models, of all names where none is given, by what their size and their SHA-256 tell.

        Raises:
            InvalidArgument: the manifest has no such name.
        """
        return [self._stored(self._model(name), hashed=True) for name in names or sorted(read_manifest(self._folder))]

    def fetch(self, name: str, progress: Progress) -> Path:
        """Bring what is missing or damaged of a model here, and return where it lies.

        A file gets its name once its size and its hash were found right. One process fetches at a time; another one
        waits and finds the files.

        Raises:
            InvalidArgument: the manifest has no such name.
            PermanentError: downloads are not allowed, the host sent something else, or the folder cannot be written.
            TransientError: the host does not answer, or broke off.
        """
        model = self._model(name)
        if not self._allow_downloads:
            raise PermanentError(
                f"The model {name} was not fetched: downloads are off; set ALLOW_MODEL_DOWNLOADS=true, "
                f"or put {', '.join(str(self._folder / model.place_of(file)) for file in model.files)} there, from the "
                "addresses that `csai models list --json` tells."
            )
        try:
            with self._locked():
                for file in model.files:
                    if self._state(model, file, hashed=True) != "present":
                        self._download(self._folder / model.place_of(file), file, progress)
        except OSError as error:
            raise PermanentError(
                f"The model {name} ({model.bytes / MEGABYTE:.1f} MB) cannot be written into {self._folder}: "
                f"{error.strerror or error}; make room or give the right, or set MODELS_DIR to another folder."
            ) from error
        return self._folder / model.place

    def _model(self, name: str) -> Model:
        manifest = read_manifest(self._folder)
        if name not in manifest:
            raise InvalidArgument(f"name: no model is named {name!r}; the models are {', '.join(sorted(manifest))}.")
        return manifest[name]

    def _stored(self, model: Model, *, hashed: bool) -> Stored:
        states: list[State] = [self._state(model, file, hashed=hashed) for file in model.files]
        return Stored(model, self._folder / model.place, worst(states))

    def _state(self, model: Model, file: ModelFile, *, hashed: bool) -> State:
        path = self._folder / model.place_of(file)
        state = state_by_size(path, file)
        return "damaged" if hashed and state == "present" and _sha256(path) != file.sha256 else state

    @contextmanager
    def _locked(self) -> Generator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _download(self, target: Path, file: ModelFile, progress: Progress) -> None:
        """Write a file beside its place and move it there once it is right; what is not right leaves nothing."""
        target.parent.mkdir(mode=0o700, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        try:
            with part.open("wb") as out:
                digest = self._receive(file, out.write, progress)
                out.flush()
                os.fsync(out.fileno())
            if digest != file.sha256:
                raise PermanentError(f"{_named(file)} has the SHA-256 {digest}, not {file.sha256}: it was thrown away.")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _receive(self, file: ModelFile, write: "Write", progress: Progress) -> str:
        """Receive exactly as many bytes as the manifest says; returns their SHA-256."""
        digest, received = hashlib.sha256(), 0
        until = time.monotonic() + FIRST_SECONDS + file.bytes / SLOWEST_BYTES_PER_SECOND
        with self._answer(file) as answer:
            while block := _block(answer, file):
                received += len(block)
                if received > file.bytes:
                    raise PermanentError(f"{_named(file)} is longer than its {file.bytes} bytes: it was thrown away.")
                if time.monotonic() > until:
                    raise TransientError(f"{_named(file)} comes too slowly: {received} of {file.bytes} bytes are here.")
                digest.update(block)
                write(block)
                progress(file, received)
        if received < file.bytes:
            raise TransientError(f"{_named(file)} broke off after {received} of {file.bytes} bytes; fetch it again.")
        return digest.hexdigest()

    @contextmanager
    def _answer(self, file: ModelFile) -> Generator[urllib3.BaseHTTPResponse]:
        """Open a file's address; redirects are followed as long as they stay with https."""
        address = file.url
        with urllib3.PoolManager(
            ssl_context=self._context or ssl.create_default_context(), timeout=TIMEOUT, retries=False
        ) as pool:
            for _ in range(MOST_REDIRECTS + 1):
                answer = _get(pool, address, file)
                if answer.status == OK:
                    yield answer
                    return
                answer.close()
                if answer.status not in REDIRECTS:
                    raise PermanentError(f"{_named(file)} was not sent: {_host(address)} answered {answer.status}.")
                address = _sent_on(address, answer.headers.get("Location", ""), file)
        raise PermanentError(f"{_named(file)} was not fetched: it is sent on more than {MOST_REDIRECTS} times.")


class Write(Protocol):
    """Writes bytes."""

    def __call__(self, block: bytes, /) -> object:
        """Write a block."""
        ...


def _get(pool: urllib3.PoolManager, address: str, file: ModelFile) -> urllib3.BaseHTTPResponse:
    try:
        # as it is: what a host packs for the way would have another size and hash
        headers = {"Accept-Encoding": "identity"}
        return pool.request("GET", address, headers=headers, redirect=False, preload_content=False)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise TransientError(f"{_named(file)} was not fetched: {_host(address)} does not answer: {error}.") from error


def _sent_on(address: str, location: str, file: ModelFile) -> str:
    try:
        target = urljoin(address, location)
    except ValueError as error:
        raise PermanentError(f"{_named(file)} was not fetched: it is sent on to what is no address.") from error
    if urlsplit(target).scheme != "https":
        raise PermanentError(f"{_named(file)} was not fetched: it is sent on to an address without https.")
    return target


def _block(answer: urllib3.BaseHTTPResponse, file: ModelFile) -> bytes:
    try:
        return answer.read1(BLOCK_BYTES, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise TransientError(f"{_named(file)} broke off: {error}; fetch it again.") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(file: ModelFile) -> str:
    return f"The model file {file.name}"


def _host(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2]
