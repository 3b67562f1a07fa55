"""Pictures: every format is read upright and within limits, and what is damaged says so and gives what it has."""

import base64
import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import AvifImagePlugin, Image, ImageCms, TiffImagePlugin

from drawn import content_of, noise, page, quarters, read_picture, saved
from processors import image_formats, images
from processors.errors import FileError
from processors.image_hashes import blurhash, dhash64, distance, phash64
from processors.image_metadata import described, place_of
from processors.image_text import read_upright
from processors.images import ImageTools, ProcessImage, nearest, process_image
from processors.interfaces import FoundFace, FoundObject, TextLine
from reading import silent

KINDS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP")


# --- Formats and kinds of pixels -------------------------------------------------------------------------------


def test_an_avif_whose_first_brand_is_that_of_any_picture_is_read_as_what_it_is():
    raw = saved(quarters(), "AVIF").replace(b"ftypavif", b"ftypmif1", 1)
    assert (content_of(raw)["format"], content_of(raw)["width"]) == ("avif", 400)


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_read_with_its_size_and_its_colours(kind):
    found = read_picture(saved(quarters(), kind), "quarters")
    content = found["content"]
    assert (content["format"], content["width"], content["height"]) == (found["kind"], 400, 200)
    assert (content["frames"], content["pages"], content["orientation_applied"]) == (1, 1, 1)
    top = sorted(round(colour["share"], 1) for colour in content["colours"])[-4:]
    assert top == pytest.approx([0.2, 0.2, 0.2, 0.2], abs=0.11)
    assert content["warnings"] == []


def test_an_avif_is_decoded_by_one_thread(monkeypatch):
    decoders, real = [], AvifImagePlugin._avif.AvifDecoder
    monkeypatch.setattr(AvifImagePlugin._avif, "AvifDecoder", lambda *given: decoders.append(given[-1]) or real(*given))
    content_of(saved(quarters(), "AVIF"))
    assert decoders == [1]


def test_flat_colours_are_told_exactly_and_their_shares_add_up():
    colours = content_of(saved(quarters(), "PNG"))["colours"]
    assert {one["hex"]: one["share"] for one in colours} == dict.fromkeys(
        ("#ff0000", "#00c000", "#0000ff", "#ffffff"), 0.25
    )


def grey16() -> Image.Image:
    return Image.fromarray((np.arange(256 * 64, dtype=np.uint32).reshape(64, 256) * 4).astype(np.uint16))


@pytest.mark.parametrize(
    ("picture", "kind", "mode"),
    [
        (grey16, "PNG", "I;16"),
        (lambda: Image.fromarray(np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)), "TIFF", "F"),
        (lambda: Image.fromarray(np.arange(64 * 64, dtype=np.int32).reshape(64, 64) * 1000), "TIFF", "I"),
        (lambda: quarters().convert("CMYK"), "JPEG", "CMYK"),
        (lambda: quarters().convert("P"), "PNG", "P"),
        (lambda: quarters().convert("L"), "JPEG", "L"),
        (lambda: quarters().convert("1"), "TIFF", "1"),
        (lambda: quarters().convert("LA"), "PNG", "LA"),
    ],
)
def test_every_kind_of_pixels_is_seen_in_its_whole_range(picture, kind, mode):
    content = content_of(saved(picture(), kind))
    assert content["mode"] == mode
    assert 0.2 < content["quality"]["exposure"] < 0.8


@pytest.mark.parametrize(("value", "exposure"), [(0, 0.0), (300, 0.004), (30_000, 0.459), (65_535, 1.0)])
def test_sixteen_bits_are_scaled_not_cut(value, exposure):
    picture = Image.fromarray(np.full((16, 16), value, np.uint16))
    assert content_of(saved(picture, "PNG"))["quality"]["exposure"] == pytest.approx(exposure, abs=0.001)


def test_numbers_that_are_none_are_pixels_without_light():
    values = np.full((8, 8), np.nan, np.float32)
    values[:4] = 1.0
    assert content_of(saved(Image.fromarray(values), "TIFF"))["quality"]["exposure"] == pytest.approx(0.5, abs=0.01)


def test_transparent_parts_are_seen_over_white_and_stay_transparent_in_thumbnails():
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    found = read_picture(saved(picture, "PNG"))
    assert found["content"]["colours"] == [{"hex": "#ffffff", "share": 1.0}]
    (thumbnail,) = found["artefacts"]
    assert opened(thumbnail).getpixel((20, 20))[3] == 0


