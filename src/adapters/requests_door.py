"""The module `requests` for code that is not ours: its requests go through the guard, and are seen.

It lets nothing go behind the internet, follows no redirect, and shuts after the first failure, so that nothing is tried
twice, however the code behind it goes on.
"""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar, cast

import requests

from adapters.guarded_https import Answer, GuardedHttps

PREPARED = frozenset({"params", "data", "json", "headers", "auth", "files", "cookies"})
Done = TypeVar("Done")
PAST_THE_DOOR = frozenset({"Session", "session", "sessions", "adapters", "api"})


class Checked(Exception):
    """The address of the first request is one that may be asked."""


@dataclass
class Call:
    """What one thread lets code ask: what was asked and answered meanwhile.

    Attributes:
        https: what requests go through.
        until: the monotonic second after which nothing is asked.
        asks: whether anything may be asked at all; else only the first address is checked.
        asked: whether something may have gone out.
        answers: in order, with their methods.
        fault: why a request was not answered.
        shut: nothing is asked any more.
    """

    https: GuardedHttps
    until: float
    asks: bool = True
    asked: bool = False
    answers: list[tuple[str, Answer]] = field(default_factory=list[tuple[str, Answer]])
    fault: Exception | None = None
    shut: bool = False

    @property
    def taken_before(self) -> bool:
        """Whether a request before the last one may have sent the message already."""
        before = self.answers if self.fault is not None else self.answers[:-1]
        return any(method != "GET" and answer.status < HTTPStatus.MULTIPLE_CHOICES for method, answer in before)


class _Door:
    """Stands where code looks for the module `requests`; what is no request is the module's own."""

    def __getattr__(self, name: str) -> Any:
        if name in PAST_THE_DOOR:
            raise AttributeError(f"requests.{name} is not there: it leads past the guard.")
        return getattr(requests, name)

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """Do as `requests.request` does, through the guard."""
        call: Call | None = getattr(_calls, "current", None)
        if call is None or call.shut:
            raise requests.ConnectionError("nothing more is asked")
        given = {name: value for name, value in options.items() if name in PREPARED and value is not None}
        prepared = requests.Request(method.upper(), url, **given).prepare()
        try:
            answer = _asked(call, prepared)
        except Exception as error:
            call.fault, call.shut = error, True
            raise requests.ConnectionError(type(error).__name__) from error
        call.answers.append((str(prepared.method), answer))
        call.shut = answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if call.shut:
            raise requests.ConnectionError(str(answer.status))  # else some services wait, and ask again
        return _response(prepared, answer)

    def get(self, url: str, **options: Any) -> requests.Response:
        """Do as `requests.get` does."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> requests.Response:
        """Do as `requests.post` does."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> requests.Response:
        """Do as `requests.put` does."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> requests.Response:
        """Do as `requests.patch` does."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> requests.Response:
        """Do as `requests.delete` does."""
        return self.request("DELETE", url, **options)

    def head(self, url: str, **options: Any) -> requests.Response:
        """Do as `requests.head` does."""
        return self.request("HEAD", url, **options)


def _asked(call: Call, prepared: requests.PreparedRequest) -> Answer:
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
    headers = {str(name): _text(value) for name, value in prepared.headers.items() if name != "Content-Length"}
    if not call.asks:
        call.https.checked(str(prepared.url))
        raise Checked
    call.asked = True
    return call.https.ask(
        str(prepared.method), str(prepared.url), headers=headers, body=cast("bytes | None", body), until=call.until
    )


def _response(prepared: requests.PreparedRequest, answer: Answer) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response.headers.update(answer.headers)
    response.url, response.request, response.encoding = str(prepared.url), prepared, "utf-8"
    cast("Any", response)._content = answer.body  # noqa: SLF001 - requests has no other way to make one
    return response


def put_door(service: type) -> None:
    """Put the door where the code of a class, and of those it is made of, looks for `requests`."""
    for one in service.__mro__:
        module = sys.modules[one.__module__]
        if getattr(module, "requests", None) is requests:
            cast("Any", module).requests = _door


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


_door = _Door()
_calls = threading.local()


def under(call: Call, work: Callable[[], Done]) -> Done:
    """Return what work returns that asks by this call, in this thread."""
    _calls.current = call
    try:
        return work()
    finally:
        _calls.current = None
