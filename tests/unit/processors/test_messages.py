"""What a mail carries: whatever is in any field, what was asked for is read back from the bytes, and nothing else."""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from email.header import decode_header

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from composing import FilesInMemory, composer, read
from processors.addresses import decoded, parse, sort_out
from processors.attachments import Attachment, safe_name
from processors.bulk_emails import check_bulk
from processors.composition import Composer
from processors.emails import SendEmail
from processors.errors import FileError, InvalidArgument, PermanentError
from processors.mail_headers import extra_line
from processors.mail_parts import Body
from processors.messages import Message, compose, text_of
from processors.results import sentence_of
from reading import silent

WHEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
HIDDEN = "hidden-7f3a@secret.example"
PLAIN = {"to_email": "b@example.com", "subject": "s", "body": "b"}
PAGE = "<p>Größe <img src='cid:logo'></p>"
FILES = {
    "/a/report.pdf": b"%PDF-1.7\r\n.\r\n\0\xff" * 99,
    "/a/logo.png": b"\x89PNG\r\n",
    "/a/ü.txt": "Größe\n.\n".encode(),
}

NASTY = [
    *("\r\n", "\r", "\n", "\0", "\n.\n", ".", "\t", " ", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u202e", "\ud800"),
    *("=?utf-8?q?=0D=0ABcc:_evil@x.example?=", "=?utf-8?b?YQpCY2M6IHhAZXhhbXBsZS5jb20=?=", "=?utf-8?q?", "?=", "=?x"),
    *(
        "Bcc: evil@x.example",
        "\r\nBcc: evil@x.example\r\n\r\n",
        "--=_",
        "From ",
        '"',
        "\\",
        "<",
        ">",
        ",",
        ";",
        ":",
        "%0D%0A",
    ),
    *("../", "..\\", "ü" * 400, "x" * 2000, "日本", "\U0001f600", "a b " * 30, "=", "'", "(", "@", "=3D"),
]
TEXT = st.lists(st.sampled_from(NASTY) | st.text(max_size=12), max_size=6).map("".join)
NAME = TEXT | st.sampled_from(["X-Order", "References", "Precedence", "bcc", "Content-Type", "X:", "x-order"])
PLACE = st.sampled_from(list(FILES))
FILE = st.fixed_dictionaries(
    {"path": PLACE}, optional={"name": TEXT, "type": TEXT | st.sampled_from(["text/plain", "message/rfc822", "A/b"])}
)
MAIL = st.fixed_dictionaries(
    {
        "to_email": st.lists(TEXT | TEXT.map(lambda name: f"{name} <b@example.com>"), max_size=2).map(
            lambda some: [*some, "to@example.com"]
        ),
        "subject": TEXT,
        "body": TEXT,
        "bcc": st.just([HIDDEN]),
    },
    optional={
        "cc": st.lists(TEXT.map(lambda name: f'"{name}" <c@example.com>'), min_size=1, max_size=2),
        "from_email": TEXT.map(lambda name: f"{name} <from@example.com>"),
        "html_body": TEXT.map(lambda text: f"<p>{text}</p>"),
        "reply_to": TEXT.map(lambda name: f"{name} <answers@example.com>"),
        "headers": st.dictionaries(NAME, TEXT, max_size=2),
        "attachments": st.lists(FILE, max_size=2),
        "inline_images": st.dictionaries(TEXT | st.just("logo"), FILE, max_size=2),
        "unsubscribe": TEXT.map(lambda text: f"https://x.example/{text}"),
    },
)


def accepted(**arguments) -> SendEmail | None:
    try:
        return SendEmail.model_validate(arguments)
    except ValidationError:
        return None


def composed(mail: SendEmail, with_files: Composer | None = None, mail_id: str = "t-0") -> bytes:
    recipients, _ = sort_out(mail.recipients())
    sender = parse(mail.from_email or "a@example.com")
    made = with_files or composer(FILES)
    return made.compose(mail, sender, recipients, mail_id=mail_id, date=WHEN, report=silent)


def mailed(**arguments):
    return read(composed(SendEmail.model_validate(PLAIN | arguments)))


def one_line(text: object) -> str:
    return " ".join(str(text).split())


def same_lines(text: str | None) -> str:
    """A text as it is told over the wire: with one kind of line end, and one at its end."""
    return re.sub(r"\r\n|\r|\n", "\n", text or "").rstrip("\n")


def parts_of(message, disposition: str):
    return [part for part in message.walk() if part.get_content_disposition() == disposition]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- For any input ---------------------------------------------------------------------------------------------


@settings(deadline=None)  # a busy machine takes its time
@given(arguments=MAIL)
def test_only_headers_that_were_asked_for_are_in_the_bytes_and_no_hidden_recipient(arguments):
    mail = accepted(**arguments)
    if mail is None:
        return
    content = composed(mail)
    head = content.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0].decode() for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    asked = {"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", *(mail.headers or {})}
    asked |= {name for name, there in (("Cc", mail.cc), ("Reply-To", mail.reply_to)) if there}
    asked |= {"List-Unsubscribe", "List-Unsubscribe-Post"} if mail.unsubscribe else set()
    assert set(names) - {"Content-Transfer-Encoding", "Cc"} == asked - {"Cc"}
    assert len(names) == len(set(names))
    assert HIDDEN.encode() not in content
    assert read(content)["Bcc"] is None