def opened(artefact: dict) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(artefact["data"])))


# --- Orientation, frames, pages --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_undone(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = {number: turn for number, turn in image_formats.TURNS.items() if number not in {6, 8}}
    inverse = undo | {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = quarters() if orientation == 1 else quarters().transpose(inverse[orientation])
    found = read_picture(saved(stored, kind, exif=exif.tobytes(), quality=95))
    content = found["content"]
    assert (content["width"], content["height"], content["orientation_applied"]) == (400, 200, orientation)
    assert content["exif"].get("Orientation", 1) == orientation
    corners = [
        opened(found["artefacts"][0]).convert("RGB").getpixel(place) for place in ((20, 20), (230, 20), (20, 100))
    ]
    assert [max(range(3), key=corner.__getitem__) for corner in corners] == [0, 1, 2]


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_is_left_and_told(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = content_of(saved(quarters(), "JPEG", exif=exif))
    assert (content["orientation_applied"], content["width"]) == (1, 400)
    assert [one["code"] for one in content["warnings"]] == ["orientation_unknown"]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_frames_of_an_animation_are_counted(kind):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    content = content_of(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert (content["frames"], content["pages"]) == (3, 1)


def test_the_pages_of_a_tiff_are_counted():
    content = content_of(saved(quarters(), "TIFF", save_all=True, append_images=[noise(), noise()]))
    assert (content["frames"], content["pages"]) == (1, 3)


def test_of_an_heic_with_several_pictures_the_primary_one_is_read():
    first, primary = Image.new("RGB", (64, 48), "#ff0000"), Image.new("RGB", (100, 80), "#0000ff")
    raw = saved(first, "HEIF", save_all=True, append_images=[primary], primary_index=1)
    content = content_of(raw)
    assert (content["width"], content["height"], content["pages"]) == (100, 80, 2)
    assert int(content["colours"][0]["hex"][5:], 16) > 200, "it is blue"


def test_more_frames_than_anybody_looks_at_are_not_counted_on(monkeypatch):
    monkeypatch.setattr(image_formats, "MOST_FRAMES", 5)
    frames = [Image.new("L", (8, 8), number) for number in range(20)]
    content = content_of(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (content["frames"], content["limits_hit"]) == (5, ["max_frames"])


# --- Thumbnails ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((3000, 1500), [(256, 128), (1024, 512)]),
        ((640, 480), [(256, 192), (640, 480)]),
        ((100, 50), [(100, 50)]),
        ((1, 1), [(1, 1)]),
    ],
)
def test_thumbnails_are_webp_of_256_and_1024_pixels_and_never_larger_than_the_picture(size, sizes):
    made = read_picture(saved(Image.new("RGB", size, "teal"), "PNG"))["artefacts"]
    assert [(one["width"], one["height"]) for one in made] == sizes
    assert [(opened(one).format, opened(one).size) for one in made] == [("WEBP", size) for size in sizes]


# --- Hashes and measures ---------------------------------------------------------------------------------------


def test_the_hashes_of_a_picture_hold_where_it_is_scaled_and_packed_and_differ_for_another():
    original = noise(800, 600).resize((80, 60)).resize((800, 600), Image.Resampling.BICUBIC)
    pixels = np.asarray(original)
    smaller = Image.open(io.BytesIO(saved(original.resize((300, 225)), "JPEG", quality=60))).convert("RGB")
    for hashed in (phash64, dhash64):
        assert distance(hashed(pixels), hashed(np.asarray(smaller))) <= 6
        assert distance(hashed(pixels), hashed(np.asarray(noise(800, 600, seed=2)))) > 16


def test_the_difference_hash_goes_row_by_row_with_the_first_bit_first():
    values = np.zeros((8, 9), np.uint8)
    values[0, 1:] = 255  # in the first row, the second point is brighter than the first
    assert dhash64(values) == "8000000000000000"
    values[7, 8:] = 255  # in the last row, the last is
    assert dhash64(values) == "8000000000000001"


def test_the_perceptual_hash_compares_the_lowest_frequencies_with_their_median():
    values = np.full((32, 32), 100, np.uint8)
    assert int(phash64(values), 16) >> 63 == 1, "all light is in the first"
    wave = (128 + 100 * np.cos(np.pi / 32 * 3 * (np.arange(32) + 0.5))).astype(np.uint8)
    bits = f"{int(phash64(np.tile(wave, (32, 1))), 16):064b}"
    assert bits[3] == "1", "three half waves across are the fourth bit of the first row"
    assert f"{int(phash64(np.tile(wave[:, None], (1, 32))), 16):064b}"[24] == "1"


def test_black_has_the_blurhash_that_every_implementation_gives_it():
    assert blurhash(np.zeros((50, 80, 3), np.uint8)) == "L00000fQfQfQfQfQfQfQfQfQfQfQ"


def test_a_blurhash_tells_the_mean_colour():
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
    code = blurhash(np.full((50, 80, 3), (250, 120, 10), np.uint8))[2:6]
    value = sum(alphabet.index(digit) * 83**place for place, digit in enumerate(reversed(code)))
    assert (value >> 16, value >> 8 & 255, value & 255) == (250, 120, 10)


def test_a_blurred_picture_is_less_sharp_and_a_dark_one_less_exposed():
    sharp, soft = noise(), noise().resize((32, 24)).resize((320, 240))
    measured = [content_of(saved(picture, "PNG"))["quality"] for picture in (sharp, soft, Image.new("RGB", (9, 9)))]
    assert measured[0]["sharpness"] > 4 * measured[1]["sharpness"]
    assert (measured[2]["exposure"], measured[2]["dark"]) == (0.0, 1.0)


# --- What a picture says about itself --------------------------------------------------------------------------


def photographed() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131] = "Harbour", "Harbour One", "Firmware 3"
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0x9011], details[0xA434] = "2026:03:03 08:15:00", "+01:00", "Lens 35 mm"
    details[0x829A] = TiffImagePlugin.IFDRational(1, 125)
    details[0x927C] = b"\x01\x02secret of the maker"
    place = exif.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (53.0, 32.0, 45.6), "W", (9.5, 0.0, 0.0)
    place[5], place[6] = b"\x01", 3.5
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return saved(noise(), "JPEG", exif=exif, icc_profile=profile)


