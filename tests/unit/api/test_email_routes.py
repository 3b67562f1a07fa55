"""Mail over HTTP: reports want the key, providers their signature, and who unsubscribes neither."""

import json
import re
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

import mail_webhooks as sent
from api.app import create_app
from api.routes.email import MOST_EVENT_BYTES
from config.settings import ensure_folders, settings
from examples.celery_example import BOUNCE
from processors.errors import NotAuthentic, ServiceUnavailable
from services.access import admin_key
from services.celery_service import celery_service
from services.wiring import parts

PROVIDERS = ("ses", "sendgrid", "mailgun", "postmark")
ANN = "ann@example.com"


@pytest.fixture
def client():
    """The application as a client on this machine sees it."""
    ensure_folders(settings)
    with TestClient(create_app(settings), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def key() -> dict[str, str]:
    return {"Authorization": f"Bearer {admin_key(settings)}"}


class Certificates:
    """Brings the tests' certificate, and remembers what it confirmed."""

    def __init__(self, error: Exception | None = None):
        self.error, self.confirmed = error, []

    def certificate(self, url: str) -> bytes:
        if self.error:
            raise self.error
        return sent.certificate()

    def confirm(self, url: str) -> None:
        self.confirmed.append(url)


@pytest.fixture
def sns(monkeypatch) -> Certificates:
    fake = Certificates()
    monkeypatch.setitem(parts().__dict__, "sns", fake)
    return fake


@pytest.fixture
def _known(monkeypatch):
    """All providers' settings."""
    monkeypatch.setattr(settings, "email_ses_topics", [sent.TOPIC])
    monkeypatch.setattr(settings, "email_sendgrid_public_key", sent.public_key(sent.sendgrid_key()))
    monkeypatch.setattr(settings, "email_mailgun_signing_key", sent.MAILGUN_KEY)
    monkeypatch.setattr(settings, "email_postmark_secret", sent.POSTMARK_SECRET)


@pytest.fixture(autouse=True)
def _afterwards():
    """Everybody is mailed again."""
    yield
    for one in celery_service.get_suppressions(limit=1000):
        celery_service.unsuppress_email(one["address"], one["list_name"])


def complaint(provider: str, name: str) -> tuple[bytes, dict[str, str]]:
    """What a provider posts where somebody called a mail spam, now."""
    now, address = datetime.now(UTC), f"{name}@example.com"
    if provider == "ses":
        told = sent.ses("Complaint")
        told["complaint"]["complainedRecipients"][0]["emailAddress"] = address
        return json.dumps(sent.sns(told, now=now, MessageId=name)).encode(), {}
    if provider == "sendgrid":
        body = json.dumps([sent.sendgrid("spamreport", email=address, sg_event_id=name)]).encode()
        return body, sent.sendgrid_headers(body, now=now)
    if provider == "mailgun":
        return json.dumps(sent.mailgun("complained", now=now, token=name, recipient=address, id=name)).encode(), {}
    body = json.dumps(sent.postmark("SpamComplaint", Email=address, ID=name)).encode()
    return body, {"X-Postmark-Secret": sent.POSTMARK_SECRET}


def post(client, provider, body, headers):
    return client.post(f"/api/v1/email/events/{provider}", content=body, headers=headers)


# --- Providers --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_known", "sns")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_complaint_that_a_provider_tells_suppresses_and_told_again_is_nothing_new(client, provider):
    body, headers = complaint(provider, f"once-{provider}")
    answers = [post(client, provider, body, headers) for _ in range(2)]
    assert [(one.status_code, one.json()) for one in answers] == [(200, {"kept": 1}), (200, {"kept": 0})]
    (found,) = celery_service.get_suppressions(f"once-{provider}@example.com")
    assert (found["reason"], found["source"], found["list_name"], found["until"]) == ("complaint", provider, None, None)
    (event,) = celery_service.get_email_events(address=f"once-{provider}@example.com")
    assert (event["kind"], event["provider"]) == ("complained", provider)


@pytest.mark.usefixtures("_known", "sns")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_a_provider_has_not_signed_is_refused_and_changes_nothing(client, provider):
    body, headers = complaint(provider, f"forged-{provider}")
    if provider == "mailgun":
        told = json.loads(body)
        told["signature"]["signature"] = "0" * 64
        body = json.dumps(told).encode()
    elif provider == "postmark":
        headers = {}
    else:
        body = body.replace(b"forged-", b"victim-")
    answer = post(client, provider, body, headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:csai:not-authentic")
    assert celery_service.get_suppressions() == []


@pytest.mark.usefixtures("_known")
def test_a_signature_of_mailgun_is_good_for_one_event(client):
    body, _ = complaint("mailgun", "first")
    assert post(client, "mailgun", body, {}).status_code == 200
    told = json.loads(body)
    told["event-data"] |= {"id": "another", "recipient": "victim@example.com"}
    assert post(client, "mailgun", json.dumps(told).encode(), {}).status_code == 403
    assert celery_service.get_suppressions("victim@example.com") == []


@pytest.mark.usefixtures("_known")
@pytest.mark.parametrize("passed_over", [{"event": "opened"}, {"recipient": "nobody"}])
def test_a_signature_of_mailgun_on_what_does_not_count_is_good_for_nothing_else(client, passed_over):
    token, name = f"signs-{min(passed_over)}", f"other-{min(passed_over)}@example.com"
    told = sent.mailgun("complained", now=datetime.now(UTC), token=token, id=token)
    told["event-data"] |= passed_over
    answers = [post(client, "mailgun", json.dumps(told).encode(), {}) for _ in range(2)]
    assert [(one.status_code, one.json()) for one in answers] == [(200, {"kept": 0})] * 2
    told["event-data"] |= {"id": "another", "event": "complained", "recipient": name}
    assert post(client, "mailgun", json.dumps(told).encode(), {}).status_code == 403
    assert celery_service.get_suppressions(name) == []
    assert "" not in {one["kind"] for one in celery_service.get_email_events(limit=1000)}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_without_its_setting_is_not_there_and_the_setting_is_named(client, provider):
    body, headers = complaint(provider, "unset")
    answer = post(client, provider, body, headers)
    assert answer.status_code == 404
    assert re.search(r"once EMAIL_[A-Z_]+ is set", answer.json()["detail"])


def test_a_provider_that_nobody_knows_is_not_there(client):
    answer = post(client, "pigeon", b"{}", {})
    assert (answer.status_code, "ses, sendgrid, mailgun, postmark" in answer.json()["detail"]) == (404, True)


@pytest.mark.usefixtures("_known")
def test_a_subscription_to_our_topic_is_confirmed_and_to_another_is_not(client, sns):
    ask = sent.sns("You have chosen", "SubscriptionConfirmation", now=datetime.now(UTC))
    assert post(client, "ses", json.dumps(ask).encode(), {}).status_code == 200
    assert sns.confirmed == [sent.SUBSCRIBE_URL]
    strange = sent.sns("x", "SubscriptionConfirmation", now=datetime.now(UTC), TopicArn=sent.TOPIC + "2")
    assert post(client, "ses", json.dumps(strange).encode(), {}).status_code == 403
    assert len(sns.confirmed) == 1


@pytest.mark.usefixtures("_known")
@pytest.mark.parametrize(("error", "status"), [(ServiceUnavailable("away"), 503), (NotAuthentic("gone"), 403)])
def test_a_certificate_that_cannot_be_had_lets_nothing_through(client, sns, error, status):
    sns.error = error
    assert post(client, "ses", *complaint("ses", "nobody")).status_code == status
    assert celery_service.get_suppressions() == []


@pytest.mark.usefixtures("_known")
def test_a_body_beyond_the_bound_is_not_read(client):
    assert post(client, "mailgun", b" " * (MOST_EVENT_BYTES + 1), {}).status_code == 413
    assert post(client, "mailgun", b"{", {}).status_code == 422


# --- Reports ----------------------------------------------------------------------------------------------------


def test_a_report_is_taken_from_who_has_the_key(client, key):
    headers = {**key, "Content-Type": "message/rfc822"}
    bounce = BOUNCE.replace(b"gone@example.com", b"posted@example.com")
    answer = client.post("/api/v1/email/bounces", content=bounce, headers=headers)
    assert answer.status_code == 200
    (event,) = answer.json()["events"]
    assert (event["address"], event["kind"], event["hard"], event["task_id"]) == (
        "posted@example.com",
        "bounced",
        True,
        None,
    )
    assert client.post("/api/v1/email/bounces", content=bounce, headers=headers).json() == {"events": []}


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [(BOUNCE, "application/json", 415), (b"hello", "message/rfc822", 422), (b"", "message/rfc822", 422)],
)
def test_what_is_no_report_is_a_problem(client, key, content, kind, status):
    answer = client.post("/api/v1/email/bounces", content=content, headers={**key, "Content-Type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_report_without_the_key_is_refused(client):
    answer = client.post("/api/v1/email/bounces", content=BOUNCE, headers={"Content-Type": "message/rfc822"})
    assert answer.status_code == 401


# --- Unsubscribing ----------------------------------------------------------------------------------------------


def path(address=ANN, list_name="news") -> str:
    url = celery_service.unsubscribe_url(address, list_name)
    assert url.startswith(settings.webhook_base_url)
    return url.removeprefix(settings.webhook_base_url)


def test_to_look_shows_a_button_and_changes_nothing(client):
    answer = client.get(path(list_name="<b>News</b>"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert '<form method="post">' in answer.text
    assert answer.text.count("<button>") == 1
    assert "ann@example.com will get no more mail of the list &lt;b&gt;News&lt;/b&gt;" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.head(path()).status_code == 200
    assert celery_service.get_suppressions() == []


@pytest.mark.parametrize(
    "request_of",
    [
        {"data": {"List-Unsubscribe": "One-Click"}},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {"data": {"List-Unsubscribe": "One-Click"}, "headers": {"Origin": "null"}},
        {"data": {"List-Unsubscribe": "One-Click"}, "headers": {"Origin": "https://mail.example"}},
        {},
    ],
    ids=["one click", "as a form with parts", "from the page", "from a mailbox's page", "empty"],
)
def test_one_post_unsubscribes_at_once_without_a_key_and_a_second_changes_nothing(client, request_of):
    answers = [client.post(path(), **request_of) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 200]
    assert answers[0].text == answers[1].text
    (one,) = celery_service.get_suppressions()
    assert (one["address"], one["list_name"], one["reason"], one["source"]) == (ANN, "news", "unsubscribe", "one_click")


def test_without_a_list_it_is_all_mail(client):
    assert client.post(path(list_name=None)).status_code == 200
    assert celery_service.get_suppressions()[0]["list_name"] is None


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("token", ["x", "A" * 90, "%00", "ü"])
def test_a_wrong_token_is_not_there(client, method, token):
    answer = client.request(method, f"/api/v1/unsubscribe/{token}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert celery_service.get_suppressions() == []


def test_another_name_of_this_machine_does_not_reach_it(client):
    assert client.post(path(), headers={"Host": "evil.example"}).status_code == 421


def test_the_key_that_signs_is_made_once_and_is_its_owners_alone():
    celery_service.unsubscribe_url(ANN)
    file = settings.run_dir / "unsubscribe-key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() not in repr(parts().unsubscribing)
