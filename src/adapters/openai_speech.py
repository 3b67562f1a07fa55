"""Speech to text at an endpoint that speaks OpenAI's protocol.

Source: OpenAI's API reference, Create transcription: POST /audio/transcriptions with a form of file, model, language,
response_format; at most 25 MB. An answer of `verbose_json` has segments and words; models that came after whisper-1
refuse it (400, param `response_format`), and answer `json` with text alone.
"""

import math
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NoReturn

import urllib3
from urllib3.util import parse_url

from adapters.own_thread import TookTooLong, in_own_thread
from adapters.retry_after import retry_after
from adapters.strict_json import UNREADABLE, read_json
from processors.errors import FileError, TransientError
from processors.interfaces import Heard, Spoken, SpokenWord

PLACE = "/audio/transcriptions"
MIB = 1024**2
LARGEST_SOUND, LARGEST_ANSWER = 25 * MIB, 16 * MIB
CONNECT_SECONDS, READ_SECONDS = 5.0, 300.0
ANSWER_SECONDS = 330.0
"""An answer that is not whole by then is given up: a limit for each read does not stop a slow drip."""

BAD_KEY = frozenset({401, 403})
MISSING = frozenset({404, 405})
OVERLOADED, TIMED_OUT, SERVER_FAULT = 429, frozenset({408, 409}), 500
DONE, BAD_REQUEST = 200, frozenset({400, 422})
DETAILS = (b"response_format", b"verbose_json", b"timestamp_granularities")
"""An endpoint that refuses a request and speaks of one of these cannot answer with times."""

NO_CREDIT = "insufficient_quota"
LONGEST_REASON = 300
LONGEST_CODE = 3
LANGUAGES = {
    "afrikaans": "af",
    "arabic": "ar",
    "chinese": "zh",
    "czech": "cs",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "finnish": "fi",
    "french": "fr",
    "german": "de",
    "greek": "el",
    "hebrew": "he",
    "hindi": "hi",
    "hungarian": "hu",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "norwegian": "no",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "thai": "th",
    "turkish": "tr",
    "ukrainian": "uk",
    "vietnamese": "vi",
}
"""OpenAI names the language it detects in English words."""


