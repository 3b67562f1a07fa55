"""The producer's side of one measurement, in the system's own environment; its last line is the outcome as JSON.

python client.py <adapter> publish <task> <count> <function>      publish and count what lies in the queue
python client.py <adapter> latency <count>                        submit and wait for the result, one at a time
python client.py <adapter> pop <count>                            the floor only: push, then pop
python client.py <adapter> versions                               the versions of what is measured

An adapter is a module with `publish(task, numbers)`, `waiting()` and `call(number)`, and where the system has one
`publish_bulk(task, numbers)`; each may be a coroutine function.
"""

import asyncio
import importlib
import inspect
import json
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from types import ModuleType
from typing import Any

from effects import NotBuilt

WARM_UP = 20
CALLS_BEFORE = 5


class Client:
    """Calls an adapter's functions, whether they are coroutines or not, in one event loop."""

    def __init__(self, adapter: ModuleType, runner: asyncio.Runner) -> None:
        self.adapter, self._runner = adapter, runner

    def call(self, function: str, *arguments: Any) -> Any:
        """Call one function of the adapter to its end."""
        found = getattr(self.adapter, function)(*arguments)
        return self._runner.run(_awaited(found)) if inspect.isawaitable(found) else found

    def publish(self, task: str, count: str, function: str) -> dict[str, Any]:
        """Publish numbers from 0 on, the first few untimed."""
        if not hasattr(self.adapter, function):
            return {"absent": "no bulk path"}
        total = int(count)
        self.call(function, task, range(min(WARM_UP, total)))
        began, cpu = time.perf_counter(), time.process_time()
        self.call(function, task, range(WARM_UP, total))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        counter = f"{function}_count"
        counted = self.call(counter if hasattr(self.adapter, counter) else "waiting")
        return {"timed": max(total - WARM_UP, 0), "seconds": seconds, "cpu_seconds": cpu, "counted": counted}

    def latency(self, count: str) -> dict[str, Any]:
        """Submit and wait for the result; the first few are not counted."""
        milliseconds, wrong = [], 0
        for number in range(CALLS_BEFORE + int(count)):
            began = time.perf_counter()
            wrong += self.call("call", number) != number
            milliseconds.append((time.perf_counter() - began) * 1000)
        return {"milliseconds": milliseconds[CALLS_BEFORE:], "wrong": wrong}

    def pop(self, count: str) -> dict[str, Any]:
        """Push, then pop with the clock running."""
        self.call("publish", "", range(int(count)))
        began, cpu = time.perf_counter(), time.process_time()
        counted = self.call("pop", range(int(count)))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        return {"timed": int(count), "seconds": seconds, "cpu_seconds": cpu, "counted": counted}

    def versions(self) -> dict[str, Any]:
        """Return the versions of what is measured."""
        found = {name: _version(name) for name in self.adapter.DISTRIBUTIONS}
        return {"python": platform.python_version(), **{name: version for name, version in found.items() if version}}


async def _awaited(found: Any) -> Any:
    return await found


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def main(adapter: str, work: str, *arguments: str) -> None:
    """Do one work and print its outcome."""
    with asyncio.Runner() as runner:
        try:
            client = Client(importlib.import_module(adapter), runner)
            if work != "versions" and hasattr(client.adapter, "open_client"):
                client.call("open_client")
            do: Callable[..., dict[str, Any]] = getattr(client, work)
            outcome = do(*arguments)
        except NotBuilt as missing:
            outcome = {"absent": f"not built ({missing})"}
        print(f"\n{json.dumps(outcome)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
