"""English speech to text by the model inside the pocketsphinx wheel: small, always there, and often wrong."""

import importlib.metadata
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, cast

import numpy as np

from processors.errors import FileError
from processors.interfaces import Heard, Spoken, SpokenWord

LANGUAGE = "en"
RATE = 16_000
LARGEST_SAMPLE = 32_767
NO_WORD = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")
PRONUNCIATION = re.compile(r"\(\d+\)$")


class PocketsphinxSpeech:
    """Fulfils `processors.interfaces.SpeechReader`; the model is loaded when it is made.

    Raises:
        FileError: the package is not installed.
    """

    name = "pocketsphinx"
    model = "en-us"
    quality = "rough"

    def __init__(self) -> None:
        if find_spec("pocketsphinx") is None:
            raise FileError("Speech cannot be read by pocketsphinx: it is not installed.", "dependency_missing")
        import pocketsphinx  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - 30 MB of model

        self.version = importlib.metadata.version("pocketsphinx")
        self._decoder: Any = cast("Any", pocketsphinx).Decoder(loglevel="FATAL", samprate=float(RATE))
        self._seconds_per_frame = 1 / self._decoder.config["frate"]

    def read(self, samples: Any, spans: Sequence[tuple[float, float]], language: str | None) -> Heard:
        """Return what is said in the spans of mono sound of 16 kHz; outside of them it would hear words in silence.

        Raises:
            FileError: the language is not English.
        """
        if language not in {None, LANGUAGE}:
            raise FileError(
                f"pocketsphinx reads English only, and the language is {language!r}: set SPEECH_ENGINE to another "
                "engine.",
                "language_unavailable",
            )
        heard = [self._read(samples[round(start * RATE) : round(end * RATE)], start, end) for start, end in spans]
        return Heard([spoken for spoken in heard if spoken is not None], LANGUAGE, "given" if language else "assumed")

    def _read(self, samples: Any, start: float, end: float) -> Spoken | None:
        sound = (np.clip(samples, -1, 1) * LARGEST_SAMPLE).astype("<i2").tobytes()
        if not sound:
            return None
        self._decoder.start_utt()
        self._decoder.process_raw(sound, full_utt=True)
        self._decoder.end_utt()
        parts: list[Any] = list(self._decoder.seg() or ())
        words = [self._word(part, start, end) for part in parts if not NO_WORD.fullmatch(part.word)]
        if not words:
            return None
        return Spoken(" ".join(word.text for word in words), words[0].start, words[-1].end, words)

    def _word(self, part: Any, start: float, end: float) -> SpokenWord:
        confidence = self._decoder.get_logmath().exp(part.prob)
        return SpokenWord(
            text=PRONUNCIATION.sub("", part.word),
            start=min(end, start + part.start_frame * self._seconds_per_frame),
            end=min(end, start + (part.end_frame + 1) * self._seconds_per_frame),
            confidence=round(min(1.0, float(confidence)), 3),
        )
