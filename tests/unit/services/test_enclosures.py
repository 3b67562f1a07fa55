"""Files that go with mails: handed over as bytes they are in the storage alone, and gone when nobody needs them."""

import base64
import json
import sys
from datetime import UTC, datetime
from email import policy
from email.parser import BytesParser
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from adapters.disk_storage import DiskStorage
from adapters.resting_mailer import OPENING
from config.settings import settings
from documentation import examples
from processors.errors import ConfigurationError, FileError, InvalidArgument, SubmitUnknown, TaskFailed
from processors.mail_events import sendgrid
from reading import silent
from services import submission
from services.attachment_files import AttachmentFiles
from services.celery_service import celery_service
from services.channels import Carriers
from services.diagnosis import Finding, diagnose
from services.enclosures import Enclosures
from services.signing import signer_of
from services.wiring import Parts, parts
from services.worker_steps import _check_start

MIB = 1024**2
CONTENT = b"%PDF planted-content \xff\0"
MAIL: dict[str, Any] = {"to_email": "ann@example.com", "subject": "s", "body": "b"}


def objects() -> list[str]:
    """What is in the storage."""
    return [path.name for path in (settings.storage_dir / "objects").rglob("*") if path.is_file()]


def mails(service) -> list[Any]:
    return [BytesParser(policy=policy.default).parsebytes(path.read_bytes()) for path in service.outbox.glob("*.eml")]


def files_of(mail) -> list[tuple[str, bytes]]:
    return [(part.get_filename(), part.get_payload(decode=True)) for part in mail.iter_attachments()]


# --- Submitting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [CONTENT, base64.b64encode(CONTENT).decode(), bytearray(CONTENT), memoryview(CONTENT)],
    ids=["bytes", "base64", "bytearray", "memoryview"],
)
def test_a_file_given_as_bytes_arrives_and_is_in_no_record(inline_service, content):
    task_id = celery_service.send_email(**MAIL, attachments=[{"content": content, "name": "a.pdf"}])
    [mail] = mails(inline_service)
    assert files_of(mail) == [("a.pdf", CONTENT)]
    record = parts().tasks.read(task_id)
    assert b"planted" not in repr(record).encode()
    assert base64.b64encode(CONTENT).decode()[:12] not in repr(record)
    assert record.kwargs["attachments"] == [{"path": f"store://sha256/{objects()[0]}", "name": "a.pdf"}]