def test_exif_is_told_as_it_stands_and_in_plain_words():
    content = content_of(photographed())
    assert (content["camera"], content["lens"], content["software"]) == ("Harbour One", "Lens 35 mm", "Firmware 3")
    assert (content["taken_at"], content["taken_at_offset"]) == ("2026-03-03T08:15:00+01:00", "+01:00")
    assert content["gps"] == {"lat": 53.546, "lon": -9.5, "alt_m": -3.5}
    assert content["exif"]["ExposureTime"] == 0.008
    assert content["exif"]["GPS"]["GPSLatitude"] == [53.0, 32.0, 45.6]
    assert "MakerNote" not in content["exif"]
    assert "sRGB" in content["icc"]


@pytest.mark.parametrize(
    ("tag", "value", "told"),
    [
        (0x9C9B, "Der Hafen von Zürich\0".encode("utf-16-le"), "Der Hafen von Zürich"),
        (0x9286, b"ASCII\0\0\0two boats  ", "two boats"),
        (0x9286, b"UNICODE\0" + "two boats".encode("utf-16-be"), "two boats"),
        (0x9286, b"UNICODE\0" + "港の船".encode("utf-16"), "港の船"),
        (0x9286, bytes(8) + b"two boats", "two boats"),
        (0x9286, bytes(8) + b"two\nboats   " + bytes(9), "two\nboats"),
        (0x9286, bytes(8) + "zwei Schiffe in Zürich".encode(), "zwei Schiffe in Zürich"),
        (0x9286, b"ASCII\0\0\0" + "zwei Schiffe in Zürich".encode(), "zwei Schiffe in Zürich"),
        (0x9286, bytes(8) + b"\1\2boats", "0102" + b"boats".hex()),
        (0x9286, b"\xff" * 9, "ff" * 9),
    ],
)
def test_texts_that_exif_holds_as_bytes_are_told_as_texts(tag, value, told):
    exif = Image.Exif()
    (exif if tag == 0x9C9B else exif.get_ifd(0x8769))[tag] = value
    assert told in content_of(saved(quarters(), "JPEG", exif=exif))["exif"].values()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_western_comment_is_read_in_its_own_order_of_bytes_and_not_the_files(order, encoding):
    exif = Image.Exif()
    exif.endian = order
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "two boats".encode(encoding) + bytes(200)
    assert content_of(saved(quarters(), "JPEG", exif=exif))["exif"]["UserComment"] == "two boats"


def test_how_a_place_was_found_is_told_as_a_text():
    exif = Image.Exif()
    exif.get_ifd(0x8825)[27] = b"ASCII\0\0\0GPS"
    content = content_of(saved(quarters(), "JPEG", exif=exif))
    assert content["exif"]["GPS"] == {"GPSProcessingMethod": "GPS"}


