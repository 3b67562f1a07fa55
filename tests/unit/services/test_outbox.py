"""Mail in files is listed the newest first and taken apart, whatever it is."""

import contextlib
import os
from email.message import EmailMessage

import pytest

from config.settings import settings
from processors.errors import InvalidArgument
from services import outbox


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An outbox of its own."""
    monkeypatch.setattr(type(settings), "outbox_dir", property(lambda _settings: tmp_path))
    return tmp_path


def write(folder, mail_id: str, content: bytes, at: int) -> None:
    path = folder / f"{mail_id}.eml"
    path.write_bytes(content)
    os.utime(path, ns=(at, at))


def message(subject: str = "Hi", page: str | None = None) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Ann <ann@example.com>", "bob@example.com", subject
    made.set_content("the text\n")
    if page is not None:
        made.add_alternative(page, subtype="html")
    return made


def test_mails_are_listed_the_newest_first_a_page_at_a_time(folder):
    for number in range(5):
        write(folder, f"task-{number}-0", message(f"Grüße {number}").as_bytes(), 10**9 * (number // 2))
    (folder / ".hidden.eml.1").write_bytes(b"x")
    (folder / "task-1-0.json").write_bytes(b"{}")
    (folder / "no id.eml").write_bytes(b"x")
    (folder / "link.eml").symlink_to("/etc/passwd")
    found, before = [], ""
    while before is not None:
        rows, before = outbox.listed(2, before)
        found += rows
    assert [row.subject for row in found if row.id != "link"] == [f"Grüße {number}" for number in (4, 3, 2, 1, 0)]
    assert (found[-1].task_id, found[-1].sender, found[-1].to) == ("task-0", "Ann <ann@example.com>", "bob@example.com")
    assert "link" not in {row.id for row in found}


def test_an_outbox_that_was_never_written_is_empty(folder):
    folder.rmdir()
    assert outbox.listed(10) == ([], None)
    assert outbox.mail("a-0") is None


@pytest.mark.parametrize("before", ["x", "1", "1.a b", "-1.a", "1.../etc", "\u0661.a", "1" * 30 + ".a"])
def test_a_place_that_is_none_is_refused(before):
    with pytest.raises(InvalidArgument, match="before"):
        outbox.listed(10, before)


def test_a_mail_is_taken_apart_with_its_own_pictures_in_its_page(folder):
    made = message(page='<p><img src="cid:logo@x"><img src="cid:none"><img src="https://example.com/p.png"></p>')
    made.get_payload()[1].add_related(b"\x89PNG", "image", "png", cid="<logo@x>")
    made.add_attachment(b"a,b\n", maintype="text", subtype="csv", filename="../r\u00e9sum\u00e9.csv")
    write(folder, "task-1", made.as_bytes(), 1)
    mail = outbox.mail("task-1")
    assert mail.text == "the text\n"
    assert 'src="data:image/png;base64,iVBORw=="' in mail.html
    assert 'src="cid:none"' in mail.html
    assert [(part.name, part.type, part.content) for part in mail.parts] == [
        ("", "image/png", b"\x89PNG"),
        ("../r\u00e9sum\u00e9.csv", "text/csv", b"a,b\n"),
    ]
    assert ("Subject", "Hi") in mail.headers


def test_a_picture_that_a_page_shows_a_thousand_times_does_not_make_the_page_a_thousand_times_as_large(folder):
    made = message(page='<img src="cid:logo@x">' * 1_000 + '<img src="cid:dot@x">')
    made.get_payload()[1].add_related(bytes(399_000), "image", "png", cid="<logo@x>")
    made.get_payload()[1].add_related(b"dot", "image", "gif", cid="<dot@x>")
    write(folder, "task-1", made.as_bytes(), 1)
    page = outbox.mail("task-1").html
    assert page.count("data:image/png") == 25, "ten megabytes of them"
    assert page.count("cid:logo@x") == 975
    assert page.endswith('<img src="data:image/gif;base64,ZG90">\n'), "a small one has room still"
    assert len(page) < 14_000_000


@pytest.mark.parametrize("mail_id", ["../etc/passwd", "a/b", "", "x" * 300, "a.eml", "a\0b", "link"])
def test_no_other_file_can_be_read(folder, mail_id):
    (folder / "link.eml").symlink_to("/etc/passwd")
    assert outbox.path_of(mail_id) is None
    assert outbox.mail(mail_id) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\xff\xfe",
        b"Subject: =?utf-8?q?" + b"=" * 500 + b"?=\n\nx",
        b"From: " + b"(" * 5_000 + b"\n\nx",
        b'Content-Type: text/plain; charset="no-such"\n\n\xff',
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n",
        b"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n!!!!",
        b"To: a@b\nTo: c@d\nContent-Disposition: attachment; filename*=x''%\n\n",
    ],
    ids=range(8),
)
def test_a_file_that_is_no_good_mail_is_listed_and_said_to_be_none(folder, content):
    write(folder, "odd-1", content, 1)
    assert [row.id for row in outbox.listed(10)[0]] == ["odd-1"]
    with contextlib.suppress(outbox.UnreadableMail):
        assert outbox.mail("odd-1").row.id == "odd-1"


def test_a_very_large_mail_is_only_saved(folder, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_BYTES", 10)
    write(folder, "large-1", message().as_bytes(), 1)
    with pytest.raises(outbox.UnreadableMail, match="only be saved"):
        outbox.mail("large-1")