def test_the_pages_example_works_as_it_stands(inline_service, tmp_path):
    for name in ("reports/17.pdf", "logo.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(CONTENT)
    [example] = [one for one in examples("mail.md") if "/srv/" in one]
    exec(example.replace("/srv/", f"{tmp_path}/"))
    [mail] = mails(inline_service)
    assert files_of(mail) == [("Bericht 17.pdf", CONTENT), ("17.csv", b"id,amount\n17,9.50\n")]
    assert mail["List-Unsubscribe"] == "<https://example.com/unsubscribe?token=9f2c>"
    assert mail["X-Order"] == "17"


def test_an_inline_image_given_as_bytes_arrives(inline_service):
    image = {"content": CONTENT, "type": "image/png", "name": "logo.png"}
    celery_service.send_email(**MAIL, html_body="<img src=cid:logo>", inline_images={"logo": image})
    [mail] = mails(inline_service)
    [part] = [part for part in mail.walk() if part["Content-ID"]]
    assert (part["Content-ID"], part.get_payload(decode=True)) == ("<logo>", CONTENT)


def test_a_file_of_the_workers_machine_arrives(inline_service, tmp_path):
    (tmp_path / "Größe.txt").write_text("Größe")
    celery_service.send_email(**MAIL, attachments=[{"path": str(tmp_path / "Größe.txt")}])
    assert files_of(mails(inline_service)[0]) == [("Größe.txt", "Größe".encode())]


def test_what_another_task_made_is_kept_for_the_mail_too(inline_service):
    address = parts().storage.put(CONTENT, mime="text/plain", task_id="another")
    celery_service.send_email(**MAIL, attachments=[{"path": address, "name": "a.txt"}], delay_seconds=60)
    parts().storage.remove("another")
    inline_service.advance(61)
    assert files_of(mails(inline_service)[0]) == [("a.txt", CONTENT)]


def test_an_upload_is_enclosed_under_the_name_that_its_place_says(inline_service):
    address = parts().storage.put(CONTENT, mime="text/plain", task_id="upload-1")
    celery_service.send_email(**MAIL, attachments=[{"path": f"{address}/Gr%C3%B6%C3%9Fe.txt"}], delay_seconds=60)
    parts().storage.remove("upload-1")
    inline_service.advance(61)
    assert files_of(mails(inline_service)[0]) == [("Größe.txt", CONTENT)]


def test_the_files_of_a_mail_go_with_its_record(inline_service):
    task_id = celery_service.send_email(**MAIL, attachments=[{"content": CONTENT}])
    assert parts().storage.remove(task_id) == len(CONTENT)
    assert objects() == []


def test_a_retry_keeps_the_files_of_the_mail_that_it_retries(inline_service, monkeypatch):
    monkeypatch.setattr(settings, "email_max_mb", 1)
    task_id = celery_service.send_email(**MAIL, attachments=[{"content": b"x" * 900_000}])  # in base64 it is too large
    assert celery_service.get_task_status(task_id)["status"] == "FAILURE"
    monkeypatch.setattr(settings, "email_max_mb", 25)
    celery_service.replay_task(task_id)
    parts().storage.remove(task_id)
    assert len(files_of(mails(inline_service)[0])) == 1
    assert len(objects()) == 1


def test_the_items_of_a_bulk_share_a_file(inline_service):
    items = [MAIL | {"to_email": f"r{n}@example.com", "attachments": [{"content": CONTENT}]} for n in range(3)]
    bulk_id = celery_service.send_bulk_emails(items)
    inline_service.advance(5)
    assert [len(files_of(mail)) for mail in mails(inline_service)] == [1, 1, 1]
    assert len(objects()) == 1
    assert parts().storage.remove(bulk_id) == len(CONTENT)


@pytest.mark.parametrize("submit", ["send_email", "send_bulk_emails"])
def test_a_submit_that_is_refused_or_known_already_leaves_no_file(inline_service, submit):
    def send(**changes):
        mail = MAIL | {"attachments": [{"content": CONTENT}]} | changes
        if submit == "send_email":
            return celery_service.send_email(**mail, idempotency_key="k")
        return celery_service.send_bulk_emails([mail], idempotency_key="k")

    with pytest.raises(InvalidArgument, match="subject"):
        send(subject="a\nb")
    assert objects() == []

    first = send()
    assert send() == first
    with pytest.raises(InvalidArgument, match="k"):
        send(body="other")
    assert parts().storage.remove(first) == len(CONTENT)
    assert objects() == []


def test_the_files_stay_where_nobody_knows_whether_the_mail_was_recorded(inline_service, monkeypatch):
    def lost(*_arguments, **_options):
        raise SubmitUnknown("lost", "t")

    monkeypatch.setattr(submission, "submit", lost)
    with pytest.raises(SubmitUnknown):
        celery_service.send_email(**MAIL, attachments=[{"content": CONTENT}])
    assert len(objects()) == 1


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"content": b""}, r"attachments\.0\.content: must be at least one byte"),
        ({"content": 5}, "must be at least one byte, or base64 text; got int"),
        ({"content": "no base64!"}, "must be bytes, or base64 text"),
        ({"content": b"x" * (MIB + 1)}, r"must fit a mail of 1 MB \(EMAIL_MAX_MB\); got 1\.0 MB"),
        ({"content": "AAAA" * MIB}, "must fit a mail of 1 MB"),
        ({"content": b"x", "path": "/a"}, "give either path or content"),
        ({"path": f"store://sha256/{'0' * 64}"}, "There is no artefact at store://"),
        ({"content": b"x", "name": ".."}, r"attachments\.0\.name: must be a file's name"),
        (5, r"attachments\.0"),
    ],
    ids=range(9),
)
def test_a_file_that_cannot_be_sent_is_refused_at_submit(inline_service, monkeypatch, file, words):
    monkeypatch.setattr(settings, "email_max_mb", 1)
    with pytest.raises(InvalidArgument, match=words):
        celery_service.send_email(**MAIL, attachments=[file])
    with pytest.raises(InvalidArgument, match=words.replace("attachments", "attachments")):
        celery_service.send_bulk_emails([MAIL | {"attachments": [file]}])
    assert objects() == []