@pytest.mark.parametrize(("order", "encoding"), [("<", "utf-16-le"), (">", "utf-16-be")])
def test_a_comment_that_does_not_mark_its_order_of_bytes_has_the_files(order, encoding):
    exif = Image.Exif()
    exif.endian = order
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "港の船".encode(encoding)
    assert content_of(saved(quarters(), "JPEG", exif=exif))["exif"]["UserComment"] == "港の船"


@pytest.mark.parametrize(
    ("gps", "place"),
    [
        ({"GPSLatitude": [53.5, 0, 0], "GPSLongitude": [9.5]}, {"lat": 53.5, "lon": 9.5, "alt_m": None}),
        ({"GPSLatitude": 53.5, "GPSLatitudeRef": "s", "GPSLongitude": 9}, {"lat": -53.5, "lon": 9.0, "alt_m": None}),
        ({"GPSLatitude": [None, 0, 0], "GPSLongitude": [9, 0, 0]}, None),
        ({"GPSLatitude": [float("nan")], "GPSLongitude": [9]}, None),
        ({"GPSLatitude": [-53], "GPSLongitude": [9]}, None),
        ({"GPSLatitude": [91], "GPSLongitude": [9]}, None),
        ({"GPSLatitude": [1, 2, 3, 4], "GPSLongitude": [9]}, None),
        ({"GPSLatitude": "somewhere", "GPSLongitude": [9]}, None),
        ({"GPSLatitude": [1], "GPSLongitude": [2], "GPSAltitude": "high"}, {"lat": 1.0, "lon": 2.0, "alt_m": None}),
        ({}, None),
    ],
)
def test_a_place_is_told_in_degrees_or_not_at_all(gps, place):
    assert place_of(gps) == place


@pytest.mark.parametrize(
    ("tags", "at"),
    [
        ({"DateTime": "2026:01:02 03:04:05"}, "2026-01-02T03:04:05"),
        ({"DateTimeOriginal": "    :  :     :  :  ", "DateTime": "2026:01:02 03:04:05"}, "2026-01-02T03:04:05"),
        ({"DateTimeOriginal": "2026:01:02 03:04:05", "OffsetTimeOriginal": "late"}, "2026-01-02T03:04:05"),
        ({"DateTime": 4711}, None),
        ({"DateTimeOriginal": "0000:00:00 00:00:00", "DateTime": "2026:01:02 03:04:05"}, "2026-01-02T03:04:05"),
        ({"DateTime": "2024:13:45 99:99:99"}, None),
        ({"DateTime": "2026:01:02 03:04:05", "OffsetTime": "+99:99"}, "2026-01-02T03:04:05"),
    ],
)
def test_the_moment_is_told_with_an_offset_only_where_one_is_known(tags, at):
    assert (described(tags)["taken_at"], described(tags)["taken_at_offset"]) == (at, None)


def test_a_camera_is_named_once():
    assert described({"Make": "Acme", "Model": "Acme X1"})["camera"] == "Acme X1"
    assert described({"Make": "Acme", "Model": "X1"})["camera"] == "Acme X1"


def test_exif_that_points_at_itself_or_nowhere_costs_no_more_than_itself():
    head = b"Exif\0\0II*\0\x08\0\0\0"
    loop = head + struct.pack("<HHHIIHHIII", 2, 0x8769, 4, 1, 8, 0x8825, 4, 1, 8, 8)
    nowhere = head + struct.pack("<HHHIII", 1, 0x010F, 2, 4_000_000, 4_000_000, 8)
    for exif in (loop, nowhere):
        assert content_of(saved(quarters(), "JPEG", exif=exif))["width"] == 400


@pytest.mark.parametrize("exif", [b"garbage", b"MM\0*\xff\xff\xff\xff", b"II*\0"])
def test_damaged_exif_costs_no_more_than_itself(exif):
    raw = saved(quarters(), "PNG")
    content = content_of(raw[:33] + chunk(b"eXIf", exif) + raw[33:])
    assert (content["width"], content["exif"]) == (400, {})
    assert {one["code"] for one in content["warnings"]} <= {"exif_unreadable", "damaged"}
    assert content["warnings"]


# --- Limits and damage -----------------------------------------------------------------------------------------


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded():
    raw = bytearray(saved(Image.new("1", (1, 1)), "PNG"))
    raw[16:24] = struct.pack(">II", 50_000, 50_000)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    with pytest.raises(FileError, match="50000 x 50000 pixels, at most 80000000 are decoded: see MAX_PIXELS") as error:
        read_picture(bytes(raw))
    assert error.value.code == "pixel_limit"


