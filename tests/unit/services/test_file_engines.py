"""The engines of a child: by the names of models, and a missing one says how to get it, until it is there."""

import hashlib
import os

import pytest

import onnx_models
from processors.errors import FileError
from services.file_engines import Engines


def test_a_detector_is_found_by_its_models_name_once_it_is_there(tmp_path):
    engines = Engines({"models_dir": str(tmp_path), "object_model": "tiny"})
    content = onnx_models.echo(tmp_path / "made.onnx", (1, 3, 64, 64)).read_bytes()
    (tmp_path / "models.toml").write_text(
        f'[tiny]\npurpose = "tests"\nlicence = "MIT"\n[[tiny.files]]\nname = "tiny.onnx"\n'
        f'url = "https://models.example/tiny.onnx"\nbytes = {len(content)}\n'
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
    )
    with pytest.raises(FileError, match=r"The model tiny .* run `csai models fetch tiny`") as caught:
        _ = engines.objects
    assert caught.value.code == "model_missing"
    (tmp_path / "tiny.onnx").write_bytes(content)
    assert engines.objects.name == "onnx:tiny.onnx"


def test_a_manifest_that_cannot_be_read_is_not_the_pictures_fault(tmp_path):
    (tmp_path / "models.toml").write_text("[tiny")
    with pytest.raises(FileError, match=r"The model tiny .* models.toml in MODELS_DIR is no TOML") as caught:
        _ = Engines({"models_dir": str(tmp_path), "object_model": "tiny"}).objects
    assert caught.value.code == "model_missing"


def test_a_detector_serves_all_files_until_its_model_is_another_one(tmp_path):
    onnx_models.echo(tmp_path / "own.onnx", (1, 3, 64, 64))
    engines = Engines({"models_dir": str(tmp_path), "object_model": "own.onnx"})
    first = engines.objects
    assert engines.objects is first
    os.utime(tmp_path / "own.onnx", ns=(1, 1))
    assert engines.objects is not first


def test_an_engine_for_speech_serves_all_files_until_its_model_is_another_one(tmp_path, monkeypatch):
    monkeypatch.setattr("engines.whisper_speech.WhisperSpeech", lambda *_: object())
    engines = Engines()
    (tmp_path / "model.bin").write_bytes(b"weights")
    first = engines.speech("whisper", str(tmp_path))
    assert engines.speech("whisper", str(tmp_path)) is first
    os.utime(tmp_path / "model.bin", ns=(1, 1))
    assert engines.speech("whisper", str(tmp_path)) is not first


def test_an_engine_serves_on_while_a_fetch_writes_beside_its_model(tmp_path, monkeypatch):
    monkeypatch.setattr("engines.whisper_speech.WhisperSpeech", lambda *_: object())
    engines = Engines()
    (tmp_path / "model.bin").write_bytes(b"weights")
    first = engines.speech("whisper", str(tmp_path))
    (tmp_path / ".model.bin.part").write_bytes(b"wei")
    assert engines.speech("whisper", str(tmp_path)) is first


def test_a_file_that_goes_while_a_model_is_looked_at_is_no_part_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr("engines.whisper_speech.WhisperSpeech", lambda *_: object())
    (tmp_path / "model.bin").write_bytes(b"weights")
    monkeypatch.setattr("pathlib.Path.glob", lambda path, _: [path / "gone", path / "model.bin"])
    monkeypatch.setattr("pathlib.Path.is_file", lambda _: True)
    assert Engines().speech("whisper", str(tmp_path))


def test_a_folder_that_leads_through_a_file_has_no_model(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"weights")
    with pytest.raises(FileError, match="whisper") as caught:
        Engines().speech("whisper", str(tmp_path / "model.bin" / "whisper"))
    assert caught.value.code == "model_missing"
