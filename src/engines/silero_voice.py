"""Where somebody speaks, by the Silero model inside the faster-whisper wheel; nothing is downloaded.

Source of the model's inputs: github.com/snakers4/silero-vad: 512 samples at 16 kHz after the 64 before them, a state.
"""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

from processors.errors import FileError

MODEL = "silero_vad_v6.onnx"
STEP, CONTEXT, STATE = 512, 64, 128
RATE = 16_000


class SileroVoice:
    """Fulfils `processors.interfaces.VoiceActivity`; the model is loaded when it is made.

    Args:
        threads: of the runtime.

    Raises:
        FileError: a package with the runtime or the model is not installed.
    """

    name = "silero-vad"
    version = "6"
    step_seconds = STEP / RATE

    def __init__(self, threads: int) -> None:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 4
        self._session = runtime.InferenceSession(str(_model()), options, providers=["CPUExecutionProvider"])

    def listen(self, blocks: Iterable[Any]) -> Iterator[Any]:
        """Yield how likely speech is, 0 to 1, in each step of what the blocks hold one after another.

        Args:
            blocks: float32 arrays, mono, 16 kHz.
        """
        state = cell = np.zeros((1, 1, STATE), np.float32)
        left = np.zeros(CONTEXT, np.float32)
        for block in _with_end(blocks):
            samples = np.concatenate([left, block])
            steps = (len(samples) - CONTEXT) // STEP
            if steps:
                windows = np.lib.stride_tricks.sliding_window_view(samples, CONTEXT + STEP)[::STEP][:steps]
                inputs = {"input": np.ascontiguousarray(windows), "h": state, "c": cell}
                likely, state, cell = self._session.run(None, inputs)
                yield likely.reshape(-1)
            left = samples[steps * STEP :].copy()


def _with_end(blocks: Iterable[Any]) -> Iterator[Any]:
    """Yield blocks, and zeros after them that make the last step whole."""
    total = 0
    for block in blocks:
        total += len(block)
        yield block
    yield np.zeros(-total % STEP, np.float32)


def _runtime() -> Any:
    if find_spec("onnxruntime") is None:
        raise FileError("Speech cannot be found on this machine: it has no onnxruntime.", "dependency_missing")
    import onnxruntime  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - starts threads: only in the sandbox

    return cast("Any", onnxruntime)


def _model() -> Path:
    package = find_spec("faster_whisper")
    if package is None or not package.submodule_search_locations:
        raise FileError(
            f"Speech cannot be found on this machine: it has no faster-whisper, which holds {MODEL}.",
            "dependency_missing",
        )
    return Path(package.submodule_search_locations[0]) / "assets" / MODEL
