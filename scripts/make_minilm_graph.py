"""Make src/engines/minilm.onnx: the network of all-MiniLM-L6-v2 without its weights.

The weights are named by their places in model.safetensors, which ONNX Runtime maps into memory. Run it with the path of
that file; the same file gives the same graph, byte by byte.

Sources: J. Devlin and others, BERT (2018), in the form of Hugging Face's BertModel; mean pooling and length 1 as
modules.json beside the weights says; https://github.com/safetensors/safetensors, Format; onnx.proto, external_data.
"""

import json
import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx

GRAPH = Path(__file__).parents[1] / "src" / "engines" / "minilm.onnx"
LAYERS, HEADS, WIDTH = 6, 12, 384
HEAD_WIDTH = WIDTH // HEADS
EPSILON = 1e-12
OPSET, IR_VERSION = 20, 10
UNUSED = ("embeddings.position_ids", "pooler.")
"""The first counts from 0 on; the pooler is of the model's training, and no part of its vectors."""

MASKED = np.float32(-1e9)

onnx_helper = cast("Any", onnx.helper)
from_array = cast("Any", onnx.numpy_helper).from_array


class Network:
    """A graph that grows node by node; what is not an input or a weight is the output of a node before it."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(onnx_helper.make_node(operator, list(inputs), [output], output, **attributes))
        return output

    def constant(self, value: Any) -> str:
        """Add a small array, and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(from_array(np.asarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a list of integers, and return its name."""
        return self.constant(np.array(values, np.int64))

    def linear(self, rows: str, name: str) -> str:
        """Multiply rows by a matrix, which PyTorch keeps as outputs x inputs, and add its bias."""
        return self.add("Gemm", rows, f"{name}.weight", f"{name}.bias", transB=1)

    def normal(self, rows: str, name: str) -> str:
        """Normalise the rows of a layer."""
        return self.add("LayerNormalization", rows, f"{name}.weight", f"{name}.bias", axis=-1, epsilon=EPSILON)


def minilm(weights: Path) -> bytes:
    """Return the graph as bytes.

    Its inputs are `ids` (int64) and `mask` (float32, 1 for a token and 0 for padding), both texts x tokens; its output
    is `vectors`, texts x 384, each of length 1.
    """
    network = Network()
    sides = network.add("Shape", "ids")
    heads = network.add("Concat", sides, network.integers(HEADS, HEAD_WIDTH), axis=0)
    flat = network.integers(-1, WIDTH)
    hidden = network.add("Reshape", _embedded(network, sides), flat)
    masked = network.add("Mul", network.add("Sub", network.constant(np.float32(1)), "mask"), network.constant(MASKED))
    masked = network.add("Unsqueeze", masked, network.integers(1, 2))
    for number in range(LAYERS):
        name = f"encoder.layer.{number}"
        seen = network.add("Reshape", _attention(network, hidden, f"{name}.attention.self", heads, masked), flat)
        seen = network.linear(seen, f"{name}.attention.output.dense")
        hidden = network.normal(network.add("Add", hidden, seen), f"{name}.attention.output.LayerNorm")
        inner = network.add("Gelu", network.linear(hidden, f"{name}.intermediate.dense"))
        inner = network.linear(inner, f"{name}.output.dense")
        hidden = network.normal(network.add("Add", hidden, inner), f"{name}.output.LayerNorm")
    network.nodes.append(onnx_helper.make_node("Identity", [_pooled(network, hidden, sides)], ["vectors"]))
    return _model(network, weights)


def _embedded(network: Network, sides: str) -> str:
    """Return words and places as texts x tokens x width; every token is of the first type."""
    length = network.add("Squeeze", network.add("Gather", sides, network.integers(1)))
    places = network.add("Range", network.constant(np.int64(0)), length, network.constant(np.int64(1)))
    places = network.add("Gather", "embeddings.position_embeddings.weight", places)
    kind = network.add("Gather", "embeddings.token_type_embeddings.weight", network.constant(np.int64(0)))
    words = network.add("Gather", "embeddings.word_embeddings.weight", "ids")
    return network.normal(network.add("Add", words, network.add("Add", places, kind)), "embeddings.LayerNorm")


def _attention(network: Network, hidden: str, name: str, heads: str, masked: str) -> str:
    """Return what each token takes over from the tokens of its text, as texts x tokens x heads x width of a head."""

    def split(what: str, order: list[int]) -> str:
        rows = network.linear(hidden, f"{name}.{what}")
        return network.add("Transpose", network.add("Reshape", rows, heads), perm=order)

    query, key, value = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]), split("value", [0, 2, 1, 3])
    scores = network.add("Mul", network.add("MatMul", query, key), network.constant(np.float32(HEAD_WIDTH**-0.5)))
    shares = network.add("Softmax", network.add("Add", scores, masked), axis=-1)
    return network.add("Transpose", network.add("MatMul", shares, value), perm=[0, 2, 1, 3])


def _pooled(network: Network, hidden: str, sides: str) -> str:
    """Return the mean over the tokens of each text, at length 1."""
    shape = network.add("Concat", sides, network.integers(WIDTH), axis=0)
    mask = network.add("Unsqueeze", "mask", network.integers(1))
    total = network.add("MatMul", mask, network.add("Reshape", hidden, shape))
    total = network.add("Squeeze", total, network.integers(1))
    return network.add("LpNormalization", total, axis=-1, p=2)  # the mean has the direction of the sum


def _model(network: Network, weights: Path) -> bytes:
    sizes = ["texts", "tokens"]
    described = onnx_helper.make_tensor_value_info
    graph = onnx_helper.make_graph(
        network.nodes,
        "all-MiniLM-L6-v2",
        [described("ids", onnx.TensorProto.INT64, sizes), described("mask", onnx.TensorProto.FLOAT, sizes)],
        [described("vectors", onnx.TensorProto.FLOAT, ["texts", WIDTH])],
        [*network.constants, *_tensors(weights)],
    )
    opset = onnx_helper.make_opsetid("", OPSET)
    model = onnx_helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    return model.SerializeToString(deterministic=True)


def _tensors(weights: Path) -> Iterator[Any]:
    """Yield the weights as ONNX's external data: the file's name, and where in it each lies."""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    begin = 8 + length
    for name, what in sorted(header.items()):
        if name == "__metadata__" or name.startswith(UNUSED):
            continue
        start, end = what["data_offsets"]
        if what["dtype"] != "F32" or end - start != 4 * math.prod(what["shape"]):
            raise SystemExit(f"{name} in {weights} is not float32 of the shape {what['shape']}.")
        tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=what["shape"])
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": weights.name, "offset": begin + start, "length": end - start}.items():
            tensor.external_data.add(key=key, value=str(value))
        yield tensor


if __name__ == "__main__":
    GRAPH.write_bytes(minilm(Path(sys.argv[1])))
