"""A small S3 service on 127.0.0.1: enough of it for boto3, path style, with the faults that a test asks for."""

import hashlib
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from adapters.s3_bucket import S3Access, client_of

BUCKET = "artefacts"


@dataclass
class S3Server:
    """Keeps objects in memory, and shows every write in every listing that follows it, as S3 does.

    Attributes:
        objects: what is kept, by its key; all buckets but `artefacts` do not exist.
        fault: called with each request's method and key before it is answered; a number is the status that it gets,
            `cut` ends the connection: of a GET in the middle of the body, of another one before an answer.
        page: how many keys a listing shows at most.
        requests: methods and keys, as they came.
        uploads: multipart uploads that were neither completed nor aborted: their parts, by their ids.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    fault: Callable[[str, str], int | str | None] = lambda _method, _key: None
    page: int = 1000
    requests: list[tuple[str, str]] = field(default_factory=list)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def reset(self) -> None:
        """Forget everything."""
        self.objects, self.fault, self.page, self.requests = {}, lambda _method, _key: None, 1000, []
        self.uploads = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def client(self) -> Any:
        return client_of(S3Access(self.url, "key", "planted-secret", "eu-central-1"))


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has had enough."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: S3Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = urlsplit(self.path)
        bucket, _, key = unquote(address.path).removeprefix("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        self.service.requests.append((self.command, key))
        fault = self.service.fault(self.command, key)
        if isinstance(fault, int):
            self._refuse(fault, "SlowDown")
        elif fault == "cut" and self.command != "GET":
            self.close_connection = True
        elif not self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential=key/"):
            self._refuse(403, "AccessDenied")
        elif bucket != BUCKET:
            self._refuse(404, "NoSuchBucket")
        elif "list-type" in query:
            self._list(query)
        elif "uploads" in query or "uploadId" in query:
            self._multipart(key, query, body)
        else:
            getattr(self, f"_{self.command.lower()}")(key, body, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

    def _get(self, key: str, _body: bytes, *, cut: bool) -> None:
        with self.service.lock:
            content = self.service.objects.get(key)
        if content is None:
            self._refuse(404, "NoSuchKey")
            return
        status = 200
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            if int(first) >= len(content):
                self._refuse(416, "InvalidRange")
                return
            status, content = 206, content[int(first) : int(last) + 1 if last else None]
        self._say(status, content[: len(content) // 2] if cut else content, length=len(content))
        self.close_connection = self.close_connection or cut

    _head = _get

    def _put(self, key: str, body: bytes, *, cut: bool) -> None:
        source = self.headers.get("x-amz-copy-source")
        with self.service.lock:
            if source is not None:
                body = self.service.objects.get(unquote(source).removeprefix("/").partition("/")[2])
            if body is not None:
                self.service.objects[key] = body
        if body is None:
            self._refuse(404, "NoSuchKey")
        else:
            tag = hashlib.md5(body).hexdigest()
            self._say(200, f'<CopyObjectResult><ETag>"{tag}"</ETag></CopyObjectResult>'.encode() if source else b"")

    def _multipart(self, key: str, query: dict[str, str], body: bytes) -> None:
        uploads, name = self.service.uploads, query.get("uploadId", str(len(self.service.requests)))
        with self.service.lock:
            if "uploads" in query:
                uploads[name] = {}
            elif name not in uploads:
                self._refuse(404, "NoSuchUpload")
                return
            elif self.command == "PUT":
                uploads[name][int(query["partNumber"])] = body
            elif self.command == "DELETE":
                del uploads[name]
            else:
                told = [int(number) for number in re.findall(rb"<PartNumber>(\d+)<", body)]
                parts = uploads.pop(name)
                self.service.objects[key] = b"".join(parts[number] for number in told)
        self._say(
            204 if self.command == "DELETE" else 200,
            b"" if self.command in {"PUT", "DELETE"} else f"<Answer><UploadId>{name}</UploadId></Answer>".encode(),
            tag=hashlib.md5(body).hexdigest(),
        )

    def _delete(self, key: str, _body: bytes, *, cut: bool) -> None:
        with self.service.lock:
            self.service.objects.pop(key, None)
        self._say(204, b"")

    def _list(self, query: dict[str, str]) -> None:
        with self.service.lock:
            keys = sorted(key for key in self.service.objects if key.startswith(query["prefix"]))
        keys = [key for key in keys if key > query.get("continuation-token", "")]
        shown = keys[: min(int(query["max-keys"]), self.service.page)]
        more = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if len(shown) < len(keys) else ""
        listed = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in shown)
        truncated = str(bool(more)).lower()
        self._say(
            200,
            f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{listed}</ListBucketResult>".encode(),
        )

    def _refuse(self, status: int, code: str) -> None:
        self._say(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _say(self, status: int, body: bytes, length: int | None = None, tag: str | None = None) -> None:
        self.send_response(status)
        if tag:
            self.send_header("ETag", f'"{tag}"')
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
