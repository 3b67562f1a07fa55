"""Vectors and chats at an endpoint that speaks OpenAI's protocol, over OpenAI's own SDK.

The SDK builds the requests, keeps the connections and cuts streams into chunks; it retries nothing here, and follows no
redirect, because that would hand the key to another host. Answers are bounded in size and time, and are asked for
uncompressed, so that a small one cannot become a large one.
"""

import logging
import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from time import monotonic
from typing import Any, TypeVar, cast

import httpx2
import openai
from urllib3.util import parse_url

from adapters.openai_answers import ErrorInstead, StreamedAnswer, chat_answer, embedded, limit_news
from adapters.openai_refusals import Refusal, Words
from adapters.own_thread import TookTooLong, in_own_thread
from adapters.strict_json import UNREADABLE
from processors.ai_interfaces import ChatAnswer, ChatCall, Embedded, EmbeddingCall, Look
from processors.envelopes import clean
from processors.errors import AiError, ProviderFault

NO_KEY = "-"
CONNECT_SECONDS = 5.0
LARGEST_ANSWER = 128 * 1024**2
"""Bytes; 2048 vectors of 3072 dimensions, written out as decimal numbers, take less."""

NEW_LIMIT, OLD_LIMIT = "max_completion_tokens", "max_tokens"
"""What bounds an answer. OpenAI's newer models refuse the old name; Ollama passes over the new one (its issue 7125), so
that an answer has no bound. All others that are known take the old one."""

OPENAIS_OWN = (".openai.com", ".openai.azure.com")

JSON = "application/json"
PLAIN = "identity"
NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.LocalProtocolError,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
"""What keeps a request from being sent; after anything else the endpoint may have it."""

Read = TypeVar("Read")

logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells the whole address of every request


class OpenAiModels:
    """Fulfils `processors.ai_interfaces.AiProvider`; any number of threads may use it at once.

    Args:
        url: where the API begins, such as https://api.openai.com/v1.
        key: the bearer's token; None or `-` sends none.
        answer_limit: the parameter that bounds an answer; None: by whose endpoint it is.
    """

    def __init__(self, url: str, key: str | None = None, answer_limit: str | None = None) -> None:
        key = None if key == NO_KEY else key
        address = parse_url(url)
        host = address.host or ""
        self._answer_limit = answer_limit or (NEW_LIMIT if host.endswith(OPENAIS_OWN) else OLD_LIMIT)
        self._words = Words(address.netloc or url, key)
        self._headers = {} if key else {"Authorization": openai.omit}
        self._client = openai.OpenAI(
            base_url=url,
            api_key=key or NO_KEY,
            max_retries=0,
            default_headers={"Accept-Encoding": PLAIN},
            http_client=openai.DefaultHttpxClient(follow_redirects=False, event_hooks={"response": [_bound]}),
        )

    def embed(self, call: EmbeddingCall, look: Look) -> Embedded:
        """Return vectors; see the protocol."""

        def ask(reading: _Reading) -> Embedded:
            with reading.of(self._asked_for_vectors(call)) as response:
                return embedded(response.read(), call, response.headers)

        return self._answered(ask, call.seconds, look)

    def chat(self, call: ChatCall, look: Look, on_text: Callable[[str], None] | None) -> ChatAnswer:
        """Return the next message, as a stream where `on_text` is given; see the protocol.

        `call.options` may hold whatever the endpoint takes beside the model, the messages and the form of the answer.
        """
        if on_text is not None:
            return self._streamed(call, look, on_text)

        def ask(reading: _Reading) -> ChatAnswer:
            with reading.of(self._asked_for_chat(call)) as response:
                return chat_answer(response.read(), call.model, response.headers)

        return self._answered(ask, call.seconds, look)

    def close(self) -> None:
        """Close the connections; nothing can be asked any more."""
        self._client.close()

    def _streamed(self, call: ChatCall, look: Look, on_text: Callable[[str], None]) -> ChatAnswer:
        answer = StreamedAnswer(call.model)
        told = ""

        def tell() -> None:
            nonlocal told
            if (text := answer.text) != told:
                on_text(text)
                told = text

        def look_and_tell() -> None:
            look()
            tell()

        try:
            self._answered(lambda reading: self._take_stream(call, answer, reading), call.seconds, look_and_tell)
        except (ProviderFault, AiError):
            if not answer.text:
                raise
        tell()
        return answer.answer()

    def _take_stream(self, call: ChatCall, answer: StreamedAnswer, reading: "_Reading") -> None:
        """Read a stream to its end.

        Raises:
            ProviderFault: it ended before the message did.
        """
        asked = self._asked_for_chat(call, stream=True, stream_options={"include_usage": True})
        with reading.of(asked) as response:
            if response.headers.get("content-type", "").startswith(JSON):
                answer.take_whole(chat_answer(response.read(), call.model, response.headers))
                return
            answer.news = limit_news(response.headers)
            for chunk in response.parse(to=openai.Stream[object]):
                answer.take(chunk)
        if not answer.ended:
            raise self._words.error("ended its answer before the end", "provider_unavailable", charged=True)

    def _asked_for_vectors(self, call: EmbeddingCall) -> Any:
        return self._client.embeddings.with_streaming_response.create(
            model=call.model,
            input=clean(list(call.inputs)),
            dimensions=openai.omit if call.dimensions is None else call.dimensions,
            encoding_format="base64",
            timeout=_timeout(call.seconds),
            extra_headers=self._headers,
        )

    def _asked_for_chat(self, call: ChatCall, **more: Any) -> Any:
        completions: Any = self._client.chat.completions  # its types name every parameter of OpenAI's own models
        return completions.with_streaming_response.create(
            model=call.model,
            messages=clean([dict(message) for message in call.messages]),
            response_format=openai.omit if call.schema is None else _as_schema(call.schema),
            extra_body={self._named(name): clean(value) for name, value in call.options.items()},
            timeout=_timeout(call.seconds),
            extra_headers=self._headers,
            **more,
        )

    def _named(self, option: str) -> str:
        return self._answer_limit if option == NEW_LIMIT else option

    def _answered(self, ask: Callable[["_Reading"], Read], seconds: float, look: Look) -> Read:
        """Ask in another thread, and return what came; an answer that nobody waits for any more is broken off."""
        reading = _Reading()

        def work() -> Read:
            with self._told_of():
                return ask(reading)

        try:
            return in_own_thread(work, look, monotonic() + seconds, "ai-call")
        except TookTooLong as error:
            said = f"did not answer within {seconds:g} s"
            raise self._words.error(said, "provider_unavailable", charged=True) from error
        finally:
            reading.break_off()

    @contextmanager
    def _told_of(self) -> Generator[None]:
        """Turn what the SDK and the reading of answers raise into this project's errors.

        Raises:
            AiError: the endpoint refuses, or its answer is none.
            ProviderFault: it cannot be reached, or does not answer as it should now.
        """
        try:
            yield
        # Each without its cause, which may tell the key and stands in tracebacks.
        except openai.APIStatusError as error:
            raise self._words.refused(Refusal(error.status_code, error.body, error.response.headers)) from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            charged = not isinstance(error.__cause__ or error, NOT_SENT)
            said = f"cannot be reached: {_cause(error)}"
            raise self._words.error(said, "provider_unavailable", charged=charged) from None
        except (openai.APIError, ErrorInstead) as error:  # in the middle of a stream, or in the place of an answer
            raise self._words.refused(Refusal.in_answer(error.body)) from None
        except UNREADABLE as error:
            words = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            said = f"answers what is no answer: {words}"
            raise self._words.error(said, "provider_bad_response", charged=True) from None


