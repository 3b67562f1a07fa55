"""What came of a task is shown by its kind; what is hostile or not as expected is text, or only in the JSON."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from browsing import Html
from config.settings import settings
from dashboard import results
from dashboard.rendering import POLICY
from processors.call_messages import progress_of
from processors.errors import InvalidArgument
from records.call_events import CallEvent, Waits
from records.call_tables import call_attempts, calls
from records.columns import Now
from records.members import insert_members
from records.task_moves import Failure
from records.task_records import Draft
from services.celery_service import celery_service
from services.file_roots import SAMPLES, check_paths
from services.wiring import parts

HOSTILE = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{7*7}}"
DIGEST = "0123456789abcdef" * 4
URI = f"store://sha256/{DIGEST}"


def done(name: str, result: object, category: str = "file_processing", **more) -> str:
    """A task that has ended with a result."""
    task_id = f"result-{uuid4()}"
    parts().tasks.open(Draft(task_id, name, category, "default", **more))
    run = parts().moves.start(task_id, 0, "worker-of-results", "w@h", None).run
    assert parts().moves.succeed(task_id, run, result)
    return task_id


def artefact(kind: str, mime: str, **more) -> dict:
    return {"kind": kind, "uri": URI, "mime": mime, "bytes": 1234} | more


def shown(result: object, arguments: dict | None = None) -> dict[str, results.Block]:
    return {f"{one.kind} {one.title}": one for one in results.blocks_of(result, arguments or {})}


# --- Kinds --------------------------------------------------------------------------------------------------------


def test_a_document_has_its_text_pages_tables_and_summary():
    result = {
        "schema": "csai.document/1",
        "status": "ok",
        "input": {"detected_type": "application/pdf"},
        "warnings": [{"code": "no_text", "message": "Page 3 has none."}],
        "artefacts": [
            artefact("page_image", "image/webp", page=1, width=600, height=800),
            artefact("table", "application/json"),
        ],
        "result": {
            "kind": "pdf",
            "text": "All of it.",
            "text_truncated": True,
            "characters": 1234,
            "pages": [{"n": 1, "source": "ocr", "confidence": 0.91234, "title": None}],
            "tables": [{"page": 2, "title": None, "rows": [["a", "b"], ["1", None]]}, {"page": 3, "row_count": 9}],
            "language": {"language": "de", "confidence": 0.9},
            "summary": {"text": "Short."},
            "metadata": {"author": "Ann"},
        },
    }
    found = shown(result)
    assert ("language", "de") in found["facts Document"].facts
    assert found["text Summary"].text == "Short."
    assert found["text Text, its beginning"].text == "All of it."
    table = found["table Table 1, page 2"]
    assert (table.columns, table.rows) == (["a", "b"], [["1", ""]])
    assert found["table Pages"].rows == [["1", "ocr", "0.9123"]]
    (picture,) = found["pictures Pages"].pictures
    assert (picture.label, picture.width) == ("page 1", 600)
    assert picture.path == f"/artefacts/{DIGEST}?name=page_image-1.webp&type=image%2Fwebp"
    assert found["table What went wrong beside it"].rows == [["warning", "no_text", "Page 3 has none."]]
    assert [row[0].text for row in found["table Files"].rows] == ["page_image-1.webp", "table.json"]


def test_a_picture_has_boxes_around_what_was_found():
    result = {
        "schema": "csai.image/1",
        "artefacts": [artefact("thumbnail", "image/webp", width=width, height=9) for width in (64, 512)],
        "result": {
            "format": "JPEG",
            "width": 800,
            "objects": [{"label": "dog", "confidence": 0.876, "bbox": [0.1, 0.2, 0.5, 0.6]}, {"bbox": "x"}],
            "faces": [{"bbox": [-1, 0, 2, 0.5], "confidence": 1, "match": {"name": "Ann"}}],
            "ocr": {"text": "STOP", "lines": [{"text": "STOP", "bbox": [0, 0, 1, None]}]},
            "tags": [{"tag": "outdoors"}, {"tag": "animal"}],
        },
    }
    found = shown(result)
    boxes = found["pictures Picture"].pictures[0].boxes
    assert [(box.label, box.x, box.y, round(box.width, 6), round(box.height, 6)) for box in boxes] == [
        ("dog", 0.1, 0.2, 0.4, 0.4),
        ("Ann", 0, 0, 1, 0.5),
    ]
    assert found["table Found in it"].rows == [["dog", "88 %"], ["", ""], ["Ann", "100 %"]]
    assert ("tags", "outdoors, animal") in found["facts Picture"].facts
    assert found["text Text in it"].text == "STOP"


def test_sound_in_the_storage_plays_with_its_words():
    result = {
        "schema": "csai.audio/1",
        "input": {"detected_type": "audio/mpeg"},
        "artefacts": [artefact("transcript", "text/vtt")],
        "result": {
            "duration_s": 3.5,
            "transcript": {
                "text": "Hello.",
                "language": "en",
                "segments": [{"start": 0.5, "end": 1, "text": "Hello.", "speaker": "A"}],
            },
        },
    }
    found = shown(result, {"file_path": f"{URI}/song.mp3"})
    assert found["facts Sound"].facts == [("duration", "3.5 s")]
    player = found["player audio"]
    assert player.path == f"/artefacts/{DIGEST}?name=song.mp3&type=audio%2Fmpeg"
    assert player.captions.endswith("type=text%2Fvtt")
    assert player.rows == [[results.Place("500 ms", 0.5), "A", "Hello."]]
    assert "table What is said" not in found
    for place in ("/data/song.mp3", "https://example.com/song.mp3", None, 5):
        found = shown(result, {"file_path": place})
        assert "player audio" not in found
        assert "FILE_ROOTS" in found["note audio"].text
        assert found["table What is said"].rows == [["500 ms", "A", "Hello."]]
    odd = result | {"input": {"detected_type": "text/html"}}
    assert not {"player audio", "note audio"} & shown(odd, {"file_path": f"{URI}/song.mp3"}).keys()


@pytest.mark.parametrize(
    ("kind", "output", "block", "has"),
    [
        ("chat", {"message": {"content": "Yes."}}, "text Answer", "Yes."),
        ("embedding", {"dimensions": 384, "tokens": 5}, "facts Vector", "384"),
        ("extract_text", {"text": "Harbour"}, "text Text", "Harbour"),
        ("sentiment", {"label": "positive"}, "facts Sentiment", "positive"),
    ],
)
def test_the_answer_to_an_ai_request_is_shown_as_that_of_its_kind(kind, output, block, has):
    result = {"schema": "csai.ai_request/1", "result": {"request_type": kind, "output": output}}
    assert has in repr(shown(result)[block])


def test_a_task_and_its_parts_lead_to_each_other(viewer):
    parent, part = f"parent-{uuid4()}", f"part-{uuid4()}"
    parts().tasks.open(Draft(parent, "email.send_bulk_emails", "email", "email", is_parent=True))
    parts().tasks.open(Draft(part, "email.send_batch", "email", "email", parent_id=parent))
    assert f"/tasks/{parent}" in [link.attributes["href"] for link in viewer.html(f"/tasks/{part}").all("a")]
    (link,) = [one for one in viewer.html(f"/tasks/{parent}").all("a") if "parent=" in one.attributes["href"]]
    assert part in viewer.html(link.attributes["href"]).text


SOUND = {"schema": "csai.audio/1", "input": {"detected_type": "audio/mpeg", "bytes": 9}, "result": {"duration_s": 1}}


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """The only folder that files may be read from over HTTP."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "song.mp3").write_bytes(b"012345678")
    (tmp_path / "out.mp3").write_bytes(b"012345678")
    (tmp_path / "in" / "link.mp3").symlink_to(tmp_path / "out.mp3")
    monkeypatch.setattr(settings, "file_roots", (tmp_path / "in",))
    return tmp_path


