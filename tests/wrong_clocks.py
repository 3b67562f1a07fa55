"""Clocks of machines that are wrong, or jump, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from threading import Event, Thread

from installation import TESTS
from requirements_check import needs

JUMP_SECONDS = 1.0


class Clock:
    """A clock of a machine, which some of its Python processes look at; monotonic ones stay right, as they do there.

    Args:
        file: says how far it is off, as libfaketime reads it.
        offset: how far, in seconds.
    """

    def __init__(self, file: Path, offset: float = 0.0) -> None:
        self._file = file
        library = Path(needs("faketime")).parents[1] / "lib"
        self._library = next(library.glob("*/faketime/libfaketimeMT.so.1"))
        self.set(offset)

    def set(self, offset: float) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+.0f}s\n")
        new.replace(self._file)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}:{TESTS / 'wrong_clock'}",
        }

    @contextmanager
    def jumping(self, *offsets: float) -> Iterator[None]:
        """Let it jump every second for as long as the block lasts."""
        stopping = Event()

        def jump() -> None:
            for offset in cycle(offsets):
                self.set(offset)
                if stopping.wait(JUMP_SECONDS):
                    return

        thread = Thread(target=jump)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
