"""Compressed messages: Kombu's codecs, within a bound."""

import bz2
import lzma
import tracemalloc
import zlib

import pytest
from kombu import compression

from broker import bounded_unpacking
from broker.bounded_unpacking import UnpacksTooLarge
from broker.envelopes import MESSAGE_BYTES
from processors.errors import InvalidArgument

PACKERS = {"application/x-gzip": zlib.compress, "application/x-bz2": bz2.compress, "application/x-lzma": lzma.compress}
CODECS = sorted(name for name in compression.encoders() if name != "application/x-brotli")


@pytest.fixture(autouse=True)
def registered() -> None:
    bounded_unpacking.register()


def packed(codec: str, body: bytes) -> bytes:
    pack = PACKERS.get(codec) or compression.zstd.compress
    return pack(body)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [0, 1, MESSAGE_BYTES])
def test_what_a_codec_packs_it_unpacks(codec, size):
    body = bytes(size)
    assert compression.decompress(compression.compress(body, codec)[0], codec) == body


@pytest.mark.parametrize("codec", CODECS)
def test_one_byte_more_than_a_message_may_have_is_refused_at_both_ends(codec):
    body = bytes(MESSAGE_BYTES + 1)
    with pytest.raises(UnpacksTooLarge, match="once it is decompressed"):
        compression.decompress(packed(codec, body), codec)
    with pytest.raises(InvalidArgument, match="16000001 bytes before it is compressed, at most 16000000"):
        compression.compress(body, codec)


@pytest.mark.parametrize("codec", CODECS)
def test_a_bomb_takes_no_more_memory_than_the_bound(codec):
    bomb = packed(codec, bytes(200_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(UnpacksTooLarge):
            compression.decompress(bomb, codec)
        assert tracemalloc.get_traced_memory()[1] < 4 * MESSAGE_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "spoil", [lambda raw: raw[:-9], lambda raw: raw + raw, lambda raw: b"x" + raw], ids=["short", "twice", "strange"]
)
def test_what_is_not_one_whole_stream_is_an_error(codec, spoil):
    with pytest.raises(Exception, match=r"(?i)stream|error|format|header|invalid|unknown"):
        compression.decompress(spoil(packed(codec, b"text" * 100)), codec)