def webp_heads() -> dict[str, bytes]:
    """The first bytes of a WebP of 16 383 x 16 383 pixels in each of its three forms."""
    side = 16_382 + (16_382 << 14)
    return {
        "lossy": b"VP8 " + bytes(10) + struct.pack("<HH", 16_383, 16_383),
        "lossless": b"VP8L" + bytes(4) + b"/" + struct.pack("<I", side) + bytes(8),
        "extended": b"VP8X" + bytes(8) + (16_382).to_bytes(3, "little") * 2,
    }


@pytest.mark.parametrize("form", webp_heads())
def test_a_webp_with_too_many_pixels_is_refused_before_its_decoder_takes_memory(form, monkeypatch):
    monkeypatch.setattr(image_formats.Image, "open", None)
    with pytest.raises(FileError, match="16383 x 16383 pixels") as error:
        read_picture(b"RIFF\0\0\0\0WEBP" + webp_heads()[form])
    assert error.value.code == "pixel_limit"


@pytest.mark.parametrize("flags", [{"lossless": True}, {"quality": 80}, {"exif": b"Exif\0\0"}])
def test_a_webp_with_as_many_pixels_as_are_allowed_is_read(flags):
    raw = saved(quarters(30, 20), "WEBP", **flags)
    assert content_of(raw, max_pixels=600)["width"] == 30
    with pytest.raises(FileError, match="30 x 20 pixels, at most 599"):
        content_of(raw, max_pixels=599)


