"""The background service from another machine: the methods of `celery_service` over HTTP, with Python's library alone.

    client = CsaiClient("https://jobs.example.com", key="csai_…")
    task_id = client.process_document(client.upload("report.pdf"))
    print(client.get_task_result(task_id, timeout=300))

Each method has the name, the arguments and the answer that `services.celery_service.celery_service` has. A request that
got no answer is sent again, a submit too: it carries an idempotency key, so that it is done once all the same.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import select
import ssl
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self, TypedDict, Unpack, cast
from urllib.parse import quote, urlencode, urlsplit

VARIABLE_URL = "CSAI_URL"
VARIABLE_KEY = "CSAI_API_KEY"
DEFAULT_URL = "http://localhost:8001"

AGAIN = frozenset({408, 429, 502, 503, 504})
"""What a server answers that may answer otherwise soon."""

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 20.0
"""Of one request for a task's end; the next one goes on waiting."""

PIECE_BYTES = 256 * 1024
"""Of a file, sent at a time."""

KEY_HEADER = "Idempotency-Key"
FAULTS = (OSError, http.client.HTTPException)

EVERY = 2**31 - 1
"""The `count` of an act on many that confirms it however many there are."""

WEBHOOK_TOLERANCE_SECONDS = 300.0
LONGEST_SECOND = 15
"""Digits of a second that is one of a clock."""


class OptionsBesidePriority(TypedDict, total=False):
    """What a submit takes beside its own arguments, where it has a priority among them.

    Attributes:
        idempotency_key: the same key with the same method and arguments gives the same id for 7 days.
        delay_seconds: seconds from now until the task is due; or
        due_at: the moment itself, in ISO 8601.
        expires_at: when a task that still waits is cancelled.
        tenant: on whose behalf.
        tags: words by which people find the task.
    """

    idempotency_key: str
    delay_seconds: float
    due_at: str
    expires_at: str
    tenant: str
    tags: Sequence[str]


class SubmitOptions(OptionsBesidePriority, total=False):
    """What every other submit takes: a `priority`, too, which is `low`, `normal` or `high`."""

    priority: str


class OptionsBesideTime(TypedDict, total=False):
    """The same for a submit that has words of its own for when it is due."""

    idempotency_key: str
    expires_at: str
    tenant: str
    tags: Sequence[str]
    priority: str


class OptionsBesideDelay(OptionsBesideTime, total=False):
    """The same for a submit that has `delay_seconds` among its own arguments."""

    due_at: str


