"""Decompression of messages that ends at a bound: a few megabytes may be packed gigabytes.

Kombu decompresses while it makes a message, with what is registered here. Its `brotli` is left as it is: most releases
of that package cannot stop in the middle; nothing of ours installs it.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from kombu import compression

from broker.envelopes import MESSAGE_BYTES
from processors.errors import InvalidArgument

LZMA_MEMORY_BYTES = 128 * 1024**2
"""Twice of what its highest level asks for; a header may ask for gigabytes."""


class UnpacksTooLarge(InvalidArgument):
    """A message has more bytes than are accepted, once it is decompressed."""


def register() -> None:
    """Let Kombu compress and decompress within the bound in this process."""
    _bind(zlib.compress, zlib.decompressobj, zlib.error, "application/x-gzip")
    _bind(bz2.compress, bz2.BZ2Decompressor, OSError, "application/x-bz2")
    new_lzma = partial(lzma.LZMADecompressor, memlimit=LZMA_MEMORY_BYTES)
    _bind(lzma.compress, new_lzma, lzma.LZMAError, "application/x-lzma")
    zstd: Any = getattr(compression, "zstd", None)  # Python has it from 3.14 on, before that a package
    if zstd is not None:
        _bind(zstd.compress, zstd.ZstdDecompressor, zstd.ZstdError, "application/zstd")


def unpacked(stream: Any, packed: bytes) -> bytes:
    """Decompress one whole stream.

    Args:
        stream: a new decompressor of the standard library's kind.
        packed: what it is given.

    Raises:
        UnpacksTooLarge: there are more than `MESSAGE_BYTES` in it.
        ValueError: it ends too early, or something follows it.
    """
    found = stream.decompress(packed, MESSAGE_BYTES + 1)
    if len(found) > MESSAGE_BYTES:
        del found  # the message keeps its error, and that this frame
        raise UnpacksTooLarge(
            f"A message of {len(packed)} bytes has more than {MESSAGE_BYTES} once it is decompressed; "
            "put large data into a file or a database and pass its name."
        )
    if not stream.eof or stream.unused_data:
        raise ValueError(f"A compressed message of {len(packed)} bytes is not one whole stream; send it again.")
    return found


def _bind(
    compress: Callable[[bytes], bytes], new_stream: Callable[[], Any], error: type[Exception], content_type: str
) -> None:
    def checked(body: bytes) -> bytes:
        if len(body) > MESSAGE_BYTES:
            raise UnpacksTooLarge(
                f"A message has {len(body)} bytes before it is compressed, at most {MESSAGE_BYTES} are accepted; "
                "put large data into a file or a database and pass its name."
            )
        return compress(body)

    def bounded(packed: bytes) -> bytes:
        try:
            return unpacked(new_stream(), packed)
        except error as cause:  # bzip2's is an `OSError`, as if the connection were lost
            raise ValueError(f"A message of {len(packed)} bytes cannot be decompressed: {cause}.") from cause

    cast("Any", compression).register(checked, bounded, content_type)
