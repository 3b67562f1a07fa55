"""Speech: where it is, how it is cut, who speaks, and what a transcript keeps."""

import numpy as np
import pytest

from processors.interfaces import Spoken, SpokenWord
from processors.speech_spans import pieces_of, spans_of
from processors.speech_turns import (
    grouped,
    packed_vectors,
    parts_of,
    speaker_at,
    speakers_of,
    turns_of,
    unpacked_vectors,
)
from processors.transcripts import said, subrip, text_of, webvtt

STEP = 0.1


def likely(*stretches: tuple[float, float]) -> list[np.ndarray]:
    """Figures of speech, and how long they last, in two arrays."""
    figures = np.concatenate([np.full(round(seconds / STEP), value) for value, seconds in stretches])
    return [figures[: len(figures) // 3], figures[len(figures) // 3 :]]


def test_spans_of_speech_have_a_margin_and_end_with_the_sound():
    figures = likely((0, 1), (0.9, 2), (0, 1), (0.9, 1))
    assert spans_of(figures, STEP, 5.0) == [(0.9, 3.1), (3.9, 5.0)]


def test_a_short_pause_parts_nothing_and_a_short_noise_is_no_speech():
    figures = likely((0.9, 1), (0, 0.2), (0.9, 1), (0, 1), (0.9, 0.2), (0, 1))
    assert spans_of(figures, STEP, 4.4) == [(0.0, 2.3)]


def test_speech_that_grows_uncertain_goes_on_until_it_is_unlikely():
    assert spans_of(likely((0, 1), (0.9, 1), (0.4, 1), (0.1, 1)), STEP, 4) == [(0.9, 3.1)]


def test_no_speech_is_no_span_and_no_piece():
    assert spans_of(likely((0.2, 5)), STEP, 5) == []
    assert pieces_of([]) == []


def test_pieces_end_in_pauses_and_hold_every_span_once():
    spans = [(float(at), at + 40.0) for at in range(0, 1_000, 50)]
    pieces = pieces_of(spans, 300)
    assert [span for piece in pieces for span in piece.spans] == spans
    assert all(piece.end - piece.start <= 300 for piece in pieces)
    assert all((piece.start, piece.end) == (piece.spans[0][0], piece.spans[-1][1]) for piece in pieces)
    assert len(pieces) == 4


def test_speech_without_a_pause_is_cut_through():
    pieces = pieces_of([(10, 700)], 300)
    assert [(piece.start, piece.end) for piece in pieces] == [(10, 310), (310, 610), (610, 700)]


# --- Transcripts ---------------------------------------------------------------------------------------------------


def test_times_are_those_of_the_whole_sound_and_rise():
    heard = [
        Spoken(" one two ", 0.5, 2.0, [SpokenWord("one", 0.5, 1.0, 0.9), SpokenWord("two", 0.9, 2.5, 0.8)]),
        Spoken("three", 1.8, 99.0, [SpokenWord("three", 1.7, float("inf"))]),
    ]
    first, second = said(heard, 100.0, 104.0, [(100.0, 104.0)])
    assert (first["start"], first["end"], first["text"]) == (100.5, 102.0, "one two")
    assert [(word["start"], word["end"]) for word in first["words"]] == [(100.5, 101.0), (101.0, 102.0)]
    assert (second["start"], second["end"]) == (102.0, 104.0)
    assert (second["words"][0]["start"], second["words"][0]["end"]) == (102.0, 104.0)


@pytest.mark.parametrize(
    ("no_speech", "logprob", "kept"), [(0.7, -1.1, False), (0.7, -0.9, True), (0.5, -1.1, True), (None, None, True)]
)
def test_what_the_engine_takes_for_silence_is_left_out(no_speech, logprob, kept):
    heard = [Spoken("Thank you.", 0, 2, avg_logprob=logprob, no_speech_prob=no_speech)]
    assert bool(said(heard, 0, 2, [(0, 2)])) is kept


def test_words_where_nobody_speaks_are_left_out():
    heard = [Spoken("Hello.", 0, 1), Spoken("Subtitles by nobody.", 5, 9), Spoken("  ", 1, 2)]
    assert text_of(said(heard, 0, 10, [(0, 2)])) == "Hello."


def test_subtitles_have_the_clocks_and_escapes_of_their_formats():
    segments = [
        {"start": 3661.5, "end": 3662.25, "text": "a <b> & c --> d\n\ne", "speaker": "speaker_1"},
        {"start": 3663.0, "end": 3664.0, "text": "f", "speaker": None},
    ]
    assert subrip(segments) == (
        "1\n01:01:01,500 --> 01:01:02,250\na <b> & c --> d e\n\n2\n01:01:03,000 --> 01:01:04,000\nf\n\n"
    )
    assert webvtt(segments) == (
        "WEBVTT\n\n01:01:01.500 --> 01:01:02.250\n<v speaker_1>a &lt;b&gt; &amp; c --&gt; d e\n\n"
        "01:01:03.000 --> 01:01:04.000\nf\n\n"
    )


# --- Speakers ------------------------------------------------------------------------------------------------------


def voices(*labels: int, spread: float = 0.25, seed: int = 4) -> np.ndarray:
    """Vectors of length 1 that lie around one direction for each label."""
    chance = np.random.default_rng(seed)
    rows = np.eye(16)[list(labels)] + chance.normal(0, spread / 4, (len(labels), 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_parts_cover_a_span_and_a_short_one_is_one_part():
    parts = [(0.0, 1.6), (0.8, 2.4), (1.6, 3.2), (2.4, 4.0), (10.0, 10.5)]
    assert np.array(parts_of([(0.0, 4.0), (10.0, 10.5)])) == pytest.approx(np.array(parts))


def test_grouping_looks_at_each_pair_of_voices_a_few_times_however_alike_they_are():
    class Counted(np.ndarray):
        looked_at = 0

        def argmax(self, *given, **named):
            Counted.looked_at += self.size
            return super().argmax(*given, **named)

    alike = np.full((300, 16), 0.25, np.float32).view(Counted)
    assert set(grouped(alike).tolist()) == {0}
    assert Counted.looked_at < 10 * len(alike) ** 2


def test_like_voices_are_one_group_and_others_are_not():
    labels = [0, 1, 0, 2, 1, 0, 2, 2, 1]
    groups = grouped(voices(*labels))
    assert [[a == b for b in groups] for a in groups] == [[a == b for b in labels] for a in labels]


def test_groups_are_those_of_average_linkage():
    """The plain algorithm: join the two groups with the highest mean cosine until none reaches the threshold."""
    vectors = voices(*[n % 3 for n in range(40)], spread=2.0)
    likeness, plain = vectors @ vectors.T, [[n] for n in range(40)]
    while len(plain) > 1:
        pairs = [(likeness[np.ix_(a, b)].mean(), i, j) for i, a in enumerate(plain) for j, b in enumerate(plain[:i])]
        mean, i, j = max(pairs)
        if mean < 0.3:
            break
        plain[j] += plain.pop(i)
    groups = grouped(vectors, 0.3)
    assert {frozenset(np.flatnonzero(groups == one)) for one in set(groups)} == {frozenset(one) for one in plain}
    assert 1 < len(plain) < 40


def test_turns_change_where_the_voice_does_and_are_named_by_who_comes_first():
    spans = [(0.0, 8.0), (9.0, 17.0)]
    parts = parts_of(spans)
    labels = [1 if start < 4 else 0 for start, _ in parts]
    turns = turns_of(parts, voices(*labels), spans)
    assert [turn["speaker"] for turn in turns] == ["speaker_1", "speaker_2"]
    assert (turns[0]["start"], turns[1]["end"]) == (0.0, 17.0)
    assert turns[0]["end"] == turns[1]["start"] == pytest.approx(4.8, abs=0.8)
    first, second = speakers_of(turns)
    assert (first["id"], first["turns"], first["label"]) == ("speaker_1", 1, None)
    assert first["total_s"] + second["total_s"] == pytest.approx(17.0)
    assert speaker_at(turns, 3.0, 5.0) == "speaker_1"
    assert speaker_at(turns, 20, 21) is None


def test_one_voice_is_one_speaker_and_a_stray_part_makes_no_other():
    spans = [(0.0, 20.0)]
    parts = parts_of(spans)
    labels = [0] * len(parts)
    labels[7] = 5
    assert {turn["speaker"] for turn in turns_of(parts, voices(*labels), spans)} == {"speaker_1"}


def test_more_parts_than_are_grouped_are_given_to_the_groups(monkeypatch):
    monkeypatch.setattr("processors.speech_turns.MOST_PARTS", 20)
    spans = [(0.0, 80.0), (90.0, 170.0)]
    parts = parts_of(spans)
    turns = turns_of(parts, voices(*[int(start > 85) for start, _ in parts]), spans)
    assert [(turn["start"], turn["end"]) for turn in turns] == spans


def test_only_short_parts_are_still_told_apart():
    spans = [(0.0, 0.5), (1.0, 1.4), (3.0, 3.5)]
    assert len(turns_of(parts_of(spans), voices(0, 0, 1), spans)) == 2


def test_nobody_has_no_turns():
    assert turns_of([], np.zeros((0, 16), np.float32), []) == []
    assert speakers_of([]) == []


def test_vectors_are_the_same_on_the_other_side():
    one, other = voices(0, 1), voices(2)
    both = unpacked_vectors([packed_vectors(one), packed_vectors(other)], 3)
    assert np.array_equal(both, np.concatenate([one, other]))
    with pytest.raises(ValueError, match="reshape"):
        unpacked_vectors([packed_vectors(one)], 3)