def test_sound_of_this_machine_plays_too_by_the_range_that_is_asked_for(viewer, roots):
    wrapped = {"schema": "csai.file/1", "route": "audio", "detail": SOUND}
    for place in (f"{roots}/in/song.mp3", f"file://{roots}/in/song.mp3"):
        for result in (SOUND, wrapped):
            task_id = done("file_processing.process_audio", result, kwargs={"file_path": place})
            (player,) = viewer.html(f"/tasks/{task_id}").all("audio")
            assert player.attributes["src"] == f"/tasks/{task_id}/file"
    whole = viewer.get(f"/tasks/{task_id}/file")
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, b"012345678", "audio/mpeg")
    assert whole.headers["content-disposition"].startswith("attachment;")
    part = viewer.get(f"/tasks/{task_id}/file", Range="bytes=2-4")
    assert (part.status_code, part.content) == (206, b"234")


def test_a_sample_plays_though_no_folder_is_named(viewer):
    sample = SAMPLES / "talk.mp3"
    sound = SOUND | {"input": {"detected_type": "audio/mpeg", "bytes": sample.stat().st_size}}
    task_id = done("file_processing.process_audio", sound, kwargs={"file_path": str(sample)})
    assert viewer.html(f"/tasks/{task_id}").all("audio")
    assert viewer.get(f"/tasks/{task_id}/file").content == sample.read_bytes()
    with pytest.raises(InvalidArgument, match="FILE_ROOTS"):
        check_paths({"file_path": str(sample)})


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("{}/out.mp3", {}),
        ("{}/in/../out.mp3", {}),
        ("{}/in/link.mp3", {}),
        ("{}/in/never.mp3", {}),
        ("{}/in", {}),
        ("/etc/passwd", {}),
        ("in/song.mp3", {}),
        ("https://example.com/song.mp3", {}),
        ("logs", {}),
        ("{}/in/song.mp3\0", {}),
        (5, {}),
        ("{}/in/song.mp3", {"input": {"detected_type": "text/html", "bytes": 9}}),
        ("{}/in/song.mp3", {"input": {"detected_type": "image/png", "bytes": 9}}),
        ("{}/in/song.mp3", {"input": {"detected_type": "audio/mpeg", "bytes": 10}}),
        ("{}/in/song.mp3", {"input": 5}),
    ],
    ids=range(15),
)
def test_no_other_file_of_this_machine_is_handed_out(viewer, roots, place, change):
    place = place.replace("{}", str(roots)) if isinstance(place, str) else place
    task_id = done("file_processing.process_audio", SOUND | change, kwargs={"file_path": place})
    assert not viewer.html(f"/tasks/{task_id}").all("audio")
    assert viewer.get(f"/tasks/{task_id}/file").status_code == 404


