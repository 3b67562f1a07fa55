"""Pictures out of a film: frames at given times, tiles of a preview, and the frame that shows the film best."""

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, BinaryIO, cast

from processors.envelopes import packed
from processors.errors import FileError
from processors.film_decoding import Allowance, Faults, Scaler, display_size, film_stream, frames, numpy_module
from processors.interfaces import Report
from processors.media_streams import opened

FRAME_EDGE, THUMBNAIL_EDGE, TILE_EDGE = 1_280, 640, 160
JPEG_QUALITY, WEBP_QUALITY = 85, 80
AHEAD_S = 5.0
"""A frame that lies this near is reached by decoding, a farther one by a jump."""

DARK, BRIGHT, BLANK = 32.0, 235.0, 12.0
"""Mean of the brightness, and its standard deviation, of frames that show nothing; 0 to 255."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a frame looks: sharpness (variance of the Laplacian), mean of the brightness, and its standard deviation."""

    sharpness: float
    brightness: float
    contrast: float

    @property
    def shows_something(self) -> bool:
        """Whether the frame is neither dark nor bright nor blank."""
        return DARK <= self.brightness <= BRIGHT and self.contrast >= BLANK

    @property
    def rank(self) -> tuple[bool, float]:
        """What the best frame has most of."""
        return self.shows_something, self.sharpness if self.shows_something else self.contrast


class Walk:
    """Walks through a film forwards, decoding what lies near and jumping to what lies far.

    Args:
        container: open.
        stream: as `film_stream` returned it.
        faults: counts what is left out.
    """

    def __init__(self, container: Any, stream: Any, faults: Faults) -> None:
        self._container, self._stream, self._faults = container, stream, faults
        self._decoded: Iterator[Any] = iter(())
        self._shown: Any = None
        self._following: Any = None
        self._near_s = AHEAD_S

    def to(self, pts: int) -> Any:
        """Return the frame that is shown at a time: the last that begins at or before it, else the first; or None."""
        if self._shown is None or self._ahead_s(pts) > self._near_s:
            self._jump(pts)
        while self._following is not None and self._following.pts <= pts:
            self._shown, self._following = self._following, next(self._decoded, None)
        return self._shown

    def _jump(self, pts: int) -> None:
        """Go on at a key frame before a time; where that leads back, all that is no farther is decoded from then on."""
        before = self._shown
        self._decoded = frames(self._container, self._stream, self._faults, pts)
        self._shown, self._following = next(self._decoded, None), next(self._decoded, None)
        if before is not None and self._shown is not None and self._shown.pts <= before.pts:
            self._near_s = self._ahead_s(pts)

    def _ahead_s(self, pts: int) -> float:
        return float((pts - self._shown.pts) * self._stream.time_base)


