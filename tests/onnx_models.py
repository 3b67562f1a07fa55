"""Tiny ONNX models: each gives prepared arrays, whatever picture it is given; written byte by byte, as protobuf says.

Source: onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; only the fields that a runtime asks for.
"""

from pathlib import Path

import numpy as np

FLOAT, INT64 = 1, 7
TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
TENSOR = 4
IR_VERSION, OPSET = 8, 13


def model(inputs: dict[str, tuple[int, tuple[int, ...]]], outputs: dict[str, np.ndarray]) -> bytes:
    """A model that takes `inputs` (type and shape by name) and gives `outputs`."""
    graph = b"".join(
        _field(1, _text(2, name) + _text(4, "Constant") + _field(5, _value(array))) for name, array in outputs.items()
    )
    graph += _text(2, "graph")
    graph += b"".join(_field(11, _described(name, *shaped)) for name, shaped in inputs.items())
    graph += b"".join(_field(12, _described(name, TYPES[array.dtype], array.shape)) for name, array in outputs.items())
    return _number(1, IR_VERSION) + _field(7, graph) + _field(8, _text(1, "") + _number(2, OPSET))


def echo(path: Path, shape: tuple[int, ...]) -> Path:
    """Write a model that gives back the picture it is given."""
    node = _text(1, "images") + _text(2, "output") + _text(4, "Identity")
    graph = _field(1, node) + _text(2, "graph") + _field(11, _described("images", FLOAT, shape))
    graph += _field(12, _described("output", FLOAT, shape))
    path.write_bytes(_number(1, IR_VERSION) + _field(7, graph) + _field(8, _text(1, "") + _number(2, OPSET)))
    return path


def _value(array: np.ndarray) -> bytes:
    tensor = b"".join(_number(1, side) for side in array.shape)
    tensor += _number(2, TYPES[array.dtype]) + _field(9, array.tobytes())
    return _text(1, "value") + _field(5, tensor) + _number(20, TENSOR)


def _described(name: str, kind: int, shape: tuple[int, ...]) -> bytes:
    sides = b"".join(_field(1, _number(1, side)) for side in shape)
    return _text(1, name) + _field(2, _field(1, _number(1, kind) + _field(2, sides)))


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
