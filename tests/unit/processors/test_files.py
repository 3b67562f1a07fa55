"""Files of any kind: each goes to the method for what it is, with the options that this method has."""

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from pydantic import Field, ValidationError

from examples.celery_example import SAMPLES
from processors import file_types, files
from processors.demuxers import DEMUXERS
from processors.documents import DocumentProcessed
from processors.envelopes import Timing
from processors.errors import FileError
from processors.file_results import FileRequest, FileResult, input_of
from processors.files import METHODS, Method, ProcessFile, process_file
from processors.identifying import identify
from processors.results import Result, sentence_of
from reading import silent
from unpacking import InProcess, process, route_tools, zip_of


class ProcessSound(FileRequest):
    """A method that other parts of the service would enter."""

    transcribe: bool = True
    language: str | None = None


class Sound(Result):
    """What it finds."""

    heard: bool


class SoundProcessed(FileResult):
    """Its envelope."""

    schema_name: str = Field(default="test.sound/1", serialization_alias="schema")
    result: Sound


@dataclass
class Asked:
    """What the method was asked for."""

    requests: list[Any]


@pytest.fixture
def sound(monkeypatch) -> Asked:
    """One more method in the table, as one line."""
    asked = Asked([])

    def process_sound(request, tools, report):
        asked.requests.append(request)
        found = {"sha256": "0", "bytes": 1, "mime": "audio/wav", "declared": None}
        return SoundProcessed(
            status="ok",
            input=input_of(request, found),
            options=request.effective_options(),
            provenance=[],
            timing=Timing(run_s=0.0),
            result=Sound(heard=True),
        )

    monkeypatch.setitem(files.METHODS, "audio", Method(ProcessSound, process_sound))
    return asked


def recording(container: str, *, pictures: bool, sound: bool = True) -> bytes:
    """A tenth of a second in a container."""
    codecs = {"ogg": ("libtheora", "flac"), "webm": ("libvpx", "libopus"), "asf": ("wmv2", "libmp3lame")}
    film, noise = codecs.get(container, ("mpeg4", "aac"))
    stored = io.BytesIO()
    with av.open(stored, "w", format=container) as made:
        streams = []
        if pictures:
            video = made.add_stream(film, rate=10, width=32, height=32, pix_fmt="yuv420p")
            streams.append((video, av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        if sound:
            audio = made.add_stream(noise, rate=48_000, layout="mono")
            for at in range(5):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), "fltp", "mono")
                frame.sample_rate, frame.pts, frame.time_base = 48_000, at * 960, Fraction(1, 48_000)
                streams.append((audio, frame))
        for stream, frame in streams:
            made.mux(stream.encode(frame))
        for stream in {id(stream): stream for stream, _ in streams}.values():
            made.mux(stream.encode(None))
    return stored.getvalue()


def look(raw: bytes, name: str = "x") -> dict[str, Any]:
    return identify(io.BytesIO(raw), {"name": name}, silent)


# --- Routes ----------------------------------------------------------------------------------------------------


def test_a_file_goes_to_the_method_for_what_it_is():
    path = SAMPLES / "latin-1.txt"
    request = ProcessFile(file_path=str(path), processing_options={"generate_summary": False})
    done = process_file(request, route_tools(path), silent)
    assert isinstance(done.detail, DocumentProcessed)
    assert (done.route, done.why, done.confidence) == ("document", "the content is text/plain", files.NO_SIGNATURE)
    shown = done.as_json()
    assert (shown["schema"], shown["detail"]["schema"], shown["status"]) == ("csai.file/1", "csai.document/1", "ok")
    assert shown["detail"]["result"]["summary"] is None
    assert shown["detail"]["result"]["text"]


def test_a_file_whose_type_is_given_is_not_looked_at_first():
    path, sandbox = SAMPLES / "report.pdf", InProcess()
    request = ProcessFile(file_path=str(path), file_type="document")
    done = process_file(request, route_tools(path, sandbox=sandbox), silent)
    assert (done.why, done.confidence, sandbox.jobs) == ("file_type says so", 1.0, ["document", "page_images"])


@pytest.mark.parametrize(("given", "other"), [("document", "process_file"), ("archive", "process_document")])
def test_a_file_that_is_not_of_the_given_type_names_the_method_that_reads_it(tmp_path, given, other):
    path = tmp_path / "x"
    path.write_bytes(zip_of(("a", b"b")) if given == "document" else b"text")
    request = ProcessFile(file_path=str(path), file_type=given)
    with pytest.raises(FileError, match=f"{other} reads it") as error:
        process_file(request, route_tools(path), silent)
    assert error.value.code == "unsupported_type"


def test_a_kind_that_no_method_reads_says_so(tmp_path, monkeypatch):
    monkeypatch.delitem(files.METHODS, "image", raising=False)
    with pytest.raises(FileError, match="The file is image: the content is image/gif, and no method here reads that"):
        process(tmp_path, b"GIF89a" + bytes(20))


