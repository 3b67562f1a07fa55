"""A directory elsewhere: what it knows, and every way in which it may not answer."""

import json
import ssl

import pytest
import trustme

from adapters import contact_directory
from adapters.contact_directory import MOST_BYTES, HttpContactDirectory
from processors.errors import PermanentError, TransientError
from web_server import WebServer

TOKEN = "very-secret-token"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def web(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with WebServer(context) as server:
        yield server


@pytest.fixture
def directory(authority, web) -> HttpContactDirectory:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return HttpContactDirectory(f"https://localhost:{web.port}/users/{{user_id}}?full=1", TOKEN, context)


def answer(body: object, status: str = "200 OK", *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + content


def test_a_person_is_asked_for_by_an_encoded_id_with_the_token_and_other_keys_are_left_out(directory, web):
    web.answers["/users/a%2F..%2Fb%3F%C3%A9?full=1"] = answer(
        {"email": "a@example.com", "phone": None, "department": 4}
    )
    found = directory.find("a/../b?é")
    assert (found.email, found.phone) == ("a@example.com", None)
    assert f"Authorization: Bearer {TOKEN}" in web.requests[0]


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
def test_nobody_is_none(directory, web, status):
    web.answers["/users/u?full=1"] = answer({}, status)
    assert directory.find("u") is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("500 Oops", "answers 500"),
        ("503 Busy", "answers 503"),
        ("429 Slow", "answers 429"),
        ("401 Who", "CONTACT_DIRECTORY_TOKEN"),
        ("403 No", "CONTACT_DIRECTORY_TOKEN"),
    ],
)
def test_what_may_pass_is_tried_again_and_tells_no_token(directory, web, status, words):
    web.answers["/users/u?full=1"] = answer({}, status, "Retry-After: 7")
    with pytest.raises(TransientError, match=words) as error:
        directory.find("u")
    assert TOKEN not in str(error.value)
    assert error.value.retry_after == (None if "TOKEN" in words else 7)


@pytest.mark.parametrize(
    "given",
    [
        answer({}, "302 Found", "Location: https://evil.example.com/"),
        answer({}, "400 Bad"),
        answer(b"{"),
        answer(b"[" * 100_000),
        answer([1]),
        answer({"email": "nobody"}),
        answer({"quiet_hours": {"from": "1", "to": "2"}}),
        answer({"email": "a@example.com", "filler": "x" * MOST_BYTES}),
    ],
    ids=["redirect", "refusal", "no JSON", "deep JSON", "a list", "no address", "no time", "too large"],
)
def test_what_is_no_contact_is_final_and_one_sentence(directory, web, given):
    web.answers["/users/u?full=1"] = given
    with pytest.raises(PermanentError, match="The contact directory at localhost") as error:
        directory.find("u")
    assert "\n" not in str(error.value)
    assert len(web.requests) == 1, "a redirect is not followed"


def test_a_drip_ends_at_the_deadline(directory, web, monkeypatch):
    monkeypatch.setattr(contact_directory, "DEADLINE_SECONDS", 0.5)

    def drip(connection) -> None:
        while not web.ended.wait(0.05):
            connection.sendall(b"H")

    web.answers["/users/u?full=1"] = drip
    with pytest.raises(TransientError, match="does not answer now"):
        directory.find("u")


def test_a_certificate_that_is_not_trusted_gets_no_token(web):
    stranger = HttpContactDirectory(f"https://localhost:{web.port}/users/{{user_id}}", TOKEN)
    with pytest.raises(TransientError, match="does not answer now"):
        stranger.find("u")
    assert web.requests == []


def test_nobody_who_listens_is_tried_again():
    with pytest.raises(TransientError, match="CONTACT_DIRECTORY_URL"):
        HttpContactDirectory("http://127.0.0.1:9/users/{user_id}").find("u")