@settings(deadline=None)  # a busy machine takes its time
@given(arguments=MAIL)
def test_every_line_is_ascii_with_its_end_and_short_enough_for_every_server(arguments):
    mail = accepted(**arguments)
    if mail is None:
        return
    content = composed(mail)
    assert content.isascii()
    assert content.endswith(b"\r\n")
    assert b"\0" not in content
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    assert max(map(len, content.split(b"\r\n"))) <= 998


@settings(deadline=None)  # a busy machine takes its time
@given(arguments=MAIL)
def test_what_another_parser_reads_is_what_was_asked_for(arguments):
    mail = accepted(**arguments)
    if mail is None:
        return
    message = read(composed(mail))
    assert one_line(message["Subject"]) == one_line(decoded(mail.subject))
    for name, value in (mail.headers or {}).items():
        assert one_line(message[name]) == one_line(decoded(value))
    if mail.text is not None:
        assert same_lines(message.get_body(("plain",)).get_content()) == same_lines(mail.text)
    if mail.page is not None:
        assert same_lines(message.get_body(("html",)).get_content()) == same_lines(mail.page)
    for disposition, asked in (
        ("attachment", mail.attachments or []),
        ("inline", list((mail.inline_images or {}).values())),
    ):
        found = parts_of(message, disposition)
        assert [part.get_filename() for part in found] == [one.shown_name for one in asked]
        assert [part.get_content_type() for part in found] == [one.media_type for one in asked]
        digests = [sha256(part.get_payload(decode=True)) for part in found]
        assert digests == [sha256(FILES[one.path]) for one in asked]
    cids = [part["Content-ID"] for part in parts_of(message, "inline")]
    assert cids == [f"<{cid}>" for cid in mail.inline_images or {}]


@settings(deadline=None)  # a busy machine takes its time
@given(arguments=MAIL)
def test_the_same_mail_is_the_same_bytes_whoever_makes_it(arguments):
    mail = accepted(**arguments)
    if mail is not None:
        kept = json.dumps(mail.model_dump(exclude_unset=True))  # as records keep it, half characters and all
        again = SendEmail.model_validate(json.loads(kept))
        assert composed(mail) == composed(again)


@settings(deadline=None)  # a busy machine takes its time
@given(text=TEXT)
def test_a_further_header_reads_back_whole_and_is_folded_where_it_has_spaces(text):
    mail = accepted(**PLAIN, headers={"X-Long": text})
    if mail is not None:
        lines = extra_line("X-Long", text).split("\r\n")
        assert all(line.startswith((" ", "X-Long:")) and line.strip() for line in lines)
        assert max(map(len, lines)) <= 998


def words_of(subject: str) -> list[bytes]:
    """The base64 of each encoded word of a mail's subject."""
    head = composed(SendEmail(**PLAIN | {"subject": subject})).partition(b"\r\n\r\n")[0]
    field = re.search(rb"\r\nSubject: .*?(?=\r\n[^ ])", head, re.DOTALL)[0]
    assert max(map(len, field.split(b"\r\n"))) <= 76
    return re.findall(rb"=\?utf-8\?b\?(.*?)\?=", field)