class OpenAiSpeech:
    """Fulfils `processors.interfaces.SpeechEndpoint`.

    Args:
        url: where the API begins, such as https://api.openai.com/v1.
        key: the bearer's token; None sends none.
        model: what the endpoint calls it.
    """

    name = "openai-compatible"

    def __init__(self, url: str, key: str | None, model: str | None) -> None:
        self._url = url.rstrip("/") + PLACE
        self._key = key
        self.model = model or ""
        self._detailed = True
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS), retries=False
        )

    def read(self, sound: bytes, language: str | None, look: Callable[[], None]) -> Heard:
        """Return what is said in a FLAC file.

        Raises:
            FileError: the endpoint refuses (`provider_auth`, `model_missing`, `budget_exceeded`,
                `provider_bad_response`), or its answer cannot be understood.
            TransientError: it cannot be reached, is overloaded or at fault.
        """
        if not self.model:
            raise FileError("No model is named for the endpoint of speech: set SPEECH_MODEL to one.", "model_missing")
        if len(sound) > LARGEST_SOUND:
            raise FileError(
                f"A piece of the sound has {len(sound) // MIB} MB, and the endpoint takes {LARGEST_SOUND // MIB} MB.",
                "too_large",
            )
        status, headers, body = self._asked(sound, language, look)
        if status in BAD_REQUEST and self._detailed and any(name in body for name in DETAILS):
            self._detailed = False
            status, headers, body = self._asked(sound, language, look)
        if status != DONE:
            self._refused(status, headers, body)
        return _heard(body, language)

    def _asked(
        self, sound: bytes, language: str | None, look: Callable[[], None]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request from another thread, so that `look` is called while it takes its time."""
        until = monotonic() + ANSWER_SECONDS
        try:
            return in_own_thread(lambda: self._ask(sound, language, until), look, until, "speech")
        except (urllib3.exceptions.HTTPError, TookTooLong) as error:
            raise TransientError(
                f"The endpoint of speech at {self._place} cannot be reached: {type(error).__name__}."
            ) from error

    def _ask(self, sound: bytes, language: str | None, until: float) -> tuple[int, Mapping[str, str], bytes]:
        fields: list[tuple[str, Any]] = [
            ("file", ("sound.flac", sound, "audio/flac")),
            ("model", self.model),
            ("response_format", "verbose_json" if self._detailed else "json"),
        ]
        if self._detailed:
            fields += [("timestamp_granularities[]", "segment"), ("timestamp_granularities[]", "word")]
        if language is not None:
            fields.append(("language", language))
        authority = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        answer = self._pool.request(
            "POST", self._url, fields=fields, headers=authority, redirect=False, preload_content=False
        )
        body = bytearray()
        try:
            while len(body) < LARGEST_ANSWER and (chunk := answer.read1(LARGEST_ANSWER)):
                body += chunk
                _check_time(until)
            return answer.status, answer.headers, bytes(body)
        finally:
            answer.close()

    def _refused(self, status: int, headers: Mapping[str, str], body: bytes) -> NoReturn:
        """Say why the endpoint refuses; what it says of the key is not repeated."""
        if status in BAD_KEY:
            raise FileError(
                f"The endpoint of speech at {self._place} refuses the key ({status}): see OPENAI_API_KEY.",
                "provider_auth",
            )
        code, reason = _reason(body)
        if status in MISSING:
            raise FileError(
                f"The endpoint of speech at {self._place} has no such place or no model {self.model}: see SPEECH_URL, "
                f"OPENAI_BASE_URL and SPEECH_MODEL; it says: {self._hidden(reason)}",
                "model_missing",
            )
        if status == OVERLOADED and code == NO_CREDIT:
            raise FileError(
                f"The endpoint of speech at {self._place} has no credit left for the key.", "budget_exceeded"
            )
        said = f"The endpoint of speech at {self._place} answers {status}: {self._hidden(reason)}"
        if status == OVERLOADED or status in TIMED_OUT or status >= SERVER_FAULT:
            raise TransientError(said, retry_after=retry_after(headers))
        raise FileError(said, "provider_bad_response")

    @property
    def _place(self) -> str:
        """The endpoint's host, without what a URL may hold of secrets."""
        return parse_url(self._url).netloc or self._url

    def _hidden(self, reason: str) -> str:
        return reason.replace(self._key, "***") if self._key else reason


def _check_time(until: float) -> None:
    """Let an answer go on until a moment of the monotonic clock.

    Raises:
        TimeoutError: urllib3's own, as for a read that takes too long.
    """
    if monotonic() > until:
        raise urllib3.exceptions.TimeoutError


def _heard(body: bytes, language: str | None) -> Heard:
    """Read an answer.

    Raises:
        FileError: it is none.
    """
    try:
        answer: dict[str, Any] = read_json(body)
        words = [_word(one) for one in _listed(answer, "words")]
        segments = [_spoken(one, words) for one in _listed(answer, "segments")]
        if not segments and (text := _text(answer, "text")):
            segments = [Spoken(text, 0.0, _duration(answer), words)]
    except UNREADABLE as error:
        raise FileError(
            f"The endpoint of speech answers what is no transcription: {type(error).__name__}.", "provider_bad_response"
        ) from error
    if language is not None:
        return Heard(segments, language, "given")
    return Heard(segments, _code(answer.get("language")), "detected")


def _duration(answer: Mapping[str, Any]) -> float:
    """Return how long the sound is; infinity, which its piece's end cuts, where the answer has no length above 0."""
    seconds = _moment(answer, "duration") if answer.get("duration") else 0.0
    return seconds if seconds > 0 else math.inf


def _listed(answer: Mapping[str, Any], name: str) -> list[Any]:
    return answer.get(name) or []


def _word(one: Mapping[str, Any]) -> SpokenWord:
    return SpokenWord(_text(one, "word"), _moment(one, "start"), _moment(one, "end"))


def _spoken(one: Mapping[str, Any], words: list[SpokenWord]) -> Spoken:
    start, end = _moment(one, "start"), _moment(one, "end")
    return Spoken(
        text=_text(one, "text"),
        start=start,
        end=end,
        words=[word for word in words if start <= (word.start + word.end) / 2 < end],
        avg_logprob=_number(one.get("avg_logprob")),
        no_speech_prob=_number(one.get("no_speech_prob")),
        compression_ratio=_number(one.get("compression_ratio")),
    )


def _text(one: Mapping[str, Any], name: str) -> str:
    value = one[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value.strip()


def _moment(one: Mapping[str, Any], name: str) -> float:
    value = float(one[name])
    if math.isnan(value):
        raise ValueError(f"{name} is no number")
    return value


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _code(language: Any) -> str | None:
    name = str(language or "").lower()
    return LANGUAGES.get(name, name if 1 < len(name) <= LONGEST_CODE else None)


def _reason(body: bytes) -> tuple[str | None, str]:
    """Return the code and the message of an error in OpenAI's form, or the beginning of what was answered."""
    try:
        error = read_json(body)["error"]
        return error.get("code"), str(error["message"])[:LONGEST_REASON]
    except UNREADABLE:
        return None, " ".join(body[:LONGEST_REASON].decode("utf-8", "replace").split())