def test_a_film_has_its_frames_and_scenes():
    result = {
        "schema": "csai.video/1",
        "input": {"detected_type": "video/mp4"},
        "artefacts": [artefact("frame", "image/jpeg", t=1.5, width=64, height=36)],
        "result": {
            "duration_s": 9,
            "video": {"codec": "h264", "width": 640, "height": 360},
            "scenes": [{"start": 0, "end": 75.0, "keyframe_ref": URI}],
            "audio": {"result": {"transcript": {"text": "Hm.", "segments": []}}},
        },
    }
    found = shown(result, {"file_path": URI})
    assert found["player video"].captions == ""
    assert found["pictures Frames"].pictures[0].label == "at 1.5 s"
    assert found["table Scenes"].rows == [["0 ms", "1 min 15 s"]]
    assert found["text What is said"].text == "Hm."


@pytest.mark.parametrize(
    ("result", "block", "has"),
    [
        ({"schema": "csai.chat/1", "result": {"message": {"content": "Yes."}, "model": "m"}}, "text Answer", "Yes."),
        ({"schema": "csai.text/1", "result": {"text": "T", "keywords": [{"text": "k"}]}}, "facts Text", "k"),
        ({"schema": "csai.sentiment/1", "result": {"label": "good", "sentences": []}}, "facts Sentiment", "good"),
        (
            {"schema": "csai.archive/1", "result": {"members": [{"name": "a", "status": "failed", "why": "w"}]}},
            "table Members",
            "w",
        ),
        (
            {"schema": "csai.file/1", "route": "r", "detail": {"schema": "csai.chat/1", "result": {"model": "mm"}}},
            "facts Answer",
            "mm",
        ),
        ({"changed": 1, "task_ids": ["a/b"], "skipped": []}, "table Changed", "/tasks/a%2Fb"),
        ({"changed": 0, "task_ids": [], "skipped": [{"task_id": "t", "why": "w"}]}, "table Skipped", "w"),
        ({"retried": ["t-new"], "skipped": []}, "table Submitted again", "t-new"),
        (
            {"status": "partial", "channels": {"sms": {"status": "failed", "error": "no"}, "push": None}},
            "table Channels",
            "'error: no'",
        ),
        ({"status": "sent", "message_id": "<m@x>", "transport": "smtp"}, "facts Mail", "<m@x>"),
        ({"bulk_id": "b", "sent": 5, "refused": 0, "failures": [{"to": "x"}]}, "facts Mails", "5"),
        ({"schema": "csai.embedding/1", "result": {"dimensions": 384, "vector": [0.1]}}, "facts Vector", "384"),
        ({"bulk_id": "b", "sent": 5, "failures": [{"to": ["x", None]}]}, "table Failures", '["x", null]'),
        ({"success": True, "call_sid": "CA1", "status": "completed"}, "facts Call", "completed"),
        ({"campaign_id": "c", "by_state": {"answered": 4}}, "table Members", "answered"),
        ({"status": "healthy", "version": "1", "checks": [{"name": "disk", "detail": "free"}]}, "table Checks", "free"),
        ("plain text", "text Result", "plain text"),
    ],
    ids=range(17),
)
def test_other_kinds_have_what_people_look_for(result, block, has):
    assert has in repr(shown(result)[block])