def take_frames(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Take frames out of a film.

    Args:
        file: open, seekable, read-only.
        options: `kind`, `threads`, `start_s` (what time 0 is), `seconds` after which it stops early, and `wanted`:
            pairs of a PTS, ascending, and what the frame that is shown then is for: `frame`, `tile`, or both.
        report: told how far it is.

    Returns:
        JSON values: `frames` (each as `packed` returns it, with `t`, `pts`, `phash64`, `sha256`, `width`, `height`),
        `tiles` (`t`, the PTS that was `wanted`, `width`, `height` and `data`: rows of red, green, blue, as base64),
        `best` (the picture of the tile that shows most, packed, with its `look`; or None), `done` (how many of the
        wanted were looked for), and `damaged`.

    Raises:
        FileError: the film is too damaged.
    """
    wanted: list[tuple[int, list[str]]] = [(int(pts), list(uses)) for pts, uses in options["wanted"]]
    faults, allowance = Faults(), Allowance.of(float(options["seconds"]))
    done = 0
    with opened(file, str(options["kind"])) as container:
        stream = film_stream(container, int(options["threads"]))
        walk, taken = Walk(container, stream, faults), _Taken(stream, float(options["start_s"]))
        for pts, uses in wanted:
            frame = walk.to(pts)
            if frame is not None and "frame" in uses:
                taken.add_frame(frame)
            if frame is not None and "tile" in uses:
                taken.add_tile(frame, pts)
            done += 1
            report(100 * done / len(wanted), "taking frames")
            if allowance.spent:
                break
    return taken.as_json() | {"done": done, "damaged": faults.damaged}


class _Taken:
    """The pictures that were taken so far."""

    def __init__(self, stream: Any, start_s: float) -> None:
        self._start_s = start_s
        self._large, self._middle = (Scaler(display_size(stream), edge) for edge in (FRAME_EDGE, THUMBNAIL_EDGE))
        self._frames: list[dict[str, Any]] = []
        self._tiles: list[dict[str, Any]] = []
        self._best: tuple[Look, Any, float] | None = None

    def add_frame(self, frame: Any) -> None:
        """Keep a frame as a picture of its own."""
        if self._frames and self._frames[-1]["pts"] == frame.pts:
            return
        picture = _image(self._large.picture(frame))
        content = encoded(picture, "JPEG", JPEG_QUALITY)
        own = {"t": self._time(frame), "pts": frame.pts, "width": picture.width, "height": picture.height}
        marks = {
            "phash64": import_module("processors.image_hashes").phash64(numpy_module().asarray(picture)),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        self._frames.append(packed("frame", content, "image/jpeg", **own, **marks))

    def add_tile(self, frame: Any, wanted: int) -> None:
        """Keep a small picture of a frame, and the frame itself where it shows more than those before."""
        pixels = self._middle.picture(frame)
        look = look_of(pixels)
        if self._best is None or look.rank > self._best[0].rank:
            self._best = look, pixels, self._time(frame)
        tile = _image(pixels)
        tile.thumbnail((TILE_EDGE, TILE_EDGE))
        data = base64.b64encode(tile.tobytes()).decode()
        size = {"width": tile.width, "height": tile.height}
        self._tiles.append({"t": self._time(frame), "wanted": wanted, "data": data} | size)

    def as_json(self) -> dict[str, Any]:
        """Return what a child hands to its parent."""
        return {"frames": self._frames, "tiles": self._tiles, "best": self._best and _thumbnail(*self._best)}

    def _time(self, frame: Any) -> float:
        return round(float(frame.pts * frame.time_base) - self._start_s, 3)


def look_of(pixels: Any) -> Look:
    """Tell how a picture looks: an array of bytes, height by width by red, green, blue."""
    grey = pixels.mean(axis=2)
    inner = grey[1:-1, 1:-1]
    edges = 4 * inner - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    sharpness = float(edges.var()) if edges.size else 0.0
    return Look(round(sharpness, 2), round(float(grey.mean()), 2), round(float(grey.std()), 2))


def sheet(tiles: Sequence[Mapping[str, Any] | None], columns: int) -> bytes:
    """Return one WebP picture of tiles of the same size, side by side and row by row.

    Args:
        tiles: as `take_frames` returned them; None leaves a place black, so that those behind it keep theirs.
        columns: tiles in a row.

    Raises:
        FileError: a tile is not what it says.
    """
    one = next(tile for tile in tiles if tile is not None)
    width, height = int(one["width"]), int(one["height"])
    if not 0 < width <= TILE_EDGE or not 0 < height <= TILE_EDGE:
        raise FileError("The file made its reader return pictures of an impossible size.", "crashed")
    image = cast("Any", import_module("PIL.Image"))
    whole = image.new("RGB", (columns * width, -(-len(tiles) // columns) * height))
    for at, tile in enumerate(tiles):
        if tile is None:
            continue
        try:
            picture = image.frombytes("RGB", (width, height), base64.b64decode(tile["data"]))
        except ValueError as error:
            raise FileError("The file made its reader return damaged pictures.", "crashed") from error
        whole.paste(picture, (at % columns * width, at // columns * height))
    return encoded(whole, "WEBP", WEBP_QUALITY)


def encoded(picture: Any, form: str, quality: int) -> bytes:
    """Return a picture as a file's content."""
    stored = io.BytesIO()
    picture.save(stored, form, quality=quality)
    return stored.getvalue()


def _thumbnail(look: Look, pixels: Any, time: float) -> dict[str, Any]:
    picture = _image(pixels)
    own = {"t": time, "width": picture.width, "height": picture.height}
    content = encoded(picture, "WEBP", WEBP_QUALITY)
    return {"look": asdict(look), "packed": packed("thumbnail", content, "image/webp", **own)}


def _image(pixels: Any) -> Any:
    return cast("Any", import_module("PIL.Image")).fromarray(pixels)