@settings(deadline=None)  # a busy machine takes its time
@given(text=st.text("aü日😀 ", max_size=300).map(lambda text: f"ü{text}ü"))
def test_no_character_of_a_long_subject_is_cut(text):
    assert "".join(base64.b64decode(word).decode() for word in words_of(text)) == text


@pytest.mark.parametrize(
    "text", ["Ihr Prüfbericht · 日本 ", "日本語テスト", "ü", "😀", "Größe and words ", "Отчёт № 7, ", "x日"]
)
def test_a_reader_that_joins_the_words_of_a_subject_before_it_decodes_them_loses_nothing(text):
    words = words_of((text * 30).strip())
    assert len(words) > 1
    assert not [word for word in words[:-1] if word.endswith(b"=")], "padding ends what GMime reads"


def test_a_subject_of_a_megabyte_reads_back():
    subject = "Größe " * 160_000
    content = composed(SendEmail(**PLAIN | {"subject": subject}))
    assert max(map(len, content.split(b"\r\n"))) <= 998
    [line] = re.findall(rb"(?s)^Subject: (.*?)\r\n(?! )", content, re.MULTILINE)
    words = decode_header(line.decode().replace("\r\n", ""))  # `read` takes minutes for as many words
    assert "".join(part.decode(charset) for part, charset in words) == subject


@pytest.mark.parametrize("piece", ["=?a?q?x", "=?", "=?a?q?=?=", "?=", "=?a?b?\xe4"])
def test_a_megabyte_of_broken_encoded_words_is_read_in_one_go(piece):
    content = composed(SendEmail(**PLAIN | {"subject": piece * (1_000_000 // len(piece))}))
    assert b"\r\n\r\n" in content


# --- Texts and pages -------------------------------------------------------------------------------------------


def test_a_page_with_a_text_of_its_own_is_sent_with_both_as_they_are():
    message = mailed(body="Just <p> text", html_body="<p>Hi</p>")
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content().strip() for part in message.iter_parts()] == ["Just <p> text", "<p>Hi</p>"]


def test_a_page_whose_text_is_empty_gets_one_that_is_readable():
    assert mailed(body="", html_body="<p>Hi <b>Ann</b></p>").get_body(("plain",)).get_content().strip() == "Hi Ann"


def test_a_page_need_not_look_like_one_where_it_is_named():
    assert mailed(html_body="no tag").get_body(("html",)).get_content().strip() == "no tag"


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        ("plain", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("Ein Satz mit einem ü darin.", "quoted-printable"),
        ("日本語のメール", "base64"),
        ("\x1b[31m", "quoted-printable"),
    ],
)
def test_a_text_is_written_in_the_shortest_form_that_every_server_takes(body, coding):
    message = mailed(body=body)
    assert message["Content-Transfer-Encoding"] == coding
    assert message.get_content().strip() == body.strip()


def test_lines_of_a_dot_survive_the_dots_that_smtp_adds():
    content = composed(SendEmail(**PLAIN | {"body": ".\r\n..\r\n.x\r\n"}))
    stuffed = re.sub(rb"(?m)^\.", b"..", content)
    assert re.sub(rb"(?m)^\.\.", b".", stuffed) == content
    assert read(content).get_content().split() == [".", "..", ".x"]


# --- Files -----------------------------------------------------------------------------------------------------


def test_a_mail_with_all_it_can_carry_is_read_by_another_parser():
    message = mailed(
        body="The text.",
        html_body=PAGE,
        attachments=[{"path": "/a/report.pdf", "name": "Prüfung 3/4.pdf"}, {"path": "/a/ü.txt"}],
        inline_images={"logo": {"path": "/a/logo.png"}},
    )
    assert message.get_content_type() == "multipart/mixed"
    assert message.get_body(("plain",)).get_content().strip() == "The text."
    assert message.get_body(("html",)).get_content().strip() == PAGE
    [image] = parts_of(message, "inline")
    assert (image["Content-ID"], image.get_content_type()) == ("<logo>", "image/png")
    assert [(one.get_filename(), one.get_content_type()) for one in message.iter_attachments()] == [
        ("4.pdf", "application/pdf"),
        ("ü.txt", "text/plain"),
    ]
    assert list(message.iter_attachments())[1].get_content() == "Größe\n.\n"


def test_an_image_lies_beside_the_page_that_shows_it():
    message = mailed(html_body=PAGE, inline_images={"logo": {"path": "/a/logo.png"}})
    related = list(message.iter_parts())[1]
    assert [part.get_content_type() for part in related.iter_parts()] == ["text/html", "image/png"]


@pytest.mark.parametrize(
    "name",
    [
        *("Prüfung " * 20 + ".pdf", "日本" * 90, "a" * 200, "x" * 61, "😀" * 50, "100%.pdf", "it's ''.pdf"),
        *('a"b".pdf', "a;b=c.pdf", "=?utf-8?q?a?=.pdf", "utf-8''x.pdf", "a, b (1) [2].pdf", "a:b.pdf", "\u200d.pdf"),
    ],
    ids=range(14),
)
def test_any_name_of_a_file_is_read_as_it_was(name):
    content = composed(SendEmail(**PLAIN | {"attachments": [{"path": "/a/report.pdf", "name": name}]}))
    assert [part.get_filename() for part in read(content).iter_attachments()] == [name.strip()]
    assert max(map(len, content.split(b"\r\n"))) <= 100


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../x", "x"),
        ("..\\..\\x.exe", "x.exe"),
        ("/etc/passwd", "passwd"),
        ("C:\\a\\b.txt", "b.txt"),
        (" a .txt ", "a .txt"),
        ("日本.pdf", "日本.pdf"),
        (".hidden", ".hidden"),
    ],
)
def test_a_files_name_is_its_last_part_whichever_systems_folders_it_has(given, shown):
    assert safe_name(given) == shown