def test_what_is_of_no_kind_has_its_files_alone():
    assert shown({"a": 1}) == {}
    assert shown(None) == {}
    assert shown([1, 2]) == {}
    found = shown({"deep": [{"er": artefact("own", "text/html", name="../x.html")}], "uri": "store://sha256/no"})
    (row,) = found["table Files"].rows
    assert (row[0].text, row[1:]) == ("../x.html", ["text/html", "1.2 kB"])


def test_a_file_that_is_named_twice_is_shown_once_as_what_it_is():
    found = shown({"artefacts": [{"uri": URI}, artefact("encodings", "image/png"), artefact("again", "image/png")]})
    assert [row[0].text for row in found["table Files"].rows] == ["encodings.png"]


def test_very_much_is_cut_and_said_to_be():
    many = [{"start": n, "text": "w"} for n in range(results.MOST_ROWS + 5)]
    found = shown({"schema": "csai.audio/1", "result": {"transcript": {"segments": many}}})
    assert (len(found["table What is said"].rows), found["table What is said"].more) == (results.MOST_ROWS, 5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["result", "pages", "tables", "rows", "page", "objects", "faces", "bbox", "ocr", "lines", "tags", "transcript",
         "segments", "start", "summary", "language", "metadata", "members", "uri", "kind", "artefacts", "width", "name",
         "video", "audio", "scenes", "warnings", "input", "detail", "channels", "skipped", "task_ids", "match", "t"]
    ), inner, max_size=6),
    max_leaves=25,
)  # fmt: skip


@given(st.sampled_from([*results.SHAPES, "csai.file", ""]), st.dictionaries(st.text(max_size=5), JSON), JSON, JSON)
def test_no_result_of_any_shape_breaks_the_page(schema, rest, inner, other):
    keys = [key for keys, _ in results.KNOWN_BY for key in keys]
    given_result = rest | dict.fromkeys(keys, other) | {"result": inner, "detail": inner, "artefacts": other}
    for result in (given_result | {"schema": f"{schema}/1"}, rest | {"result": inner, "schema": schema}, inner):
        results.blocks_of(result, {"file_path": other})


# --- On the page --------------------------------------------------------------------------------------------------


