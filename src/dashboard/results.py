"""What came of a task as people look at it: texts, tables, pictures with boxes, sound with its words, files.

A result is JSON of any shape: an adopter's task may name a schema of ours. What is not as it is expected is left out
here, and is in the JSON below it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast
from urllib.parse import urlencode

from dashboard.words import short_span, size
from processors.messages import is_html
from processors.stored_places import name_at, uri_in
from web.downloads import HARMLESS

MOST_ROWS = 200
MOST_TABLES = 20
MOST_PICTURES = 60
MOST_FILES = 200
MOST_DEPTH = 8
MOST_CELLS = 30
MOST_NUMBER = 1e15
LONGEST_CELL = 500
SAID = "What is said"
NOT_PLAYED = (
    "It is not played here: the file is no upload, nor on this machine in a folder of FILE_ROOTS as it was read."
)
ENDINGS = {
    "application/json": "json",
    "application/x-npz": "npz",
    "application/x-subrip": "srt",
    "audio/flac": "flac",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "text/markdown": "md",
    "text/plain": "txt",
    "text/vtt": "vtt",
}

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Link:
    """A cell that leads somewhere.

    Attributes:
        saves: whether that is a file to be saved.
    """

    text: str
    path: str
    saves: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A cell that says where in a sound or film something is, in seconds."""

    text: str
    seconds: float


