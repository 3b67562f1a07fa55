"""NumPy for vectors, loaded on first use: a worker without such work does without its memory."""

from importlib import import_module
from typing import Any

STORED, STORED_BYTES = "<f4", 4
"""The form of a number in a stored vector: float32, little-endian."""


def numpy() -> Any:
    """Return NumPy."""
    return import_module("numpy")
