"""DKIM: what signs here verifies elsewhere, and whatever is changed on the way does not."""

import base64
import re
import sys
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace

import dkim
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from composing import composer
from processors.addresses import parse, sort_out
from processors.dkim_signing import DkimSigner
from processors.emails import SendEmail
from processors.errors import ConfigurationError
from reading import silent

WHEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
KEYS = {"rsa": RSA, "ed25519": ED25519}
WHOLE = {
    "to_email": "Jürgen <b@example.com>",
    "cc": ["c@example.com"],
    "subject": "Größe  of   things " * 9,
    "body": "text  with \t spaces \n\n.\n\n\n",
    "html_body": "<p>Hi ü</p>",
    "reply_to": "answers@example.com",
    "attachments": [{"path": "a.pdf"}],
    "unsubscribe": {"url": "https://x.example/u?t=1", "mailto": "mailto:leave@example.com"},
}


def pem(key, password: bytes | None = None) -> bytes:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


def signed(kind: str, **arguments) -> bytes:
    mail = SendEmail.model_validate(WHOLE | arguments)
    recipients, _ = sort_out(mail.recipients())
    maker = composer({"a.pdf": b"%PDF" * 99}, signer=DkimSigner("example.com", "s1", pem(KEYS[kind])))
    return maker.compose(mail, parse("a@example.com"), recipients, mail_id="t-0", date=WHEN, report=silent)


class VerifyKey:
    """PyNaCl's key, which dkimpy asks for Ed25519, by the library that is here."""

    def __init__(self, encoded: bytes, encoder: object) -> None:
        self._key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded))

    def verify(self, message: bytes, signature: bytes) -> None:
        self._key.verify(signature, message)


@pytest.fixture(autouse=True)
def nacl(monkeypatch):
    if "nacl" not in sys.modules:
        fake = ModuleType("nacl")
        fake.signing = SimpleNamespace(VerifyKey=VerifyKey)
        fake.encoding = SimpleNamespace(Base64Encoder=None)
        fake.exceptions = SimpleNamespace(BadSignatureError=InvalidSignature)
        monkeypatch.setattr(dkim, "nacl", fake, raising=False)


def published(name: bytes, timeout: int = 5) -> bytes | None:
    """The DNS, which knows one key: that of the algorithm which `asked` says."""
    assert name == b"s1._domainkey.example.com."
    public = KEYS[published.kind].public_key()
    if published.kind == "rsa":
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        raw = public.public_bytes(serialization.Encoding.DER, form)
    else:
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return b"v=DKIM1; k=" + published.kind.encode() + b"; p=" + base64.b64encode(raw)


def verifies(kind: str, content: bytes) -> bool:
    published.kind = kind
    return dkim.verify(content, dnsfunc=published)


@pytest.mark.parametrize("kind", list(KEYS))
def test_a_mail_with_all_it_can_carry_verifies_elsewhere(kind):
    content = signed(kind)
    assert verifies(kind, content)
    assert f"a={kind}-sha256; c=relaxed/relaxed; d=example.com".encode() in content
    assert f"t={int(WHEN.timestamp())};".encode() in content


@pytest.mark.parametrize("kind", list(KEYS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    subject=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=200),
    body=st.text(" \t\n\rab.ü=", max_size=200),
)
def test_any_subject_and_body_verify_elsewhere(kind, subject, body):
    try:
        content = signed(kind, subject=subject, body=body)
    except ValueError:
        return
    assert verifies(kind, content)


@pytest.mark.parametrize("kind", list(KEYS))
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Hi =C3=BC", b"Hi =C3=BD"),
        (b"\r\nReply-To: answers", b"\r\nReply-To: evil"),
        (b"\r\nCc: c@", b"\r\nCc: evil@"),
        (b"https://x.example/u", b"https://y.example/u"),
        (b"List-Unsubscribe=One-Click", b"List-Unsubscribe=No"),
        (b"12:30:00", b"12:31:00"),
        (b"\r\nFrom: ", b"\r\nFrom: evil@example.com\r\nFrom: "),
        (b"MIME-Version: 1.0", b"MIME-Version: 1.1"),
        (b"JVBER", b"JVBES"),
    ],
)
def test_whatever_is_changed_on_the_way_does_not(kind, old, new):
    content = signed(kind)
    assert old in content
    assert not verifies(kind, content.replace(old, new, 1))


def test_spaces_and_folds_may_change_on_the_way():
    content = signed("rsa")
    head, _, body = content.partition(b"\r\n\r\n")
    refolded = re.sub(rb",\r\n ", b", ", head)
    assert refolded != head
    assert verifies("rsa", refolded + b"\r\n\r\n" + body + b"\r\n\r\n")


def test_the_author_is_signed_once_more_than_there_is_one_and_all_that_readers_rely_on_once():
    [tag] = re.findall(rb"\sh=([^;]*);", signed("rsa"))
    names = re.sub(rb"\s", b"", tag).decode().split(":")
    assert names.count("from") == 2
    once = {"to", "cc", "reply-to", "subject", "date", "message-id", "mime-version", "content-type"}
    assert {name for name in names if names.count(name) == 1} == once | {"list-unsubscribe", "list-unsubscribe-post"}


@pytest.mark.parametrize("kind", list(KEYS))
def test_every_attempt_has_the_same_signature(kind):
    assert signed(kind) == signed(kind)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "one private key in PEM form"),
        (b"planted-secret", "one private key in PEM form"),
        (pem(RSA, b"password"), "without a password"),
        (pem(rsa.generate_private_key(65537, 1024)), "is RSA with 1024 bits"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "RSA with 2048 bits or more, or Ed25519"),
        (pem(RSA).replace(b"\n", b"x\n", 2), "one private key in PEM form"),
    ],
    ids=["empty", "text", "locked", "short", "elliptic", "damaged"],
)
def test_a_key_that_cannot_sign_is_refused_with_the_setting_and_without_its_content(content, words):
    with pytest.raises(ConfigurationError, match=words) as error:
        DkimSigner("example.com", "s1", content)
    assert "EMAIL_DKIM_KEY_FILE" in str(error.value)
    assert "planted" not in f"{error.value} {error.value.__cause__}"
