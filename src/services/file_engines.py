"""The engines of one sandboxed child: each is loaded by the first file that needs it, and serves all that follow."""

from collections.abc import Mapping
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from processors.interfaces import FaceFinder, ObjectFinder, SpeechReader, TextReader, VoiceActivity, VoiceEncoder
from processors.model_files import resolved


class Engines:
    """Engines on demand.

    Args:
        loading: JSON values of the settings: `object_model` is the name or the path of an ONNX detector, or None,
            `models_dir` the folder of the models, `threads` are those of one engine, 1 where nothing is said.
    """

    def __init__(self, loading: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._loading = loading
        self._threads = int(loading.get("threads", 1))
        self.speech = cache(self._speech)

    @cached_property
    def reader(self) -> TextReader:
        """Reads text in pictures."""
        return import_module("engines.rapidocr_reader").RapidOcrReader()

    @cached_property
    def objects(self) -> ObjectFinder:
        """Finds objects: by the model that OBJECT_MODEL names, else by OpenCV's rough detectors.

        Raises:
            FileError: the model is missing, or is none.
        """
        if model := self._loading.get("object_model"):
            return import_module("engines.onnx_objects").OnnxObjects(resolved(Path(self._loading["models_dir"]), model))
        return import_module("engines.opencv_objects").OpenCvObjects()

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

    def _speech(self, name: str, folder: str | None) -> SpeechReader:
        """Return what turns speech into text: `whisper` with its model's folder, or `pocketsphinx`."""
        if name == "whisper":
            return import_module("engines.whisper_speech").WhisperSpeech(Path(folder or ""), self._threads)
        return import_module("engines.pocketsphinx_speech").PocketsphinxSpeech()