def test_a_hostile_result_is_text_and_its_pictures_are_of_this_site(viewer):
    result = {
        "schema": "csai.image/1",
        "warnings": [{"code": HOSTILE, "message": HOSTILE}],
        "artefacts": [
            artefact("thumbnail", "image/webp", width=9, height=9),
            artefact(HOSTILE, HOSTILE, name=HOSTILE),
            {"kind": "x", "uri": "https://evil.example/x.png", "mime": "image/png"},
            {"kind": "x", "uri": f"{URI}/../../x", "mime": "image/png"},
        ],
        "result": {
            "format": HOSTILE,
            "objects": [{"label": HOSTILE, "bbox": [0, 0, 1, 1]}],
            "ocr": {"text": HOSTILE},
            HOSTILE: HOSTILE,
        },
    }
    page = viewer.html(f"/tasks/{done('file_processing.process_image', result)}")
    assert [tag.attributes["src"].partition("?")[0] for tag in page.all("img")] == [f"/artefacts/{DIGEST}"]
    assert len(page.all("rect")) == 1
    assert page.text.count(HOSTILE) >= 6
    assert not [tag for tag in page.tags if any(name.startswith("on") or name == "style" for name in tag.attributes)]
    assert {tag.attributes["src"].partition("/")[0] for tag in page.all("script")} == {""}
    assert all(link.startswith(("/", "#")) and not link.startswith("//") for link in page.links())
    assert "evil.example" not in " ".join(page.links())


def test_what_is_said_stands_beside_the_player_and_plays_from_there(viewer):
    segments = [{"start": 0.5, "text": "One."}, {"start": 75, "text": HOSTILE}]
    result = {
        "schema": "csai.audio/1",
        "input": {"detected_type": "audio/mpeg"},
        "result": {"transcript": {"segments": segments}},
    }
    task_id = done("file_processing.process_audio", result, kwargs={"file_path": f"{URI}/song.mp3"})
    page = viewer.html(f"/tasks/{task_id}")
    (player,) = [tag for tag in page.all("div") if tag.attributes.get("class") == "player"]
    assert "One." in player.text
    assert [tag.attributes["data-at"] for tag in page.all("button") if "data-at" in tag.attributes] == ["0.5", "75.0"]


def test_a_box_says_what_is_in_it_where_the_picture_does_not(viewer):
    result = {
        "schema": "csai.image/1",
        "artefacts": [artefact("thumbnail", "image/webp", width=9, height=9)],
        "result": {
            "objects": [{"label": "a dog", "bbox": [0.25, 0.5, 1, 1]}],
            "ocr": {"lines": [{"text": "STOP", "bbox": [0, 0, 1, 0.1]}]},
        },
    }
    page = viewer.html(f"/tasks/{done('file_processing.process_image', result)}")
    assert [(tag.text, tag.attributes["x"], tag.attributes["y"]) for tag in page.all("text")] == [
        ("a dog", "25.0%", "50.0%")
    ]
    assert [tag.attributes["width"] for tag in page.all("rect")] == ["75.0%", "100.0%"]


SENT = {"status": "sent", "message_id": "<m@example.com>", "transport": "smtp"}
PAGE = f"<html><body onload=alert(1)>{HOSTILE}</body></html>"
PREVIEW = {
    "status": "preview",
    "message_id": "<m@example.com>",
    "subject": "Hello",
    "text": "As text.",
    "html": PAGE,
    "headers": [{"name": "X-Odd", "value": "a header"}],
    "size": 9,
    "attachments": [{"name": "a.pdf", "type": "application/pdf", "size": None, "cid": None}],
    "accepted": ["ann@example.com"],
    "invalid": {"bob": "has no @"},
    "warnings": [],
}


@pytest.mark.parametrize(
    ("result", "kwargs"),
    [(PREVIEW, {"body": "something else"}), (SENT, {"body": PAGE}), (SENT, {"body": "As text.", "html_body": PAGE})],
    ids=["preview", "body", "html_body"],
)
def test_a_mail_is_shown_in_a_frame_in_which_nothing_runs(viewer, result, kwargs):
    task_id = done("email.send_email", result, "email", kwargs=kwargs)
    answer = viewer.get(f"/tasks/{task_id}")
    assert answer.headers["content-security-policy"] == f"{POLICY}; frame-src 'self'"
    (frame,) = Html(answer.text).all("iframe")
    assert frame.attributes["sandbox"] == ""
    framed = viewer.get(frame.attributes["src"])
    assert (framed.status_code, framed.text) == (200, PAGE)
    assert "sandbox" in framed.headers["content-security-policy"].split("; ")
    assert "script" not in framed.headers["content-security-policy"]
    if result is PREVIEW:
        shown_text = Html(answer.text).text
        assert all(one in shown_text for one in ("As text.", "a header", "a.pdf", "ann@example.com", "has no @"))


