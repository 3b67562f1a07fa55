"""Audio as a whole: what is asked for comes in one envelope, and what fails costs its part."""

import base64
import io
import json

import av
import numpy as np
import pytest
from pydantic import ValidationError

from processors import sound_reading
from processors.audio import AudioTools, ProcessAudio, SpeechChoice, process_audio
from processors.errors import Cancelled, FileError, TransientError
from processors.interfaces import Heard, Spoken, SpokenWord
from processors.results import sentence_of
from processors.speech_turns import packed_vectors
from sounds import film, nothing, silent, tone, written

LONG = np.concatenate([nothing(1), tone(8), nothing(1), tone(8, 300), nothing(1), tone(8), nothing(1)])


class KnownVoice:
    """Takes for speech whatever is loud."""

    name, version, step_seconds = "known-voice", "1", 0.1

    def listen(self, blocks):
        sound = np.concatenate([*blocks, nothing(0)])
        steps = len(sound) // 1_600
        yield np.abs(sound[: steps * 1_600]).reshape(steps, 1_600).max(axis=1) * 2


class KnownSpeech:
    """Hears a word in each span."""

    name, version, model, quality = "known-speech", "2", "tiny", None

    def __init__(self):
        self.asked = []

    def read(self, samples, spans, language):
        self.asked.append((len(samples), language))
        heard = [Spoken(f"word {n}.", a, b, [SpokenWord("word", a, b, 0.9)]) for n, (a, b) in enumerate(spans)]
        heard.append(Spoken("Thank you for watching.", spans[-1][1] + 5, spans[-1][1] + 9))
        return Heard(heard, language or "fr", "given" if language else "detected", None if language else 0.8)


class KnownVoices:
    """Tells voices apart by their pitch."""

    name, version, model_sha256 = "known-voices", "3", "0" * 64

    def encode(self, parts):
        high = np.count_nonzero(np.diff(np.signbit(parts), axis=1), axis=1) / parts.shape[1] * 8_000 > 370
        return np.stack([high, ~high], axis=1).astype(np.float32)


class DirectSandbox:
    """Does in this process what the child would do, with engines that know their answers; some jobs fail."""

    def __init__(self, **faults):
        self.faults, self.jobs, self.speech = faults, [], KnownSpeech()

    def run(self, job, path, options, report):
        self.jobs.append((job, dict(options)))
        if fault := self.faults.get(job):
            fault(options)
        with path.open("rb") as file:
            found = {
                "audio_sound": lambda: sound_reading.read_sound(file, options, report),
                "audio_piece": lambda: sound_reading.cut_piece(file, options, report),
                "audio_speech": lambda: sound_reading.find_speech(file, options, report, KnownVoice),
                "audio_voices": lambda: sound_reading.encode_voices(file, options, report, KnownVoices),
                "audio_transcript": lambda: sound_reading.read_speech(
                    file, options, report, lambda name, folder: self.speech
                ),
            }[job]()
        return {**json.loads(json.dumps(found, allow_nan=False)), "sandbox": ["none"]}


class KeptArtefacts:
    def __init__(self):
        self.kept = {}

    def put(self, content, *, mime, task_id):
        self.kept[f"store://{len(self.kept)}"] = content
        return f"store://{len(self.kept) - 1}"


def fails(code, after=0.0):
    """A fault of what begins at or after a moment."""

    def fault(options):
        if options.get("start", 0.0) >= after:
            raise FileError(f"it is {code}.", code)

    return fault


@pytest.fixture
def processed(tmp_path, monkeypatch):
    """Process a sound; pieces are 10 s long."""
    monkeypatch.setattr("processors.speech_spans.pieces_of.__defaults__", (10.0,))

    def run(raw=None, sandbox=None, name="talk.wav", report=silent, storage=None, limits=None, **arguments):
        path = tmp_path / name
        path.write_bytes(written(LONG) if raw is None else raw)
        limits = {"speech": SpeechChoice(engine="whisper", folder="/models/whisper")} | (limits or {})
        tools = AudioTools(
            path=path, sandbox=sandbox or DirectSandbox(), storage=storage or KeptArtefacts(), task_id="t", **limits
        )
        return process_audio(ProcessAudio(file_path=str(path), **arguments), tools, report).as_json()

    return run


