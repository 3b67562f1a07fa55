"""The figures of a sound: known sounds have known figures, at every sampling rate."""

import io

import numpy as np
import pytest

from processors.envelopes import packed
from processors.sound_features import MOST_SILENCES, Features, cosine_transform, mel_filters
from sounds import clicks, nothing, read, summary_of, tone, written


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_a_full_sine_of_997_hertz_has_the_loudness_of_the_standard(rate):
    sine = tone(5, 997, 1.0, rate)
    assert summary_of(sine, "flac", rate)["integrated_lufs"] == pytest.approx(-3.01, abs=0.06)
    assert summary_of(np.stack([sine, sine]), "flac", rate)["integrated_lufs"] == pytest.approx(0.0, abs=0.06)


def test_a_sine_of_minus_23_decibels_in_both_channels_is_minus_23_lufs():
    sine = tone(20, 1000, 10 ** (-23 / 20), 48_000)
    assert summary_of(np.stack([sine, sine]), "flac", 48_000)["integrated_lufs"] == pytest.approx(-23.0, abs=0.1)


def test_what_lies_ten_units_below_the_rest_does_not_count_for_loudness():
    """EBU Tech 3341, case 3: -36, -23 and -36 dBFS for 10, 60 and 10 s."""
    levels = [(-36, 10), (-23, 60), (-36, 10)]
    sine = np.concatenate([tone(seconds, 1000, 10 ** (level / 20), 48_000) for level, seconds in levels])
    assert summary_of(np.stack([sine, sine]), "flac", 48_000)["integrated_lufs"] == pytest.approx(-23.0, abs=0.1)


def test_surround_channels_weigh_more_and_the_deep_one_nothing():
    """EBU Tech 3341, case 6: -28, -24 and -30 dBFS in front, centre and surround are -23 LUFS together."""
    levels = {"FL": -28, "FR": -28, "FC": -24, "LFE": 0, "BL": -30, "BR": -30}
    sines = np.stack([tone(20, 1000, 10 ** (level / 20), 48_000) for level in levels.values()])
    assert summary_of(sines, "flac", 48_000)["integrated_lufs"] == pytest.approx(-23.0, abs=0.1)


def test_peak_and_level_are_those_of_the_samples():
    figures = summary_of(tone(3, 440, 0.5))
    assert figures["peak_dbfs"] == pytest.approx(-6.02, abs=0.01)
    assert figures["rms_dbfs"] == pytest.approx(-9.03, abs=0.01)
    assert figures["clipped_share"] == 0


def test_the_share_of_clipped_samples_is_told():
    clipped = np.clip(tone(3, 440, 2.0), -1, 1)
    share = np.mean(np.abs(clipped) >= 1)
    assert summary_of(clipped)["clipped_share"] == pytest.approx(share, rel=0.01)


def test_silences_are_told_with_their_times_and_their_share():
    sound = np.concatenate([nothing(1), tone(2), nothing(1.5), tone(0.5), nothing(0.3), tone(0.7)])
    figures = summary_of(sound)
    first, second = figures["silences"]
    assert first == pytest.approx((0, 1), abs=0.05)
    assert second == pytest.approx((3, 4.5), abs=0.05)
    assert figures["silence_share"] == pytest.approx(2.5 / 6, abs=0.02)


def test_digital_silence_has_no_loudness_no_tempo_and_no_spectrum():
    figures = summary_of(nothing(5))
    assert (figures["integrated_lufs"], figures["peak_dbfs"], figures["tempo_bpm"]) == (None, None, None)
    assert (figures["centroid_hz"], figures["mfcc_mean"]) == (None, None)
    assert figures["silences"] == [(0.0, 5.0)]
    assert figures["silence_share"] == 1.0


