"""Speech to text by Whisper, on CTranslate2, with a model that lies in a folder of this machine."""

import importlib.metadata
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from processors.errors import ConfigurationError, FileError
from processors.interfaces import Heard, Spoken, SpokenWord
from processors.model_files import read_manifest
from processors.model_manifest import model_missing

FILES = ("model.bin", "config.json", "tokenizer.json")
"""Without the last one the library would ask the network for it."""


class WhisperSpeech:
    """Fulfils `processors.interfaces.SpeechReader`; the model is loaded when it is made.

    Args:
        folder: holds a model converted for CTranslate2.
        threads: of the runtime.

    Raises:
        FileError: the folder does not hold a model, or a damaged one, or the package is not installed.
    """

    name = "faster-whisper"
    quality = None

    def __init__(self, folder: Path, threads: int) -> None:
        if find_spec("faster_whisper") is None:
            raise FileError("Speech cannot be read by Whisper: faster-whisper is not installed.", "dependency_missing")
        if missing := [name for name in FILES if not (folder / name).is_file()]:
            try:
                known = read_manifest(folder.parent).get(folder.name)
            except ConfigurationError as error:
                raise FileError(f"The Whisper model is not at {folder}, and {error}", "model_missing") from error
            if known:
                raise model_missing(folder.name, str(folder), known)
            raise FileError(
                f"Speech cannot be read by Whisper: the folder {folder} has no {', '.join(missing)}; put a model "
                "converted for CTranslate2 there, or name its folder in SPEECH_MODEL.",
                "model_missing",
            )
        from faster_whisper import WhisperModel  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - heavy

        self.version = importlib.metadata.version("faster-whisper")
        self.model = folder.name
        try:
            self._model: Any = cast("Any", WhisperModel)(
                str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except MemoryError:
            raise
        except Exception as error:  # the library of tokenizers raises nothing narrower
            raise FileError(
                f"The Whisper model in {folder} cannot be loaded, put a whole one there: {str(error).rstrip('.')}.",
                "model_missing",
            ) from error

    def read(self, samples: Any, _spans: Sequence[tuple[float, float]], language: str | None) -> Heard:
        """Return what is said in mono sound of 16 kHz; Whisper's own voice detection leaves the rest out.

        Raises:
            FileError: the model does not know the language.
        """
        known = self._model.supported_languages
        if language is not None and language not in known:
            raise FileError(
                f"The Whisper model {self.model} does not know the language {language!r}; it knows {', '.join(known)}.",
                "language_unavailable",
            )
        segments, found = self._model.transcribe(
            samples,
            language=language,
            vad_filter=True,
            word_timestamps=True,
            condition_on_previous_text=False,  # else it repeats itself without end
        )
        spoken = [_spoken(segment) for segment in cast("Iterable[Any]", segments)]
        if language is not None:
            return Heard(spoken, language, "given")
        if len(known) == 1:
            return Heard(spoken, str(known[0]), "assumed")
        return Heard(spoken, str(found.language), "detected", round(float(found.language_probability), 3))


def _spoken(segment: Any) -> Spoken:
    heard: list[Any] = segment.words or []
    words = [
        SpokenWord(str(word.word).strip(), float(word.start), float(word.end), round(float(word.probability), 3))
        for word in heard
    ]
    return Spoken(
        text=str(segment.text).strip(),
        start=float(segment.start),
        end=float(segment.end),
        words=words,
        avg_logprob=round(float(segment.avg_logprob), 3),
        no_speech_prob=round(float(segment.no_speech_prob), 3),
        compression_ratio=round(float(segment.compression_ratio), 3),
    )