@pytest.mark.parametrize(
    "given", ["", "..", "a/", ".", "/", "x" * 201, "a\r\nb", "a\0b", "exe.\u202efdp", "\u2066a", "\ud800"]
)
def test_a_name_with_nothing_left_or_with_what_nobody_sees_is_refused(given):
    with pytest.raises(ValueError, match=r"must (be a file's name|not contain control)"):
        safe_name(given)


def test_a_path_without_a_name_of_its_own_asks_for_one():
    assert "give one under which '/a/' is shown" in refused(attachments=[{"path": "/a/.."}]).replace("/a/..", "/a/")


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ({"path": "a.pdf"}, "application/pdf"),
        ({"path": "a.unheard"}, "application/octet-stream"),
        ({"path": "a.tar.gz"}, "application/octet-stream"),
        ({"path": "a.eml"}, "application/octet-stream"),
        ({"path": "https://x.example/a.png?size=2"}, "image/png"),
        ({"path": f"store://sha256/{'0' * 64}", "name": "a.csv"}, "text/csv"),
        ({"path": "a.pdf", "type": "Text/Plain"}, "text/plain"),
    ],
)
def test_a_files_type_is_the_given_one_or_what_its_name_says(file, found):
    assert Attachment.model_validate(file).media_type == found


def test_a_boundary_that_the_text_has_foreseen_is_not_used():
    first = composed(SendEmail(**PLAIN | {"html_body": "<p>x</p>"}))
    boundary = read(first).get_boundary()
    body = f"--{boundary}\n--{boundary}--"
    message = mailed(body=body, html_body="<p>x</p>")
    assert same_lines(message.get_body(("plain",)).get_content()) == body


def test_mails_that_share_a_body_are_apart_in_their_headers_only():
    mail = SendEmail(**PLAIN | {"html_body": PAGE, "attachments": [{"path": "/a/report.pdf"}]})
    one, two = composed(mail, mail_id="t-0"), composed(mail, mail_id="t-1")
    assert one != two
    assert one.partition(b"\r\n\r\n")[2] == two.partition(b"\r\n\r\n")[2]


def test_a_file_that_has_changed_is_not_taken_from_a_mail_before():
    mail = SendEmail(**PLAIN | {"attachments": [{"path": "a"}]})
    for content in (b"one", b"two"):
        [part] = read(composed(mail, composer({"a": content}))).iter_attachments()
        assert part.get_payload(decode=True) == content


