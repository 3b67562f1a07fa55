"""Films: told by their times, cut where they are cut, shown upright, and bad ones refused or read as far as they go."""

import io
import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from films import BLACK, BLUE, FPS, GREEN, HEIGHT, RED, WHITE, WIDTH, film, picture, plain, sound_only, steady, timed
from processors import film_decoding, media_streams, video
from processors.envelopes import Timing
from processors.errors import FileError, TransientError
from processors.file_results import FileResult
from processors.file_types import sniff
from processors.video import ProcessVideo, VideoTools, process_video
from processors.video_frames import look_of
from processors.video_reading import read_video
from processors.video_scenes import timecode
from reading import silent
from services.file_jobs import load_video


class HereSandbox:
    """Does the jobs in this process; `failing` are runs, by job and number, that raise an error instead."""

    def __init__(self, failing: dict | None = None) -> None:
        self.jobs, self.failing, self.ran = load_video({}), failing or {}, []

    def run(self, job, path, options, report):
        self.ran.append(job)
        if error := self.failing.get((job, self.ran.count(job))):
            raise error
        with path.open("rb") as file:
            done = self.jobs[job](file, json.loads(json.dumps(options)), report)
        return json.loads(json.dumps(done, allow_nan=False)) | {"sandbox": []}


class Shelf(dict):
    """Keeps artefacts by their address."""

    def put(self, content, *, mime, task_id):
        address = f"store://{len(self)}"
        self[address] = content
        return address


@pytest.fixture
def processed(tmp_path):
    """Process a film; `kept` of the returned function are its artefacts."""
    shelf = Shelf()

    def process(raw: bytes, name: str = "film.mp4", failing=None, sandbox=None, **more) -> dict:
        path = tmp_path / name
        path.write_bytes(raw)
        flags = {key: more.pop(key) for key in list(more) if key in ProcessVideo.model_fields}
        tools = VideoTools(path=path, sandbox=sandbox or HereSandbox(failing), storage=shelf, task_id="t", **more)
        done = process_video(ProcessVideo(file_path=str(path), **flags), tools, silent).as_json()
        json.dumps(done, allow_nan=False)
        return done

    process.kept = shelf
    return process


def described(raw: bytes, name: str = "film") -> dict:
    return read_video(io.BytesIO(raw), {"name": name, "threads": 2}, silent)["content"]


def starts(done: dict) -> list[float]:
    return [scene["start"] for scene in done["result"]["scenes"]]


def detectors(done: dict) -> list[str]:
    return [scene["detector"] for scene in done["result"]["scenes"]]


def opened(kept: Shelf, ref: str) -> Image.Image:
    return Image.open(io.BytesIO(kept[ref]))


def codes(entries: list[dict]) -> list[str]:
    return [entry["code"] for entry in entries]


TWO_SCENES = film(steady(picture(1), picture(2)))
FOUR_SCENES = film(steady(*(picture(seed) for seed in range(4)), frames=30))


# --- What a film is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "codec", "kind", "name"),
    [
        ("mp4", "libx264", "mp4", "h264"),
        ("mov", "libx264", "mov", "h264"),
        ("matroska", "libx264", "mkv", "h264"),
        ("webm", "libvpx-vp9", "webm", "vp9"),
        ("avi", "mpeg4", "avi", "mpeg4"),
        ("mpegts", "libx264", "ts", "h264"),
        ("flv", "libx264", "flv", "h264"),
        ("asf", "mpeg4", "wmv", "mpeg4"),
        ("vob", "mpeg2video", "mpg", "mpeg2video"),
        ("mpeg2video", "mpeg2video", "m2v", "mpeg2video"),
        ("mxf", "mpeg2video", "mxf", "mpeg2video"),
        ("ivf", "libvpx", "ivf", "vp8"),
    ],
)
def test_every_kind_of_film_is_read_and_cut_at_the_same_place(processed, form, codec, kind, name):
    done = processed(film(steady(picture(1), picture(2)), form, codec), "film")
    found = done["result"]
    assert (found["container"], found["video"]["codec"], found["video"]["frames"]) == (kind, name, 50)
    assert found["duration_s"] == pytest.approx(2.0, abs=0.1)
    assert found["video"]["avg_fps"] == pytest.approx(FPS)
    assert [start - starts(done)[0] for start in starts(done)] == pytest.approx([0.0, 1.0], abs=0.002)


@pytest.mark.parametrize("part", [b"wide", b"free", b"skip"])
def test_a_quicktime_film_that_does_not_say_its_brand_is_read(part):
    raw = film(steady(picture(1)), "mov")
    found = described(raw[:4] + part + raw[8:])
    assert (found["container"], found["video"]["frames"]) == ("mov", 25)
    assert sniff(io.BytesIO(raw[raw.index(b"moov") - 4 :]), "film") == "mov"


