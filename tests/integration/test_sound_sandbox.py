"""Sound in the real sandbox: decoded, measured and listened to without rights, and spoken words told and told apart."""

import importlib
import re
from importlib.util import find_spec

import numpy as np
import pytest

from adapters.file_sandbox import ChildSandbox
from examples.celery_example import SAMPLES
from installation import Installation
from processors.audio import AudioTools, ProcessAudio, SpeechChoice, process_audio
from services.celery_service import celery_service
from sounds import nothing, silent, spoken, tone, written

SENTENCES = (
    "Please call me tomorrow morning at nine o'clock, because the harbour pump has stopped again.",
    "The weather is very nice today, and we want to go for a walk along the river.",
    "My brother has bought a small house with a garden, and he is very happy about it.",
)
ROUGH = SpeechChoice(engine="pocketsphinx")
needs_weights = pytest.mark.skipif(find_spec("resemblyzer") is None, reason="the weights of resemblyzer are not there")


@pytest.fixture(scope="module")
def sandbox():
    one = ChildSandbox(memory_mb=2048, cpu_seconds=120, wall_seconds=200, output_mb=64, max_file_mb=50)
    yield one
    one.close()


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A folder with a real model that knows nothing, and a sandbox that may read it."""
    pytest.importorskip("faster_whisper", reason="faster-whisper has no wheel for this machine")
    folder = importlib.import_module("whisper_model").make(tmp_path_factory.mktemp("whisper"))
    loading = {"readable": [str(folder)], "threads": 1}
    one = ChildSandbox(memory_mb=2048, cpu_seconds=120, wall_seconds=200, output_mb=64, max_file_mb=50, loading=loading)
    yield folder, one
    one.close()


@pytest.fixture
def processed(sandbox, tmp_path):
    class Storage:
        def put(self, content, *, mime, task_id):
            return f"store://{len(content)}"

    def run(raw, name="talk.wav", sandbox=sandbox, speech=ROUGH, **arguments):
        path = tmp_path / name
        path.write_bytes(raw)
        tools = AudioTools(path=path, sandbox=sandbox, storage=Storage(), task_id="t", speech=speech)
        return process_audio(ProcessAudio(file_path=str(path), **arguments), tools, silent).as_json()

    return run


def pauses_between(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate([nothing(0.8), *(piece for part in parts for piece in (part, nothing(0.8)))])


def wrong_words(said: str, heard: str) -> float:
    """The word error rate: the fewest words to change, leave out or add, for each word that was said."""
    words, others = (re.findall(r"[a-z']+", text.lower()) for text in (said, heard))
    costs = list(range(len(others) + 1))
    for at, word in enumerate(words, 1):
        before, costs[0] = costs[0], at
        for n, other in enumerate(others, 1):
            before, costs[n] = costs[n], min(costs[n] + 1, costs[n - 1] + 1, before + (word != other))
    return costs[-1] / len(words)


def test_silence_and_music_are_measured_in_the_sandbox_and_have_no_words(processed):
    for sound in (nothing(3), np.concatenate([tone(1.5), tone(1.5, 660)])):
        done = processed(written(sound, "mp3"), "x.mp3")
        assert (done["result"]["transcript"]["text"], done["result"]["speakers"]) == ("", [])
        assert {"seccomp", "no_new_privs"} <= set(done["provenance"][0]["sandbox"])
        assert done["result"]["features"]["summary"]["silence_share"] == (1.0 if not sound.any() else 0.0)


def test_whisper_reads_its_model_in_the_sandbox_and_reaches_for_nothing_else(processed, whisper):
    folder, sandbox = whisper
    speech = SpeechChoice(engine="whisper", folder=str(folder))
    talk = (SAMPLES / "talk.mp3").read_bytes()
    done = processed(talk, "talk.mp3", sandbox=sandbox, speech=speech, detect_speakers=False)
    (told,) = [one for one in done["provenance"] if one["step"] == "transcribe"]
    assert (done["errors"], told["engine"], told["model"]) == ([], "faster-whisper", folder.name)
    transcript = done["result"]["transcript"]
    assert (transcript["language_source"], transcript["language"]) == ("assumed", "en")
    assert all(0 <= one["start"] <= one["end"] <= done["result"]["duration_s"] for one in transcript["segments"])
    silence = processed(written(nothing(3)), sandbox=sandbox, speech=speech, detect_speakers=False)
    assert silence["result"]["transcript"]["text"] == ""


@pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="pocketsphinx has no wheel for this machine")
def test_a_talk_is_read_by_a_worker(installation: Installation):
    task_id = celery_service.process_audio(str(SAMPLES / "talk.mp3"), language="en")
    done = celery_service.get_task_result(task_id, timeout=120)
    result = done["result"]
    assert (done["errors"], result["codec"], result["tags"]["title"]) == ([], "mp3", "At the harbour")
    assert len(result["transcript"]["text"].split()) > 10
    mimes = [one["mime"] for one in done["artefacts"]]
    assert mimes == ["application/x-npz", "application/x-subrip", "text/vtt"]
    if result["speakers"] is None:
        assert [one["code"] for one in done["warnings"]] == ["model_missing"]
    else:
        assert [turn["speaker"] for turn in result["turns"]] == ["speaker_1", "speaker_2", "speaker_1"]


@pytest.mark.services
def test_spoken_words_become_a_rough_transcript_with_times(processed):
    done = processed(written(pauses_between(*map(spoken, SENTENCES))), detect_speakers=False)
    transcript = done["result"]["transcript"]
    rate = wrong_words(" ".join(SENTENCES), transcript["text"])
    print(f"word error rate {rate:.2f}: {transcript['text']}")  # noqa: T201 - the figure for the record
    assert rate < 0.9
    assert next(one for one in done["provenance"] if one["step"] == "transcribe")["quality"] == "rough"
    words = [word for segment in transcript["segments"] for word in segment["words"]]
    moments = [moment for word in words for moment in (word["start"], word["end"])]
    assert moments == sorted(moments)
    assert 0 < done["result"]["speech"]["ratio"] < 1
    assert transcript["language_source"] == "assumed"


@pytest.mark.services
@needs_weights
def test_two_voices_are_two_speakers_and_one_voice_is_one(processed):
    man = [spoken(text, "en-gb", 30) for text in SENTENCES]
    woman = [spoken(text, "en-us+f3", 60) for text in SENTENCES]
    both = written(pauses_between(man[0], woman[1], man[2], woman[0]))
    turns = processed(both, transcribe=False)["result"]["turns"]
    assert [turn["speaker"] for turn in turns] == ["speaker_1", "speaker_2", "speaker_1", "speaker_2"]
    for voice in (man, woman):
        speakers = processed(written(pauses_between(*voice)), transcribe=False)["result"]["speakers"]
        assert [one["id"] for one in speakers] == ["speaker_1"]
