"""Carriers that keep what they were given in a file, and do with each endpoint what its address says."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processors.carriers import EndpointGone, Notice, Receipt
from processors.errors import PermanentError, TransientError
from services.wiring import Parts, parts

FOLDER = "CARRIER_FOLDER"
"""The variable that names where the carriers of a worker write."""


class FileCarrier:
    """Fulfils `processors.carriers.Carrier`.

    An endpoint with `twice` in its address fails for now two times, one with `always` every time, one with `gone` or
    `refused` is that, `vanishes` ends without a word, and `kills` ends the process once it has sent.
    """

    deadline = 1.0

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.path = name, folder / f"{name}.jsonl"

    def check(self, endpoint: Mapping[str, Any]) -> None:
        if "bad" in address(endpoint):
            raise ValueError("must be one that this carrier knows")

    def send(self, notice: Notice, endpoint: Mapping[str, Any]) -> Receipt:
        where = address(endpoint)
        tries = self._note(where, notice, "tried")
        if ("twice" in where and tries <= 2) or "always" in where:
            raise TransientError("The other side is busy.", 0.0)
        if "gone" in where:
            raise EndpointGone("There is no such endpoint.")
        if "refused" in where:
            raise PermanentError("It is refused.")
        if "vanishes" in where:
            raise RuntimeError("the connection broke")
        self._note(where, notice, "sent")
        if "kills" in where:
            os.kill(os.getpid(), 9)
        return Receipt(remote_id=f"remote-{tries}")

    def lines(self, what: str) -> list[dict[str, Any]]:
        """Return what was tried, or sent."""
        if not self.path.exists():
            return []
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in lines if line["what"] == what]

    def _note(self, where: str, notice: Notice, what: str) -> int:
        line = {"what": what, "where": where, "id": notice.id, "title": notice.title, "message": notice.message}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return sum(one["where"] == where and one["id"] == notice.id for one in self.lines(what))


def address(endpoint: Mapping[str, Any]) -> str:
    return endpoint.get("endpoint") or endpoint.get("url") or endpoint["phone"]


def carriers_in(folder: Path) -> dict[str, FileCarrier]:
    return {channel: FileCarrier(channel, folder) for channel in ("push", "sms", "chat")}


def carriers_of_service(folder: Path, monkeypatch) -> dict[str, FileCarrier]:
    """Let this process's service send by these."""
    found = carriers_in(folder)
    monkeypatch.setitem(vars(parts()), "carriers", found)
    return found


def subscription(name: str) -> dict[str, Any]:
    """Return a browser's subscription as the browser would give it."""
    return {
        "endpoint": f"https://push.example.com/{name}",
        "expirationTime": None,
        "keys": {"p256dh": "B" * 87, "auth": "a" * 22},
    }


if FOLDER in os.environ:  # in a worker that TASK_MODULES tells to load this module
    Parts.carriers = carriers_in(Path(os.environ[FOLDER]))