@pytest.mark.parametrize(
    ("name", "result", "kwargs"),
    [
        ("email.send_email", SENT, {"template": "welcome"}),
        ("email.send_email", SENT, {"body": "Only text."}),
        ("own.task", PREVIEW, {"body": PAGE}),
    ],
)
def test_what_is_no_mail_with_a_page_has_no_frame(viewer, name, result, kwargs):
    task_id = done(name, result, "email", kwargs=kwargs)
    page = viewer.html(f"/tasks/{task_id}")
    assert not page.all("iframe")
    assert ("The mail" in page.text) == (kwargs.get("body") == "Only text.")
    assert viewer.get(f"/tasks/{task_id}/mail").status_code == 404


@pytest.fixture
def templates(tmp_path, monkeypatch):
    """A folder with a template that is named `welcome`."""
    monkeypatch.setattr(settings, "email_templates_dir", tmp_path)
    monkeypatch.delitem(vars(parts()), "templates", raising=False)
    (tmp_path / "welcome.html").write_text("<p>Hello {{ name }}, {{ api_key }}.</p><script>alert(1)</script>")
    (tmp_path / "welcome.txt").write_text("Hello {{ name }}.")
    yield tmp_path
    vars(parts()).pop("templates", None)


def test_a_mail_of_a_template_is_shown_as_the_template_makes_it_now_with_its_secrets_masked(viewer, templates):
    context = {"name": "<b>Ann</b>", "api_key": "planted"}
    kwargs = {"template": "welcome", "subject": "s", "context": context}
    task_id = done("email.send_email", SENT, "email", kwargs=kwargs)
    page = viewer.html(f"/tasks/{task_id}")
    assert "The mail, as its template makes it now" in page.text
    assert [one.attributes["sandbox"] for one in page.all("iframe")] == [""]
    framed = viewer.get(f"/tasks/{task_id}/mail")
    assert "Hello &lt;b&gt;Ann&lt;/b&gt;, ***." in framed.text
    assert "sandbox" in framed.headers["content-security-policy"].split("; ")
    for name in ("welcome.html", "welcome.txt"):
        (templates / name).write_text("https://u:{{ name|length }}planted@x.org")
    for path in (f"/tasks/{task_id}/mail", f"/tasks/{task_id}"):
        assert "planted" not in viewer.get(path).text
    (templates / "welcome.html").write_text("{{ nobody.gave.it }}")
    assert viewer.get(f"/tasks/{task_id}/mail").status_code == 404
    assert not viewer.html(f"/tasks/{task_id}").all("iframe")


def test_each_mail_of_a_bulk_is_shown_in_a_frame_by_what_was_given_for_it(viewer, templates):
    mails = [
        {"to_email": "a@example.com", "subject": "s", "body": "b", "html_body": "<p>https://u:planted@x.org</p>"},
        {
            "to_email": "b@example.com",
            "subject": "s",
            "template": "welcome",
            "context": {"name": "Bob", "api_key": "x"},
        },
        {"to_email": "c@example.com", "subject": "s", "body": "Only text."},
    ]
    bulk_id = celery_service.send_bulk_emails(mails, delay_seconds=3600)
    parts().deliveries.open(bulk_id, {n: {one["to_email"]: "to"} for n, one in enumerate(mails)})
    looks = [link for link in viewer.html(f"/tasks/{bulk_id}").links() if "/mails/" in link]
    assert looks == [f"/tasks/{bulk_id}/mails/{n}" for n in range(3)]
    pages = [viewer.html(look) for look in looks]
    framed = [[one.attributes["src"] for one in page.all("iframe")] for page in pages]
    assert framed == [[f"{looks[0]}/page"], [f"{looks[1]}/page"], []]
    assert "planted" not in viewer.get(framed[0][0]).text
    assert "Hello Bob, ***." in viewer.get(framed[1][0]).text
    assert "sandbox" in viewer.get(framed[1][0]).headers["content-security-policy"].split("; ")
    assert "Only text." in pages[2].text
    for bad in ("3", "x", "-1", "9999999999", "\u0663"):
        assert viewer.get(f"/tasks/{bulk_id}/mails/{bad}").status_code == 404
    assert viewer.get(f"/tasks/{done('own.task', {})}/mails/0").status_code == 404


