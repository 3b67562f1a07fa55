"""all-MiniLM-L6-v2 as BERT's equations say it, in float64: slow, and written from the paper and from nothing of ours.

Source: https://arxiv.org/abs/1810.04805; the names of the weights are Hugging Face's.
"""

import json
import math
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from engines import minilm_embedder


def weights() -> Path | None:
    """Return the file of the weights, where their package is installed."""
    package = find_spec(minilm_embedder.PACKAGE)
    return package and Path(package.submodule_search_locations[0]) / "model" / "model.safetensors"


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    content = memoryview(path.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(bytes(content[8 : 8 + length]))
    return {
        name: np.frombuffer(content[8 + length :][slice(*what["data_offsets"])], "<f4").reshape(what["shape"])
        for name, what in header.items()
        if what.get("dtype") == "F32"
    }


class PlainBert:
    """One text at a time, without padding."""

    def __init__(self) -> None:
        self.weights = {name: value.astype(np.float64) for name, value in read_safetensors(weights()).items()}

    def vector(self, ids: list[int]) -> np.ndarray:
        words, places, kinds = (
            self.weights[f"embeddings.{one}_embeddings.weight"] for one in ("word", "position", "token_type")
        )
        hidden = self.normal(words[ids] + places[: len(ids)] + kinds[0], "embeddings.LayerNorm")
        for number in range(6):
            layer = f"encoder.layer.{number}"
            hidden = self.normal(hidden + self.attention(hidden, layer), f"{layer}.attention.output.LayerNorm")
            inner = self.linear(hidden, f"{layer}.intermediate.dense")
            inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            hidden = self.normal(hidden + self.linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        mean = hidden.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def attention(self, hidden: np.ndarray, layer: str) -> np.ndarray:
        query, key, value = (
            np.split(self.linear(hidden, f"{layer}.attention.self.{one}"), 12, axis=1)
            for one in ("query", "key", "value")
        )
        heads = []
        for q, k, v in zip(query, key, value, strict=True):
            weights = np.exp(q @ k.T / math.sqrt(32))
            heads.append(weights / weights.sum(axis=1, keepdims=True) @ v)
        return self.linear(np.hstack(heads), f"{layer}.attention.output.dense")

    def linear(self, rows: np.ndarray, name: str) -> np.ndarray:
        return rows @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normal(self, rows: np.ndarray, name: str) -> np.ndarray:
        centred = rows - rows.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