@pytest.mark.parametrize("bpm", [60, 75, 90, 100, 120, 128])
def test_the_tempo_of_clicks_is_found(bpm):
    figures = summary_of(clicks(bpm, 20))
    assert figures["tempo_bpm"] == pytest.approx(bpm, rel=0.01)
    assert figures["tempo_strength"] > 0.5


def test_noise_has_no_tempo():
    noise = np.random.default_rng(1).normal(0, 0.1, 20 * 16_000).astype(np.float32)
    assert summary_of(noise)["tempo_bpm"] is None


def test_the_spectrum_of_a_tone_lies_where_the_tone_is():
    figures = summary_of(tone(3, 2_000))
    assert figures["centroid_hz"] == pytest.approx(2_000, rel=0.03)
    assert figures["rolloff_hz"] == pytest.approx(2_000, rel=0.05)
    assert figures["zero_crossings_per_s"] == pytest.approx(4_000, rel=0.02)
    assert figures["flatness"] < 0.01


def test_noise_is_flat():
    noise = np.random.default_rng(1).normal(0, 0.1, 3 * 16_000).astype(np.float32)
    assert 0.4 < summary_of(noise)["flatness"] <= 1


def test_frames_are_kept_as_arrays_with_their_times():
    features = read(written(tone(3)))["features"]
    made = features["made"]
    assert (features["window_s"], features["hop_s"], made["row_s"], made["kind"]) == (0.04, 0.02, 0.02, "features")
    arrays = Features(16_000, ["FC"])
    arrays.add(tone(3)[None])
    raw, _, rows = arrays.arrays()
    assert packed("features", raw, "application/x-npz", row_s=0.02, rows=rows)["rows"] == made["rows"] == 149
    with np.load(io.BytesIO(raw), allow_pickle=False) as loaded:
        assert loaded["mfcc"].shape == (149, 13)
        assert loaded["rms"] == pytest.approx(0.354, abs=0.01)


def test_long_sounds_keep_means_of_several_frames(monkeypatch):
    monkeypatch.setattr("processors.sound_features.MOST_ROWS", 50)
    features = Features(16_000, ["FC"])
    features.add(tone(3)[None])
    raw, row_seconds, rows = features.arrays()
    assert (row_seconds, rows) == (pytest.approx(0.06), 50)
    with np.load(io.BytesIO(raw), allow_pickle=False) as loaded:
        assert loaded["rms"][:-1] == pytest.approx(0.354, abs=0.01)


def test_a_sound_of_many_pauses_lists_only_the_first_ones(monkeypatch):
    monkeypatch.setattr("processors.sound_features.MOST_SILENCES", 2)
    sound = np.concatenate([part for _ in range(5) for part in (tone(0.3), nothing(0.8))])
    figures = summary_of(sound)
    assert (len(figures["silences"]), figures["silence_count"]) == (2, 5)
    assert MOST_SILENCES > 2


def test_figures_do_not_depend_on_how_the_sound_is_cut_into_blocks():
    sound = np.random.default_rng(2).normal(0, 0.1, (2, 5 * 16_000)).astype(np.float32)
    whole, pieces = Features(16_000, ["FL", "FR"]), Features(16_000, ["FL", "FR"])
    whole.add(sound)
    for at in range(0, sound.shape[1], 777):
        pieces.add(sound[:, at : at + 777])
    one, other = whole.summary(), pieces.summary()
    assert other["integrated_lufs"] == pytest.approx(one["integrated_lufs"], abs=0.01)
    assert other["mfcc_mean"] == pytest.approx(one["mfcc_mean"], abs=0.01)
    assert other["rms_dbfs"] == one["rms_dbfs"]


def test_the_cosines_of_mfcc_are_orthonormal_and_every_mel_filter_has_the_same_area():
    cosines = cosine_transform(40, 13)
    assert cosines.T @ cosines == pytest.approx(np.eye(13), abs=1e-5)
    areas = mel_filters(48_000, 48_000).sum(axis=0)
    assert areas == pytest.approx(np.ones(40), rel=0.01)