class ServiceError(Exception):
    """The service refused a request.

    Attributes:
        status: the HTTP status; 0 where there was no answer.
        type: the stable name of what was wrong, such as `urn:csai:invalid-argument`.
        problem: all that was told (RFC 9457).
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"status {status}"))
        self.status = status
        self.type = str(problem.get("type", "about:blank"))
        self.problem = dict(problem)


class InvalidArgument(ServiceError, ValueError):
    """An argument is bad; nothing was queued."""


class NotAllowed(ServiceError, PermissionError):
    """The key is none, or is not good for this."""


class NotFound(ServiceError, LookupError):
    """There is no such task, schedule or the like."""


class Conflict(ServiceError):
    """It was done before, with other arguments, or cannot be done as things stand."""


class ServiceUnavailable(ServiceError, ConnectionError):
    """The service does not answer, or cannot take work now."""


class TaskFailed(Exception):
    """The task failed.

    Attributes:
        result: what it returned all the same, or its error.
        error_type: the name of the error.
        traceback: where it happened.
    """

    def __init__(self, status: Mapping[str, Any]) -> None:
        info: dict[str, Any] = status.get("info") or {}
        super().__init__(str(info.get("error", "The task failed.")))
        self.result = info
        self.error_type = str(info.get("error_type", ""))
        self.traceback = status.get("traceback")


class TaskCancelled(Exception):
    """The task was cancelled, or expired."""


class TaskTimeout(TimeoutError):
    """The task has no result yet."""


class WebhookNotAuthentic(ValueError):
    """A webhook is not signed by who has its secret, is too old, or was changed on its way."""


BY_STATUS: dict[int, type[ServiceError]] = {
    400: InvalidArgument,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    408: ServiceUnavailable,
    413: InvalidArgument,
    422: InvalidArgument,
    429: ServiceUnavailable,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


class Connection:
    """Requests with a key, sent again while there is no answer.

    Args:
        url: where the service is; by default `CSAI_URL`, or this machine.
        key: of the API; by default `CSAI_API_KEY`.
        timeout: seconds that one step of a request may take.
        patience: seconds in which a request without an answer is sent again.
        context: for https; by default certificates are checked against the system's.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 30.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url or _variable(VARIABLE_URL) or DEFAULT_URL)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url: must begin with http:// or https:// and name a host; got {url!r}.")
        self._scheme, self._host, self._port = parts.scheme, parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/") + "/api/v1"
        self._key = key or _variable(VARIABLE_KEY)
        self._timeout, self._patience = timeout, patience
        self._context = context
        self._kept = threading.local()  # a connection for each thread: none is used by two at once
        self._open: set[http.client.HTTPConnection] = set()

    def close(self) -> None:
        """Close what is open, in every thread; what is asked afterwards opens it anew."""
        for connection in tuple(self._open):
            self._drop(connection)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a request and return its answer: JSON values, a text, bytes of any other type, or None for none.

        Args:
            method: of HTTP.
            path: below /api/v1.
            query: its parameters; None is what was left out.
            body: JSON values, or bytes.
            headers: more of them.

        Raises:
            ServiceError: the service refused it, or did not answer within `patience`.
        """
        until = time.monotonic() + self._patience
        pause = FIRST_PAUSE_SECONDS
        content = body if body is None or isinstance(body, bytes) else json.dumps(body, allow_nan=False).encode()
        while True:
            try:
                return self._once(method, path, query, content, headers or {})
            except (ServiceError, *FAULTS) as error:
                wait = _wait_of(error, pause)
                if wait is None or time.monotonic() + wait > until:
                    raise _as_ours(error) from error
            time.sleep(wait)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    def upload(self, file: IO[bytes], name: str, size: int) -> dict[str, Any]:
        """Send a file as it is read; what broke off, or was not taken now, is sent again from the start.

        Only the pauses between are counted against `patience`, because a large file takes its time.

        Raises:
            ServiceError: the service refused it, or did not take it however often it was sent.
        """
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        pause, paused = FIRST_PAUSE_SECONDS, 0.0
        while True:
            file.seek(0)
            try:
                return self._once("POST", "/uploads", {"name": name}, file, headers)
            except (ServiceError, *FAULTS) as error:
                wait = _wait_of(error, pause)
                if wait is None or paused + wait > self._patience:
                    raise _as_ours(error) from error
            time.sleep(wait)
            paused += wait
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    def _once(
        self, method: str, path: str, query: Mapping[str, Any] | None, content: Any, headers: Mapping[str, str]
    ) -> Any:
        known = {name: value for name, value in (query or {}).items() if value is not None}
        target = self._prefix + path + (f"?{urlencode(_flat(known), doseq=True)}" if known else "")
        sent = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"} | dict(headers)
        if isinstance(content, bytes):
            sent.setdefault("Content-Type", "application/json")
        kept = getattr(self._kept, "connection", None)
        if kept is not None and not hasattr(content, "read") and not _is_stale(kept):
            return self._exchange(kept, method, target, content, sent)
        if kept is not None:
            self._drop(kept)
        fresh = self._connection()
        self._open.add(fresh)
        return self._exchange(fresh, method, target, content, sent)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, target: str, content: Any, headers: Mapping[str, str]
    ) -> Any:
        """Send a request and read its answer; the connection is kept for the next one where both went well."""
        self._kept.connection = connection
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it had all
                connection.request(method, target, content, headers)
            answer: http.client.HTTPResponse = connection.getresponse()
            read = answer.read()
        except FAULTS:
            self._drop(connection)
            raise
        if answer.will_close:
            self._drop(connection)
        return _answered(answer.status, dict(answer.headers.items()), read)

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        self._open.discard(connection)
        if getattr(self._kept, "connection", None) is connection:
            del self._kept.connection
        with suppress(OSError):
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._scheme == "https":
            context = self._context or ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=context, blocksize=PIECE_BYTES
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout, blocksize=PIECE_BYTES)


def verify_webhook(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance: float = WEBHOOK_TOLERANCE_SECONDS,
    now: float | None = None,
) -> dict[str, Any]:
    """Return what a webhook tells, once it is sure who sent it.

    The same one may come more than once: its header `webhook-id` is the same then.

    Args:
        secret: `whsec_…`, as the service told it when the endpoint was made.
        headers: of the request.
        body: of the request, as it came.
        tolerance: seconds by which the sender's clock may differ.
        now: this clock's second; by default the present one.

    Raises:
        WebhookNotAuthentic: it is not sure.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    message_id, second, given = (fields.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (second.isascii() and second.isdigit() and len(second) <= LONGEST_SECOND):
        raise WebhookNotAuthentic("webhook-timestamp is no second of a clock.")
    if abs((time.time() if now is None else now) - int(second)) > tolerance:
        raise WebhookNotAuthentic("webhook-timestamp is too far from now: it was sent again, or a clock is wrong.")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{second}.".encode("utf-8", "surrogateescape") + body
    expected = b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
    same = [hmac.compare_digest(expected, one.encode("utf-8", "surrogateescape")) for one in given.split()]
    if not any(same):
        raise WebhookNotAuthentic("webhook-signature is not that of this message and this secret.")
    return json.loads(body)


def _variable(name: str) -> str:
    return os.environ.get(name, "")  # noqa: TID251 - it runs where the service, and so its settings, are not


def _answered(status: int, headers: Mapping[str, str], content: bytes) -> Any:
    fields = {name.lower(): value for name, value in headers.items()}
    kind = fields.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    if status < http.client.BAD_REQUEST:
        if is_json and content:
            return json.loads(content)
        return (content.decode() if kind.startswith("text/") else content) if content else None
    problem: Any = {}
    if is_json:
        try:
            problem = json.loads(content)
        except ValueError:
            problem = {}
    told: dict[str, Any] = cast("dict[str, Any]", problem) if isinstance(problem, dict) else {}
    if (after := fields.get("retry-after", "")).isdigit():
        told["retry_after"] = int(after)
    raise BY_STATUS.get(status, ServiceError)(status, told)


def _is_stale(connection: http.client.HTTPConnection) -> bool:
    """Tell whether the other side has closed a connection that waits: then there is something to read."""
    sock = connection.sock
    return sock is None or bool(select.select([sock], [], [], 0)[0])


def _wait_of(error: Exception, pause: float) -> float | None:
    """Return the seconds until a request is worth being sent again, or None where it never is."""
    jittered = pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    if not isinstance(error, ServiceError):
        return None if isinstance(error, ssl.SSLCertVerificationError) else jittered
    return max(jittered, error.problem.get("retry_after", 0)) if error.status in AGAIN else None


def _as_ours(error: Exception) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    return ServiceUnavailable(0, {"detail": f"The service does not answer: {error}."})


def _flat(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}


def _place(value: str) -> str:
    return quote(str(value), safe="")


def _given(**values: Any) -> dict[str, Any]:
    """Return what was given; None is what was left out."""
    return {name: value for name, value in values.items() if value is not None}


def _known(method: str, kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a submit's options; what is none of them is refused as Python refuses it.

    Raises:
        TypeError: it is.
    """
    for keyword in options:
        if keyword not in kind.__annotations__:
            raise TypeError(f"CsaiClient.{method}() got an unexpected keyword argument {keyword!r}")
    return dict(options)


def _key(given: str | None) -> str:
    """Return the key that was given, or one of a request's own: it is done once, however often it has to be sent."""
    return uuid.uuid4().hex if given is None else given


def _why(status: Mapping[str, Any]) -> str:
    info: dict[str, Any] = status["info"] or {}
    return str(info.get("error", "it was cancelled."))


class Calls:
    """What the methods of the client are made of."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 30.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._connection = Connection(url, key, timeout=timeout, patience=patience, context=context)

    def __enter__(self) -> Self:
        """Use it as a context, at whose end its connections are closed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._connection.close()

    def submit(
        self,
        name: str,
        /,
        arguments: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Submit a task by its name; `options` as every submit takes them."""
        given = {"name": name, "arguments": dict(arguments or {})} | _given(queue=queue)
        return self._submit("/submit", given | _known("submit", SubmitOptions, options))

    def submit_many(
        self,
        name: str,
        /,
        many: Sequence[Mapping[str, Any]],
        *,
        queue: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> list[str]:
        """Submit many tasks of one name at once: all of them are recorded, or none."""
        given = {"name": name, "many": [dict(one) for one in many]} | _given(queue=queue)
        return self._accepted("/submit/submit_many", given | _known("submit_many", SubmitOptions, options))["task_ids"]

    def upload(self, path: str | os.PathLike[str]) -> str:
        """Send a file to the service, and return what stands for it as the `file_path` of a submit."""
        with Path(path).open("rb") as file:
            return self._connection.upload(file, Path(path).name, os.fstat(file.fileno()).st_size)["file_path"]

    def get_task_status(self, task_id: str) -> dict[str, Any]:
        """Tell where a task stands, at once; an id that was never submitted has the status `UNKNOWN`."""
        try:
            return self._request("GET", f"/tasks/{_place(task_id)}")
        except NotFound:
            return {"task_id": task_id, "status": "UNKNOWN", "info": None, "traceback": None}

    def get_vectors(self, task_id: str) -> Iterator[tuple[int, list[float]]]:
        """Yield the vectors that a task made: the position of each text in its list, and its vector."""
        try:
            lines = self._request("GET", f"/tasks/{_place(task_id)}/vectors")
        except Conflict:
            self.get_task_result(task_id, timeout=0)  # raises what became of it
            raise
        for line in (lines or b"").splitlines():
            one = json.loads(line)
            yield one["index"], one["vector"]

    def get_artefact(self, uri: str) -> bytes:
        """Return the bytes of a file that a task made, by the `uri` that the task's result names."""
        return self._request("GET", f"/artefacts/{_place(uri.rpartition('/')[2])}") or b""

    def receive_bounce(self, message: bytes) -> list[dict[str, Any]]:
        """Take a mail server's report, as it came: a bounce (RFC 3464) or a complaint (RFC 5965)."""
        return self._connection.request(
            "POST", "/email/bounces", body=message, headers={"Content-Type": "message/rfc822"}
        )["events"]

    def get_contact(self, user_id: str) -> dict[str, Any] | None:
        """Return how a person is reached, with secrets masked; None where nobody knows."""
        try:
            return self._request("GET", f"/contacts/{_place(user_id)}")
        except NotFound:
            return None

    def get_task_result(self, task_id: str, timeout: float = 30) -> Any:
        """Return a task's result, waiting for it at most `timeout` seconds.

        Raises:
            TaskTimeout: there is none yet.
            TaskFailed: the task failed.
            TaskCancelled: it was cancelled, or expired.
            NotFound: no task has this id.
        """
        until = time.monotonic() + timeout
        while True:
            wait = max(0.0, min(LONGEST_WAIT_SECONDS, until - time.monotonic()))
            status = self._request("GET", f"/tasks/{_place(task_id)}", {"wait": wait})
            if status["status"] == "SUCCESS":
                return status["info"]
            if status["status"] == "FAILURE":
                raise TaskFailed(status)
            if status["status"] == "REVOKED":
                raise TaskCancelled(f"Task {task_id} has no result: {_why(status)}")
            if time.monotonic() >= until:
                raise TaskTimeout(f"Task {task_id} has no result after {timeout} s; it is {status['status']}.")

    def _submit(self, path: str, body: Mapping[str, Any]) -> str:
        return self._accepted(path, body)["task_id"]

    def _accepted(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Submit; the key makes it one submit, however often it has to be sent."""
        key = _key(body.get("idempotency_key"))  # beside the arguments, as a header has not every sign
        return self._connection.request("POST", path, body={**body, "idempotency_key": key})

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        once: str | None = None,
    ) -> Any:
        headers = None if once is None else {KEY_HEADER: once}
        return self._connection.request(method, path, query=query, body=body, headers=headers)


# --- Written by scripts/make_client.py from the API's document; what is below is not edited ---


class CsaiClient(Calls):
    """The service over HTTP; see the module."""

    def send_email(
        self,
        to_email: str | Sequence[str],
        subject: str | None = None,
        body: str | None = None,
        from_email: str | None = None,
        cc: Sequence[str] | None = None,
        bcc: Sequence[str] | None = None,
        priority: str = "normal",
        queue: str = "email",
        *,
        html_body: str | None = None,
        reply_to: str | Sequence[str] | None = None,
        headers: Mapping[str, Any] | None = None,
        attachments: Sequence[Mapping[str, Any]] | None = None,
        inline_images: Mapping[str, Any] | None = None,
        unsubscribe: str | Mapping[str, Any] | None = None,
        critical: bool = False,
        list_name: str | None = None,
        template: str | None = None,
        context: Mapping[str, Any] | None = None,
        preview: bool = False,
        **options: Unpack[OptionsBesidePriority],
    ) -> str:
        """Send one mail to at most 1 000 recipients."""
        return self._submit(
            "/submit/send_email",
            _given(
                to_email=to_email,
                subject=subject,
                body=body,
                from_email=from_email,
                cc=cc,
                bcc=bcc,
                priority=priority,
                queue=queue,
                html_body=html_body,
                reply_to=reply_to,
                headers=headers,
                attachments=attachments,
                inline_images=inline_images,
                unsubscribe=unsubscribe,
                critical=critical,
                list_name=list_name,
                template=template,
                context=context,
                preview=preview,
            )
            | _known("send_email", OptionsBesidePriority, options),
        )

    def send_bulk_emails(
        self,
        emails: Sequence[Mapping[str, Any]],
        batch_size: int = 50,
        delay_between_batches: float = 1.0,
        queue: str = "email",
        *,
        max_failure_rate: float = 0.2,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Send many mails, in batches that start `delay_between_batches` seconds apart."""
        return self._submit(
            "/submit/send_bulk_emails",
            _given(
                emails=emails,
                batch_size=batch_size,
                delay_between_batches=delay_between_batches,
                queue=queue,
                max_failure_rate=max_failure_rate,
            )
            | _known("send_bulk_emails", SubmitOptions, options),
        )

    def send_notification(
        self,
        user_id: str,
        notification_type: str,
        title: str,
        message: str,
        channels: Sequence[str] | None = None,
        queue: str = "default",
        *,
        critical: bool = False,
        url: str | None = None,
        digest: int | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Tell one person something over several channels, each of which is delivered and tried again by itself."""
        return self._submit(
            "/submit/send_notification",
            _given(
                user_id=user_id,
                notification_type=notification_type,
                title=title,
                message=message,
                channels=channels,
                queue=queue,
                critical=critical,
                url=url,
                digest=digest,
            )
            | _known("send_notification", SubmitOptions, options),
        )

    def queue_outbound_call(
        self,
        to_number: str,
        from_number: str | None = None,
        webhook_url: str | None = None,
        status_callback_url: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        delay_seconds: float = 0,
        queue: str = "twilio_calls",
        *,
        calling_hours: Mapping[str, Any] | None = None,
        detection: str = "ignore",
        ring_seconds: int = 30,
        limit_seconds: int = 3600,
        record: bool = False,
        **options: Unpack[OptionsBesideDelay],
    ) -> str:
        """Make one phone call."""
        return self._submit(
            "/submit/queue_outbound_call",
            _given(
                to_number=to_number,
                from_number=from_number,
                webhook_url=webhook_url,
                status_callback_url=status_callback_url,
                call_metadata=call_metadata,
                delay_seconds=delay_seconds,
                queue=queue,
                calling_hours=calling_hours,
                detection=detection,
                ring_seconds=ring_seconds,
                limit_seconds=limit_seconds,
                record=record,
            )
            | _known("queue_outbound_call", OptionsBesideDelay, options),
        )

    def schedule_call(
        self,
        to_number: str,
        from_number: str | None = None,
        webhook_url: str | None = None,
        status_callback_url: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        schedule_time: str | None = None,
        timezone: str = "UTC",
        queue: str = "twilio_calls",
        **options: Unpack[OptionsBesideTime],
    ) -> str:
        """Make one phone call at a certain time."""
        return self._submit(
            "/submit/schedule_call",
            _given(
                to_number=to_number,
                from_number=from_number,
                webhook_url=webhook_url,
                status_callback_url=status_callback_url,
                call_metadata=call_metadata,
                schedule_time=schedule_time,
                timezone=timezone,
                queue=queue,
            )
            | _known("schedule_call", OptionsBesideTime, options),
        )

    def retry_failed_call(
        self,
        original_task_id: str,
        to_number: str,
        from_number: str | None = None,
        webhook_url: str | None = None,
        status_callback_url: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        retry_delay: float = 300,
        queue: str = "twilio_calls",
        **options: Unpack[OptionsBesideTime],
    ) -> str:
        """Make a phone call again that was not answered or could not be made."""
        return self._submit(
            "/submit/retry_failed_call",
            _given(
                original_task_id=original_task_id,
                to_number=to_number,
                from_number=from_number,
                webhook_url=webhook_url,
                status_callback_url=status_callback_url,
                call_metadata=call_metadata,
                retry_delay=retry_delay,
                queue=queue,
            )
            | _known("retry_failed_call", OptionsBesideTime, options),
        )

    def queue_bulk_calls(
        self,
        phone_numbers: Sequence[str],
        from_number: str | None = None,
        webhook_url: str | None = None,
        status_callback_url: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        delay_between_calls: float = 5,
        max_concurrent_calls: int = 10,
        queue: str = "twilio_calls",
        *,
        retry: Mapping[str, Any] | None = None,
        calling_hours: Mapping[str, Any] | None = None,
        detection: str = "ignore",
        ring_seconds: int = 30,
        limit_seconds: int = 3600,
        record: bool = False,
        caller_identity: str | None = None,
        opt_out_prompt: str | None = None,
        max_minutes: int | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Call many numbers: a campaign."""
        return self._submit(
            "/submit/queue_bulk_calls",
            _given(
                phone_numbers=phone_numbers,
                from_number=from_number,
                webhook_url=webhook_url,
                status_callback_url=status_callback_url,
                call_metadata=call_metadata,
                delay_between_calls=delay_between_calls,
                max_concurrent_calls=max_concurrent_calls,
                queue=queue,
                retry=retry,
                calling_hours=calling_hours,
                detection=detection,
                ring_seconds=ring_seconds,
                limit_seconds=limit_seconds,
                record=record,
                caller_identity=caller_identity,
                opt_out_prompt=opt_out_prompt,
                max_minutes=max_minutes,
            )
            | _known("queue_bulk_calls", SubmitOptions, options),
        )

    def end_call(self, call_sid: str, queue: str = "twilio_calls", **options: Unpack[SubmitOptions]) -> str:
        """End a call, also one that rings; one that is over is no error."""
        return self._submit(
            "/submit/end_call", _given(call_sid=call_sid, queue=queue) | _known("end_call", SubmitOptions, options)
        )

    def get_call_status(self, call_sid: str, queue: str = "twilio_calls", **options: Unpack[SubmitOptions]) -> str:
        """Ask how a call stands; the result's `call_info` is `{}` where nobody knows it."""
        return self._submit(
            "/submit/get_call_status",
            _given(call_sid=call_sid, queue=queue) | _known("get_call_status", SubmitOptions, options),
        )

    def cleanup_stale_calls(
        self, max_age_hours: float = 24, queue: str = "twilio_calls", **options: Unpack[SubmitOptions]
    ) -> str:
        """Ask the provider about calls older than so many hours that are not known to have ended; none is deleted."""
        return self._submit(
            "/submit/cleanup_stale_calls",
            _given(max_age_hours=max_age_hours, queue=queue) | _known("cleanup_stale_calls", SubmitOptions, options),
        )

    def process_file(
        self,
        file_path: str,
        file_type: str | None = None,
        processing_options: Mapping[str, Any] | None = None,
        queue: str = "file_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Process a file as what it is; of an archive, every member."""
        return self._submit(
            "/submit/process_file",
            _given(file_path=file_path, file_type=file_type, processing_options=processing_options, queue=queue)
            | _known("process_file", SubmitOptions, options),
        )

    def process_document(
        self,
        file_path: str,
        extract_text: bool = True,
        generate_summary: bool = True,
        extract_metadata: bool = True,
        ocr_enabled: bool = True,
        queue: str = "file_processing",
        *,
        password: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Read a document: text page by page, metadata, language, summary; pages without text through OCR."""
        return self._submit(
            "/submit/process_document",
            _given(
                file_path=file_path,
                extract_text=extract_text,
                generate_summary=generate_summary,
                extract_metadata=extract_metadata,
                ocr_enabled=ocr_enabled,
                queue=queue,
                password=password,
            )
            | _known("process_document", SubmitOptions, options),
        )

    def process_image(
        self,
        file_path: str,
        extract_text: bool = True,
        detect_objects: bool = True,
        face_recognition: bool = False,
        generate_tags: bool = True,
        queue: str = "file_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Read a picture: EXIF, hashes, colours, thumbnails, text, objects and tags; faces only where asked for."""
        return self._submit(
            "/submit/process_image",
            _given(
                file_path=file_path,
                extract_text=extract_text,
                detect_objects=detect_objects,
                face_recognition=face_recognition,
                generate_tags=generate_tags,
                queue=queue,
            )
            | _known("process_image", SubmitOptions, options),
        )

    def process_audio(
        self,
        file_path: str,
        transcribe: bool = True,
        detect_speakers: bool = True,
        extract_features: bool = True,
        language: str | None = None,
        queue: str = "file_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Read a sound: what is said and by whom, loudness, silence, tempo, spectrum; no `language`: detected."""
        return self._submit(
            "/submit/process_audio",
            _given(
                file_path=file_path,
                transcribe=transcribe,
                detect_speakers=detect_speakers,
                extract_features=extract_features,
                language=language,
                queue=queue,
            )
            | _known("process_audio", SubmitOptions, options),
        )

    def process_video(
        self,
        file_path: str,
        extract_frames: bool = True,
        process_audio: bool = True,
        detect_scenes: bool = True,
        generate_thumbnail: bool = True,
        queue: str = "file_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Process a film: streams, scenes, frames, a thumbnail with a preview, and the sound."""
        return self._submit(
            "/submit/process_video",
            _given(
                file_path=file_path,
                extract_frames=extract_frames,
                process_audio=process_audio,
                detect_scenes=detect_scenes,
                generate_thumbnail=generate_thumbnail,
                queue=queue,
            )
            | _known("process_video", SubmitOptions, options),
        )

    def enroll_person(
        self, name: str, file_path: str, consent: str, queue: str = "file_processing", **options: Unpack[SubmitOptions]
    ) -> str:
        """Know a person again in pictures."""
        return self._submit(
            "/submit/enroll_person",
            _given(name=name, file_path=file_path, consent=consent, queue=queue)
            | _known("enroll_person", SubmitOptions, options),
        )

    def process_ai_request(
        self,
        request_type: str,
        input_data: Mapping[str, Any],
        model_config: Mapping[str, Any] | None = None,
        queue: str = "ai_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Do what one of the other AI methods does."""
        return self._submit(
            "/submit/process_ai_request",
            _given(request_type=request_type, input_data=input_data, model_config=model_config, queue=queue)
            | _known("process_ai_request", SubmitOptions, options),
        )

    def generate_embedding(
        self,
        text: str,
        model: str = "text-embedding-ada-002",
        queue: str = "ai_processing",
        *,
        dimensions: int | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Turn a text into a vector; a long one is cut, and its vector is the mean of its pieces'."""
        return self._submit(
            "/submit/generate_embedding",
            _given(text=text, model=model, queue=queue, dimensions=dimensions)
            | _known("generate_embedding", SubmitOptions, options),
        )

    def generate_embeddings(
        self,
        texts: Sequence[str],
        model: str = "text-embedding-ada-002",
        queue: str = "ai_processing",
        *,
        dimensions: int | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Turn many texts into vectors, in as few requests as the provider takes; `get_vectors` reads them."""
        return self._submit(
            "/submit/generate_embeddings",
            _given(texts=texts, model=model, queue=queue, dimensions=dimensions)
            | _known("generate_embeddings", SubmitOptions, options),
        )

    def process_chat(
        self,
        message: str,
        context: Sequence[Mapping[str, Any]] | None = None,
        model: str = "gpt-4",
        queue: str = "ai_processing",
        *,
        data: Sequence[str] | None = None,
        response_schema: Mapping[str, Any] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Answer a message; the text so far is `partial_text` in the status's `info` while it comes."""
        return self._submit(
            "/submit/process_chat",
            _given(
                message=message, context=context, model=model, queue=queue, data=data, response_schema=response_schema
            )
            | _known("process_chat", SubmitOptions, options),
        )

    def analyze_sentiment(
        self, text: str, detailed: bool = True, queue: str = "ai_processing", **options: Unpack[SubmitOptions]
    ) -> str:
        """Tell how an English text sounds: positive, negative, neutral or mixed; `detailed`: each sentence too."""
        return self._submit(
            "/submit/analyze_sentiment",
            _given(text=text, detailed=detailed, queue=queue) | _known("analyze_sentiment", SubmitOptions, options),
        )

    def extract_text(
        self,
        content: str,
        content_type: str = "text",
        language: str = "en",
        queue: str = "ai_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Extract the text of a content, with its language, entities, keywords and summary."""
        return self._submit(
            "/submit/extract_text",
            _given(content=content, content_type=content_type, language=language, queue=queue)
            | _known("extract_text", SubmitOptions, options),
        )

    def health_check(self, queue: str = "default", **options: Unpack[SubmitOptions]) -> str:
        """Check database, broker, disk and workers."""
        return self._submit(
            "/submit/health_check", _given(queue=queue) | _known("health_check", SubmitOptions, options)
        )

    def get_system_stats(self, queue: str = "default", **options: Unpack[SubmitOptions]) -> str:
        """Measure the worker's machine: processor, memory, disk, load."""
        return self._submit(
            "/submit/get_system_stats", _given(queue=queue) | _known("get_system_stats", SubmitOptions, options)
        )

    def get_queue_stats(self, queue: str = "default", **options: Unpack[SubmitOptions]) -> str:
        """Count what waits and runs in each queue."""
        return self._submit(
            "/submit/get_queue_stats", _given(queue=queue) | _known("get_queue_stats", SubmitOptions, options)
        )

    def cleanup_old_tasks(
        self, max_age_hours: float = 24, queue: str = "default", **options: Unpack[SubmitOptions]
    ) -> str:
        """Remove the records of tasks that ended more than `max_age_hours` ago, with their artefacts."""
        return self._submit(
            "/submit/cleanup_old_tasks",
            _given(max_age_hours=max_age_hours, queue=queue) | _known("cleanup_old_tasks", SubmitOptions, options),
        )

    def cleanup_old_files(
        self,
        directory: str,
        max_age_hours: float = 168,
        dry_run: bool = False,
        queue: str = "default",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Remove files older than `max_age_hours` below a directory that lies under CLEANUP_ROOTS."""
        return self._submit(
            "/submit/cleanup_old_files",
            _given(directory=directory, max_age_hours=max_age_hours, dry_run=dry_run, queue=queue)
            | _known("cleanup_old_files", SubmitOptions, options),
        )

    def cleanup_old_logs(
        self,
        log_directory: str = "logs",
        max_age_hours: float = 168,
        queue: str = "default",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Remove logs older than `max_age_hours`; `logs` means LOG_DIR."""
        return self._submit(
            "/submit/cleanup_old_logs",
            _given(log_directory=log_directory, max_age_hours=max_age_hours, queue=queue)
            | _known("cleanup_old_logs", SubmitOptions, options),
        )

    def process_pending_tasks(
        self,
        max_tasks: int = 100,
        task_types: Sequence[str] | None = None,
        queue: str = "default",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Publish what is due and was not published, and what a broker has lost."""
        return self._submit(
            "/submit/process_pending_tasks",
            _given(max_tasks=max_tasks, task_types=task_types, queue=queue)
            | _known("process_pending_tasks", SubmitOptions, options),
        )

    def retry_failed_tasks(
        self,
        max_retries: int = 3,
        max_age_hours: float = 24,
        task_types: Sequence[str] | None = None,
        queue: str = "default",
        *,
        error_type: str | None = None,
        search: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Submit tasks that failed within `max_age_hours` again, as new tasks."""
        return self._submit(
            "/submit/retry_failed_tasks",
            _given(
                max_retries=max_retries,
                max_age_hours=max_age_hours,
                task_types=task_types,
                queue=queue,
                error_type=error_type,
                search=search,
            )
            | _known("retry_failed_tasks", SubmitOptions, options),
        )

    def get_active_tasks(self) -> list[dict[str, Any]]:
        """List what runs, is reserved or waits in a queue, the oldest first."""
        return self._request("GET", "/tasks/active")["items"]

    def get_failed_tasks(
        self,
        task_types: Sequence[str] | None = None,
        max_age_hours: float = 24,
        error_type: str | None = None,
        search: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[dict[str, Any]]:
        """List the tasks that failed, the newest failure first, each told whole."""
        return self._request(
            "GET",
            "/tasks/failed",
            _given(
                task_types=task_types,
                max_age_hours=max_age_hours,
                error_type=error_type,
                search=search,
                limit=limit,
                after=after,
            ),
        )["items"]

    def kill_all_tasks(self, *, count: int = EVERY) -> dict[str, Any]:
        """Cancel all that runs and waits; schedules stay. A 409 where there are more than were confirmed."""
        return self._request("POST", "/tasks/kill-all", None, _given(count=count))

    def get_task_logs(
        self, task_id: str, search: str | None = None, level: str | None = None, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """Return the last lines that a task logged, in their order."""
        return self._request("GET", f"/tasks/{_place(task_id)}/logs", _given(search=search, level=level, limit=limit))[
            "items"
        ]

    def get_deliveries(
        self, task_id: str, states: Sequence[str] | None = None, limit: int = 100, after: str | None = None
    ) -> list[dict[str, Any]]:
        """List what became of a task's mails, recipient by recipient."""
        return self._request(
            "GET", f"/tasks/{_place(task_id)}/deliveries", _given(states=states, limit=limit, after=after)
        )["items"]

    def cancel_task(self, task_id: str) -> bool:
        """Cancel a task, and all tasks of it, for good."""
        return self._request("POST", f"/tasks/{_place(task_id)}/cancel")["changed"]

    def pause_task(self, task_id: str) -> bool:
        """Pause a bulk: none of its parts starts."""
        return self._request("POST", f"/tasks/{_place(task_id)}/pause")["changed"]

    def resume_task(self, task_id: str) -> bool:
        """Let a paused bulk go on."""
        return self._request("POST", f"/tasks/{_place(task_id)}/resume")["changed"]

    def replay_task(self, task_id: str, arguments: Mapping[str, Any] | None = None) -> str:
        """Submit a failed task again, as a new one, with other arguments where they are given; twice is once."""
        return self._request("POST", f"/tasks/{_place(task_id)}/replay", None, _given(arguments=arguments))["task_id"]

    def resend_failed(self, task_id: str, states: Sequence[str] | None = None) -> str:
        """Send the mails of an ended bulk again that nobody got, as a new bulk; twice is once."""
        return self._request("POST", f"/tasks/{_place(task_id)}/resend", None, _given(states=states))["task_id"]

    def get_campaign(
        self, campaign_id: str, after: int = -1, limit: int = 100, *, state: str | None = None
    ) -> dict[str, Any]:
        """Return how a campaign stands: its counts by state, live calls, and a page of its members."""
        return self._request("GET", f"/campaigns/{_place(campaign_id)}", _given(after=after, limit=limit, state=state))

    def export_campaign(self, campaign_id: str) -> str:
        """Return a campaign's members as CSV; whole numbers are in it."""
        return self._request("GET", f"/campaigns/{_place(campaign_id)}/export")

    def pause_campaign(self, campaign_id: str) -> bool:
        """Let nobody else be called; calls that are going on go on."""
        return self._request("POST", f"/campaigns/{_place(campaign_id)}/pause")["changed"]

    def resume_campaign(self, campaign_id: str) -> bool:
        """Let a paused campaign go on."""
        return self._request("POST", f"/campaigns/{_place(campaign_id)}/resume")["changed"]

    def cancel_campaign(self, campaign_id: str, *, hang_up: bool = False) -> bool:
        """Call nobody any more, and end what rings or waits at the provider."""
        return self._request("POST", f"/campaigns/{_place(campaign_id)}/cancel", _given(hang_up=hang_up))["changed"]

    def set_contact(
        self,
        user_id: str,
        email: str | None = None,
        phone: str | None = None,
        push: Sequence[Mapping[str, Any]] | None = None,
        chat: Sequence[str] | None = None,
        time_zone: str | None = None,
        language: str | None = None,
        quiet_hours: Mapping[str, Any] | None = None,
        preferences: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Say how a person is reached, at once."""
        return self._request(
            "PATCH",
            f"/contacts/{_place(user_id)}",
            None,
            _given(
                email=email,
                phone=phone,
                push=push,
                chat=chat,
                time_zone=time_zone,
                language=language,
                quiet_hours=quiet_hours,
                preferences=preferences,
            ),
        )

    def delete_contact(self, user_id: str) -> bool:
        """Remove what was set of a person."""
        return self._request("DELETE", f"/contacts/{_place(user_id)}")["changed"]

    def get_inbox(
        self,
        user_id: str,
        unread_only: bool = False,
        archived: bool = False,
        limit: int = 50,
        before: int | None = None,
    ) -> dict[str, Any]:
        """Return a person's inbox, the newest first, and how many are unseen and unread in all."""
        return self._request(
            "GET",
            f"/contacts/{_place(user_id)}/inbox",
            _given(unread_only=unread_only, archived=archived, limit=limit, before=before),
        )

    def mark_inbox(self, user_id: str, ids: Sequence[int], mark: str) -> int:
        """Mark items of a person's inbox; answers with how many of them there are."""
        return self._request("POST", f"/contacts/{_place(user_id)}/inbox/mark", None, _given(ids=ids, mark=mark))[
            "marked"
        ]

    def get_effects_in_doubt(self) -> list[dict[str, Any]]:
        """List the effects and mails of which it is not known whether they happened."""
        return self._request("GET", "/effects")["items"]

    def settle_effect(self, key: str, outcome: Any | None = None, *, absent: bool = False) -> None:
        """Say what became of an effect in doubt: that it did not happen, or what came of it."""
        self._request("POST", f"/effects/{_place(key)}/settle", None, _given(absent=absent, outcome=outcome))

    def get_email_events(
        self, message_id: str | None = None, address: str | None = None, limit: int = 100, *, after: int | None = None
    ) -> list[dict[str, Any]]:
        """List what was told of mails after they had gone out, the newest first."""
        return self._request(
            "GET", "/email/events", _given(message_id=message_id, address=address, limit=limit, after=after)
        )["items"]

    def unsubscribe_url(self, address: str, list_name: str | None = None) -> str:
        """Return the address of the web where somebody leaves a list, or all mail, with one click."""
        return self._request("GET", "/email/unsubscribe-url", _given(address=address, list_name=list_name))["url"]

    def get_group(self, group_id: str) -> dict[str, Any]:
        """Tell how far a group, or the header of a chord, is."""
        return self._request("GET", f"/groups/{_place(group_id)}")

    def get_limits(self) -> list[dict[str, Any]]:
        """List the limits in force, with what started, runs and waits under each."""
        return self._request("GET", "/limits")["items"]

    def set_limit(self, scope: str, rate: str | None = None, concurrency: int | str | None = None) -> dict[str, Any]:
        """Limit starts over all workers, from the next one on; what is left out stays as it is."""
        return self._request("PUT", f"/limits/{_place(scope)}", None, _given(rate=rate, concurrency=concurrency))

    def clear_limit(self, scope: str) -> dict[str, Any]:
        """Forget what was set for a scope; answers with what is in force then, its default."""
        return self._request("DELETE", f"/limits/{_place(scope)}")

    def search_task_logs(self, search: str, max_age_hours: float = 24, limit: int = 100) -> list[dict[str, Any]]:
        """Find lines that any task logged and that have this text, the newest first."""
        return self._request("GET", "/logs", _given(search=search, max_age_hours=max_age_hours, limit=limit))["items"]

    def get_opt_outs(self, limit: int = 100, after: str | None = None) -> list[dict[str, Any]]:
        """List the numbers that are not called any more, in their order, each one whole."""
        return self._request("GET", "/opt-outs", _given(limit=limit, after=after))["items"]

    def add_opt_out(self, phone_number: str, reason: str = "") -> bool:
        """Call a number no more, from now on, what waits for it in any campaign included."""
        return self._request("POST", "/opt-outs", None, _given(phone_number=phone_number, reason=reason))["changed"]

    def remove_opt_out(self, phone_number: str) -> bool:
        """Let a number be called again."""
        return self._request("DELETE", f"/opt-outs/{_place(phone_number)}")["changed"]

    def list_people(self) -> list[dict[str, Any]]:
        """List who is enrolled, by name, with their consent."""
        return self._request("GET", "/people")["items"]

    def forget_person(self, name: str) -> bool:
        """Remove a person's encodings and consent, at once."""
        return self._request("DELETE", f"/people/{_place(name)}")["changed"]

    def pause_queue(self, queue: str) -> bool:
        """Let nothing of a queue start until it is resumed; what runs goes on."""
        return self._request("POST", f"/queues/{_place(queue)}/pause")["changed"]

    def resume_queue(self, queue: str) -> bool:
        """Let a paused queue's tasks start again."""
        return self._request("POST", f"/queues/{_place(queue)}/resume")["changed"]

    def drain(self, queue: str) -> int:
        """Pause a queue, and tell how many of its tasks still run; asked again until that is 0, it tells the end."""
        return self._request("POST", f"/queues/{_place(queue)}/drain")["running"]

    def purge_queue(self, queue_name: str, *, count: int = EVERY) -> int:
        """Empty a queue: cancel all that waits in it, but not what is scheduled for later."""
        return self._request("POST", f"/queues/{_place(queue_name)}/purge", None, _given(count=count))["cancelled"]

    def list_schedules(self) -> list[dict[str, Any]]:
        """List the schedules by name; one that is paused has no `next_at`."""
        return self._request("GET", "/schedules")["items"]

    def add_schedule(
        self,
        name: str,
        task: str,
        *,
        crontab: str | None = None,
        every: float | None = None,
        timezone: str = "UTC",
        kwargs: Mapping[str, Any] | None = None,
        args: Sequence[Any] | None = None,
        queue: str | None = None,
        priority: str = "normal",
        catch_up: str = "latest",
        tenant: str | None = None,
    ) -> dict[str, Any]:
        """Run a task again and again, from now on."""
        return self._request(
            "POST",
            "/schedules",
            None,
            _given(
                crontab=crontab,
                every=every,
                timezone=timezone,
                kwargs=kwargs,
                args=args,
                queue=queue,
                priority=priority,
                catch_up=catch_up,
                tenant=tenant,
                name=name,
                task=task,
            ),
        )

    def change_schedule(
        self,
        name: str,
        *,
        crontab: str | None = None,
        every: float | None = None,
        timezone: str = "UTC",
        kwargs: Mapping[str, Any] | None = None,
        args: Sequence[Any] | None = None,
        queue: str | None = None,
        priority: str = "normal",
        catch_up: str = "latest",
        tenant: str | None = None,
        task: str | None = None,
    ) -> dict[str, Any]:
        """Change a schedule; it goes on from now on, and misses nothing anew."""
        return self._request(
            "PATCH",
            f"/schedules/{_place(name)}",
            None,
            _given(
                crontab=crontab,
                every=every,
                timezone=timezone,
                kwargs=kwargs,
                args=args,
                queue=queue,
                priority=priority,
                catch_up=catch_up,
                tenant=tenant,
                task=task,
            ),
        )

    def remove_schedule(self, name: str) -> None:
        """Remove a schedule; its tasks that wait or run stay."""
        self._request("DELETE", f"/schedules/{_place(name)}")

    def pause_schedule(self, name: str) -> dict[str, Any]:
        """Fire a schedule no more until it is resumed."""
        return self._request("POST", f"/schedules/{_place(name)}/pause")

    def resume_schedule(self, name: str) -> dict[str, Any]:
        """Let a paused schedule go on with its next fire time."""
        return self._request("POST", f"/schedules/{_place(name)}/resume")

    def run_schedule_now(self, name: str, idempotency_key: str | None = None) -> str:
        """Submit the task of a schedule at once, beside its fire times, paused or not."""
        return self._request("POST", f"/schedules/{_place(name)}/run", once=_key(idempotency_key))["task_id"]

    def get_suppressions(
        self,
        address: str | None = None,
        limit: int = 100,
        *,
        list_name: str | None = None,
        reason: str | None = None,
        after: int | None = None,
    ) -> list[dict[str, Any]]:
        """List who is not mailed now, the newest first."""
        return self._request(
            "GET",
            "/suppressions",
            _given(address=address, list_name=list_name, reason=reason, limit=limit, after=after),
        )["items"]

    def suppress_email(
        self, address: str, reason: str = "manual", list_name: str | None = None, until: str | None = None
    ) -> dict[str, Any]:
        """Mail an address no more, from now on, what was submitted before included."""
        return self._request(
            "POST", "/suppressions", None, _given(address=address, reason=reason, list_name=list_name, until=until)
        )

    def unsuppress_email(self, address: str, list_name: str | None = None) -> bool:
        """Mail an address again, whatever the reason was."""
        return self._request("DELETE", "/suppressions", _given(address=address, list_name=list_name))["changed"]

    def get_ai_usage(
        self, days: int = 1, by: Sequence[str] | None = None, task_id: str | None = None
    ) -> list[dict[str, Any]]:
        """Report what AI calls used and cost."""
        return self._request("GET", "/usage", _given(days=days, by=by, task_id=task_id))["items"]

    def get_worker_stats(self) -> dict[str, Any]:
        """Ask the workers themselves, by Celery's remote control; that takes a second."""
        return self._request("GET", "/workers/inspected")