def test_everything_that_is_asked_for_comes_in_one_envelope(processed):
    storage = KeptArtefacts()
    done = processed(storage=storage)
    result = done["result"]
    assert (done["schema"], done["status"], done["errors"], done["warnings"]) == ("csai.audio/1", "ok", [], [])
    assert (result["duration_s"], result["codec"], result["channels"]) == (28.0, "pcm_s16le", 1)
    assert [one["start"] for one in result["transcript"]["segments"]] == [0.9, 9.9, 18.9]
    assert result["transcript"]["text"] == " ".join(one["text"] for one in result["transcript"]["segments"])
    assert [one["speaker"] for one in result["turns"]] == ["speaker_1", "speaker_2", "speaker_1"]
    assert [(one["id"], one["turns"]) for one in result["speakers"]] == [("speaker_1", 2), ("speaker_2", 1)]
    assert [one["speaker"] for one in result["transcript"]["segments"]] == ["speaker_1", "speaker_2", "speaker_1"]
    assert result["speech"]["ratio"] == pytest.approx(24.6 / 28, abs=0.01)
    assert result["features"]["summary"]["silence_count"] == 4
    assert {one["step"]: one["engine"] for one in done["provenance"]} == {
        "decode": "PyAV",
        "speech": "known-voice",
        "speakers": "known-voices",
        "transcribe": "known-speech",
    }
    kinds = [(one["kind"], one["mime"]) for one in done["artefacts"]]
    assert kinds == [
        ("features", "application/x-npz"),
        ("transcript", "application/x-subrip"),
        ("transcript", "text/vtt"),
    ]
    assert result["features"]["ref"] == done["artefacts"][0]["uri"]
    assert storage.kept[done["artefacts"][2]["uri"]].startswith(b"WEBVTT\n\n00:00:00.900 -->")


def test_times_rise_and_lie_within_the_sound(processed):
    result = processed()["result"]
    moments = [moment for one in result["transcript"]["segments"] for moment in (one["start"], one["end"])]
    assert moments == sorted(moments)
    assert moments[-1] <= result["duration_s"]


def test_words_that_an_engine_invents_in_silence_are_left_out(processed):
    assert "Thank you" not in processed()["result"]["transcript"]["text"]


def test_silence_is_empty_text_and_no_engine_is_asked(processed):
    sandbox = DirectSandbox()
    done = processed(written(nothing(5)), sandbox)
    assert (done["status"], done["result"]["transcript"]["text"]) == ("ok", "")
    assert (done["result"]["turns"], done["result"]["speakers"], done["result"]["speech"]["spans"]) == ([], [], [])
    assert [one["code"] for one in done["warnings"]] == ["no_speech"]
    assert [job for job, _ in sandbox.jobs] == ["audio_sound", "audio_speech"]


@pytest.mark.parametrize("samples", [1, 100, 700])
def test_the_shortest_sounds_have_what_can_be_told_of_them(processed, samples):
    result = processed(written(np.full(samples, 0.5, np.float32)))["result"]
    assert result["duration_s"] == pytest.approx(samples / 16_000, abs=0.001)
    assert result["features"]["summary"]["peak_dbfs"] == pytest.approx(-6.02, abs=0.01)
    assert (result["transcript"]["text"], result["features"]["summary"]["tempo_bpm"]) == ("", None)


def test_only_what_is_asked_for_is_done(processed):
    sandbox = DirectSandbox()
    done = processed(sandbox=sandbox, transcribe=False, detect_speakers=False, extract_features=False)
    assert [job for job, _ in sandbox.jobs] == ["audio_sound"]
    assert {name: done["result"][name] for name in ("transcript", "speech", "turns", "features")} == {
        "transcript": None,
        "speech": None,
        "turns": None,
        "features": None,
    }
    assert done["result"]["duration_s"] == 28.0