def test_a_quicktime_film_whose_first_part_is_long_is_one_too():
    assert sniff(io.BytesIO((400 * 1024**2).to_bytes(4, "big") + b"mdat" + bytes(64)), "film") == "mov"


@pytest.mark.parametrize("text", [b"The free man", b"The wide sea", b"\n\n\n\nskip"])
def test_a_text_in_which_the_name_of_a_films_part_stands_is_a_text(text):
    assert sniff(io.BytesIO(text), "x.txt") == "text"


def test_a_mail_with_bytes_to_somebody_whose_name_is_that_of_a_films_part_is_a_mail():
    headers = b"To: freelance@example.org\r\nFrom: a@example.org\r\nSubject: Harbour\r\nMIME-Version: 1.0\r\n\r\n"
    assert sniff(io.BytesIO(headers + bytes(64)), "x.eml") == "eml"


@pytest.mark.parametrize("options", [{}, {"bf": "0"}, {"bf": "2", "x264-params": "b-adapt=0"}])
def test_the_frames_of_a_program_stream_that_tells_few_times_all_count(options):
    found = described(film(steady(*map(picture, range(4))), "vob", "libx264", **options))
    assert (found["video"]["frames"], found["video"]["avg_fps"], found["video"]["vfr"]) == (100, 25.0, False)
    assert found["duration_s"] == pytest.approx(4.0, abs=0.1)


def test_streams_tags_and_the_sound_are_told():
    found = described(film(steady(picture(1)), sound_s=1.0, tags={"title": "Harbour"}))
    assert found["tags"]["title"] == "Harbour"
    (sound,) = found["audio_streams"]
    assert (sound["codec"], sound["sample_rate"], sound["channels"]) == ("aac", 48_000, 1)
    assert sound["duration_s"] == pytest.approx(1.0, abs=0.1)
    own = found["video"]
    assert (own["pix_fmt"], own["width"], own["height"], own["vfr"], own["hdr"]) == ("yuv420p", 160, 90, False, None)


