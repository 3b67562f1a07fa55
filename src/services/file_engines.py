"""The engines of one sandboxed child: each is loaded by the first file that needs it, and serves all that follow.

One whose model's files have changed is loaded anew: the cache of results takes these for the ones that were used.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from stat import S_ISREG
from types import MappingProxyType
from typing import Any

from processors.interfaces import FaceFinder, ObjectFinder, SpeechReader, TextReader, VoiceActivity, VoiceEncoder
from processors.model_files import resolved

Stamps = tuple[tuple[str, int, int], ...]


class Engines:
    """Engines on demand.

    Args:
        loading: JSON values of the settings: `object_model` is the name or the path of an ONNX detector, or None,
            `models_dir` the folder of the models, `threads` are those of one engine, 1 where nothing is said.
    """

    def __init__(self, loading: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._loading = loading
        self._threads = int(loading.get("threads", 1))
        self._of_models: dict[str, tuple[Stamps, Any]] = {}

    @cached_property
    def reader(self) -> TextReader:
        """Reads text in pictures."""
        return import_module("engines.rapidocr_reader").RapidOcrReader()

    @property
    def objects(self) -> ObjectFinder:
        """Finds objects: by the model that OBJECT_MODEL names, else by OpenCV's rough detectors.

        Raises:
            FileError: the model is missing, or is none.
        """
        if model := self._loading.get("object_model"):
            path = resolved(Path(self._loading["models_dir"]), model)
            return self._of_model("objects", path, lambda: import_module("engines.onnx_objects").OnnxObjects(path))
        return self._rough_objects

    @cached_property
    def faces(self) -> FaceFinder:
        """Finds faces and their encodings."""
        return import_module("engines.dlib_faces").DlibFaces()

    @cached_property
    def voice(self) -> VoiceActivity:
        """Tells where somebody speaks."""
        return import_module("engines.silero_voice").SileroVoice(self._threads)

    @cached_property
    def voices(self) -> VoiceEncoder:
        """Tells voices apart."""
        return import_module("engines.resemblyzer_voices").ResemblyzerVoices()

    def speech(self, name: str, folder: str | None) -> SpeechReader:
        """Return what turns speech into text: `whisper` with its model's folder, or `pocketsphinx`."""
        if name == "whisper":
            path = Path(folder or "")
            return self._of_model("speech", path, lambda: self._whisper(path))
        return self._sphinx

    @cached_property
    def _rough_objects(self) -> ObjectFinder:
        return import_module("engines.opencv_objects").OpenCvObjects()

    @cached_property
    def _sphinx(self) -> SpeechReader:
        return import_module("engines.pocketsphinx_speech").PocketsphinxSpeech()

    def _whisper(self, folder: Path) -> SpeechReader:
        return import_module("engines.whisper_speech").WhisperSpeech(folder, self._threads)

    def _of_model(self, name: str, path: Path, load: Callable[[], Any]) -> Any:
        stamps = _stamps(path)
        if name not in self._of_models or self._of_models[name][0] != stamps:
            self._of_models.pop(name, None)  # first, so that the memory never holds both
            self._of_models[name] = stamps, load()
        return self._of_models[name][1]


def _stamps(path: Path) -> Stamps:
    """Return name, size and time of a model's files: another model of the same shape has the same size.

    What a fetch writes beside them until it is whole has a name that begins with a dot, and may go at any moment.
    """
    stamps: list[tuple[str, int, int]] = []
    for one in sorted((path, *path.glob("[!.]*"))):
        with suppress(OSError):  # what cannot be looked at, its engine names when it is loaded
            status = one.stat()
            if S_ISREG(status.st_mode):
                stamps.append((str(one), status.st_size, status.st_mtime_ns))
    return tuple(stamps)