def test_the_language_is_detected_once_and_then_kept(processed):
    sandbox = DirectSandbox()
    transcript = processed(sandbox=sandbox)["result"]["transcript"]
    assert [language for _, language in sandbox.speech.asked] == [None, "fr", "fr"]
    assert (transcript["language"], transcript["language_source"], transcript["language_confidence"]) == (
        "fr",
        "detected",
        0.8,
    )


def test_a_given_language_is_told_to_the_engine_without_its_region(processed):
    sandbox = DirectSandbox()
    transcript = processed(sandbox=sandbox, language="pt-BR")["result"]["transcript"]
    assert {language for _, language in sandbox.speech.asked} == {"pt"}
    assert (transcript["language"], transcript["language_source"]) == ("pt-BR", "given")


@pytest.mark.parametrize("language", ["English", "EN", "e", "en_US", "en-", "", "en-x-y-z-long-one"])
def test_a_language_that_is_no_code_is_refused(language):
    with pytest.raises(ValidationError) as error:
        ProcessAudio(file_path="x.mp3", language=language)
    assert "language: must be a code of BCP 47 such as en, de or pt-BR" in sentence_of(error.value)


def test_a_piece_that_fails_costs_itself(processed):
    class OneFails(DirectSandbox):
        def run(self, job, path, options, report):
            if job == "audio_transcript" and 9 < options["start"] < 11:
                raise FileError("it took longer than 600 s.", "timeout")
            return super().run(job, path, options, report)

    done = processed(sandbox=OneFails())
    assert done["status"] == "partial"
    assert [one["start"] for one in done["result"]["transcript"]["segments"]] == [0.9, 18.9]
    (error,) = done["errors"]
    assert (error["code"], error["step"], error["start"]) == ("timeout", "transcribe", 9.9)
    assert error["message"] == "The sound from 9.9 to 18.1 s was not read: it took longer than 600 s."


def test_pieces_that_are_too_long_for_a_slow_engine_are_cut_shorter(processed, monkeypatch):
    monkeypatch.setattr("processors.audio.SHORT_PIECE_SECONDS", 5.0)

    class Slow(DirectSandbox):
        def run(self, job, path, options, report):
            if job == "audio_transcript" and options["end"] - options["start"] > 5:
                self.jobs.append((job, options))
                raise FileError("it took longer than 600 s.", "timeout")
            return super().run(job, path, options, report)

    sandbox = Slow()
    done = processed(sandbox=sandbox)
    assert (done["status"], done["errors"]) == ("ok", [])
    segments = done["result"]["transcript"]["segments"]
    assert sum(one["end"] - one["start"] for one in segments) == pytest.approx(24.6, abs=0.1)
    asked = [options["start"] for job, options in sandbox.jobs if job == "audio_transcript"]
    assert asked[:2] == [0.9, 0.9], "the first one twice, and no other"
    assert len(set(asked)) == len(asked) - 1


def test_what_fails_of_every_piece_is_tried_once(processed):
    sandbox = DirectSandbox(audio_transcript=fails("model_missing"))
    done = processed(sandbox=sandbox)
    assert (done["status"], done["result"]["transcript"]) == ("partial", None)
    assert [one["code"] for one in done["errors"]] == ["model_missing"]
    assert [job for job, _ in sandbox.jobs].count("audio_transcript") == 1
    assert done["result"]["turns"]


def test_all_that_is_left_out_once_nothing_further_can_be_read_is_told(processed):
    done = processed(sandbox=DirectSandbox(audio_transcript=fails("budget_exceeded", after=9)))
    assert [one["start"] for one in done["result"]["transcript"]["segments"]] == [0.9]
    assert [(one["start"], one["end"]) for one in done["errors"]] == [(9.9, 27.1)]


def test_speakers_that_cannot_be_told_apart_are_a_warning_and_null(processed):
    done = processed(sandbox=DirectSandbox(audio_voices=fails("model_missing")))
    assert (done["status"], done["result"]["speakers"], done["result"]["turns"]) == ("ok", None, None)
    assert [(one["code"], one["step"]) for one in done["warnings"]] == [("model_missing", "speakers")]
    assert [one["speaker"] for one in done["result"]["transcript"]["segments"]] == [None] * 3