def test_a_secret_of_a_mails_arguments_is_masked_in_its_page(viewer):
    task_id = done("email.send_email", SENT, "email", kwargs={"body": "<p>see https://u:planted@example.com</p>"})
    assert "planted" not in viewer.get(f"/tasks/{task_id}/mail").text


def test_a_result_of_no_kind_is_json_and_others_have_theirs_folded(viewer):
    page = viewer.html(f"/tasks/{done('own.task', {'a': 1})}")
    assert not page.all("details")
    page = viewer.html(f"/tasks/{done('own.task', {'call_sid': 'CA1'})}")
    (folded,) = page.all("details")
    assert '"call_sid": "CA1"' in folded.text


def test_a_task_that_goes_on_or_failed_shows_what_there_is(viewer):
    task_id = f"result-{uuid4()}"
    parts().tasks.open(Draft(task_id, "x.y", "email", "email"))
    run = parts().moves.start(task_id, 0, "worker-of-results", "w@h", None).run
    assert viewer.get(f"/tasks/{task_id}").status_code == 200
    failure = Failure("no", "PermanentError", None)
    assert parts().moves.fail(task_id, run, failure)
    assert viewer.get(f"/tasks/{task_id}").status_code == 200


def test_what_failed_is_shown_by_its_kind_too_where_there_is_something_to_show(viewer):
    result = {"status": "failed", "channels": {"email": {"status": "skipped", "reason": "no_endpoint"}}}
    for told, captions in ((result, {"Channels"}), (None, set())):
        task_id = f"result-{uuid4()}"
        parts().tasks.open(Draft(task_id, "own.task", "own", "default"))
        run = parts().moves.start(task_id, 0, "worker-of-results", "w@h", None).run
        assert parts().moves.fail(task_id, run, Failure("no", "WorkFailed"), told)
        page = viewer.html(f"/tasks/{task_id}")
        assert {tag.text for tag in page.all("caption")} & {"Channels"} == captions
        assert ("Result" in [tag.text for tag in page.all("h2")]) == bool(told)


def test_of_a_mail_that_failed_the_mail_is_shown_and_no_empty_result(viewer):
    task_id = f"result-{uuid4()}"
    parts().tasks.open(Draft(task_id, "email.send_email", "email", "email", kwargs={"body": "Only text."}))
    run = parts().moves.start(task_id, 0, "worker-of-results", "w@h", None).run
    assert parts().moves.fail(task_id, run, Failure("no", "PermanentError"))
    labels = {tag.attributes.get("aria-label") for tag in viewer.html(f"/tasks/{task_id}").all("pre")}
    assert ("The mail as text" in labels, "Result as JSON" in labels) == (True, False)


# --- Files --------------------------------------------------------------------------------------------------------


def test_a_file_is_had_whole_or_in_part_and_never_as_a_page(viewer, app):
    task_id = done("file_processing.process_file", {"a": 1})
    content = b"<script>alert(1)</script>" * 10
    uri = parts().storage.put(content, mime="text/html", task_id=task_id)
    path = f"/artefacts/{uri.rpartition('/')[2]}"
    answer = viewer.get(f"{path}?name=a%22b.html&type=text/html")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith('attachment; filename="a_b.html"')
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    part = viewer.get(f"{path}?type=image/png", Range="bytes=1-6")
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"script", "image/png")
    assert viewer.get(path, Range="bytes=9999-").status_code == 416
    assert viewer.client.head(path).headers["content-length"] == str(len(content))
    for wrong in ("0" * 64, "x", "..%2Fsecret", uri.rpartition("/")[2].upper()):
        assert viewer.get(f"/artefacts/{wrong}").status_code == 404


# --- Mails and calls ----------------------------------------------------------------------------------------------


