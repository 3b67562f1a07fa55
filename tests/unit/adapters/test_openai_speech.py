"""The endpoint for speech: a real server on loopback that answers as OpenAI does, refuses, and misbehaves."""

import json
import math
import threading
from collections.abc import Callable
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from adapters import openai_speech, own_thread
from adapters.openai_speech import OpenAiSpeech
from processors.audio import HOPELESS
from processors.errors import Cancelled, FileError, TransientError

KEY = "sk-planted-secret"
VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "duration": 4.2,
    "text": "Hello there. It rains.",
    "words": [
        {"word": "Hello", "start": 0.1, "end": 0.5},
        {"word": "there", "start": 0.5, "end": 1.0},
        {"word": "It", "start": 2.0, "end": 2.2},
        {"word": "rains", "start": 2.2, "end": 3.0},
    ],
    "segments": [
        {"id": 0, "start": 0.0, "end": 1.2, "text": " Hello there.", "avg_logprob": -0.2, "no_speech_prob": 0.01},
        {"id": 1, "start": 2.0, "end": 3.2, "text": " It rains.", "avg_logprob": -0.3, "no_speech_prob": 0.02},
    ],
}
NO_DETAILS = (
    400,
    {
        "error": {
            "message": "response_format 'verbose_json' is not compatible with model 'm'. Use 'json' or 'text' instead.",
            "type": "invalid_request_error",
            "param": "response_format",
            "code": "unsupported_value",
        }
    },
)
ENOUGH = 60