def test_voices_of_a_piece_that_fails_are_nobodys(processed):
    done = processed(sandbox=DirectSandbox(audio_voices=fails("timeout", after=15)))
    assert done["status"] == "partial"
    assert [(turn["start"], turn["speaker"]) for turn in done["result"]["turns"]] == [
        (0.9, "speaker_1"),
        (9.9, "speaker_2"),
    ]


def test_speech_that_cannot_be_found_leaves_the_figures(processed):
    done = processed(sandbox=DirectSandbox(audio_speech=fails("dependency_missing")))
    assert (done["status"], done["result"]["transcript"], done["result"]["speech"]) == ("partial", None, None)
    assert done["result"]["features"]


def test_nothing_of_what_was_asked_for_is_a_failure(processed):
    sandbox = DirectSandbox(audio_transcript=fails("language_unavailable"))
    with pytest.raises(FileError, match="it is language_unavailable") as error:
        processed(sandbox=sandbox, detect_speakers=False, extract_features=False)
    assert error.value.code == "language_unavailable"


def test_slow_speech_ends_after_its_time_and_keeps_what_was_read(processed, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("processors.audio.monotonic", lambda: now[0])

    class Slow(DirectSandbox):
        def run(self, job, path, options, report):
            now[0] += 70 if job == "audio_transcript" else 0
            return super().run(job, path, options, report)

    done = processed(sandbox=Slow(), limits={"speech_seconds": 100})
    assert [one["start"] for one in done["result"]["transcript"]["segments"]] == [0.9, 9.9]
    assert done["limits"]["hit"] == ["speech_seconds"]
    assert [(one["code"], one["start"]) for one in done["errors"]] == [("timeout", 18.9)]
    assert "the time for the sound was over by then: see CELERY_TASK_SOFT_TIME_LIMIT" in done["errors"][0]["message"]


def test_what_comes_before_speech_counts_too_so_that_the_task_ends_in_its_time(processed, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("processors.audio.monotonic", lambda: now[0])

    class Slow(DirectSandbox):
        def run(self, job, path, options, report):
            now[0] += 120 if job == "audio_speech" else 0
            return super().run(job, path, options, report)

    done = processed(sandbox=Slow(), limits={"speech_seconds": 100})
    assert (done["status"], done["result"]["transcript"], done["result"]["turns"]) == ("partial", None, None)
    assert done["limits"]["hit"] == ["speech_seconds"]
    assert [one["step"] for one in done["errors"]] == ["speakers", "transcribe"]
    assert done["result"]["features"]


def test_voices_take_half_of_the_time_that_is_left_and_words_the_rest(processed, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("processors.audio.monotonic", lambda: now[0])

    class Slow(DirectSandbox):
        def run(self, job, path, options, report):
            now[0] += 30 if job == "audio_voices" else 0
            return super().run(job, path, options, report)

    done = processed(sandbox=Slow(), limits={"speech_seconds": 100})
    assert [(turn["start"], turn["speaker"]) for turn in done["result"]["turns"]] == [
        (0.9, "speaker_1"),
        (9.9, "speaker_2"),
    ]
    assert done["limits"]["hit"] == ["speech_seconds"]
    assert [(one["step"], one["start"], one["end"]) for one in done["errors"]] == [("speakers", 18.9, 27.1)]
    assert done["result"]["transcript"]["segment_count"] == 3


def test_what_lies_beyond_the_longest_media_is_a_limit(processed):
    done = processed(limits={"max_media_seconds": 12.0})
    assert (done["status"], done["limits"]["hit"]) == ("partial", ["max_media_seconds"])
    assert (done["result"]["duration_s"], done["result"]["read_s"]) == (28.0, 12.0)
    assert done["result"]["transcript"]["segments"][-1]["end"] <= 12.0


def test_a_large_transcript_is_an_artefact_and_its_head_is_shown(processed):
    storage = KeptArtefacts()
    done = processed(storage=storage, limits={"inline_text_kb": 0})
    transcript = done["result"]["transcript"]
    assert (transcript["text_truncated"], transcript["segment_count"], transcript["segments"]) == (True, 3, [])
    assert transcript["text"].startswith("word 0.")
    kept = json.loads(storage.kept[done["artefacts"][-1]["uri"]])
    assert [one["id"] for one in kept] == [0, 1, 2]


def test_progress_rises_and_a_cancellation_is_noticed(processed):
    told = []
    processed(report=lambda percent, text: told.append((percent, text)))
    percents = [percent for percent, _ in told]
    assert percents == sorted(percents)
    assert any("transcribing from 10 s of 27 s" in text for _, text in told)

    def cancelled(percent, text):
        if percent > 60:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        processed(report=cancelled)


def test_the_sound_of_a_film_is_read_and_a_film_without_sound_says_so(processed):
    assert processed(written(LONG, "mp4"), name="film.mp4")["result"]["transcript"]["segment_count"] == 3
    with pytest.raises(FileError, match="has no sound") as error:
        processed(film(), name="mute.mp4")
    assert error.value.code == "unsupported_type"


class KnownEndpoint:
    """Hears one word in every piece; answers `fault` instead where there is one."""

    name, model = "known-endpoint", "some-model"

    def __init__(self, fault=None):
        self.fault, self.asked = fault, []

    def read(self, sound, language, look):
        look()
        if self.fault:
            raise self.fault
        with av.open(io.BytesIO(sound), format="flac") as container:
            stream = container.streams.audio[0]
            self.asked.append((stream.sample_rate, stream.layout.name, language))
        return Heard([Spoken("word", 1.0, float("inf"))], "de", "detected")


def test_an_endpoint_gets_pieces_of_flac_and_its_times_are_those_of_the_whole(processed):
    endpoint = KnownEndpoint()
    done = processed(limits={"speech": SpeechChoice(engine="endpoint", endpoint=endpoint)})
    assert endpoint.asked == [(16_000, "mono", None), (16_000, "mono", "de"), (16_000, "mono", "de")]
    segments = done["result"]["transcript"]["segments"]
    assert [(one["start"], one["end"]) for one in segments] == [(1.9, 9.1), (10.9, 18.1), (19.9, 27.1)]
    assert done["provenance"][-1]["model"] == "some-model"


def test_an_endpoint_that_is_busy_asks_for_another_attempt(processed):
    busy = KnownEndpoint(TransientError("busy", retry_after=7))
    with pytest.raises(TransientError, match="busy") as error:
        processed(limits={"speech": SpeechChoice(engine="endpoint", endpoint=busy)})
    assert error.value.retry_after == 7


def test_a_piece_of_flac_is_the_sound_itself(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(written(LONG))
    with path.open("rb") as file:
        made = sound_reading.cut_piece(file, {"start": 9.9, "end": 18.1}, silent)
    with path.open("wb") as file:
        file.write(base64.b64decode(made["data"]))
    with path.open("rb") as file:
        found = sound_reading.read_sound(file, {"name": "x.flac", "features": True, "max_seconds": 99}, silent)
    assert (found["kind"], found["seconds"]) == ("flac", pytest.approx(8.2))
    assert found["features"]["summary"]["centroid_hz"] == pytest.approx(300, rel=0.1)
    assert made["kind"] == "audio"


def test_a_short_part_of_a_voice_is_repeated_to_the_length_of_the_others(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(written(LONG))
    lengths = []

    class Lengths(KnownVoices):
        def encode(self, parts):
            lengths.append(parts.shape)
            return super().encode(parts)

    with path.open("rb") as file:
        options = {"start": 1.0, "end": 9.0, "spans": [(1.0, 1.4), (2.0, 4.4)]}
        found = sound_reading.encode_voices(file, options, silent, Lengths)
    assert lengths == [(3, 25_600)]
    assert found["vectors"] == packed_vectors(np.array([[1, 0]] * 3, np.float32))