def test_the_arguments_are_bounded_whatever_the_files_are(inline_service):
    with pytest.raises(InvalidArgument, match="body: has 1048578 of the"):
        celery_service.send_email(**MAIL | {"body": "x" * MIB}, attachments=[{"content": CONTENT}])
    assert objects() == []
    celery_service.send_email(**MAIL, attachments=[{"content": b"x" * 2 * MIB}])
    assert len(files_of(mails(inline_service)[0])[0][1]) == 2 * MIB


def test_arguments_that_were_not_given_are_not_recorded(inline_service):
    record = parts().tasks.read(celery_service.send_email(**MAIL))
    assert set(record.kwargs) == {"to_email", "subject", "body", "from_email", "cc", "bcc"}


# --- Running ---------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_fails_the_mail_and_is_named(inline_service, tmp_path):
    task_id = celery_service.send_email(**MAIL, attachments=[{"path": str(tmp_path / "gone.pdf")}])
    with pytest.raises(TaskFailed, match=r"gone\.pdf does not exist") as failed:
        celery_service.get_task_result(task_id)
    assert failed.value.error_type == "FileError"
    assert mails(inline_service) == []


def test_a_file_that_is_not_there_stops_its_own_mail_of_a_bulk_alone(inline_service, tmp_path):
    gone = MAIL | {"attachments": [{"path": str(tmp_path / "gone.pdf")}]}
    bulk_id = celery_service.send_bulk_emails([MAIL, gone, MAIL | {"subject": "last"}])
    inline_service.advance(5)
    result = celery_service.get_task_result(bulk_id)
    assert (result["sent"], result["invalid"]) == (2, 1)
    assert "gone.pdf does not exist" in result["failures"][0]["text"]
    assert len(mails(inline_service)) == 2


def test_a_preview_opens_nothing_notes_nothing_and_sends_nothing(inline_service, monkeypatch):
    monkeypatch.setattr(Parts, "mailer", property(lambda _: pytest.fail("a preview asked for the mailer")))
    task_id = celery_service.send_email(
        **MAIL, html_body="<p>Hi</p>", attachments=[{"content": CONTENT, "name": "a.pdf"}], preview=True
    )
    result = celery_service.get_task_result(task_id)
    assert result["status"] == "preview"
    assert result["attachments"] == [{"name": "a.pdf", "type": "application/pdf", "size": len(CONTENT), "cid": None}]
    assert result["accepted"] == ["ann@example.com"]
    assert mails(inline_service) == []
    assert parts().deliveries.open(task_id, {0: {}}) == {0: {}}
    json.dumps(result)


class Counted(DiskStorage):
    """A storage that counts how often it is read."""

    reads = 0

    def get(self, address):
        self.reads += 1
        return super().get(address)


def test_a_file_is_read_once_for_a_batch_and_its_size_is_looked_at_first(tmp_path):
    storage = Counted(tmp_path)
    address = storage.put(CONTENT, mime="", task_id="a")
    reader = AttachmentFiles(SimpleNamespace(storage=storage), "b")
    with pytest.raises(FileError, match="EMAIL_MAX_MB") as error:
        reader.read(address, 5, silent)
    assert (error.value.code, storage.reads) == ("too_large", 0)
    assert {reader.read(address, MIB, silent).content for _ in range(3)} == {CONTENT}
    assert storage.reads == 1
    with pytest.raises(FileError, match="left in the mail"):
        reader.read(address, 5, silent)
    storage.remove("a")
    assert storage.size(address) == len(CONTENT)  # kept for the task that reads it


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(50 * 1024**3)
    with pytest.raises(FileError, match=r"huge has 51200 MB, at most 1 MB are read: see EMAIL_MAX_MB"):
        AttachmentFiles(parts(), "t").read(str(tmp_path / "huge"), MIB, silent)


@pytest.mark.parametrize(("place", "code"), [("", "unsupported_type"), ("empty", "empty_file"), ("gone", "not_found")])
def test_what_is_no_file_is_none_here_either(tmp_path, place, code):
    (tmp_path / "empty").touch()
    with pytest.raises(FileError) as error:
        AttachmentFiles(parts(), "t").read(str(tmp_path / place), MIB, silent)
    assert error.value.code == code


