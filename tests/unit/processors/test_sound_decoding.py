"""Sound out of any container: whole, on the file's own time line, and what cannot be read says why."""

import io
import itertools
import struct
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import films
from processors import media_ends, media_streams
from processors.demuxers import DEMUXERS
from processors.errors import FileError
from processors.file_types import AUDIO, VIDEO, sniff
from processors.sound_decoding import Sound, opened
from sounds import FORMATS, film, nothing, read, tone, written


def mono(raw: bytes, kind: str, **ends: float) -> np.ndarray:
    with opened(io.BytesIO(raw), kind) as sound:
        blocks = list(sound.blocks(16_000, "mono", **ends))
    return np.concatenate([np.zeros((1, 0), np.float32), *blocks], axis=1)[0]


def pcm(channels: int, rate: int, samples: int = 4_000, code: int = 1, bits: int = 16, data: bytes | None = None):
    """A WAV file that claims what it is told to claim."""
    content = data if data is not None else bytes(samples * channels * bits // 8)
    frame = channels * bits // 8 & 0xFFFF
    form = struct.pack("<IHHIIHH", 16, code, channels, rate, rate * frame & 0xFFFFFFFF, frame, bits)
    chunks = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_every_container_is_read_whole(kind):
    rate = 48_000 if kind in {"ogg", "webm"} else 44_100
    raw = written(tone(3, 440, 0.5, rate), kind, rate)
    assert sniff(io.BytesIO(raw), "x") == kind
    found = read(raw)
    assert found["kind"] == kind
    assert found["seconds"] == pytest.approx(3, abs=0.1)
    assert (found["sound"]["container"], found["sound"]["sample_rate"], found["sound"]["channels"]) == (kind, rate, 1)
    assert found["features"]["summary"]["centroid_hz"] == pytest.approx(440, rel=0.2)
    assert found["warnings"] == []


@pytest.mark.parametrize(
    ("form", "codec", "more"), [("wav", "pcm_s16le", {"rf64": "always"}), ("mpegts", "aac", {"mpegts_m2ts_mode": "1"})]
)
def test_large_waves_and_the_streams_of_cameras_are_read_too(form, codec, more):
    stored = io.BytesIO()
    with av.open(stored, "w", format=form, options=more) as container:
        stream = container.add_stream(codec, rate=16_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(tone(2)[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=16_000, frame_size=1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode())
    found = read(stored.getvalue())
    assert found["seconds"] == pytest.approx(2, abs=0.2)
    assert found["kind"] == {"wav": "wav", "mpegts": "ts"}[form]


@pytest.mark.parametrize("kind", ["aac", "flac", "tta", "mp3"])
@pytest.mark.parametrize("size", [128 + 16, 64 * 1024 - 12, 300 * 1024])
def test_sound_behind_a_tag_of_mp3_is_what_it_is(kind, size):
    tag = b"ID3\x04\0\0" + bytes(size >> at & 0x7F for at in (21, 14, 7, 0)) + bytes(size)
    found = read(tag + written(tone(2), kind))
    assert (found["kind"], found["seconds"]) == (kind, pytest.approx(2, abs=0.2))
    assert sniff(io.BytesIO(tag), "x") == "mp3", "nothing lies behind it"


def test_every_kind_of_sound_and_film_has_its_demuxer():
    assert set(DEMUXERS) == {*AUDIO, *VIDEO}


def test_codec_rates_and_tags_are_told():
    raw = written(np.stack([tone(1), tone(1)]), "mp3", title="Harbour pumps", artist="Ann")
    sound = read(raw)["sound"]
    assert (sound["codec"], sound["container"], sound["channels"], sound["channel_layout"]) == (
        "mp3",
        "mp3",
        2,
        "stereo",
    )
    assert sound["bit_rate"] > 10_000
    assert (sound["tags"]["title"], sound["tags"]["artist"]) == ("Harbour pumps", "Ann")


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "m4a", "ogg"])
def test_a_piece_from_the_middle_is_the_same_sound_as_in_the_whole(kind):
    rate = 48_000 if kind == "ogg" else 16_000
    steps = [tone(1, 200 + 150 * n, 0.5, rate) for n in range(12)]
    raw = written(np.concatenate(steps), kind, rate)
    whole, piece = mono(raw, kind), mono(raw, kind, start=7.25, end=9.5)
    assert len(piece) == round(2.25 * 16_000)
    alike = np.corrcoef(whole[round(7.25 * 16_000) :][: len(piece)], piece)[0, 1]
    assert alike > 0.99


def test_what_begins_late_is_preceded_by_silence():
    late = mono(_film_with_late_sound(), "mkv")
    assert len(late) == pytest.approx(5 * 16_000, abs=1_600)
    assert np.abs(late[: round(1.9 * 16_000)]).max() == 0
    assert np.abs(late[round(2.5 * 16_000) :]).max() > 0.3


def test_time_stamps_that_leap_leave_silence_up_to_the_limit():
    raw = _leaping(tone(2), 1.0, 100_000.0)
    found = read(raw, max_seconds=30)
    assert (found["seconds"], found["cut"]) == (30.0, True)
    ((start, end),) = found["features"]["summary"]["silences"]
    assert (start, end) == (pytest.approx(1, abs=0.3), 30.0)
    assert mono(_leaping(tone(2), 1.0, 1.2), "mkv").shape == (32_000,), "a small leap is a packet that was lost"


def test_a_piece_that_begins_in_a_leap_has_the_silence_behind_its_beginning_alone():
    raw = _leaping(tone(20), 10.0, 10.7)
    piece = mono(raw, "mkv", start=10.6, end=12.0)
    assert len(piece) == round(1.4 * 16_000)
    assert np.abs(piece[:1_500]).max() == 0
    assert np.abs(piece[1_700:3_000]).max() > 0.4


def _leaping(sound: np.ndarray, after: float, to: float) -> bytes:
    """A file whose time stamps go on at `to` seconds after so many seconds."""
    stored = io.BytesIO()
    with av.open(stored, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000)
        stream.layout = "mono"
        for at in range(0, len(sound), 800):
            part = (sound[None, at : at + 800] * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate = 16_000
            frame.pts = at if at < after * 16_000 else at + round((to - after) * 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return stored.getvalue()


def _film_with_late_sound() -> bytes:
    stored = io.BytesIO()
    with av.open(stored, "w", format="matroska") as container:
        pictures = container.add_stream("mpeg4", rate=10)
        pictures.width = pictures.height = 32
        pictures.pix_fmt = "yuv420p"
        sound = container.add_stream("flac", rate=16_000)
        sound.layout = "mono"
        for _ in range(50):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(pictures.encode(frame))
        for at in range(0, 48_000, 4096):
            part = (tone(3)[None, at : at + 4096] * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 32_000 + at
            container.mux(sound.encode(frame))
        container.mux([*pictures.encode(), *sound.encode()])
    return stored.getvalue()


def test_time_stamps_below_nought_and_far_from_it_change_nothing():
    for late in (-2.0, 1_000.0):
        raw = written(tone(3), "mkv", late=late)
        assert len(mono(raw, "mkv")) == pytest.approx(3 * 16_000, abs=3_000)


def test_what_lies_beyond_the_limit_is_left_out_and_said():
    found = read(written(tone(5)), max_seconds=2)
    assert (found["cut"], found["seconds"], found["claimed_seconds"]) == (True, 2.0, 5.0)
    assert not read(written(tone(2)), max_seconds=2)["cut"]


@pytest.mark.parametrize(
    "kind", ["mp3", "flac", "aiff", "mkv", "webm", "flv", "wav", "caf", "au", "w64", "ogg", "avi", "wv", "tta", "wma"]
)
def test_a_sound_that_ends_before_the_file_says_is_told_to_be_cut_off(kind):
    raw = written(tone(10), kind)
    assert "truncated" in [one["code"] for one in read(raw[: len(raw) * 6 // 10])["warnings"]]
    assert read(raw)["warnings"] == []


def test_a_wave_that_counts_its_header_too_is_not_cut_off():
    raw = written(tone(2))
    assert read(raw[:4] + struct.pack("<I", len(raw)) + raw[8:])["warnings"] == []


def test_of_chunks_without_content_a_thousand_are_looked_at_and_not_a_whole_file_of_them(monkeypatch):
    looks, real = [], media_ends._read
    monkeypatch.setattr(media_ends, "_read", lambda *given: looks.append(given) or real(*given))
    media_ends.missing_end(io.BytesIO(b"RIFF\0\0\0\0" * 5_000), "avi")
    assert len(looks) < 2_000


def test_sound_that_begins_late_or_ends_before_its_film_is_not_cut_off():
    longer = films.film(films.steady(films.picture(1), frames=100), "matroska", sound_s=1.0)
    for raw in (written(tone(3), "mkv", late=1_000.0), longer):
        assert read(raw)["warnings"] == []


def test_many_channels_are_measured_and_mixed_one_by_one():
    for channels in (9, 12):
        values = np.repeat((tone(1) * 32_767).astype("<i2"), channels)
        raw = pcm(channels, 16_000, data=values.tobytes())
        assert read(raw)["features"]["summary"]["peak_dbfs"] == pytest.approx(-6.02, abs=0.1)
        assert np.abs(mono(raw, "wav")).max() == pytest.approx(0.5, abs=0.01)


def test_a_value_that_no_sound_has_is_left_out_of_the_figures():
    values = tone(2)
    values[9_000] = 1e38
    found = read(pcm(1, 16_000, code=3, bits=32, data=values.astype("<f4").tobytes()))
    summary = found["features"]["summary"]
    assert summary["peak_dbfs"] == pytest.approx(-6.02, abs=0.1)
    assert None not in [summary["centroid_hz"], *summary["mfcc_mean"]]


def test_a_stream_that_appears_on_the_way_and_a_lack_of_memory_are_no_damage():
    def demux(_stream):
        yield SimpleNamespace(pts=None, decode=list)
        raise fault

    sound = Sound(SimpleNamespace(start_time=0, demux=demux, streams=_streams()))
    fault = IndexError()  # what PyAV raises at the end of such a file
    assert (list(sound._frames(0.0)), sound.damaged) == ([], 0)
    fault = av.error.MemoryError(12, "no memory")
    with pytest.raises(MemoryError):
        list(sound._frames(0.0))


def test_a_lack_of_memory_is_not_told_to_be_damage(monkeypatch):
    raw = written(tone(1))

    def short_of_memory(*_given, **_named):
        raise av.error.MemoryError(12, "Cannot allocate memory")

    with pytest.raises(MemoryError), opened(io.BytesIO(raw), "wav"):
        short_of_memory()
    monkeypatch.setattr(av, "open", short_of_memory)
    for open_ in (opened, media_streams.opened):
        with pytest.raises(MemoryError), open_(io.BytesIO(raw), "wav"):
            pass


def _streams() -> SimpleNamespace:
    layout = SimpleNamespace(nb_channels=1)
    stream = SimpleNamespace(codec_context=object(), sample_rate=16_000, layout=layout)
    return SimpleNamespace(audio=[stream], best=lambda _kind: stream)


def test_what_is_no_number_becomes_nought():
    values = np.array([0.5, np.nan, np.inf, -np.inf] * 2_000, "<f4")
    found = read(pcm(1, 16_000, code=3, bits=32, data=values.tobytes()))
    assert found["features"]["summary"]["peak_dbfs"] == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize(("channels", "rate"), [(1, 1_000), (6, 48_000), (8, 48_000), (16, 8_000), (2, 192_000)])
def test_rare_rates_and_many_channels_are_read(channels, rate):
    found = read(pcm(channels, rate, rate))
    assert found["seconds"] == pytest.approx(1, abs=0.1)
    assert found["sound"]["channels"] == channels


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        (
            pcm(65, 48_000),
            "unsupported_type",
            "48000 samples a second in 65 channels; read are 1000 to 768000 in 1 to 16",
        ),
        (pcm(1, 1), "unsupported_type", "claims 1 samples a second"),
        (pcm(1, 2_000_000), "unsupported_type", "claims 2000000 samples a second"),
        (pcm(0, 8_000), "unsupported_type", "in 0 channels"),
        (pcm(1, 4_000_000_000), "corrupt", "audio/wav and damaged"),
        (pcm(1, 8_000, 0), "corrupt", "No sound can be decoded"),
        (pcm(1, 8_000)[:20], "corrupt", "damaged"),
        (b"ID3\x04\0\0\0\0\0\0", "corrupt", "audio/mpeg and damaged"),
        (b"fLaC\0\0\0\x22", "corrupt", "audio/flac and damaged"),
        (b"OggS" + bytes(100), "corrupt", "audio/ogg and damaged"),
        (film(), "unsupported_type", "has no sound"),
        (b"", "empty_file", "empty"),
    ],
    ids=["channels", "slow", "fast", "none", "absurd", "no packets", "cut head", "mp3", "flac", "ogg", "mute", "empty"],
)
def test_what_has_no_sound_says_why(raw, code, words):
    with pytest.raises(FileError, match=words) as error:
        read(raw)
    assert error.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile /etc/passwd\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        "just words",
    ],
    ids=["hls", "concat", "sdp", "dash", "text"],
)
@pytest.mark.parametrize("name", ["x.mp3", "x.m3u8", "x.mp4"])
def test_a_text_is_no_sound_whatever_it_is_called(text, name):
    with pytest.raises(FileError, match="process_document reads it") as error:
        read(text.encode(), name)
    assert error.value.code == "unsupported_type"


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "m4a", "ogg", "mkv"])
def test_a_file_cut_in_the_middle_is_read_as_far_as_it_goes_or_says_why(kind):
    rate = 48_000 if kind == "ogg" else 16_000
    noise = np.random.default_rng(3).normal(0, 0.1, 5 * rate).astype(np.float32)
    raw = written(noise, kind, rate)
    try:
        found = read(raw[: len(raw) // 2])
    except FileError as error:
        assert error.code == "corrupt"  # noqa: PT017 - either outcome is right
        assert kind == "m4a", "its index is at its end"
    else:
        assert found["seconds"] == pytest.approx(2.5, abs=0.7)


SAMPLES = {
    kind: written(np.concatenate([tone(0.3), nothing(0.1)]), kind, 48_000 if kind == "ogg" else 16_000)
    for kind in ("wav", "mp3", "flac", "m4a", "ogg", "mkv")
}


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_a_damaged_file_is_read_or_refused_and_never_anything_else(kind, changes):
    raw = bytearray(SAMPLES[kind])
    for place, value in changes:
        raw[int(place * len(raw))] = value
    try:
        found = read(bytes(raw), max_seconds=5)
    except FileError as error:
        assert error.code in {"corrupt", "unsupported_type"}  # noqa: PT017 - either outcome is right
    else:
        assert 0 < found["seconds"] <= 5


def test_a_sound_is_read_block_by_block():
    with opened(io.BytesIO(written(tone(45))), "wav") as sound:
        lengths = [block.shape[1] / 16_000 for block in sound.blocks(16_000)]
    assert all(10 <= length < 10.5 for length in itertools.islice(lengths, 4))
    assert sum(lengths) == pytest.approx(45)
