"""A mail as those see it who get it: read by a parser that nobody here wrote, and its signature verified."""

import base64

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from adapters.smtp_mailer import SmtpMailer
from composing import composer
from gmime import GMimeMessage
from mail_posts import Posts
from processors.dkim_signing import DkimSigner
from smtp_server import SmtpServer

pytestmark = pytest.mark.services

PDF = b"%PDF-1.7\r\n.\r\n..\0\xff" * 999
LOGO = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9
SUBJECT = "Ihr Prüfbericht · 日本 " * 9 + "?"
TEXT = "Grüße,\n.\n.. the report is attached.\n" + "x" * 2_000 + "\nFrom here on.\n"
PAGE = '<p>Grüße</p><img src="cid:logo">' + "ü" * 3_000


def test_a_mail_with_all_it_can_carry_is_read_whole_and_verified_by_others(database):
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = {"/a/report.pdf": PDF, "/a/logo.png": LOGO}
    with SmtpServer() as server:
        mailer = SmtpMailer(f"smtp://127.0.0.1:{server.port}")
        posts = Posts(
            database,
            mailer,
            from_email='"Müller, Jürgen" <a@example.com>',
            to_email="Ann Smith <b@example.com>",
            bcc=["hidden@example.com"],
            subject=SUBJECT,
            body=TEXT,
            html_body=PAGE,
            reply_to="answers@example.com",
            headers={"X-Order": "17"},
            attachments=[{"path": "/a/report.pdf", "name": "Prüfbericht 17 日本.pdf"}],
            inline_images={"logo": {"path": "/a/logo.png"}},
            unsubscribe={"url": "https://example.com/u?t=9f2c", "mailto": "mailto:leave@example.com"},
        )
        posts.composer = composer(files, signer=DkimSigner("example.com", "s1", pem))
        assert posts.deliver().status == "sent"
        mailer.close()
    (arrived,) = server.mails
    mail = GMimeMessage(arrived.content)

    assert arrived.recipients == ["b@example.com", "hidden@example.com"]
    assert mail.header("Subject") == SUBJECT
    assert mail.authors() == [("Müller, Jürgen", "a@example.com")], "one author, though the name has a comma"
    assert mail.header("To") == '"Ann Smith" <b@example.com>'
    assert (mail.header("Reply-To"), mail.header("X-Order")) == ("answers@example.com", "17")
    assert mail.header("List-Unsubscribe") == "<https://example.com/u?t=9f2c>, <mailto:leave@example.com>"
    assert mail.header("List-Unsubscribe-Post") == "List-Unsubscribe=One-Click"
    assert mail.header("Bcc") is None
    assert b"hidden" not in arrived.content

    text, page, logo, report = mail.parts
    assert (text.type, page.type) == ("text/plain", "text/html")
    assert (text.text.replace("\r\n", "\n"), page.text.strip()) == (TEXT, PAGE)
    assert (logo.type, logo.disposition, logo.content_id, logo.content) == ("image/png", "inline", "logo", LOGO)
    assert (report.type, report.disposition) == ("application/pdf", "attachment")
    assert (report.name, report.content) == ("Prüfbericht 17 日本.pdf", PDF)

    public = base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    dns = {b"s1._domainkey.example.com.": b"v=DKIM1; k=rsa; p=" + public}
    assert dkim.verify(arrived.content, dnsfunc=lambda name, timeout=5: dns.get(name))
    signature = mail.header("DKIM-Signature").lower().replace(" ", "")
    signed = signature.partition("h=")[2].partition(";")[0].split(":")
    assert {"from", "subject", "list-unsubscribe", "list-unsubscribe-post"} <= set(signed)
    assert not dkim.verify(arrived.content.replace(b"9f2c", b"9f2d"), dnsfunc=lambda name, timeout=5: dns.get(name))
