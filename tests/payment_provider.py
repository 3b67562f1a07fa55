"""A payment provider on 127.0.0.1: it remembers every request, and which of them charged somebody."""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


class PaymentProvider:
    """Charges an order for each request; requests under one key of the caller's are one charge.

    Attributes:
        requests: how many came, by order.
        charges: how many of them charged somebody, by order.
        seconds: how long it takes before, and again after, it has charged.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.requests: Counter[str] = Counter()
        self.charges: Counter[str] = Counter()
        self.seconds = seconds
        self._by_key: dict[str, dict[str, Any]] = {}
        self._charged: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def charge(self, order: str, key: str | None) -> dict[str, Any]:
        time.sleep(self.seconds)
        with self._lock:
            self.requests[order] += 1
            if key is None or key not in self._by_key:
                self.charges[order] += 1
                self._charged[order] = {"order": order, "charge": f"ch_{sum(self.charges.values())}"}
                self._by_key[key or ""] = self._charged[order]
            answer = self._by_key[key or ""]
        time.sleep(self.seconds)
        return answer

    def find(self, order: str) -> dict[str, Any] | None:
        with self._lock:
            return self._charged.get(order)


class _Handler(BaseHTTPRequestHandler):
    provider: PaymentProvider

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["order"]
        self._answer(self.provider.charge(order, self.headers.get("Idempotency-Key")))

    def do_GET(self) -> None:
        self._answer(self.provider.find(parse_qs(urlsplit(self.path).query)["order"][0]))

    def _answer(self, value: Any) -> None:
        body = json.dumps(value).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # the caller was killed

    def log_message(self, *_: Any) -> None:
        pass
