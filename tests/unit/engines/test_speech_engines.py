"""Engines for speech: silence is no speech, what is missing says how to get it, and weights run nothing."""

import pickle
import struct
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engines import pocketsphinx_speech, resemblyzer_voices, silero_voice, whisper_speech
from engines.pocketsphinx_speech import PocketsphinxSpeech
from engines.resemblyzer_voices import ResemblyzerVoices, read_weights
from engines.silero_voice import SileroVoice
from engines.whisper_speech import WhisperSpeech
from processors.errors import FileError
from processors.interfaces import SpokenWord
from services.file_engines import Engines
from sounds import nothing, tone


def missing(monkeypatch, module, package: str):
    real = module.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == package else real(name))


# --- Voice activity ------------------------------------------------------------------------------------------------


def test_silence_tones_and_noise_are_no_speech():
    noise = np.random.default_rng(1).normal(0, 0.05, 48_000).astype(np.float32)
    for sound in (nothing(3), tone(3), noise):
        assert max(part.max() for part in SileroVoice(1).listen([sound])) < 0.5


def test_there_is_one_figure_for_every_step_however_the_sound_is_cut():
    sound = tone(2.01)
    (whole,) = [np.concatenate(list(SileroVoice(1).listen([sound])))]
    pieces = np.concatenate(list(SileroVoice(1).listen(np.array_split(sound, 17))))
    assert len(whole) == -(-len(sound) // 512)
    assert pieces == pytest.approx(whole, abs=1e-4)
    assert list(SileroVoice(1).listen([])) == []


@pytest.mark.parametrize("package", ["onnxruntime", "faster_whisper"])
def test_without_its_packages_speech_cannot_be_found(monkeypatch, package):
    missing(monkeypatch, silero_voice, package)
    with pytest.raises(FileError, match="Speech cannot be found on this machine") as error:
        SileroVoice(1)
    assert error.value.code == "dependency_missing"


# --- Whisper -------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_model_is_named_with_what_it_lacks(tmp_path):
    (tmp_path / "config.json").touch()
    with pytest.raises(FileError, match=rf"{tmp_path} has no model.bin, tokenizer.json; put a model") as error:
        Engines().speech("whisper", str(tmp_path))
    assert error.value.code == "model_missing"


def test_a_model_of_the_manifest_that_is_not_there_is_named_with_its_size_and_what_brings_it(tmp_path):
    table = '[whisper-small]\npurpose = "speech"\nlicence = "MIT"\n'
    for name in whisper_speech.FILES:
        said = {"name": name, "url": "https://host.example/m", "sha256": "0" * 64}
        own = "".join(f'{key} = "{value}"\n' for key, value in said.items())
        table += f"[[whisper-small.files]]\n{own}bytes = 150000000\n"
    (tmp_path / "models.toml").write_text(table)
    with pytest.raises(FileError, match=r"whisper-small \(450.0 MB\) .* `csai models fetch whisper-small`") as error:
        Engines().speech("whisper", str(tmp_path / "whisper-small"))
    assert error.value.code == "model_missing"


def test_a_manifest_that_cannot_be_read_is_not_the_sounds_fault(tmp_path):
    (tmp_path / "models.toml").write_text("[whisper-small")
    with pytest.raises(FileError, match=r"not at .*/whisper-small, and models.toml in MODELS_DIR is no TOML") as error:
        Engines().speech("whisper", str(tmp_path / "whisper-small"))
    assert error.value.code == "model_missing"


def test_without_its_package_whisper_says_so(monkeypatch, tmp_path):
    missing(monkeypatch, whisper_speech, "faster_whisper")
    with pytest.raises(FileError, match="faster-whisper is not installed") as error:
        WhisperSpeech(tmp_path, 1)
    assert error.value.code == "dependency_missing"


class KnownModel:
    """Answers as faster-whisper does."""

    supported_languages = ("de", "en")

    def __init__(self, folder, **given):
        self.folder, self.given, self.asked = folder, given, {}

    def transcribe(self, samples, **asked):
        self.asked = asked
        word = SimpleNamespace(
            word=" Hello", start=np.float64(0.1), end=np.float64(0.5), probability=np.float64(0.91234)
        )
        segment = SimpleNamespace(
            text=" Hello",
            start=0.0,
            end=0.6,
            words=[word],
            avg_logprob=-0.25,
            no_speech_prob=0.125,
            compression_ratio=0.5,
        )
        return iter([segment]), SimpleNamespace(language="en", language_probability=0.98765)


@pytest.fixture
def whisper(monkeypatch, tmp_path) -> WhisperSpeech:
    for name in whisper_speech.FILES:
        (tmp_path / name).touch()
    known = SimpleNamespace(WhisperModel=KnownModel, __spec__=ModuleSpec("faster_whisper", None))
    monkeypatch.setitem(sys.modules, "faster_whisper", known)
    return WhisperSpeech(tmp_path, 3)


def test_whisper_listens_to_speech_alone_and_never_asks_the_network(whisper, tmp_path):
    heard = whisper.read(nothing(1), [], None)
    assert whisper._model.folder == str(tmp_path)
    assert whisper._model.given == {
        "device": "cpu",
        "compute_type": "int8",
        "cpu_threads": 3,
        "local_files_only": True,
    }
    assert whisper._model.asked["vad_filter"] is True
    assert whisper._model.asked["condition_on_previous_text"] is False
    assert (heard.language, heard.language_source, heard.language_confidence) == ("en", "detected", 0.988)
    assert heard.segments[0].words == [SpokenWord("Hello", 0.1, 0.5, 0.912)]
    assert (heard.segments[0].text, heard.segments[0].avg_logprob) == ("Hello", -0.25)


@pytest.mark.parametrize("error", [RuntimeError("File model.bin is incomplete"), Exception("key must be a string")])
def test_a_damaged_model_is_told_to_be_that_and_not_the_sounds_fault(whisper, tmp_path, monkeypatch, error):
    def broken(*_given, **_named):
        raise error

    monkeypatch.setattr(sys.modules["faster_whisper"], "WhisperModel", broken)
    with pytest.raises(FileError, match=f"model in {tmp_path} cannot be loaded, .*: {error}") as told:
        WhisperSpeech(tmp_path, 1)
    assert told.value.code == "model_missing"


def test_a_language_is_given_to_whisper_or_refused_by_name(whisper):
    heard = whisper.read(nothing(1), [], "de")
    assert (whisper._model.asked["language"], heard.language, heard.language_source) == ("de", "de", "given")
    with pytest.raises(FileError, match="does not know the language 'tlh'; it knows de, en") as error:
        whisper.read(nothing(1), [], "tlh")
    assert error.value.code == "language_unavailable"


def test_a_model_of_one_language_detects_none(whisper, monkeypatch):
    monkeypatch.setattr(KnownModel, "supported_languages", ["en"])
    heard = whisper.read(nothing(1), [], None)
    assert (heard.language, heard.language_source, heard.language_confidence) == ("en", "assumed", None)


# --- Pocketsphinx --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sphinx() -> PocketsphinxSpeech:
    pytest.importorskip("pocketsphinx", reason="no wheel for this machine")
    return Engines().speech("pocketsphinx", None)


def test_pocketsphinx_says_that_it_is_rough_and_hears_nothing_outside_of_speech(sphinx):
    assert (sphinx.quality, sphinx.model) == ("rough", "en-us")
    heard = sphinx.read(nothing(3), [], None)
    assert (heard.segments, heard.language, heard.language_source) == ([], "en", "assumed")
    assert sphinx.read(nothing(1), [(5.0, 6.0)], "en").language_source == "given"


def test_pocketsphinx_reads_english_only(sphinx):
    with pytest.raises(FileError, match="reads English only, and the language is 'de': set SPEECH_ENGINE") as error:
        sphinx.read(nothing(1), [], "de")
    assert error.value.code == "language_unavailable"


def test_without_its_package_pocketsphinx_says_so(monkeypatch):
    missing(monkeypatch, pocketsphinx_speech, "pocketsphinx")
    with pytest.raises(FileError, match="it is not installed") as error:
        PocketsphinxSpeech()
    assert error.value.code == "dependency_missing"


# --- Voices --------------------------------------------------------------------------------------------------------


def weights(path: Path, state: object, values: np.ndarray) -> Path:
    """Write a file of PyTorch's old form: three pickles of header, the state, the storages' keys, and they."""
    storage = struct.pack("<q", values.size) + values.astype("<f4").tobytes()
    path.write_bytes(b"".join(pickle.dumps(one, 2) for one in (1, 2, 3)) + state + pickle.dumps(["0"], 2) + storage)
    return path


def state_of(shape: tuple[int, ...], strides: tuple[int, ...], function=b"torch._utils\n_rebuild_tensor_v2\n") -> bytes:
    """Pickle `{"model_state": {"w": <an array>}}` as PyTorch does, by hand, since PyTorch is not here."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"K" + bytes([value]) for value in values) + b"t"

    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06NtQ"
    array = b"c" + function + b"(" + storage + b"K\0" + numbers(shape) + numbers(strides) + b"tR"
    return b"\x80\x02}X\x0b\0\0\0model_state}X\x01\0\0\0w" + array + b"ss."


def test_weights_are_read_by_name_and_shape(tmp_path):
    read = read_weights(weights(tmp_path / "w.pt", state_of((2, 3), (3, 1)), np.arange(6)))
    assert read["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "state",
    [
        state_of((2, 3), (3, 1), b"os\nsystem\n"),
        state_of((2, 3), (3, 1), b"builtins\neval\n"),
        state_of((2, 3), (1, 2)),
        state_of((9, 9), (9, 1)),
        b"\x80\x02}.",
        b"",
    ],
    ids=["system", "eval", "turned", "too long", "no state", "nothing"],
)
def test_weights_that_hold_anything_else_are_refused_and_run_nothing(tmp_path, state):
    with pytest.raises(FileError, match="cannot be read") as error:
        read_weights(weights(tmp_path / "w.pt", state, np.arange(6)))
    assert error.value.code == "model_missing"


def test_without_the_weights_the_file_its_size_and_the_cure_are_named(monkeypatch):
    missing(monkeypatch, resemblyzer_voices, "resemblyzer")
    with pytest.raises(FileError, match=r"pretrained.pt \(17 MB\) .* -r requirements-weights.txt") as error:
        Engines().voices  # noqa: B018 - its making is what fails
    assert error.value.code == "model_missing"


def test_other_weights_than_the_known_ones_are_refused(monkeypatch, tmp_path):
    (tmp_path / "pretrained.pt").write_bytes(b"something else")
    monkeypatch.setattr(
        resemblyzer_voices, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    )
    with pytest.raises(FileError, match="is not the known file"):
        ResemblyzerVoices()


def test_the_network_computes_what_its_equations_say(monkeypatch, tmp_path):
    """One unit at a time, as the LSTM's definition has it, beside the engine's matrices."""
    chance = np.random.default_rng(5)
    known = {}
    for layer, width in ((0, 40), (1, 256), (2, 256)):
        known[f"lstm.weight_ih_l{layer}"] = chance.normal(0, 0.1, (1024, width)).astype(np.float32)
        known[f"lstm.weight_hh_l{layer}"] = chance.normal(0, 0.1, (1024, 256)).astype(np.float32)
        known[f"lstm.bias_ih_l{layer}"] = known[f"lstm.bias_hh_l{layer}"] = chance.normal(0, 0.1, 1024).astype("f4")
    known["linear.weight"], known["linear.bias"] = np.eye(256, dtype="f4"), np.zeros(256, np.float32)
    monkeypatch.setattr(resemblyzer_voices, "_file", lambda: tmp_path)
    monkeypatch.setattr(resemblyzer_voices, "read_weights", lambda path: known)
    engine = ResemblyzerVoices()
    inputs = chance.normal(0, 1, (2, 5, 40)).astype(np.float32)
    expected = [_plain_lstm(one, known) for one in inputs]
    assert engine._recurrent(inputs) == pytest.approx(np.array(expected), abs=1e-4)
    vectors = engine.encode(np.stack([tone(0.5), tone(0.5, 300)]))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(2), abs=1e-5)


def _plain_lstm(steps: np.ndarray, known: dict[str, np.ndarray]) -> np.ndarray:
    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    for layer in range(3):
        hidden, cell, out = np.zeros(256), np.zeros(256), []
        for step in steps:
            gates = known[f"lstm.weight_ih_l{layer}"] @ step + known[f"lstm.weight_hh_l{layer}"] @ hidden
            gates = gates + known[f"lstm.bias_ih_l{layer}"] + known[f"lstm.bias_hh_l{layer}"]
            take, keep, new, give = np.split(gates, 4)
            cell = sigmoid(keep) * cell + sigmoid(take) * np.tanh(new)
            hidden = sigmoid(give) * np.tanh(cell)
            out.append(hidden)
        steps = np.array(out)
    return steps[-1]