class _Reading:
    """An answer that one thread reads, so that another one can break it off."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket: socket.socket | None = None
        self._broken_off = False

    @contextmanager
    def of(self, asked: Any) -> Generator[Any]:
        """Send a request and give its answer, whose body is still to be read."""
        with asked as response:
            with self._lock:
                self._socket = response.http_response.extensions["network_stream"].get_extra_info("socket")
            if self._broken_off:
                self.break_off()
            try:
                yield response
            finally:
                with self._lock:
                    self._socket = None

    def break_off(self) -> None:
        """End the reading, where it goes on or is still to come; the endpoint sees that nobody reads.

        Before an answer begins its connection is not known: that reading ends by its time-out.
        """
        with self._lock:
            self._broken_off = True
            if self._socket is not None:
                with suppress(OSError):  # closed by the other side in the same moment
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # TLS's own would disturb the reader


class _Bounded(httpx2.SyncByteStream):
    """The body of an answer, up to a size and a moment."""

    def __init__(self, body: httpx2.SyncByteStream, until: float) -> None:
        self._body, self._until = body, until

    def __iter__(self) -> Iterator[bytes]:
        taken = 0
        for chunk in self._body:
            taken += len(chunk)
            if taken > LARGEST_ANSWER:
                raise ValueError(f"it has more than {LARGEST_ANSWER} bytes")
            if monotonic() > self._until:
                raise httpx2.ReadTimeout("it did not come to an end")
            yield chunk

    def close(self) -> None:
        self._body.close()


def _bound(response: httpx2.Response) -> None:
    """Let an answer be no larger than it may be, and take no longer once more than it had time to begin.

    Raises:
        ValueError: it is compressed, though that was not asked for.
    """
    encoding = response.headers.get("content-encoding", PLAIN)
    if encoding != PLAIN:
        raise ValueError(f"it is compressed ({encoding}), and was asked for as {PLAIN}")
    seconds = response.request.extensions["timeout"]["read"]
    response.stream = _Bounded(cast("httpx2.SyncByteStream", response.stream), monotonic() + seconds)


def _timeout(seconds: float) -> openai.Timeout:
    return openai.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def _as_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema), "strict": True}}


def _cause(error: BaseException) -> str:
    """Return what lies at the bottom of a failed connection; the SDK's own words say only that it failed."""
    cause = error.__cause__ or error
    return f"{type(cause).__name__} {cause}".rstrip()