def test_files_of_a_submit_are_bounded_together(monkeypatch):
    monkeypatch.setattr("services.enclosures.MOST_BYTES", 5)
    enclosures = Enclosures(1)
    enclosures.named({"attachments": [{"content": b"1234"}, {"content": b"1234"}]})
    with pytest.raises(InvalidArgument, match=r"emails\[1\]: attachments\.0: all files of a submit"):
        enclosures.named({"attachments": [{"content": b"56"}]}, "emails[1]: ")


# --- Signing ---------------------------------------------------------------------------------------------------


@pytest.fixture
def key_file(tmp_path, monkeypatch):
    file = tmp_path / "dkim.pem"
    key = ed25519.Ed25519PrivateKey.generate()
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    monkeypatch.setattr(settings, "email_dkim_domain", "example.com")
    monkeypatch.setattr(settings, "email_dkim_selector", "s1")
    monkeypatch.setattr(settings, "email_dkim_key_file", file)
    return file


def test_mails_are_signed_where_the_settings_say_so_and_the_key_is_read_once(inline_service, key_file):
    assert parts().signer is parts().signer
    celery_service.send_email(**MAIL)
    assert "d=example.com; s=s1;" in " ".join(mails(inline_service)[0]["DKIM-Signature"].split())


def test_mails_are_not_signed_where_nothing_is_set(inline_service):
    celery_service.send_email(**MAIL)
    assert mails(inline_service)[0]["DKIM-Signature"] is None


@pytest.mark.parametrize("bad", ["others", "gone", "no key"])
def test_a_key_that_cannot_be_used_names_the_setting_in_the_task_and_at_the_start_by_the_same_sentence(
    inline_service, key_file, bad, capsys
):
    if bad == "others":
        key_file.chmod(0o644)
    elif bad == "gone":
        key_file.unlink()
    else:
        key_file.write_text("planted-secret")
    with pytest.raises(ConfigurationError, match="EMAIL_DKIM_KEY_FILE") as error:
        _ = parts().signer
    assert "planted" not in str(error.value)
    assert Finding("dkim", good=False, detail=str(error.value)) in diagnose()
    with pytest.raises(SystemExit):
        _check_start("io@host")
    assert str(error.value) in capsys.readouterr().err


def test_the_doctor_says_who_signs_and_which_mail_server_rests_and_why(inline_service, key_file):
    assert Finding("dkim", good=True, detail="signs for example.com") in diagnose()
    parts().mail_rests.note("mail.example.com:587#12ab34cd", "slow.example", 420, "451 4.7.1 slower")
    parts().mail_rests.note("full.example.com:587", OPENING, 60, "421 too many connections")
    found = next(one for one in diagnose() if one.name == "mail servers")
    assert not found.good
    assert "slow.example by mail.example.com:587 rests for 4" in found.detail
    assert "451 4.7.1 slower" in found.detail
    assert "who has no open connection by full.example.com:587 rests for" in found.detail


def test_the_doctor_says_whether_a_mailbox_can_unsubscribe_with_one_click(inline_service, monkeypatch):
    def told():
        return next(one.detail for one in diagnose() if one.name == "unsubscribing")

    assert "not https: no List-Unsubscribe is made" in told()
    monkeypatch.setattr(settings, "webhook_base_url", "https://me:planted@mail.example.com/csai")
    del parts().unsubscribing
    assert told() == "with one click at https://mail.example.com"


@pytest.mark.parametrize(
    ("what", "needed_by"),
    [
        (lambda: signer_of(settings), "DKIM"),
        (lambda: Carriers(settings)["push"], "Web push"),
        (lambda: sendgrid.check(b"", {}, "key", datetime.now(UTC)), "SendGrid's webhook"),
    ],
    ids=["dkim", "push", "sendgrid"],
)
def test_where_cryptography_has_no_build_what_needs_it_says_so_and_how_to_go_on(key_file, monkeypatch, what, needed_by):
    monkeypatch.setattr(settings, "vapid_private_key_file", key_file)
    monkeypatch.setattr(settings, "vapid_subject", "mailto:a@example.com")
    for name in list(sys.modules):
        if name in {"processors.dkim_signing", "adapters.web_push", "adapters.vapid_keys"}:
            monkeypatch.delitem(sys.modules, name)
        if name.partition(".")[0] in {"cryptography", "py_vapid", "pywebpush"}:
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError) as error:
        what()
    assert str(error.value).startswith(f"{needed_by} needs the package cryptography, which is not installed")
    assert "pip install cryptography" in str(error.value)