class Endpoint:
    """What the server answers, and what it was asked."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {}, json.dumps(VERBOSE).encode()
        self.asked: list[tuple[str, Message, dict[str, str | bytes]]] = []
        self.hold: threading.Event | None = None
        self.drips = False
        self.takes_json_alone = False
        self.left = threading.Event()

    def answers(self, status: int, body: object, **headers: str) -> None:
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
def endpoint():
    told = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            told.asked.append((self.path, self.headers, _form(self.headers["content-type"], raw)))
            if told.takes_json_alone:
                refused = told.asked[-1][2]["response_format"] != "json"
                told.answers(*(NO_DETAILS if refused else (200, {"text": "Hello."})))
            if told.hold:
                told.hold.wait(ENOUGH)
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(10**9 if told.drips else len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)
            while told.drips:
                try:
                    self.wfile.write(b" ")
                except OSError:
                    told.drips = False
                    told.left.set()

        def log_message(self, *_) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


def _form(kind: str, raw: bytes) -> dict[str, str | bytes]:
    whole = BytesParser(policy=HTTP).parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + raw)
    form: dict[str, str | bytes] = {}
    for part in whole.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        form[name] = content if part.get_filename() else f"{form.get(name, '')} {content.decode()}".strip()
    return form


def read(endpoint: Endpoint, language: str | None = None, look: Callable[[], None] = lambda: None, key=KEY):
    return OpenAiSpeech(endpoint.url + "/", key, "some-model").read(b"fLaC sound", language, look)


def test_a_sound_becomes_segments_with_their_words(endpoint):
    heard = read(endpoint)
    assert [(one.text, one.start, one.end) for one in heard.segments] == [
        ("Hello there.", 0.0, 1.2),
        ("It rains.", 2.0, 3.2),
    ]
    assert [word.text for word in heard.segments[1].words] == ["It", "rains"]
    assert heard.segments[0].avg_logprob == -0.2
    assert (heard.language, heard.language_source) == ("en", "detected")


def test_what_is_asked_is_what_the_reference_says(endpoint):
    read(endpoint, "de")
    ((path, headers, form),) = endpoint.asked
    assert path == "/v1/audio/transcriptions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert form == {
        "file": b"fLaC sound",
        "model": "some-model",
        "response_format": "verbose_json",
        "timestamp_granularities[]": "segment word",
        "language": "de",
    }


def test_without_a_key_none_is_sent(endpoint):
    read(endpoint, key=None)
    assert "authorization" not in endpoint.asked[0][1]


def test_a_given_language_is_the_language(endpoint):
    assert (read(endpoint, "de").language, read(endpoint, "de").language_source) == ("de", "given")


def test_a_model_that_answers_with_text_alone_is_one_segment(endpoint):
    endpoint.answers(200, {"text": " Hello. "})
    (segment,) = read(endpoint).segments
    assert (segment.text, segment.start, segment.words) == ("Hello.", 0.0, [])
    endpoint.answers(200, {"text": "  ", "segments": None})
    assert read(endpoint).segments == []


@pytest.mark.parametrize(("duration", "end"), [(4.2, 4.2), (None, math.inf), (0, math.inf), (-1, math.inf)])
def test_a_text_without_times_lies_in_the_whole_sound_whose_length_is_not_said(endpoint, duration, end):
    endpoint.answers(200, {"text": "Hello.", "duration": duration})
    assert [(one.text, one.start, one.end) for one in read(endpoint).segments] == [("Hello.", 0.0, end)]


def test_a_model_that_tells_no_times_is_asked_for_text_from_then_on(endpoint):
    endpoint.takes_json_alone = True
    speech = OpenAiSpeech(endpoint.url, KEY, "some-model")
    for _ in range(2):
        assert [one.text for one in speech.read(b"fLaC sound", None, lambda: None).segments] == ["Hello."]
    forms = [form for _, _, form in endpoint.asked]
    assert [form["response_format"] for form in forms] == ["verbose_json", "json", "json"]
    assert ["timestamp_granularities[]" in form for form in forms] == [True, False, False]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_final_and_not_repeated(endpoint, status):
    endpoint.answers(status, {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}})
    with pytest.raises(FileError, match="refuses the key") as error:
        read(endpoint)
    assert error.value.code == "provider_auth"
    assert "planted" not in str(error.value)


@pytest.mark.parametrize("status", [404, 405])
def test_a_model_or_a_place_that_the_endpoint_does_not_have_is_missing_for_every_piece(endpoint, status):
    endpoint.answers(status, {"error": {"message": "The model 'm' does not exist.", "code": "model_not_found"}})
    with pytest.raises(FileError, match=r"SPEECH_MODEL.*does not exist") as error:
        read(endpoint)
    assert error.value.code in HOPELESS


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"retry_after": "7"}, 7.0),
        (429, {"retry_after_ms": "1500", "retry_after": "9"}, 1.5),
        (429, {"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        (429, {"retry_after": "soon"}, None),
        (500, {}, None),
        (503, {"retry_after": "30"}, 30.0),
        (408, {}, None),
    ],
)
def test_an_overloaded_or_faulty_endpoint_is_asked_again_when_it_says(endpoint, status, headers, wait):
    endpoint.answers(status, {"error": {"message": f"busy with {KEY}", "code": "rate_limit_exceeded"}}, **headers)
    with pytest.raises(TransientError, match=rf"answers {status}: busy with \*\*\*") as error:
        read(endpoint)
    assert error.value.retry_after == wait


def test_a_key_without_credit_is_final(endpoint):
    endpoint.answers(429, {"error": {"message": "You exceeded", "code": "insufficient_quota"}})
    with pytest.raises(FileError, match="no credit left") as error:
        read(endpoint)
    assert error.value.code == "budget_exceeded"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, {"error": {"message": "model does not exist", "code": None}}, "answers 400: model does not exist"),
        (418, b"<html>not here</html>", "answers 418: <html>not here"),
        (422, {"detail": []}, "answers 422"),
        (302, b"", "answers 302"),
        (200, b"no JSON", "what is no transcription: JSONDecodeError"),
        (200, b"[]", "what is no transcription: AttributeError"),
        (200, {"segments": []}, "what is no transcription: KeyError"),
        (200, {"text": "x", "segments": [{"text": "x"}]}, "what is no transcription: KeyError"),
        (200, {"text": None}, "what is no transcription: TypeError"),
        (200, {"text": "x", "segments": [{"text": None, "start": 0, "end": 1}]}, "what is no transcription: TypeError"),
        (200, {"text": "x", "words": [{"word": None, "start": 0, "end": 1}]}, "what is no transcription: TypeError"),
        (200, {"text": "x", "segments": [{"text": "x", "start": "nan", "end": 1}]}, "what is no transcription: Value"),
        (200, b'{"text": "x", "segments": [{"text": "x", "start": NaN, "end": 1}]}', "what is no transcription"),
        (200, {"text": "x", "duration": "nan"}, "what is no transcription: ValueError"),
        (200, {"text": "x", "duration": 10**400}, "what is no transcription: OverflowError"),
        (200, b"[" * 100_000, "what is no transcription: RecursionError"),
        (400, b"[" * 100_000, r"answers 400: \[\["),
    ],
)
def test_an_answer_that_is_none_is_final_and_says_what_it_was(endpoint, status, body, words):
    endpoint.answers(status, body, location="http://127.0.0.1:1/")
    with pytest.raises(FileError, match=words) as error:
        read(endpoint)
    assert error.value.code == "provider_bad_response"


def test_an_endpoint_that_is_not_there_is_tried_again_and_named_without_secrets(endpoint):
    away = OpenAiSpeech("http://user:planted@127.0.0.1:1/v1", KEY, "some-model")
    with pytest.raises(TransientError, match=r"at 127\.0\.0\.1:1 cannot be reached") as error:
        away.read(b"sound", None, lambda: None)
    assert "planted" not in str(error.value)


def test_an_endpoint_that_is_silent_for_too_long_is_tried_again(endpoint, monkeypatch):
    monkeypatch.setattr(openai_speech, "READ_SECONDS", 0.1)
    endpoint.hold = threading.Event()
    with pytest.raises(TransientError, match="cannot be reached: ReadTimeoutError"):
        read(endpoint)
    endpoint.hold.set()


@pytest.mark.parametrize("place", ["head", "body"])
def test_an_endpoint_that_never_comes_to_an_end_is_tried_again(endpoint, monkeypatch, place):
    monkeypatch.setattr(own_thread, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(openai_speech, "ANSWER_SECONDS", 0.1)
    endpoint.hold = threading.Event()
    if place == "body":
        endpoint.hold.set()
        endpoint.drips = True
    with pytest.raises(TransientError, match=r"cannot be reached: T(imeoutError|ookTooLong)"):
        read(endpoint)
    endpoint.hold.set()
    assert place == "head" or endpoint.left.wait(ENOUGH), "the connection is closed, and its thread has ended"


def test_no_process_waits_for_an_answer_that_was_given_up(endpoint, monkeypatch):
    monkeypatch.setattr(own_thread, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(openai_speech, "ANSWER_SECONDS", 0.1)
    endpoint.hold = threading.Event()
    before = threading.enumerate()
    with pytest.raises(TransientError):
        read(endpoint)
    assert all(one.daemon for one in threading.enumerate() if one not in before)
    endpoint.hold.set()


def test_a_cancelled_task_does_not_wait_for_the_answer(endpoint, monkeypatch):
    monkeypatch.setattr(own_thread, "LOOK_SECONDS", 0.02)
    endpoint.hold = threading.Event()

    def cancelled() -> None:
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        read(endpoint, look=cancelled)
    endpoint.hold.set()


def test_what_is_too_large_or_has_no_model_is_not_sent(endpoint, monkeypatch):
    monkeypatch.setattr(openai_speech, "LARGEST_SOUND", 5)
    with pytest.raises(FileError, match="the endpoint takes") as error:
        read(endpoint)
    assert error.value.code == "too_large"
    with pytest.raises(FileError, match="set SPEECH_MODEL") as error:
        OpenAiSpeech(endpoint.url, KEY, None).read(b"sound", None, lambda: None)
    assert error.value.code == "model_missing"
    assert endpoint.asked == []