def test_one_line_in_the_table_is_one_more_method(tmp_path, sound):
    options = {"language": "de", "ocr_enabled": False}
    done = process(tmp_path, b"RIFF\x24\0\0\0WAVEfmt ", "a.wav", options=options)
    assert (done.route, done.as_json()["detail"]["result"]) == ("audio", {"heard": True})
    assert sound.requests == [ProcessSound(file_path=str(tmp_path / "a.wav"), language="de")]


def test_the_members_of_an_archive_get_the_options_that_their_methods_have(tmp_path, sound):
    raw = zip_of(("folder/a.wav", b"RIFF\x24\0\0\0WAVEfmt "), ("b.txt", b"Some text. It has two sentences."))
    done = process(tmp_path, raw, options={"transcribe": False, "generate_summary": False})
    wave, text = done.as_json()["detail"]["result"]["members"]
    assert sound.requests == [ProcessSound(file_path="a.wav", transcribe=False)]
    assert (wave["route"], text["route"]) == ("audio", "document")
    assert text["detail"]["result"]["summary"] is None


# --- Containers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("container", "kind"), [("mp4", "mp4"), ("webm", "webm"), ("matroska", "mkv"), ("asf", "wmv")])
def test_what_a_container_holds_is_told(container, kind):
    found = look(recording(container, pictures=True))
    assert (found["kind"], found["streams"]) == (kind, ["audio", "video"])


@pytest.mark.parametrize("container", ["mp4", "webm", "matroska", "mov", "3gp"])
def test_a_container_without_pictures_is_sound(tmp_path, sound, container):
    done = process(tmp_path, recording(container, pictures=False))
    assert (done.route, "sound and no pictures" in done.why) == ("audio", True)


@pytest.mark.parametrize("sounds", [True, False], ids=["with sound", "silent"])
def test_a_container_with_pictures_is_a_film(tmp_path, monkeypatch, sounds):
    monkeypatch.delitem(files.METHODS, "video", raising=False)
    with pytest.raises(FileError, match="The file is video"):
        process(tmp_path, recording("mp4", pictures=True, sound=sounds))


def test_a_cover_is_no_film():
    stored = io.BytesIO()
    with av.open(stored, "w", format="mp4") as made:
        audio = made.add_stream("aac", rate=48_000, layout="mono")
        cover = made.add_stream("mjpeg", rate=1, width=32, height=32, pix_fmt="yuvj420p")
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        made.mux(cover.encode(picture))
        made.mux(cover.encode(None))
        made.mux(audio.encode(frame))
        made.mux(audio.encode(None))
    assert look(stored.getvalue())["streams"] == ["audio"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_a_damaged_film_is_left_to_the_method_for_films(share):
    raw = recording("mp4", pictures=True)
    found = look(raw[: 40 + int(len(raw) * share)] + bytes(100))
    assert found["kind"] == "mp4"
    assert found["streams"] is None or "video" in found["streams"]


def test_a_playlist_is_text_and_opens_nothing(tmp_path):
    found = look(b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n", "x.mp4")
    assert (found["kind"], found["streams"]) == ("text", None)


def test_every_kind_of_sound_and_film_has_its_reader():
    assert set(DEMUXERS) == set(file_types.VIDEO) | set(file_types.AUDIO)
    assert {reader for name in av.formats_available for reader in name.split(",")} >= set(DEMUXERS.values())


# --- Arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"file_type": "hologram"}, "file_type: must be one of document, "),
        ({"processing_options": {"colour": 1}}, "processing_options: must only have "),
        ({"file_type": "document", "processing_options": {"transcribe": True}}, "got 'transcribe'"),
        ({"file_type": "audio", "processing_options": {"ocr_enabled": True}}, "got 'ocr_enabled'"),
        ({"processing_options": {"file_path": "y"}}, "got 'file_path'"),
        ({"processing_options": {"ocr_enabled": "perhaps"}}, "ocr_enabled: Input should be a valid boolean; got"),
        ({"file_type": "archive", "processing_options": {"transcribe": 1}}, "transcribe: Input should be a valid bool"),
    ],
    ids=range(7),
)
def test_a_bad_argument_is_named_in_one_line(sound, arguments, words):
    with pytest.raises(ValidationError) as error:
        ProcessFile.model_validate({"file_path": "x"} | arguments)
    assert words in sentence_of(error.value)
    assert "\n" not in sentence_of(error.value)


@pytest.mark.parametrize("file_type", [None, "archive"])
def test_options_of_any_method_are_taken_where_any_may_be_needed(sound, file_type):
    options = {"transcribe": False, "ocr_enabled": False, "password": "p", "process_members": True}
    request = ProcessFile(file_path="x", file_type=file_type, processing_options=options)
    assert request.processing_options == options
    assert "password" not in str(request.effective_options())


def test_the_table_is_open_to_every_route():
    assert set(METHODS) <= set(file_types.ROUTES)
    assert all("file_path" in method.request.model_fields for method in METHODS.values())