@pytest.mark.parametrize(
    ("told", "clockwise", "red_edge"), [(-90, 90, "top"), (90, 270, "bottom"), (180, 180, "right")]
)
def test_frames_of_a_turned_film_stand_upright(processed, told, clockwise, red_edge):
    pixels = plain(BLUE)
    pixels[:, : WIDTH // 3] = RED
    found = processed(film(steady(pixels), rotation=told))["result"]
    own = found["video"]
    assert own["rotation"] == clockwise
    assert (own["display_width"], own["display_height"]) == ((90, 160) if clockwise % 180 else (160, 90))
    frame = opened(processed.kept, found["frames"][0]["ref"])
    assert frame.size == (own["display_width"], own["display_height"])
    middle = (frame.width // 2, frame.height // 2)
    point = {"top": (middle[0], 5), "bottom": (middle[0], frame.height - 5), "right": (frame.width - 5, middle[1])}
    red, _, blue = frame.getpixel(point[red_edge])
    assert red > blue + 100


def test_pixels_that_are_not_square_are_shown_as_wide_as_they_are(processed):
    found = processed(film(steady(picture(1)), shape=Fraction(4, 3)))["result"]
    assert (found["video"]["width"], found["video"]["display_width"]) == (160, 213)
    assert (found["frames"][0]["width"], found["frames"][0]["height"]) == (213, 90)


def test_a_varying_frame_rate_is_told_and_times_stay_right(processed):
    shots = [(n / 25, picture(1)) for n in range(25)] + [(1 + n / 5, picture(2)) for n in range(10)]
    shots += [(3 + n / 50, picture(3)) for n in range(50)]
    done = processed(film(shots))
    assert done["result"]["video"]["vfr"] is True
    assert starts(done) == pytest.approx([0.0, 1.0, 3.0], abs=0.001)
    assert [scene["start_frame"] for scene in done["result"]["scenes"]] == [0, 25, 35]
    assert done["result"]["duration_s"] == pytest.approx(4.0, abs=0.05)


def test_a_high_dynamic_range_is_told_and_that_frames_have_it_not():
    transfer = {"x264-params": "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"}
    found = described(film(steady(picture(1)), **transfer))
    assert (found["video"]["hdr"], codes(found["warnings"])) == ("pq", ["hdr_not_mapped"])


# --- Scenes ----------------------------------------------------------------------------------------------------


def test_scenes_follow_each_other_without_a_gap_and_their_ends_are_exclusive(processed):
    found = processed(FOUR_SCENES)["result"]
    scenes = found["scenes"]
    assert [scene["n"] for scene in scenes] == [1, 2, 3, 4]
    assert [scene["end_pts"] for scene in scenes[:-1]] == [scene["start_pts"] for scene in scenes[1:]]
    assert [scene["start"] for scene in scenes] == pytest.approx([0.0, 1.2, 2.4, 3.6])
    assert scenes[-1]["end"] == pytest.approx(4.8)
    assert (scenes[1]["start_frame"], scenes[1]["start_timecode"]) == (30, "00:00:01.200")
    assert scenes[1]["start_pts"] * Fraction(scenes[1]["time_base"]) == Fraction(6, 5)
    assert 0 < scenes[1]["score"] <= 1


def test_flashes_are_no_cuts(processed):
    shots = steady(picture(1), frames=75)
    for at in (20, 21, 22, 50):
        shots[at] = (shots[at][0], plain(WHITE))
    assert starts(processed(film(shots))) == [0.0]


def test_a_scene_in_another_light_is_the_same_scene(processed):
    assert starts(processed(film(steady(picture(1), picture(1, 0.6))))) == [0.0]


def test_motion_is_no_cut(processed):
    wide = picture(1, width=WIDTH + 1_000)
    assert starts(processed(film(timed(wide[:, 12 * n : 12 * n + WIDTH] for n in range(75))))) == [0.0]


def test_scenes_of_the_same_colours_are_told_apart(processed):
    stripes = plain(GREEN)
    stripes[:, ::40] = stripes[:, 1::40] = stripes[:, 2::40] = stripes[:, 3::40] = WHITE
    assert starts(processed(film(steady(stripes, np.roll(stripes, 20, axis=1))))) == pytest.approx([0.0, 1.0])


def fading(black: int) -> list[np.ndarray]:
    """A second of a scene that goes dark, black frames, and a second of another that comes up."""
    down = [picture(1, 1 - n / 20) for n in range(20)]
    return (
        [picture(1)] * 25 + down + [plain(BLACK)] * black + [picture(2, n / 20) for n in range(20)] + [picture(2)] * 25
    )


@pytest.mark.parametrize("black", [4, 30])
def test_a_fade_through_black_begins_one_scene(processed, black):
    done = processed(film(timed(fading(black))))
    assert detectors(done) == ["start", "fade"]
    assert starts(done)[1] == pytest.approx((45 + black) / FPS, abs=0.13)


def test_a_film_that_comes_up_from_black_and_goes_dark_is_one_scene(processed):
    up, down = [picture(1, n / 20) for n in range(20)], [picture(1, 1 - n / 20) for n in range(20)]
    black = [plain(BLACK)] * 10
    assert starts(processed(film(timed([*black, *up, *down, *black])))) == [0.0]


def test_black_between_two_hard_cuts_begins_one_scene(processed):
    done = processed(film(steady(picture(1), plain(BLACK), picture(2))))
    assert detectors(done) == ["start", "cut"]
    assert starts(done) == pytest.approx([0.0, 2.0])


@pytest.mark.parametrize("shots", [steady(*map(picture, range(5)), frames=20), timed(fading(30))])
@pytest.mark.parametrize("form", ["mp4", "mpegts"])
def test_a_film_looked_at_in_parts_has_the_same_scenes(processed, monkeypatch, form, shots):
    raw = film(shots, form)
    whole = processed(raw)["result"]["scenes"]
    sandbox = HereSandbox()
    monkeypatch.setattr(video, "PART_S", 0.9)
    parts = processed(raw, sandbox=sandbox)["result"]["scenes"]
    assert sandbox.ran.count("video_scenes") >= 4
    place = ("start_pts", "end_pts", "start_frame", "detector")
    assert [[one[key] for key in place] for one in parts] == [[one[key] for key in place] for one in whole]


def test_a_part_that_takes_too_long_is_gone_on_with_in_the_next(processed):
    sandbox = HereSandbox()
    done = processed(FOUR_SCENES, sandbox=sandbox, run_seconds=0.0)
    assert sandbox.ran.count("video_scenes") > 4
    assert sandbox.ran.count("video_frames") > 4
    assert starts(done) == pytest.approx([0.0, 1.2, 2.4, 3.6])
    assert len(done["result"]["frames"]) == 4


def test_a_part_that_is_lost_costs_itself_and_no_more(processed, monkeypatch):
    monkeypatch.setattr(video, "PART_S", 1.5)
    lost = FileError("The file made its reader end (-11).", "crashed")
    done = processed(FOUR_SCENES, failing={("video_scenes", 2): lost, ("video_frames", 1): lost})
    assert done["status"] == "partial"
    assert [(one["step"], one["code"]) for one in done["errors"]] == [("scenes", "crashed"), ("frames", "crashed")]
    assert (done["errors"][0]["start"], done["errors"][0]["end"]) == pytest.approx((1.5, 3.0), abs=0.05)
    assert starts(done) == pytest.approx([0.0, 1.2, 3.6])
    assert [scene["start_frame"] for scene in done["result"]["scenes"]] == [0, 30, None]


def test_a_child_killed_from_outside_is_another_attempt(processed):
    with pytest.raises(TransientError):
        processed(TWO_SCENES, failing={("video_scenes", 1): TransientError("killed")})


def test_a_timecode_has_hours_minutes_seconds_and_thousandths():
    assert [timecode(at) for at in (0, 59.9996, 3_723.456)] == ["00:00:00.000", "00:01:00.000", "01:02:03.456"]


# --- Pictures --------------------------------------------------------------------------------------------------


def test_each_scene_has_a_frame_of_its_own(processed):
    found = processed(FOUR_SCENES)["result"]
    assert [frame["t"] for frame in found["frames"]] == pytest.approx([0.6, 1.8, 3.0, 4.2])
    assert [scene["keyframe_ref"] for scene in found["scenes"]] == [frame["ref"] for frame in found["frames"]]
    for seed, frame in enumerate(found["frames"]):
        shown = np.asarray(opened(processed.kept, frame["ref"]), dtype=int)
        assert abs(shown - picture(seed)).mean() < 12


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_the_first_seconds_of_an_avi_are_shown_as_they_are(processed, codec):
    found = processed(film(steady(*map(picture, range(4))), "avi", codec, bf="0"), "film.avi")["result"]
    assert [frame["t"] for frame in found["frames"]] == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.1)
    for seed, frame in enumerate(found["frames"]):
        shown = np.asarray(opened(processed.kept, frame["ref"]), dtype=int)
        assert abs(shown - picture(seed)).mean() < 30


def test_without_scenes_there_is_a_frame_every_second_and_more_seldom_in_a_long_film(processed, monkeypatch):
    flags = {"detect_scenes": False, "generate_thumbnail": False}
    assert [one["t"] for one in processed(FOUR_SCENES, **flags)["result"]["frames"]] == pytest.approx([0, 1, 2, 3, 4])
    monkeypatch.setattr(video, "MOST_FRAMES", 3)
    assert [one["t"] for one in processed(FOUR_SCENES, **flags)["result"]["frames"]] == pytest.approx([0, 1.6, 3.2])


def test_of_too_many_scenes_some_have_a_frame_and_all_are_in_an_artefact(processed, monkeypatch):
    monkeypatch.setattr(video, "MOST_FRAMES", 2)
    monkeypatch.setattr(video, "MOST_SCENES", 3)
    done = processed(FOUR_SCENES)
    found = done["result"]
    assert (done["status"], codes(done["warnings"])) == ("ok", ["frames_sampled", "no_audio"])
    assert [frame["t"] for frame in found["frames"]] == pytest.approx([0.6, 3.0])
    assert len(found["scenes"]) == 3
    assert [scene["n"] for scene in json.loads(processed.kept[found["scenes_ref"]])] == [1, 2, 3, 4]


@pytest.mark.parametrize(("apart", "most"), [(12, 3), (9_999, 2)])
def test_a_film_is_decoded_no_more_often_for_its_key_frames_being_rare(monkeypatch, apart, most):
    shots = timed([picture(at // 30, width=32, height=32) for at in range(600)], 5)
    raw = film(shots, preset="ultrafast", g=str(apart), **{"x264-params": f"keyint={apart}:scenecut=0"})
    decoded, real = [], film_decoding._decoded
    monkeypatch.setattr(film_decoding, "_decoded", lambda *given: decoded.append(real(*given)) or decoded[-1])
    at = described(raw)["film"]["time_base"]
    wanted = [(round(6 * n * at[1] / at[0]), ["tile"]) for n in range(20)]
    options = {"kind": "mp4", "threads": 1, "start_s": 0.0, "seconds": 60, "wanted": wanted}
    decoded.clear()
    taken = load_video({})["video_frames"](io.BytesIO(raw), options, silent)
    assert [tile["t"] for tile in taken["tiles"]] == [6.0 * n for n in range(20)]
    assert sum(map(len, decoded)) < most * len(shots)


def test_a_jump_that_led_back_is_not_the_last_one(monkeypatch):
    shots = timed([picture(at // 30, width=32, height=32) for at in range(600)], 5)
    raw = film(shots, preset="ultrafast", g="50", **{"x264-params": "keyint=50:scenecut=0"})
    decoded, real = [], film_decoding._decoded
    monkeypatch.setattr(film_decoding, "_decoded", lambda *given: decoded.append(real(*given)) or decoded[-1])
    at = described(raw)["film"]["time_base"]
    times = [11.0, 16.6, 50.0, 90.0, 110.0]
    options = {"kind": "mp4", "threads": 1, "start_s": 0.0, "seconds": 60}
    decoded.clear()
    wanted = {"wanted": [(round(time * at[1] / at[0]), ["tile"]) for time in times]}
    taken = load_video({})["video_frames"](io.BytesIO(raw), options | wanted, silent)
    assert [tile["t"] for tile in taken["tiles"]] == times
    assert sum(map(len, decoded)) < 350, "not all of the 550 frames from the first to the last one"


@pytest.mark.parametrize("order", ["bframes=0", "bframes=3"])
def test_a_frame_of_a_transport_stream_whose_key_frames_are_rare_is_the_one_that_was_asked_for(order):
    shots = timed([picture(at // 30, width=32, height=32) for at in range(600)], 5)
    raw = film(shots, "mpegts", preset="ultrafast", g="100", **{"x264-params": f"keyint=100:scenecut=0:{order}"})
    found = described(raw)["film"]
    times = [3.0, 17.0, 39.0, 41.0, 79.0, 118.0]
    wanted = [(found["first_pts"] + 90_000 * int(time), ["frame"]) for time in times]
    options = {"kind": "ts", "threads": 1, "start_s": found["start_s"], "seconds": 60, "wanted": wanted}
    taken = load_video({})["video_frames"](io.BytesIO(raw), options, silent)
    assert [frame["t"] for frame in taken["frames"]] == times


def test_a_jump_in_a_program_stream_that_tells_few_times_does_not_begin_its_times_anew():
    shots = timed([picture(at // 30) for at in range(1_000)])
    raw = film(shots, "vob", preset="ultrafast", g="100", bf="0", **{"x264-params": "keyint=100:scenecut=0"})
    found = described(raw)["film"]
    times = [12.0, 20.0, 28.0, 36.0]
    wanted = [(found["first_pts"] + 90_000 * int(time), ["frame"]) for time in times]
    options = {"kind": "mpg", "threads": 1, "start_s": found["start_s"], "seconds": 60, "wanted": wanted}
    taken = load_video({})["video_frames"](io.BytesIO(raw), options, silent)
    assert [frame["t"] for frame in taken["frames"]] == pytest.approx(times, abs=0.1)


def test_a_film_of_seldom_frames_whose_key_frames_are_damaged_is_entered_further_ahead(monkeypatch):
    raw = bytearray(film(steady(picture(0), picture(1), picture(2), frames=12), "avi", "mpeg4"))
    at = raw.index(b"vids") + 20
    raw[at : at + 8] = (1000).to_bytes(4, "little") + (61).to_bytes(4, "little")  # a frame every 16 seconds
    with media_streams.opened(io.BytesIO(raw), "avi") as container:
        (damaged,) = [one for one in container.demux(video=0) if one.is_keyframe and one.pts == 12]
    raw[damaged.pos + 8 : damaged.pos + 8 + damaged.size] = bytes(damaged.size)
    decoded, real = [], film_decoding._decoded
    monkeypatch.setattr(film_decoding, "_decoded", lambda *given: decoded.append(given) or real(*given))
    with media_streams.opened(io.BytesIO(raw), "avi") as container:
        stream = film_decoding.film_stream(container, 1)
        for frame in film_decoding.frames(container, stream, film_decoding.Faults(), 12):
            assert len(decoded) < 100, "the same jump again and again"
            if frame.pts > 12:
                break
    assert 12 < len(decoded) < 100


def test_the_hash_of_a_frame_tells_the_same_picture_from_another(processed):
    hashes = []
    for seed, quality in ((1, "18"), (1, "36"), (2, "18")):
        (frame,) = processed(film(steady(picture(seed)), crf=quality))["result"]["frames"]
        hashes.append(int(frame["phash64"], 16))
    same, other = (hashes[0] ^ hashes[1]).bit_count(), (hashes[0] ^ hashes[2]).bit_count()
    assert same <= 6
    assert other >= 20


def test_the_thumbnail_is_neither_dark_nor_blank_and_says_why_it_was_taken(processed):
    raw = film(steady(plain(BLACK), plain(WHITE), picture(3), picture(4, 0.1), plain(GREEN)))
    thumbnail = processed(raw)["result"]["thumbnail"]
    assert 2.0 <= thumbnail["t"] < 3.0
    assert thumbnail["why"] == "the sharpest of 5 frames"
    assert opened(processed.kept, thumbnail["ref"]).format == "WEBP"


def test_a_film_that_shows_nothing_has_a_thumbnail_that_says_so(processed):
    assert "none shows much" in processed(film(steady(plain(BLACK))))["result"]["thumbnail"]["why"]


def test_a_sharp_picture_is_sharper_than_the_same_one_blurred():
    sharp = picture(1).astype(float)
    blurred = sum(np.roll(sharp, n, axis=1) for n in range(-4, 5)) / 9
    assert look_of(sharp).sharpness > 2 * look_of(blurred).sharpness


def test_the_preview_is_one_picture_of_tiles_in_rows(processed):
    colours = [RED, GREEN, BLUE, WHITE] * 3
    sprite = processed(film(steady(*map(plain, colours), frames=5, fps=5)))["result"]["sprite"]
    assert {key: sprite[key] for key in ("tiles", "cols", "rows", "interval_s", "tile_w", "tile_h")} == {
        "tiles": 12,
        "cols": 10,
        "rows": 2,
        "interval_s": 1.0,
        "tile_w": WIDTH,
        "tile_h": HEIGHT,
    }
    sheet = opened(processed.kept, sprite["ref"])
    assert sheet.size == (10 * WIDTH, 2 * HEIGHT)
    for at, colour in enumerate(colours):
        shown = sheet.getpixel((at % 10 * WIDTH + 80, at // 10 * HEIGHT + 45))
        assert shown == pytest.approx(colour, abs=30)


def test_tiles_behind_lost_ones_keep_their_places_in_the_preview(processed, monkeypatch):
    monkeypatch.setattr(video, "FRAMES_AT_ONCE", 4)
    lost = FileError("The file made its reader end (-11).", "crashed")
    raw = film(steady(*map(plain, [RED, GREEN, BLUE, WHITE] * 3), frames=5, fps=5))
    sprite = processed(raw, failing={("video_frames", 2): lost}, detect_scenes=False)["result"]["sprite"]
    assert (sprite["tiles"], sprite["cols"], sprite["rows"]) == (12, 10, 2)
    sheet = opened(processed.kept, sprite["ref"])
    for at, colour in {3: WHITE, 5: BLACK, 8: RED, 11: WHITE}.items():
        shown = sheet.getpixel((at % 10 * WIDTH + 80, at // 10 * HEIGHT + 45))
        assert shown == pytest.approx(colour, abs=30)


def test_only_what_was_asked_for_is_done(processed):
    sandbox = HereSandbox()
    flags = dict.fromkeys(("extract_frames", "process_audio", "detect_scenes", "generate_thumbnail"), False)
    done = processed(TWO_SCENES, sandbox=sandbox, **flags)
    assert sandbox.ran == ["video"]
    assert (done["artefacts"], done["warnings"], done["result"]["scenes"]) == ([], [], [])


# --- Sound -----------------------------------------------------------------------------------------------------


class HeardSound(FileResult):
    """What a processor of sound returns."""

    schema_name: str = "csai.audio/1"
    result: dict


def heard(raw: bytes, processed, **more) -> dict:
    done = processed(raw, detect_scenes=False, extract_frames=False, generate_thumbnail=False)
    sound = {"schema_name": "csai.audio/1", "status": "ok", "input": done["input"], "options": {}, "provenance": []}
    result = HeardSound.model_validate(sound | {"timing": Timing(run_s=1.0), "result": {"duration_s": 1.0}} | more)
    return processed(raw, listen=lambda file_path, report: result)


def test_the_sound_is_part_of_the_result(processed):
    raw = film(steady(picture(1)), sound_s=1.0)
    artefact = {"kind": "transcript", "uri": "store://x", "mime": "text/vtt", "bytes": 1}
    done = heard(raw, processed, artefacts=[artefact], provenance=[{"step": "features", "engine": "numpy"}])
    assert done["result"]["audio"] == {"duration_s": 1.0}
    assert done["artefacts"][-1]["kind"] == "transcript"
    assert done["provenance"][-1]["step"] == "features"
    assert done["status"] == "ok"


def test_sound_that_cannot_be_processed_is_an_error_beside_the_film(processed):
    def listen(file_path, report):
        raise FileError("The sound is damaged.", "corrupt")

    done = processed(film(steady(picture(1)), sound_s=1.0), listen=listen)
    assert (done["status"], done["result"]["audio"], done["errors"][0]["step"]) == ("partial", None, "audio")
    assert done["result"]["frames"]


def test_a_film_without_sound_says_so(processed):
    done = processed(TWO_SCENES, listen=lambda file_path, report: pytest.fail("there is no sound"))
    assert (done["status"], done["result"]["audio"], codes(done["warnings"])) == ("ok", None, ["no_audio"])


def test_sound_that_nothing_here_processes_is_warned_of(processed):
    done = processed(film(steady(picture(1)), sound_s=1.0), listen=None)
    assert (done["result"]["audio"], codes(done["warnings"])) == (None, ["dependency_missing"])


# --- Limits ----------------------------------------------------------------------------------------------------


def test_of_a_film_that_is_too_long_the_beginning_is_looked_at(processed):
    done = processed(FOUR_SCENES, max_media_seconds=2.0)
    assert (done["status"], done["limits"]["hit"]) == ("partial", ["max_media_seconds"])
    assert starts(done) == pytest.approx([0.0, 1.2])
    assert done["result"]["scenes"][-1]["end"] == pytest.approx(2.0)
    assert done["result"]["duration_s"] == pytest.approx(4.8)


def test_no_further_part_is_looked_at_once_the_time_is_over(processed):
    done = processed(TWO_SCENES, video_seconds=0.0)
    assert (done["status"], done["limits"]["hit"]) == ("partial", ["video_seconds"])
    assert done["result"]["video"]["frames"] == 50
    assert [(one["step"], one["code"], one["start"]) for one in done["errors"]] == [
        ("scenes", "timeout", 0.0),
        ("frames", "timeout", 0.0),
    ]
    assert "From 0 s to 2 s the film was not looked at: the time for the film was over" in str(done["errors"])


def test_a_frame_too_large_to_decode_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(film_decoding, "MOST_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(FileError, match="160 by 90 pixels") as error:
        described(TWO_SCENES)
    assert error.value.code == "pixel_limit"


@pytest.mark.parametrize(("height", "code"), [(2_000, "pixel_limit"), (35_000, "corrupt")])
def test_a_frame_that_claims_to_be_huge_is_not_decoded(height, code):
    raw = film([(0.0, picture(1, width=320, height=300))], "matroska", "ffv1")
    width, said = raw.replace(b"\xb0\x82\x01\x40", b"\xb0\x82" + (35_000).to_bytes(2, "big")), height.to_bytes(2, "big")
    with pytest.raises(FileError) as error:
        described(width.replace(b"\xba\x82\x01\x2c", b"\xba\x82" + said))
    assert error.value.code == code


# --- Bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "unsupported_type"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "unsupported_type"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nm=video 9 RTP/AVP 96\r\n", "unsupported_type"),
        (b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>', "unsupported_type"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "corrupt"),
        (b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska", "corrupt"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "corrupt"),
    ],
)
def test_what_is_no_film_is_refused(content, code):
    with pytest.raises(FileError) as error:
        described(content, "film.mp4")
    assert error.value.code == code


def test_a_picture_with_a_films_name_is_sent_to_the_method_for_pictures():
    stored = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stored, "JPEG")
    with pytest.raises(FileError, match="process_image reads it"):
        described(stored.getvalue(), "film.mp4")


def test_sound_in_a_films_container_is_sent_to_the_method_for_sound():
    with pytest.raises(FileError, match="process_audio reads its sound") as error:
        described(sound_only(), "film.mp4")
    assert error.value.code == "unsupported_type"


def test_a_film_without_frames_is_refused():
    empty = film(steady(picture(1), frames=1), "matroska")
    with pytest.raises(FileError, match="cannot be opened") as error:
        described(empty[: empty.index(b"\x1f\x43\xb6\x75")])
    assert error.value.code == "corrupt"


def test_a_film_none_of_whose_frames_can_be_decoded_is_refused():
    start, end = TWO_SCENES.index(b"mdat") + 4, TWO_SCENES.index(b"moov") - 4
    with pytest.raises(FileError, match="no frame that can be decoded"):
        described(TWO_SCENES[:start] + bytes(end - start) + TWO_SCENES[end:])


def test_a_film_that_is_cut_off_is_read_as_far_as_it_goes(processed):
    raw = film(steady(*map(picture, range(6))), "matroska")
    done = processed(raw[: len(raw) // 2], "film.mkv")
    assert "truncated" in codes(done["warnings"])
    assert 1.5 < done["result"]["duration_s"] < 4.5
    assert starts(done)[:2] == pytest.approx([0.0, 1.0])


def test_packets_that_are_missing_cost_what_is_missing(processed):
    raw = film(steady(*map(picture, range(6))), "mpegts")
    middle = len(raw) // 2 // 188 * 188
    done = processed(raw[:middle] + raw[middle + 20 * 188 :], "film.ts")
    assert "corrupt_packets" in codes(done["warnings"])
    assert starts(done)[1] - starts(done)[0] == pytest.approx(1.0)
    assert done["result"]["scenes"][-1]["start"] > 4.5


def test_damage_in_the_middle_is_told_and_what_follows_is_read(processed):
    raw = bytearray(film(steady(*map(picture, range(6)))))
    middle = (raw.index(b"mdat") + raw.index(b"moov")) // 2
    raw[middle : middle + 3_000] = b"\xff" * 3_000
    done = processed(bytes(raw))
    assert "corrupt_frames" in codes(done["warnings"])
    assert done["status"] == "ok"
    assert starts(done)[-1] == pytest.approx(5.0)


def test_a_film_that_is_all_damage_is_given_up(monkeypatch):
    raw = bytearray(TWO_SCENES)
    start = raw.index(b"mdat") + 1_000
    raw[start : start + 6_000] = b"\xff" * 6_000
    monkeypatch.setattr(film_decoding, "MOST_FAULTS", 2)
    with pytest.raises(FileError, match="More than 2 packets"):
        load_video({})["video_scenes"](
            io.BytesIO(bytes(raw)),
            {"kind": "mp4", "threads": 1, "start_pts": 0, "stop_pts": 10**6, "from_start": True, "seconds": 60},
            silent,
        )


def test_times_that_jump_by_years_end_the_film_where_they_jump(processed):
    shots = steady(picture(1), picture(2)) + [(10**8 + n / FPS, picture(3)) for n in range(25)]
    done = processed(film(shots, "matroska"), "film.mkv")
    assert "broken_timestamps" in codes(done["warnings"])
    assert done["result"]["duration_s"] == pytest.approx(2.0, abs=0.1)
    assert starts(done) == pytest.approx([0.0, 1.0])


def test_a_film_that_starts_later_than_its_sound_has_times_from_the_files_start(processed):
    shots = [(at + 1.5, pixels) for at, pixels in steady(picture(1), picture(2))]
    done = processed(film(shots, "matroska", sound_s=3.5), "film.mkv")
    assert starts(done) == pytest.approx([1.5, 2.5], abs=0.03)
    assert done["result"]["frames"][0]["t"] == pytest.approx(2.0, abs=0.05)


def test_a_recording_that_begins_anew_with_another_stream_is_read_up_to_there(processed):
    done = processed(film(steady(picture(1), picture(2)), "mpegts") + film(steady(picture(3)), "mpegts", sound_s=1.0))
    assert "broken_timestamps" in codes(done["warnings"])
    assert starts(done)[1] - starts(done)[0] == pytest.approx(1.0)


def test_frames_without_a_time_get_one_and_those_that_go_back_are_left_out():
    times = iter([None, None, -9, 5, 3, None])
    packets = [SimpleNamespace(is_corrupt=False) for _ in range(6)]
    container = SimpleNamespace(demux=lambda streams: iter(packets))

    def decode(packet):
        return [SimpleNamespace(pts=next(times), dts=None, is_corrupt=False)]

    stream = SimpleNamespace(time_base=Fraction(1, 25), guessed_rate=Fraction(25), decode=decode)
    faults = film_decoding.Faults()
    assert [frame.pts for frame in film_decoding.frames(container, stream, faults)] == [0, 1, 5, 6]
    assert (faults.backwards, faults.damaged) == (2, 0)


def test_frames_that_an_avi_has_in_another_order_than_they_are_shown_in_all_count(processed):
    raw = film(steady(*map(picture, range(4))), "avi", "libx264", bf="2", **{"x264-params": "b-adapt=0"})
    done = processed(raw, "film.avi")
    assert [scene["start_frame"] for scene in done["result"]["scenes"]] == pytest.approx([0, 25, 50, 75], abs=2)
    assert starts(done) == pytest.approx([0.0, 1.0, 2.0, 3.0], abs=0.09)


def test_a_frame_whose_time_is_not_told_has_that_of_its_place_in_the_file():
    shown = [SimpleNamespace(pts=None, dts=at, is_corrupt=False) for at in (1_000, 1_001)]
    container = SimpleNamespace(demux=lambda streams: iter([SimpleNamespace(is_corrupt=False)]))
    stream = SimpleNamespace(time_base=Fraction(1, 25), guessed_rate=None, decode=lambda packet: shown)
    found = film_decoding.frames(container, stream, film_decoding.Faults())
    assert [frame.pts for frame in found] == [1_000, 1_001]


def test_a_stream_that_appears_on_the_way_does_no_harm():
    def demux(streams):
        yield SimpleNamespace(is_corrupt=False)
        raise IndexError  # what PyAV raises at the end of such a file

    shown = [SimpleNamespace(pts=0, dts=0, is_corrupt=False)]
    stream = SimpleNamespace(time_base=Fraction(1, 25), guessed_rate=None, decode=lambda packet: shown)
    faults = film_decoding.Faults()
    assert [frame.pts for frame in film_decoding.frames(SimpleNamespace(demux=demux), stream, faults)] == [0]
    assert faults.damaged == 0


def test_times_before_zero_are_kept():
    container = SimpleNamespace(demux=lambda streams: iter([SimpleNamespace(is_corrupt=False)]))
    shown = [SimpleNamespace(pts=at, dts=at, is_corrupt=False) for at in (-2, -1, 0)]
    stream = SimpleNamespace(time_base=Fraction(1, 25), guessed_rate=None, decode=lambda packet: shown)
    assert [frame.pts for frame in film_decoding.frames(container, stream, film_decoding.Faults())] == [-2, -1, 0]


def test_a_film_of_one_frame_is_one_scene_with_one_frame(processed):
    found = processed(film(steady(picture(1), frames=1)))["result"]
    assert (len(found["scenes"]), len(found["frames"]), found["sprite"]["tiles"]) == (1, 1, 1)


def test_a_film_named_as_something_else_is_read_with_a_warning(processed):
    assert "type_mismatch" in codes(processed(TWO_SCENES, "film.avi")["warnings"])


def test_progress_never_goes_back(tmp_path):
    path, told = tmp_path / "film.mp4", []
    path.write_bytes(FOUR_SCENES)
    tools = VideoTools(path=Path(path), sandbox=HereSandbox(), storage=Shelf(), task_id="t", run_seconds=0.0)
    process_video(ProcessVideo(file_path=str(path)), tools, lambda percent, text: told.append(percent))
    assert told == sorted(told)
    assert told[-1] <= 100
