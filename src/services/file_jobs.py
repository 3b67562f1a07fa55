"""What the sandboxed children can do: one child for each group of jobs, which shares its formats and its engines.

A loader runs before the child gives up its rights and starts no thread, since the kernel binds threads one by one; what
starts threads, such as the engines, is loaded by the first job that needs it, inside the sandbox.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, BinaryIO, NoReturn

from processors.errors import FileError
from processors.interfaces import JobReport, Report

Job = Callable[[BinaryIO, Mapping[str, Any], JobReport], dict[str, Any]]
Loader = Callable[[Mapping[str, Any]], dict[str, Job]]


def load_documents(_loading: Mapping[str, Any]) -> dict[str, Job]:
    """Load every format of documents, and what looks at files of any kind and into archives."""
    reading = import_module("processors.document_reading")
    return {
        "document": reading.read_document,
        "tables": reading.read_tables,
        "page_images": reading.draw_pages,
        "identify": import_module("processors.identifying").identify,
        "archive": import_module("processors.archives_reading").read_archive,
    }


def load_pictures(loading: Mapping[str, Any]) -> dict[str, Job]:
    """Load the formats of pictures; the reader of text and its models are loaded by the first picture."""
    documents = import_module("processors.document_reading")
    images = import_module("processors.image_reading")
    engines = import_module("services.file_engines").Engines(loading)

    def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
        return documents.read_pictures(file, options, report, engines.reader)

    def read_image(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
        return images.read_image(file, options, report, engines)

    return {"pictures": read if find_spec("onnxruntime") else read_no_pictures, "image": read_image}


def read_no_pictures(_file: BinaryIO, _options: Mapping[str, Any], _report: Report) -> NoReturn:
    """Say why pictures are not read on a machine for which a package is missing."""
    raise FileError("text in pictures cannot be read on this machine: it has no onnxruntime.", "dependency_missing")


def load_video(_loading: Mapping[str, Any]) -> dict[str, Job]:
    """Load what reads films; it starts the threads that decode with each film."""
    for name in ("av.video.reformatter", "numpy", "PIL.Image", "PIL.JpegImagePlugin", "PIL.WebPImagePlugin"):
        import_module(name)
    return {
        "video": import_module("processors.video_reading").read_video,
        "video_scenes": import_module("processors.video_scenes").find_boundaries,
        "video_frames": import_module("processors.video_frames").take_frames,
    }


def load_sound(loading: Mapping[str, Any]) -> dict[str, Job]:
    """Load the decoder of sound; each engine for speech is loaded by the first sound that needs it."""
    reading = import_module("processors.sound_reading")
    engines = import_module("services.file_engines").Engines(loading)
    return {
        "audio_sound": reading.read_sound,
        "audio_piece": reading.cut_piece,
        "audio_speech": lambda file, options, report: reading.find_speech(file, options, report, lambda: engines.voice),
        "audio_voices": lambda file, options, report: reading.encode_voices(
            file, options, report, lambda: engines.voices
        ),
        "audio_transcript": lambda file, options, report: reading.read_speech(file, options, report, engines.speech),
    }


LOADERS: dict[str, Loader] = {
    "documents": load_documents,
    "pictures": load_pictures,
    "sound": load_sound,
    "video": load_video,
}