Cell = str | Link | Place


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, in shares of its sides.

    Attributes:
        label: what it is; empty where the picture itself says it.
    """

    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the storage."""

    label: str
    path: str
    width: int
    height: int
    boxes: Sequence[Box] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A part of what is shown: that of its kind alone is given.

    Attributes:
        kind: `facts`, `text`, `note` (a text without a title), `table`, `pictures`, `player` (its rows are what is
            said), or `mail` (a page at its path, a text, or both).
        more: how many rows or pictures are left out.
    """

    kind: str
    title: str
    facts: Sequence[tuple[str, str]] = ()
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    pictures: Sequence[Picture] = ()
    more: int = 0
    path: str = ""
    captions: str = ""


@dataclass(slots=True)
class _Found:
    """An artefact wherever it is named in a result."""

    sha256: str
    kind: str
    mime: str
    bytes: int | None
    more: Json = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Source:
    """Where the file is that a task has read.

    Attributes:
        place: as its arguments say it.
        own: the page that has it, where it is on this machine.
    """

    place: str
    own: str


Shape = Callable[[Json, list[_Found], Source], list[Block]]
"""Shows a result, with the artefacts that it names, of a task that has read this file."""


def blocks_of(result: Any, arguments: Json, own: str = "") -> list[Block]:
    """Return how a result is shown, before its JSON.

    Args:
        result: of a task that ended, secrets masked.
        arguments: by name, of the task.
        own: the page that has the file which it has read, where that is on this machine.
    """
    if not isinstance(result, Mapping):
        return [_text("Result", result)] if isinstance(result, str) and result else []
    given = cast("Json", result)
    schema = str(given.get("schema", "")).partition("/")[0]
    files = _files(given)
    found: list[Block] = []
    if schema == "csai.file":
        found.append(_facts("Way", given, ("route", "why", "confidence")))
        inner = _json(given, "detail")
        schema, given = str(inner.get("schema", "")).partition("/")[0], inner
    if schema == "csai.ai_request":
        inner = _json(given, "result")
        schema = AI_SCHEMAS.get(_cell(inner.get("request_type")), "")
        given = {**given, "result": _json(inner, "output")}
    shape = SHAPES.get(schema) or _by_keys(given)
    if shape is not None:
        place = arguments.get("file_path")
        found += shape(given, files, Source(place if isinstance(place, str) else "", own))
    found += [_said(given), _file_table(files)]
    return [block for block in found if _has_something(block)]


def _has_something(block: Block) -> bool:
    return bool(block.facts or block.text or block.rows or block.pictures or block.path)


# --- Kinds --------------------------------------------------------------------------------------------------------


def _document(given: Json, files: list[_Found], _source: Source) -> list[Block]:
    result = _json(given, "result")
    language = _json(result, "language")
    pages = _jsons(result, "pages")
    facts = [
        *_pairs(result, ("kind", "characters")),
        ("pages", str(len(pages)) if pages else ""),
        ("language", _cell(language.get("language"))),
    ]
    tables: list[Block] = []
    for number, table in enumerate(_jsons(result, "tables")[:MOST_TABLES], 1):
        rows = [_cells(row) for row in _list(table, "rows")]
        title = _cell(table.get("title")) or f"Table {number}"
        page = f", page {table['page']}" if table.get("page") else ""
        tables.append(_table(f"{title}{page}", rows[0] if rows else [], rows[1:]))
    return [
        Block("facts", "Document", facts=_kept(facts)),
        _text("Summary", _json(result, "summary").get("text")),
        Block("pictures", "Pages", **_strip(files, "page_image", lambda one: f"page {one.more.get('page', '')}")),
        _text("Text" + (", its beginning" if result.get("text_truncated") else ""), result.get("text")),
        *tables,
        _rows_of("Pages", pages, {"n": "Page", "source": "Read from", "confidence": "Confidence", "title": "Title"}),
        _facts("Metadata", _json(result, "metadata"), tuple(_json(result, "metadata"))[:MOST_CELLS]),
    ]


def _image(given: Json, files: list[_Found], _source: Source) -> list[Block]:
    result = _json(given, "result")
    faces, objects = _jsons(result, "faces"), _jsons(result, "objects")
    ocr = _json(result, "ocr")
    boxes = [
        *_boxes(objects, lambda one: _cell(one.get("label"))),
        *_boxes(faces, lambda one: _cell(_json(one, "match").get("name")) or "face"),
        *_boxes(_jsons(ocr, "lines"), lambda _one: ""),
    ]
    largest = max(
        (one for one in files if one.kind == "thumbnail"), key=lambda one: _int(one.more, "width"), default=None
    )
    pictures = [] if largest is None else [_picture(largest, "The picture, with what was found in it", boxes)]
    seen = [
        *((_cell(one.get("label")), _share(one.get("confidence"))) for one in objects),
        *((_cell(_json(one, "match").get("name")) or "face", _share(one.get("confidence"))) for one in faces),
    ]
    facts = ("format", "width", "height", "frames", "camera", "lens", "taken_at")
    tags = ", ".join(_cell(one.get("tag")) for one in _jsons(result, "tags"))
    return [
        Block("pictures", "Picture", pictures=pictures),
        Block("facts", "Picture", facts=[*_pairs(result, facts), *_kept([("tags", tags)])]),
        _table("Found in it", ["What", "Confidence"], [[what, share] for what, share in seen]),
        _text("Text in it", ocr.get("text")),
    ]


def _audio(given: Json, files: list[_Found], source: Source) -> list[Block]:
    result = _json(given, "result")
    return [
        *_player("audio", given, files, source, _json(result, "transcript")),
        _facts("Sound", result, ("duration_s", "container", "codec", "sample_rate", "channels")),
    ]


def _video(given: Json, files: list[_Found], source: Source) -> list[Block]:
    result = _json(given, "result")
    picture = _json(result, "video")
    sound = _json(_json(result, "audio"), "result") or _json(result, "audio")
    scenes = {"start": "From", "end": "Until"}
    return [
        *_player("video", given, files, source, _json(sound, "transcript")),
        Block(
            "facts",
            "Film",
            facts=[*_pairs(result, ("duration_s", "container")), *_pairs(picture, ("codec", "width", "height"))],
        ),
        Block("pictures", "Frames", **_strip(files, "frame", lambda one: f"at {_seconds(one.more.get('t'))}")),
        _rows_of("Scenes", _jsons(result, "scenes"), scenes, _seconds),
    ]


def _archive(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    result = _json(given, "result")
    columns = {"name": "Name", "type": "Type", "bytes": "Bytes", "status": "Status", "route": "Read as", "why": "Why"}
    return [
        _facts("Archive", result, ("kind", "bytes")),
        _rows_of("Members", _jsons(result, "members"), columns),
    ]


def _chat(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    result = _json(given, "result")
    answer = _json(result, "message").get("content")
    return [_text("Answer", answer), _facts("Answer", result, ("model", "provider", "finish_reason", "cached"))]


def _read_text(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    result = _json(given, "result")
    keywords = ", ".join(_cell(one.get("text")) for one in _jsons(result, "keywords"))
    return [
        Block("facts", "Text", facts=[*_pairs(result, ("language", "characters")), *_kept([("keywords", keywords)])]),
        _text("Summary", _json(result, "summary").get("text")),
        _text("Text" + (", its beginning" if result.get("truncated") else ""), result.get("text")),
        _rows_of("Found in it", _jsons(result, "entities"), {"kind": "Kind", "text": "Text", "value": "Value"}),
    ]


def _sentiment(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    result = _json(given, "result")
    names = ("label", "polarity", "magnitude", "confidence", "language")
    columns = {"text": "Sentence", "label": "Label", "polarity": "Polarity"}
    return [_facts("Sentiment", result, names), _rows_of("Sentences", _jsons(result, "sentences"), columns)]


def _embedding(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    names = ("model", "provider", "dimensions", "normalized", "dtype", "tokens")
    return [_facts("Vector", _json(given, "result"), names)]


SHAPES: dict[str, Shape] = {
    "csai.document": _document,
    "csai.image": _image,
    "csai.audio": _audio,
    "csai.video": _video,
    "csai.archive": _archive,
    "csai.chat": _chat,
    "csai.text": _read_text,
    "csai.sentiment": _sentiment,
    "csai.embedding": _embedding,
}


AI_SCHEMAS = {
    "chat": "csai.chat",
    "embedding": "csai.embedding",
    "extract_text": "csai.text",
    "sentiment": "csai.sentiment",
}
"""How the answer to an AI request is shown, by the request's kind."""


