"""Texts: every form of content gives its text, what can be told of it, and one sentence where it cannot be taken."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from examples.celery_example import SAMPLES
from processors.errors import FileError
from processors.results import sentence_of
from processors.texts import ExtractText, TextTools, _texts, extract_text
from reading import silent
from unpacking import InProcess, Kept, folder, route_tools, zip_of

PUMP = "The north pump ran for 812 hours this quarter. The south pump stood still for repairs and cost $1,200.50."


class Extraction:
    """Extracts in this process; knows what was stored, which jobs were done, and which folders were made."""

    def __init__(self, inline_text_kb: int = 256):
        self.sandbox, self.storage, self.paths = InProcess(), Kept(), list[Path]()
        self.inline_text_kb = inline_text_kb

    def __call__(self, content: str, content_type: str = "text", language: str = "en") -> dict:
        request = ExtractText(content=content, content_type=content_type, language=language)
        tools = TextTools(
            storage=self.storage,
            task_id="t",
            inline_text_kb=self.inline_text_kb,
            folder=folder,
            route_tools=self._route_tools,
        )
        done = extract_text(request, tools, silent).as_json()
        json.dumps(done, allow_nan=False)
        return done

    def _route_tools(self, path: Path):
        self.paths.append(path)
        return route_tools(path, sandbox=self.sandbox, storage=self.storage, inline_text_kb=self.inline_text_kb)


def codes(done: dict) -> list[str]:
    return [one["code"] for one in done["warnings"]]


def packed(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def sample(name: str) -> str:
    return packed((SAMPLES / name).read_bytes())


def refused(**arguments) -> str:
    with pytest.raises(ValidationError) as error:
        ExtractText(**{"content": "x"} | arguments)
    return sentence_of(error.value)


# --- Plain text ------------------------------------------------------------------------------------------------


def test_a_plain_text_is_described_and_no_child_is_asked():
    extract = Extraction()
    done = extract(PUMP)
    result = done["result"]
    assert (done["schema"], done["status"], extract.sandbox.jobs) == ("csai.text/1", "ok", [])
    assert (result["text"], result["truncated"], result["characters"]) == (PUMP, False, len(PUMP))
    assert (result["language"], result["language_source"]) == ("en", "detected")
    assert [(one["kind"], one["value"], one["currency"]) for one in result["entities"]] == [
        ("amount", "1200.50", "USD")
    ]
    assert result["keywords"][0]["text"] == "pump"
    assert result["summary"]["sentences"][0].startswith("The north pump")
    assert done["input"] == {
        "sha256": hashlib.sha256(PUMP.encode()).hexdigest(),
        "bytes": len(PUMP),
        "detected_type": "text/plain",
    }
    assert done["options"] == {"content_type": "text", "language": "en"}
    assert [one["step"] for one in done["provenance"]] == ["language", "entities", "keywords", "summary"]
    assert done["warnings"] == []


def test_a_text_that_reads_as_another_language_is_taken_for_that_and_says_so():
    done = Extraction()("Die Pumpe im Norden lief in diesem Quartal ohne Störung, die im Süden stand still.")
    assert (done["result"]["language"], done["result"]["language_source"]) == ("de", "detected")
    assert "language_differs" in codes(done)


def test_the_given_language_counts_where_the_text_is_too_short_to_tell_its_own():
    result = Extraction()("030 901820", language="de")["result"]
    assert (result["language"], result["language_source"], result["language_confidence"]) == ("de", "given", None)
    assert [(one["value"], one["assumed"]) for one in result["entities"]] == [("+4930901820", "DE")]


def test_the_region_of_the_given_language_is_kept_where_the_text_reads_as_it():
    done = Extraction()(f"{PUMP} Call 020 7219 3000.", language="en-GB")
    assert (done["result"]["language"], codes(done)) == ("en-GB", [])
    assert done["result"]["entities"][-1]["value"] == "+442072193000"


def test_parts_of_addresses_are_no_keywords():
    assert Extraction()("Pumps: www.example.org and ann@example.org")["result"]["keywords"] == [
        {"text": "Pumps", "count": 1, "score": 1.0}
    ]


def test_a_long_text_is_an_artefact_and_the_result_has_its_beginning():
    extract = Extraction(inline_text_kb=1)
    text = PUMP * 100
    done = extract(text)
    result = done["result"]
    (artefact,) = done["artefacts"]
    assert (result["text"], result["truncated"], result["characters"]) == (text[:4000], True, len(text))
    assert extract.storage.kept[artefact["uri"]].decode() == text
    assert artefact["kind"] == "text"


def test_a_text_without_anything_to_tell_says_so():
    done = Extraction()(" \n\t ")
    assert codes(done) == ["no_summary", "no_text"]
    assert (done["result"]["entities"], done["result"]["keywords"], done["result"]["summary"]) == ([], [], None)


def test_more_entities_than_are_told_is_a_limit_that_was_hit():
    assert Extraction()("5 EUR " * 1001)["limits"]["hit"] == ["max_entities"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_text_that_is_taken_comes_back_as_it_was(text):
    assert Extraction()(text)["result"]["text"] == text


# --- Pages and files -------------------------------------------------------------------------------------------


PAGE = "<html><head><meta charset=iso-8859-1><script>var hidden</script></head><body><p>Größe: 5 €</p></body></html>"


@pytest.mark.parametrize("content_type", ["html", "text/html", "TEXT/HTML; charset=utf-8", ".htm"])
def test_a_page_is_read_as_it_shows_whatever_it_says_of_its_encoding(content_type):
    extract = Extraction()
    done = extract(PAGE, content_type)
    assert done["result"]["text"] == "Größe: 5 €"
    assert extract.sandbox.jobs == ["identify", "document"]
    assert (done["input"]["detected_type"], done["input"]["bytes"]) == ("text/html", len(PAGE.encode()))


@pytest.mark.parametrize("part", ["<p>It <b>works</b></p>", "It works", "<title>x</title>It works<!-- not -->"])
def test_a_part_of_a_page_is_read_as_one(part):
    assert Extraction()(part, "html")["result"]["text"].endswith("It works")


@pytest.mark.parametrize(
    "text",
    [
        "# Pumps\n\nThey *run*.",
        "%PDF-1.7",
        "From: a@example.org\nTo: b@example.org\nSubject: s\n\nx",
        "<html>x",
        "PK\x03\x04",
    ],
)
def test_markdown_stays_the_text_that_it_is_whatever_it_begins_like(text):
    done = Extraction()(text, "markdown")
    assert (done["result"]["text"], done["input"]["detected_type"]) == (text, "text/markdown")


@pytest.mark.parametrize(
    ("name", "content_type", "words"),
    [
        ("report.pdf", "application/pdf", "ran for 812 hours"),
        ("report.docx", "docx", "ran for 812 hours"),
        ("report.docx", "base64", "ran for 812 hours"),
        ("hours.xlsx", "application/octet-stream", "Electricity\t9450"),
        ("latin-1.txt", "base64", "Größe der Schläuche"),
    ],
)
def test_a_file_in_base64_is_read_as_what_it_is(name, content_type, words):
    done = Extraction()(sample(name), content_type)
    raw = (SAMPLES / name).read_bytes()
    assert words in done["result"]["text"]
    assert (done["input"]["sha256"], done["input"]["bytes"]) == (hashlib.sha256(raw).hexdigest(), len(raw))
    assert "type_mismatch" not in codes(done)


def test_a_file_of_another_type_than_was_said_is_read_as_what_it_is_and_says_so():
    done = Extraction()(sample("report.docx"), "application/pdf")
    assert "812 hours" in done["result"]["text"]
    assert "type_mismatch" in codes(done)


def test_the_text_of_an_archive_is_that_of_its_members():
    inner = zip_of(("c.txt", b"third"))
    raw = zip_of(("a.txt", b"first"), ("b.html", b"<html><body>second"), ("in.zip", inner))
    assert Extraction()(packed(raw), "zip")["result"]["text"] == "first\n\nsecond\n\nthird"


def test_a_member_with_a_long_text_gives_all_of_it():
    text = PUMP * 100
    done = Extraction(inline_text_kb=1)(packed(zip_of(("a.txt", text.encode()))), "zip")
    assert (done["result"]["characters"], [one["kind"] for one in done["artefacts"]]) == (len(text), ["text"])


def test_a_part_that_cannot_be_read_makes_the_result_partial_and_is_named():
    raw = zip_of(("a.txt", b"It works."), ("b.docx", (SAMPLES / "report.docx").read_bytes()[:2000]))
    done = Extraction()(packed(raw), "zip")
    assert (done["status"], done["result"]["text"]) == ("partial", "It works.")
    assert [one["code"] for one in done["errors"]] == ["corrupt"]


def test_a_file_is_summarised_once():
    done = Extraction()(sample("report.docx"), "docx")
    assert [one["step"] for one in done["provenance"]] == ["read", "language", "entities", "keywords", "summary"]


def test_a_long_text_of_a_file_is_one_artefact_whole():
    extract = Extraction(inline_text_kb=1)
    text = PUMP * 100
    done = extract(packed(text.encode()), "base64")
    (artefact,) = done["artefacts"]
    assert (artefact["kind"], extract.storage.kept[artefact["uri"]].decode()) == ("text", text)
    assert (done["result"]["truncated"], done["result"]["characters"]) == (True, len(text))


def test_base64_may_be_broken_into_lines():
    lines = "\r\n".join(packed(b"It works, said the pump.")[at : at + 8] for at in range(0, 32, 8))
    assert Extraction()(lines, "base64")["result"]["text"] == "It works, said the pump."


def test_the_file_lies_in_a_folder_that_is_gone_afterwards_even_where_it_cannot_be_read():
    extract = Extraction()
    extract("<p>x</p>", "html")
    with pytest.raises(FileError) as error:
        extract(packed(b"\x7fELF\0\0\0\1"), "base64")
    assert error.value.code == "unsupported_type"
    assert [path.name for path in extract.paths] == ["content.html", "content"]
    assert not any(path.parent.exists() for path in extract.paths)


def test_a_damaged_file_fails_with_its_code():
    with pytest.raises(FileError) as error:
        Extraction()(packed((SAMPLES / "report.docx").read_bytes()[:2000]), "docx")
    assert error.value.code == "corrupt"


def test_what_its_method_warns_of_and_leaves_out_is_told():
    done = Extraction()(packed(b"<html><body><img src=x></body></html>"), "base64")
    assert codes(done) == ["no_text", "language_unavailable", "no_summary"]
    assert done["provenance"][0]["step"] == "read"


def test_what_is_said_in_a_sound_and_shown_in_a_picture_is_text():
    said = {"text": "hello"}
    assert list(_texts({"result": {"transcript": said}})) == ["hello"]
    assert list(_texts({"result": {"audio": {"transcript": said}}})) == ["hello"]
    assert list(_texts({"result": {"audio": None}})) == []
    assert list(_texts({"result": {"ocr": {"text": "DELIVERY NOTE"}}})) == ["DELIVERY NOTE"]
    assert list(_texts({"result": {"ocr": None, "text": None}})) == []


# --- What is refused at the call -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"content": ""}, "content: must not be empty"),
        ({"content": "x" * 10_000_000}, "content: must have at most 1000000 characters; got 10000000; give a larger"),
        ({"content": "ab\ud800"}, "content: must be text without NUL and lone surrogates; got U+D800 at character 2"),
        ({"content": "\0"}, "content: must be text without NUL and lone surrogates; got U+0000 at character 0"),
        ({"content": 5}, "content: Input should be a valid string; got 5"),
        ({"content_type": "colour"}, "content_type: must be text, html, markdown, base64, or the MIME type or kind"),
        ({"content_type": "text/plain; \ud800"}, "content_type: must be text without NUL and lone surrogates"),
        ({"content_type": "text/plain; \0"}, "content_type: must be text, html, markdown, base64, or the MIME"),
        ({"content_type": f"text;{'x' * 255}"}, "content_type: String should have at most 255 characters"),
        ({"content_type": ""}, "content_type: must be text, html, markdown, base64, or the MIME type or kind"),
        ({"content_type": "base64", "content": "%%%%"}, "content: must be base64 where content_type is base64; got 4"),
        ({"content_type": "pdf", "content": "abc"}, "content: must be base64 where content_type is pdf; got 3"),
        ({"content_type": "image/png", "content": " \n"}, "content: must be the bytes of a file in base64; got none"),
        ({"language": "English!"}, "language: must be a code of BCP 47 such as en, de or pt-BR; got 'English!'"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
    ],
)
def test_a_bad_argument_is_one_sentence_of_its_own(arguments, sentence):
    assert refused(**arguments).startswith(sentence)


def test_a_content_is_not_shown_where_a_request_is():
    assert "secret" not in repr(ExtractText(content="a secret"))