def test_a_large_page_behind_a_small_one_costs_that_page():
    large = Image.new("1", (3000, 3000))
    raw = saved(quarters(), "TIFF", save_all=True, append_images=[large])
    content = content_of(raw, max_pixels=100_000, extract_text=True, engines=SimpleNamespace(reader=Lines()))
    assert [(one["code"], one["page"]) for one in content["errors"]] == [("pixel_limit", 2)]
    assert content["width"] == 400


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.mark.parametrize("count", [1, 80])
@pytest.mark.parametrize("head", [(b"zTXt", b"Comment\0\0"), (b"iTXt", b"Comment\0\1\0\0\0"), (b"iCCP", b"p\0\0")])
def test_a_bomb_in_the_texts_of_a_png_is_left_out_and_the_picture_is_read(head, count):
    raw = saved(quarters(), "PNG")
    name, start = head
    bomb = chunk(name, start + zlib.compress(b"\0" * (1_000_000 if count > 1 else 8_000_000), 9))
    content = content_of(raw[:33] + bomb * count + raw[33:])
    assert content["colours"][0]["share"] == 0.25
    assert len(content["warnings"]) <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_of_a_truncated_picture_what_is_there_is_used_and_the_rest_is_told(kind):
    raw = saved(noise(), kind)
    content = content_of(raw[: len(raw) * 2 // 3])
    assert (content["width"], content["height"]) == (320, 240)
    assert [one["code"] for one in content["warnings"]] == ["damaged"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_cut_off_after_its_head_is_corrupt_or_told(kind):
    assert set(codes_of(saved(noise(), kind)[:60])) & {"corrupt", "damaged"}


def codes_of(raw: bytes, **more) -> list[str]:
    """How reading went: the code of the error, or those of the warnings."""
    try:
        return [one["code"] for one in content_of(raw, **more)["warnings"]]
    except FileError as error:
        return [error.code]


@pytest.mark.parametrize(
    ("raw", "name", "words"),
    [
        (b"This is no picture at all.\n", "holiday.jpg", "text/plain.*process_document reads it"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://example.com/x'/></svg>", "x.svg", "text/plain"),
        (b"%PDF-1.7\n", "x.png", "application/pdf"),
    ],
)
def test_what_is_no_picture_is_refused_and_says_what_it_is(raw, name, words):
    with pytest.raises(FileError, match=words) as error:
        read_picture(raw, name)
    assert error.value.code == "unsupported_type"


def test_a_gif_without_a_frame_is_corrupt():
    with pytest.raises(FileError) as error:
        read_picture(b"GIF89a\x08\0\x08\0\0\0\0;")
    assert error.value.code == "corrupt"


def test_a_palette_that_is_too_short_is_no_fault():
    picture = Image.new("P", (16, 16), 200)
    picture.putpalette([255, 0, 0])
    assert content_of(saved(picture, "PNG", bits=8))["width"] == 16


def test_runs_of_a_bitmap_that_lead_nowhere_end():
    header = struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, 0, 0, 0, 256, 0)
    body = bytes(1024) + b"\0\2\0\0" * 2_000 + b"\0\0" * 2_000
    raw = b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + 40 + 1024) + header + body
    with pytest.raises(FileError, match="not enough image data") as error:
        read_picture(raw)
    assert error.value.code == "corrupt"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.data())
def test_a_picture_with_wrong_bytes_gives_a_result_or_a_typed_error(kind, data):
    raw = bytearray(saved(quarters(40, 20), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    errors = {"corrupt", "pixel_limit", "unsupported_type"}
    warnings = {"damaged", "exif_unreadable", "gps_unusable", "orientation_unknown"}
    assert set(codes_of(bytes(raw), max_pixels=1_000_000)) <= errors | warnings


# --- Text ------------------------------------------------------------------------------------------------------


class Lines:
    """A reader that gives prepared lines, for the picture as it is and for the turned one."""

    name, version = "lines", "1"

    def __init__(self, upright: float = 0.95, turned: float = 0.0) -> None:
        self.sure, self.read_turned = (upright, turned), []

    def read(self, pixels, *, turn_lines=True):
        assert not turn_lines
        upside_down = bool(self.read_turned)
        self.read_turned.append(upside_down)
        return [TextLine("pump", self.sure[upside_down], (0.1, 0.2, 0.5, 0.3))]


@pytest.mark.parametrize(
    ("upright", "turned", "rotated", "readings"),
    [(0.95, 1.0, 0, 1), (0.7, 0.99, 180, 2), (0.7, 0.72, 0, 2), (0.7, 0.3, 0, 2)],
)
def test_only_an_unsure_reading_is_turned_and_only_for_a_clearly_better_one(upright, turned, rotated, readings):
    reader = Lines(upright, turned)
    found = read_upright(np.zeros((4, 4, 3), np.uint8), reader)
    assert (found.rotated, len(reader.read_turned)) == (rotated, readings)
    expected = (0.5, 0.7, 0.9, 0.8) if rotated else (0.1, 0.2, 0.5, 0.3)
    assert found.lines[0].box == pytest.approx(expected), "boxes are those of the picture as it lies"


def test_text_is_told_line_by_line_with_its_place_and_confidence():
    content = content_of(saved(page("x"), "PNG"), extract_text=True, engines=SimpleNamespace(reader=Lines()))
    ocr = content["ocr"]
    assert ocr["lines"] == [{"page": 1, "text": "pump", "confidence": 0.95, "bbox": [0.1, 0.2, 0.5, 0.3]}]
    assert (ocr["text"], ocr["rotated"], ocr["confidence"]) == ("pump", 0, 0.95)


def test_slow_pages_end_after_their_time_and_those_that_were_read_are_kept():
    raw = saved(page("x"), "TIFF", save_all=True, append_images=[page("x")] * 2)
    content = content_of(raw, extract_text=True, text_seconds=0, engines=SimpleNamespace(reader=Lines()))
    assert (content["limits_hit"], content["pages_skipped"]) == (["text_seconds"], 2)
    assert content["ocr"]["text"] == "pump"
    assert content["steps"][-1]["units"] == {"pages": 1}


def test_every_page_of_a_tiff_is_read_up_to_the_limit():
    raw = saved(page("1"), "TIFF", save_all=True, append_images=[page("2"), page("3")])
    content = content_of(raw, extract_text=True, max_pages=2, engines=SimpleNamespace(reader=Lines()))
    assert [one["page"] for one in content["ocr"]["lines"]] == [1, 2]
    assert (content["limits_hit"], content["pages_skipped"]) == (["max_pages"], 1)


# --- Things, faces, people, tags -------------------------------------------------------------------------------


class Finder:
    """Finds what a test wants."""

    name, version, quality, missing = "finder", "1", "rough", None

    def __init__(self, *found, missing=None) -> None:
        self.found, self.missing = found, missing

    def find(self, pixels):
        return self.found


class Broken:
    """An engine that fails, as a model does for which there is no memory."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name):
        raise self.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileError("The model is gone.", "model_missing"), "model_missing"),
        (ImportError("No module named 'cv2'"), "dependency_missing"),
        (MemoryError(), "memory_limit"),
        (RuntimeError("bad node"), "crashed"),
        (RuntimeError('Traceback:\n  File "/opt/engine.py", line 1\nbad node'), "crashed"),
    ],
)
def test_an_engine_that_fails_costs_its_step_and_no_more(error, code):
    engines = SimpleNamespace(objects=Broken(error), reader=Lines())
    content = content_of(saved(page("x"), "PNG"), detect_objects=True, extract_text=True, engines=engines)
    assert [(one["code"], one["step"]) for one in content["errors"]] == [(code, "objects")]
    assert "/opt/" not in content["errors"][0]["message"], "where an engine lies is nobody's business"
    assert code != "dependency_missing" or "run `make setup`" in content["errors"][0]["message"]
    assert content["objects"] is None
    assert content["ocr"]["text"] == "pump"


class Storage:
    """Keeps artefacts in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, content, *, mime, task_id):
        address = f"store://{len(self.kept)}"
        self.kept[address] = content
        return address


class Sandbox:
    """Runs the job in this process; a `fault` ends it while engines are wanted."""

    def __init__(self, engines=None, fault=None) -> None:
        self.engines, self.fault = engines or SimpleNamespace(), fault

    def run(self, job, path, options, report):
        wanted = any(options[flag] for flag in images.ENGINE_FLAGS)
        if self.fault and wanted:
            raise self.fault
        flags = {key: value for key, value in options.items() if key != "name"}
        return read_picture(path.read_bytes(), options["name"], self.engines, **flags) | {"sandbox": ["test"]}


class Known:
    """People by name."""

    def __init__(self, **people) -> None:
        self.people = people

    def encodings(self):
        return self.people


def processed(path, raw: bytes, engines=None, fault=None, flags=None, **more) -> tuple[dict, Storage]:
    path.write_bytes(raw)
    storage = Storage()
    tools = ImageTools(
        path=path, sandbox=Sandbox(engines, fault), storage=storage, task_id="t", max_pixels=10**7, **more
    )
    usual = {"extract_text": False, "detect_objects": False}
    request = ProcessImage(file_path=str(path), **usual | (flags or {}))
    return process_image(request, tools, silent).as_json(), storage


def test_the_envelope_holds_input_options_provenance_and_artefacts(tmp_path):
    done, storage = processed(tmp_path / "quarters.jpg", saved(quarters(), "PNG"))
    assert (done["schema"], done["status"]) == ("csai.image/1", "ok")
    assert done["options"]["face_recognition"] is False
    assert [one["code"] for one in done["warnings"]] == ["type_mismatch"]
    assert [(one["step"], one["engine"]) for one in done["provenance"]] == [("read", "pillow")]
    assert done["result"]["hashes"]["sha256"] == done["input"]["sha256"]
    assert [(one["kind"], one["width"], one["height"]) for one in done["artefacts"]] == [
        ("thumbnail", 256, 128),
        ("thumbnail", 400, 200),
    ]
    assert done["artefacts"][0]["uri"] in storage.kept


def test_an_engine_that_ends_its_child_leaves_the_picture_without_it(tmp_path):
    fault = FileError("The file made its reader end.", "crashed")
    done, _ = processed(tmp_path / "x.png", saved(quarters(), "PNG"), fault=fault, flags={"extract_text": True})
    assert (done["status"], done["result"]["ocr"], done["result"]["width"]) == ("partial", None, 400)
    assert [one["code"] for one in done["errors"]] == ["crashed"]


def test_a_picture_that_cannot_be_read_is_not_read_twice(tmp_path):
    fault = FileError("It is damaged.", "corrupt")
    with pytest.raises(FileError, match="It is damaged"):
        processed(tmp_path / "x.png", saved(quarters(), "PNG"), fault=fault, flags={"extract_text": True})


def test_faces_are_matched_to_the_nearest_person_and_their_encodings_are_one_artefact(tmp_path):
    ann, bob = [0.1] * 128, [-0.1] * 128
    points = [(0.4, 0.1), (0.3, 0.1), (0.1, 0.1), (0.2, 0.1), (0.25, 1.2)]
    finder = Finder(FoundFace(0.9, (0, 0, 0.5, 0.5), ann, points), FoundFace(0.8, (0.5, 0.5, 1, 1), [1.0] * 128))
    people = Known(Ann=[bob, [0.12] * 128], Bob=[bob])
    done, storage = processed(
        tmp_path / "x.png",
        saved(quarters(), "PNG"),
        SimpleNamespace(faces=finder),
        flags={"face_recognition": True},
        people=people,
    )
    first, second = done["result"]["faces"]
    assert first["match"] == {"name": "Ann", "distance": pytest.approx(0.2263, abs=1e-3)}
    assert (second["match"], second["landmarks"]) == (None, None)
    assert first["landmarks"] == [[0.4, 0.1], [0.3, 0.1], [0.1, 0.1], [0.2, 0.1], [0.25, 1.0]], "within the picture"
    artefact = done["artefacts"][-1]
    assert (artefact["kind"], artefact["count"], artefact["dimensions"]) == ("encodings", 2, 128)
    assert (first["encoding"], second["encoding"]["index"]) == ({"uri": artefact["uri"], "index": 0}, 1)
    assert np.frombuffer(storage.kept[artefact["uri"]], "<f4").reshape(2, 128)[0] == pytest.approx(ann)


def test_nobody_is_matched_from_a_distance_of_a_half_on():
    known = {"Ann": [[0.0] * 128]}
    at = [0.5, *[0.0] * 127]
    assert nearest(at, known) is None
    assert nearest([0.49, *[0.0] * 127], known) == {"name": "Ann", "distance": 0.49}
    assert nearest(at, {}) is None


def test_faces_without_a_model_have_boxes_and_a_warning_that_says_how_to_get_it(tmp_path):
    finder = Finder(FoundFace(0.9, (0, 0, 0.5, 0.5), None), missing="Get it by `make setup`.")
    done, _ = processed(
        tmp_path / "x.png", saved(quarters(), "PNG"), SimpleNamespace(faces=finder), flags={"face_recognition": True}
    )
    assert done["result"]["faces"] == [
        {"bbox": [0, 0, 0.5, 0.5], "confidence": 0.9, "landmarks": None, "encoding": None, "match": None}
    ]
    assert [(one["code"], one["message"]) for one in done["warnings"]] == [("model_missing", "Get it by `make setup`.")]
    assert "encodings" not in [one["kind"] for one in done["artefacts"]]


def test_long_text_is_an_artefact_and_its_beginning_is_shown(tmp_path):
    done, storage = processed(
        tmp_path / "x.png",
        saved(page("x"), "PNG"),
        SimpleNamespace(reader=Lines()),
        flags={"extract_text": True},
        inline_text_kb=0,
    )
    assert (done["result"]["ocr"]["truncated"], done["result"]["ocr"]["lines"]) == (True, [])
    assert b'"text": "pump"' in storage.kept[done["artefacts"][-1]["uri"]]


def tags(path, raw, engines=None, **flags) -> dict[str, str]:
    done, _ = processed(path, raw, engines, flags=flags)
    return {one["tag"]: one["source"] for one in done["result"]["tags"]}


def test_tags_tell_what_was_found_and_by_what(tmp_path):
    engines = SimpleNamespace(
        reader=Lines(),
        objects=Finder(FoundObject("boat", 0.8, (0, 0, 1, 1), "onnx:x")),
        faces=Finder(FoundFace(0.9, (0, 0, 1, 1), None), FoundFace(0.7, (0, 0, 1, 1), None)),
    )
    every = {"extract_text": True, "detect_objects": True, "face_recognition": True}
    found = tags(tmp_path / "x.jpg", photographed(), engines, **every)
    expected = {"boat": "onnx:x", "2 faces": "dlib", "text": "ocr", "photo": "exif", "place known": "exif"}
    assert found.items() >= {**expected, "camera: Harbour One": "exif", "landscape": "dimensions"}.items()


def test_drawings_are_told_from_noise_gradients_and_what_is_blurred(tmp_path):
    others = (
        noise(),
        noise(40, 30).resize((640, 480), Image.Resampling.BICUBIC),
        Image.radial_gradient("L").convert("RGB"),
        Image.new("RGB", (64, 64), "#050505"),
    )
    for kind in ("PNG", "JPEG", "WEBP"):
        assert "drawing" in tags(tmp_path / "drawn", saved(quarters(), kind))
        assert not [one for one in others if "drawing" in tags(tmp_path / "other", saved(one, kind))]


def test_no_tags_are_made_where_none_are_wanted(tmp_path):
    done, _ = processed(tmp_path / "x.png", saved(quarters(), "PNG"), flags={"generate_tags": False})
    assert done["result"]["tags"] is None


def test_colours_have_their_plain_names(tmp_path):
    for code, name in {"#8b4513": "brown", "#ffa500": "orange", "#000080": "blue", "#111111": "black"}.items():
        assert name in tags(tmp_path / "x.png", saved(Image.new("RGB", (20, 20), code), "PNG"))
