"""Loaded into a worker by `-I`: each of its processes writes what it has loaded, once the test asks for it."""

import gc
import json
import os
import sys
import threading
import time
from pathlib import Path

from celery import signals

FOLDER = Path(os.environ["PROBE_FOLDER"])


def tell(role: str) -> None:
    while not (FOLDER / "ask").exists():
        time.sleep(0.02)
    told = {
        "role": role,
        "modules": sorted(sys.modules),
        "frozen": gc.get_freeze_count(),
        "compiled": compiled(),
    }
    draft = FOLDER / f"{os.getpid()}.draft"
    draft.write_text(json.dumps(told))
    draft.rename(FOLDER / f"{os.getpid()}.json")


def compiled() -> list[str]:
    """Return what this process has compiled itself: the statements that its engines remember."""
    wiring = sys.modules.get("services.wiring")
    if wiring is None:
        return []
    engines = wiring.parts().database._engines
    caches = {id(one._compiled_cache): one._compiled_cache for one in (engines.reader, engines.writer)}
    return [str(statement) for cache in caches.values() for statement in cache.values()]


def listen(role: str) -> None:
    threading.Thread(target=tell, args=(role,), daemon=True).start()


@signals.worker_ready.connect(weak=False)
def parent_is_ready(**_) -> None:
    listen("parent")


@signals.worker_process_init.connect(weak=False)
def child_is_ready(**_) -> None:
    listen("child")