def test_a_mail_has_a_line_for_each_recipient_and_leads_to_the_outbox(viewer, operator, tmp_path, monkeypatch):
    monkeypatch.setattr(type(settings), "outbox_dir", property(lambda _settings: tmp_path))
    task_id = done("email.send_email", {"status": "sent"}, "email")
    rows = {"bob@example.com": "to", "<b>@example.com": "cc"}
    parts().deliveries.open(task_id, {0: rows})
    (tmp_path / f"{task_id}-0.eml").write_bytes(b"Subject: x\n\nx")
    page = operator.html(f"/tasks/{task_id}")
    (row,) = [tag for tag in page.all("tr") if "bob@example.com" in tag.text]
    assert "queued" in row.text
    assert "<b>@example.com" in page.text
    assert page.links().count(f"/outbox/{task_id}-0") == 2
    assert f"/outbox/{task_id}-0" not in viewer.html(f"/tasks/{task_id}").links()


def test_a_call_is_told_step_by_step_without_its_numbers(viewer, monkeypatch):
    task_id = done("twilio_calls.queue_outbound_call", {"call_sid": "CA7"}, "twilio_calls")
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    attempt = {
        "number": 1,
        "sending_at": at,
        "placed_at": at.replace(second=1),
        "call_sid": "CA7",
        "ending_at": None,
        "ended_at": at.replace(second=30),
        "status": "completed",
        "state": "ended",
        "duration_seconds": 12,
        "answered_by": "human",
        "unsaid": None,
        "price": "-0.01",
        "price_unit": "USD",
        "error_code": None,
        "error": "+15005550006 <b> said no",
    }
    event = {
        "kind": "status",
        "status": "ringing",
        "received_at": at.replace(second=5),
        "applied": True,
        "why_not": None,
    }
    late = {
        "kind": "machine",
        "status": None,
        "received_at": at.replace(second=31),
        "applied": False,
        "why_not": "late",
    }
    monkeypatch.setattr(parts().calls, "attempts", lambda call_id: [attempt] if call_id == task_id else [])
    monkeypatch.setattr(parts().call_events, "of_call", lambda _sid: [event, late])
    page = viewer.html(f"/tasks/{task_id}")
    table = next(tag for tag in page.all("table") if "What happened to the call" in tag.text)
    words = ["ordered", "placed", "ringing", "over: completed", "machine"]
    places = [table.text.index(word) for word in words]
    assert places == sorted(places)
    assert "12 s, answered by human, -0.01 USD" in table.text
    assert "not applied: late" in table.text
    assert "<b> said no" in table.text
    assert "+15005550006" not in table.text


def test_real_rows_of_a_campaigns_member_are_told(viewer):
    campaign = f"campaign-{uuid4()}"
    options = {"name": "twilio_calls.queue_bulk_calls", "category": "twilio_calls", "queue": "twilio_calls"}
    parts().tasks.open(Draft(campaign, **options, is_parent=True))
    numbers = {"to_number": "+491701234567", "from_number": "+14155550100"}
    attempt = {"id": uuid4().hex, "call_id": f"{campaign}:0", "number": 1, "campaign_id": campaign, "account": "AC1"}
    moments = {"sending_at": Now(), "doubt_until": Now(60), "look_at": Now(60)}

    def work(connection):
        insert_members(connection, campaign, [{"to_number": numbers["to_number"]}])
        call = {"id": f"{campaign}:0", "campaign_id": campaign, "position": 0, "state": "dialing", "attempts": 1}
        connection.execute(insert(calls).values(**call, **numbers, created_at=Now()))
        connection.execute(insert(call_attempts).values(**attempt, **moments, **numbers, state="sending", looks=0))

    parts().database.write(work)
    fields = {"CallStatus": "ringing", "SequenceNumber": "1"}
    told = {"attempt_id": attempt["id"], "call_sid": f"CA{attempt['id']}", "account": "AC1"}
    event = CallEvent("status", f"{campaign}:1", progress=progress_of(fields), raw=fields, **told)
    parts().call_events.receive(event, lambda _: Waits(90, 3_600))
    page = viewer.html(f"/tasks/{campaign}:0")
    table = next(tag for tag in page.all("table") if "What happened to the call" in tag.text)
    assert table.text.index("ordered") < table.text.index("ringing")
    assert "1701234567" not in table.text