def _by_keys(given: Json) -> Shape | None:
    """Return how a result without a schema is shown, by what it has."""
    return next((shape for keys, shape in KNOWN_BY if keys <= given.keys()), None)


def _acted(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    changed = [[_task(one)] for one in _list(given, "task_ids")]
    return [_facts("Tasks", given, ("changed",)), _table("Changed", ["Task"], changed), _skipped(given)]


def _retried(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    return [_table("Submitted again", ["New task"], [[_task(one)] for one in _list(given, "retried")]), _skipped(given)]


def _skipped(given: Json) -> Block:
    rows = [[_task(one.get("task_id")), _cell(one.get("why"))] for one in _jsons(given, "skipped")]
    return _table("Skipped", ["Task", "Why"], rows)


def _checked(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    columns = {"name": "What", "status": "State", "detail": "Found", "seconds": "Seconds"}
    return [
        _facts("Health", given, ("status", "version", "checked_at")),
        _rows_of("Checks", _jsons(given, "checks"), columns),
    ]


def _notified(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    rows: list[list[Cell]] = []
    channels = _json(given, "channels")
    for name in channels:
        told = _json(channels, name)
        rest = [f"{key}: {_cell(value)}" for key, value in told.items() if key not in {"status", "task_id"}]
        rows.append([_cell(name), _cell(told.get("status")), _task(told.get("task_id")), _cell(", ".join(rest))])
    return [
        _facts("Notification", given, ("status", "code")),
        _table("Channels", ["Channel", "State", "Task", "More"], rows),
    ]


def _bulk(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    names = tuple(name for name, value in given.items() if isinstance(value, (str, int, float)) and value != 0)
    return [_facts("Mails", given, names), _rows_of("Failures", _jsons(given, "failures"))]


def _mailed(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    return [_facts("Mail", given, ("status", "transport", "message_id", "size", "attempts", "response"))]


def _previewed(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    invalid = _json(given, "invalid")
    who = [
        *([_cell(one), "would get it"] for one in _list(given, "accepted")),
        *([_cell(one), _cell(invalid[one])] for one in invalid),
    ]
    columns = {"name": "Name", "type": "Type", "size": "Bytes", "cid": "Shown as"}
    return [
        _facts("Preview", given, ("subject", "message_id", "size")),
        _table("Recipients", ["Recipient", "What of it"], who),
        _rows_of("Enclosed", _jsons(given, "attachments"), columns),
        _rows_of("Header", _jsons(given, "headers"), {"name": "Name", "value": "Value"}),
    ]


PREVIEW = frozenset({"html", "text", "headers", "accepted"})
"""What a look at a mail before it is sent has."""


def mail_of(result: Any, arguments: Json) -> tuple[str, str]:
    """Return the page and the text of a mail, as its preview or the task's arguments have them; empty for none.

    Args:
        result: of the task.
        arguments: by name. What a template makes of them stands in the mail alone.
    """
    told: Json = cast("Json", result) if isinstance(result, Mapping) else {}
    if told.keys() >= PREVIEW:
        return _str(told, "html"), _str(told, "text")
    body, page = _str(arguments, "body"), _str(arguments, "html_body")
    return (body, "") if not page and is_html(body) else (page, body)


def _call(given: Json, _files_of: list[_Found], _source: Source) -> list[Block]:
    names = tuple(name for name, value in given.items() if isinstance(value, (str, int, float)))
    states = [[name, _cell(count)] for name, count in _json(given, "by_state").items()]
    return [_facts("Call", given, names), _table("Members", ["State", "Count"], states)]


KNOWN_BY: tuple[tuple[frozenset[str], Shape], ...] = (
    (PREVIEW, _previewed),
    (frozenset({"changed", "task_ids", "skipped"}), _acted),
    (frozenset({"retried", "skipped"}), _retried),
    (frozenset({"checks", "version", "status"}), _checked),
    (frozenset({"channels", "status"}), _notified),
    (frozenset({"bulk_id", "sent"}), _bulk),
    (frozenset({"message_id", "transport"}), _mailed),
    (frozenset({"call_sid"}), _call),
    (frozenset({"campaign_id"}), _call),
)


# --- What results share -------------------------------------------------------------------------------------------


def _said(given: Json) -> Block:
    """Return what a result warns of."""
    rows = [
        [name, _cell(one.get("code")), _cell(one.get("message"))]
        for name, key in (("warning", "warnings"), ("error", "errors"))
        for one in _jsons(given, key)
    ]
    return _table("What went wrong beside it", ["Kind", "Code", "What"], rows)


def _player(kind: str, given: Json, files: list[_Found], source: Source, transcript: Json) -> list[Block]:
    """Return what plays the file itself, where it can be had and browsers know its type, and what is said in it."""
    path, facts = _played_at(kind, given, source), _facts("Words", transcript, ("language", "segment_count"))
    captions = next((_path(one) for one in files if one.kind == "transcript" and one.mime == "text/vtt"), "")
    player = Block("player", kind, path=path, captions=captions)
    rows = [
        [_place(one.get("start"), path), _cell(one.get("speaker")), _cell(one.get("text"))]
        for one in _jsons(transcript, "segments")
    ]
    said = _table(SAID, ["From", "Who", "Words"], rows)
    if not path and _type(given).startswith(f"{kind}/"):
        player = Block("note", kind, text=NOT_PLAYED)
    if not rows:
        beginning = ", its beginning" if transcript.get("text_truncated") else ""
        return [player, _text(f"{SAID}{beginning}", transcript.get("text")), facts]
    if not path:
        return [player, said, facts]
    return [replace(player, columns=said.columns, rows=said.rows, more=said.more), facts]


def _played_at(kind: str, given: Json, source: Source) -> str:
    """Return where a browser finds the file that a result is of, if it can play it; an empty text if not."""
    mime, uri = _type(given), uri_in(source.place)
    if not mime.startswith(f"{kind}/"):
        return ""
    return source.own if uri is None else artefact_path(uri.rpartition("/")[2], name_at(source.place), mime)


def _place(start: Any, path: str) -> Cell:
    """Return when something is said; where there is a player, as what it can be played from."""
    seconds = _number(start)
    return Place(_seconds(start), max(0.0, seconds)) if path and seconds is not None else _seconds(start)


def played(result: Any) -> tuple[str, int] | None:
    """Return the type and the bytes of the sound or film that a result is of; None where browsers cannot play it."""
    if not isinstance(result, Mapping):
        return None
    given = _json(cast("Json", result), "detail") or cast("Json", result)
    mime, count = _type(given), _json(given, "input").get("bytes")
    return (mime, count) if mime.startswith(("audio/", "video/")) and isinstance(count, int) else None


def _type(given: Json) -> str:
    """Return the type of the file that a result is of, if browsers know it and run nothing in it."""
    mime = _cell(_json(given, "input").get("detected_type"))
    return mime if mime in HARMLESS else ""


def _files(given: Json) -> list[_Found]:
    """Return the artefacts that a result names, each once."""
    named = [one for one in map(_artefact, _dicts(given, 0)) if one is not None]
    typed = {one.sha256 for one in named if one.mime}
    found: dict[tuple[str, str], _Found] = {}
    for one in named:
        if one.mime or one.sha256 not in typed:
            found.setdefault((one.sha256, one.mime), one)
    return list(found.values())[:MOST_FILES]


def _artefact(given: Json) -> _Found | None:
    uri, count = given.get("uri"), given.get("bytes")
    stored = uri_in(uri) if isinstance(uri, str) else None
    if stored is None:
        return None
    kind, size_of = _cell(given.get("kind")) or "file", count if isinstance(count, int) else None
    return _Found(stored.rpartition("/")[2], kind, _cell(given.get("mime")), size_of, given)


def _dicts(value: Any, depth: int) -> Iterator[Json]:
    if depth > MOST_DEPTH:
        return
    if isinstance(value, Mapping):
        inner = cast("Json", value)
        yield inner
        for one in inner.values():
            yield from _dicts(one, depth + 1)
    elif isinstance(value, list):
        for one in cast("list[Any]", value):
            yield from _dicts(one, depth + 1)


def _file_table(files: list[_Found]) -> Block:
    rows = [
        [Link(_name(one), _path(one), saves=True), one.mime, "" if one.bytes is None else size(one.bytes)]
        for one in files
    ]
    return _table("Files", ["Name", "Type", "Size"], rows)


def _name(one: _Found) -> str:
    given = one.more.get("name") or one.more.get("member")
    if isinstance(given, str) and given:
        return given[:LONGEST_CELL]
    place = next((f"-{one.more[key]}" for key in ("page", "t", "width") if _number(one.more.get(key)) is not None), "")
    ending = ENDINGS.get(one.mime, "")
    return f"{one.kind}{place}" + (f".{ending}" if ending else "")


def _path(one: _Found) -> str:
    return artefact_path(one.sha256, _name(one), one.mime)


def artefact_path(sha256: str, name: str, mime: str) -> str:
    """Return where an artefact is had, under a name and as what it is."""
    return f"/artefacts/{sha256}?{urlencode({'name': name, 'type': mime})}"


def _strip(files: list[_Found], kind: str, label: Callable[[_Found], str]) -> dict[str, Any]:
    mine = [one for one in files if one.kind == kind and one.mime.startswith("image/")]
    shown = [_picture(one, label(one)) for one in mine[:MOST_PICTURES]]
    return {"pictures": shown, "more": len(mine) - len(shown)}


def _picture(one: _Found, label: str, boxes: Sequence[Box] = ()) -> Picture:
    return Picture(label, _path(one), _int(one.more, "width"), _int(one.more, "height"), boxes)


def _boxes(found: list[Json], label: Callable[[Json], str]) -> list[Box]:
    boxes: list[Box] = []
    for one in found[:MOST_ROWS]:
        corners = [value for value in map(_number, _list(one, "bbox")) if value is not None]
        if len(corners) == len(("x0", "y0", "x1", "y1")):
            x0, y0, x1, y1 = (min(1.0, max(0.0, value)) for value in corners)
            boxes.append(Box(label(one), x0, y0, max(0.0, x1 - x0), max(0.0, y1 - y0)))
    return boxes


# --- Parts of a block ---------------------------------------------------------------------------------------------


def _facts(title: str, given: Json, names: Sequence[str]) -> Block:
    return Block("facts", title, facts=_pairs(given, names))


def _pairs(given: Json, names: Sequence[str]) -> list[tuple[str, str]]:
    return _kept([_pair(name, given.get(name)) for name in names])


def _pair(name: str, value: Any) -> tuple[str, str]:
    if name.endswith("_s"):
        return name.removesuffix("_s").replace("_", " "), _seconds(value)
    return name.replace("_", " "), _cell(value)


def _kept(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in pairs if value]


def _text(title: str, value: Any) -> Block:
    return Block("text", title, text=value if isinstance(value, str) else "")


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Block:
    return Block("table", title, columns=columns, rows=rows[:MOST_ROWS], more=max(0, len(rows) - MOST_ROWS))


def _rows_of(
    title: str, given: list[Json], columns: Mapping[str, str] | None = None, shown: Callable[[Any], str] | None = None
) -> Block:
    """Return a table of those columns that there are."""
    known = columns or {name: name for name in dict.fromkeys(key for one in given for key in one)}
    there = [name for name in known if any(one.get(name) is not None for one in given)][:MOST_CELLS]
    rows = [[(shown or _cell)(one.get(name)) for name in there] for one in given]
    return _table(title, [known[name] for name in there], rows if there else [])


def _task(task_id: Any) -> str | Link:
    return Link(task_id, f"/tasks/{_segment(task_id)}") if isinstance(task_id, str) and task_id else ""


def _segment(text: str) -> str:
    return urlencode({"": text.encode("utf-8", "replace")})[1:].replace("+", "%20")


def _cells(row: Any) -> list[str]:
    return [_cell(one) for one in cast("list[Any]", row)[:MOST_CELLS]] if isinstance(row, list) else []


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
    return text[:LONGEST_CELL]


def _seconds(value: Any) -> str:
    return "" if (seconds := _number(value)) is None else short_span(seconds)


def _share(value: Any) -> str:
    return "" if (share := _number(value)) is None else f"{100 * share:.0f} %"


def _number(value: Any) -> float | None:
    """Return a number that can be reckoned with; JSON has any."""
    return float(value) if isinstance(value, (int, float)) and abs(value) <= MOST_NUMBER else None


def _int(given: Json, name: str) -> int:
    return int(_number(given.get(name)) or 0)


def _str(given: Json, name: str) -> str:
    value = given.get(name)
    return value if isinstance(value, str) else ""


def _json(given: Json, name: str) -> Json:
    value = given.get(name)
    return cast("Json", value) if isinstance(value, Mapping) else {}


def _list(given: Json, name: str) -> list[Any]:
    value = given.get(name)
    return cast("list[Any]", value) if isinstance(value, list) else []


def _jsons(given: Json, name: str) -> list[Json]:
    return [cast("Json", one) for one in _list(given, name) if isinstance(one, Mapping)]