# --- Bounds ----------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(FileError, match=r"/nowhere\.pdf") as error:
        composed(SendEmail(**PLAIN | {"attachments": [{"path": "/nowhere.pdf"}]}))
    assert error.value.code == "not_found"


def test_files_are_bounded_by_what_the_mail_has_left_in_base64():
    files = FilesInMemory({"a": b"x" * 500_000, "b": b"x" * 300_000})
    mail = SendEmail(**PLAIN | {"attachments": [{"path": "a"}, {"path": "b"}]})
    with pytest.raises(FileError) as error:
        composed(mail, Composer(files, 1))
    assert error.value.code == "too_large"
    assert len(composed(SendEmail(**PLAIN | {"attachments": [{"path": "a"}]}), Composer(files, 1))) < 1024**2


def test_a_text_that_makes_the_mail_too_large_names_the_setting():
    with pytest.raises(PermanentError, match="at most 1 MB are sent: see EMAIL_MAX_MB"):
        composed(SendEmail(**PLAIN | {"body": "日" * 500_000}), composer(max_mb=1))


# --- Headers ---------------------------------------------------------------------------------------------------


def test_answers_go_to_all_who_are_named():
    assert str(mailed(reply_to=["Ann <ann@example.com>", "b@example.com"])["Reply-To"]) == (
        "Ann <ann@example.com>, b@example.com"
    )


def test_unsubscribing_by_one_click_is_said_in_both_headers():
    address = {"url": "https://x.example/u?token=abc", "mailto": "mailto:leave@example.com?subject=leave"}
    message = mailed(unsubscribe=address)
    assert one_line(message["List-Unsubscribe"]) == f"<{address['url']}>, <{address['mailto']}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mailed(unsubscribe=address["url"])["List-Unsubscribe"] == f"<{address['url']}>"


def test_a_list_of_references_is_folded_and_never_encoded():
    references = " ".join(f"<{number:060}@example.com>" for number in range(20))
    content = composed(SendEmail(**PLAIN | {"headers": {"References": references}}))
    assert b"=?" not in content
    assert max(map(len, content.split(b"\r\n"))) <= 100
    assert one_line(read(content)["References"]) == references


def refused(**arguments) -> str:
    with pytest.raises(ValidationError) as error:
        SendEmail.model_validate(PLAIN | arguments)
    return sentence_of(error.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *(
            ({"headers": {name: "x"}}, "which the service writes itself")
            for name in (
                *("From", "to", "CC", "Bcc", "Subject", "Date", "Message-ID", "Sender", "Reply-To", "Return-Path"),
                *("Received", "DKIM-Signature", "MIME-Version", "Content-Type", "Content-Foo", "Resent-To"),
            )
        ),
        ({"headers": {"X Y": "x"}}, "headers: must be named by printable ASCII"),
        ({"headers": {"X:": "x"}}, "must be named by printable ASCII"),
        ({"headers": {"X-Ü": "x"}}, "must be named by printable ASCII"),
        ({"headers": {"X\r\nBcc": "x"}}, "must be named by printable ASCII"),
        ({"headers": {"": "x"}}, "must be named by printable ASCII"),
        ({"headers": {"X": "a\r\nBcc: x@example.com"}}, "must not contain control characters"),
        ({"headers": {"X": "=?utf-8?q?=0ABcc:_x?="}}, "must not contain control characters"),
        ({"headers": {"X": "\ud800"}}, "must not contain control characters"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "each name once"),
        ({"headers": {f"X-{number}": "1" for number in range(101)}}, "at most 100"),
        ({"headers": {"X": 5}}, "headers.X"),
        ({"headers": {"list-unsubscribe": "x"}, "unsubscribe": "https://x.example/"}, "beside unsubscribe"),
        ({"unsubscribe": "http://x.example/u"}, "must be an https:// address"),
        ({"unsubscribe": "https://"}, "must be an https:// address"),
        ({"unsubscribe": "https://x.example/>\r\nBcc: x"}, "must be an https:// address"),
        ({"unsubscribe": "https://x.example/" + "a" * 900}, "at most 900 characters"),
        ({"unsubscribe": {"url": "https://x.example/", "mailto": "leave@example.com"}}, "must be such as mailto:"),
        ({"unsubscribe": {"url": "https://x.example/", "mailto": "mailto:nobody"}}, "must be one mail address"),
        ({"reply_to": "nobody"}, "reply_to: must be one mail address"),
        ({"reply_to": []}, "reply_to: must not be an empty list"),
        ({"attachments": [{"path": ""}]}, "attachments.0.path"),
        ({"attachments": [{"path": "ftp://x/a"}]}, "attachments.0.path: must be a path, or an address"),
        ({"attachments": [{"path": "store://sha256/12"}]}, "must be store://sha256/ and 64 hex digits"),
        ({"attachments": [{"path": "a", "type": "pdf"}]}, "attachments.0.type: must be a media type"),
        ({"attachments": [{"path": "a", "type": "text/plain; x=y"}]}, "must be a media type"),
        ({"attachments": [{"path": "a", "type": "multipart/mixed"}]}, "must be a media type"),
        ({"attachments": [{"path": "a", "type": "a/b\r\nBcc: x"}]}, "must be a media type"),
        ({"attachments": [{"path": "a", "name": "a\r\nb"}]}, "attachments.0.name: must not contain control"),
        ({"attachments": [{"path": "a", "size": 5}]}, "attachments.0.size"),
        ({"attachments": [{"path": "a"}] * 101}, "attachments"),
        ({"inline_images": {"logo": {"path": "a"}}}, "inline_images: need a page that shows them"),
        ({"html_body": "<p>", "inline_images": {"a b": {"path": "a"}}}, "inline_images: must be named by letters"),
        ({"html_body": "<p>", "inline_images": {"a>\r\nBcc: x": {"path": "a"}}}, "must be named by letters"),
        ({"html_body": "\ud800"}, "html_body: must be text without NUL and lone surrogates"),
        ({"preview": "yes"}, "preview"),
    ],
)
def test_what_no_mail_can_carry_is_refused_by_name(arguments, words):
    assert words in refused(**arguments)


def test_a_refusal_never_repeats_what_the_mail_says():
    assert "private" not in refused(html_body="private\0", body="private\0")
    assert "private" not in refused(attachments=[{"content": "private"}])


def test_the_items_of_a_bulk_carry_what_a_mail_does():
    item = PLAIN | {"html_body": PAGE, "inline_images": {"logo": {"path": "a"}}, "unsubscribe": "https://x.example/"}
    assert list(check_bulk([item])) == [item]
    with pytest.raises(InvalidArgument, match=r"emails\[1\]: headers: must not set Bcc"):
        list(check_bulk([item, PLAIN | {"headers": {"Bcc": "x@example.com"}}]))


@pytest.mark.parametrize("name", ["X\r\nBcc", "X: 1\r\nBcc", "X: 1\r\n\r\nBcc"])
def test_headers_other_than_those_asked_for_are_never_sent(name):
    message = Message(parse("a@example.com"), [], "s", Body("x"), headers={"X-A": "1", name: "evil@x.example"})
    with pytest.raises(PermanentError, match="other headers than were asked for"):
        compose(message, mail_id="t-0", date=WHEN)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("beginning", ["<!--", "<![CDATA[", "</a", "<?", "<a ", "<!"])
def test_what_never_ends_in_a_page_of_a_megabyte_is_text_and_holds_nobody_up(beginning):
    assert text_of("<p>seen</p>" + beginning * (1_000_000 // len(beginning))).startswith("seen\n")


@pytest.mark.parametrize("beginning", ["<!--", "<![CDATA[", "<?", "<!"])
def test_what_ends_is_hidden_as_before(beginning):
    ends = {"<!--": "-->", "<![CDATA[": "]]>"}
    assert text_of(f"<p>seen {beginning} hidden {ends.get(beginning, '>')} too</p>").split() == ["seen", "too"]


def test_an_endless_number_in_a_page_is_no_character_and_no_fault():
    assert text_of(f"<p>a&#{'9' * 5_000};b &#65;</p>") == "a\N{REPLACEMENT CHARACTER}b A\n"
