"""Bodies of mails that were built before: the mails of a bulk often share theirs."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from processors.mail_parts import Body, Built

MOST_BYTES = 64_000_000
LARGEST_SHARE = 2


class BuiltBodies:
    """The bodies that were asked for last, as bytes, for all threads of a process.

    Args:
        make: builds a body.
        most_bytes: of all that is kept; a body of more than half of it is not.
    """

    def __init__(self, make: Callable[[Body], Built], most_bytes: int = MOST_BYTES) -> None:
        self._make, self._most_bytes = make, most_bytes
        self._kept: OrderedDict[Body, Built] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def built(self, body: Body) -> Built:
        """Return a body as bytes; the same text, page and files are built once."""
        with self._lock:
            found = self._kept.get(body)
            if found is not None:
                self._kept.move_to_end(body)
                return found
        found = self._make(body)
        if _size(body, found) <= self._most_bytes // LARGEST_SHARE:
            self._keep(body, found)
        return found

    def _keep(self, body: Body, found: Built) -> None:
        with self._lock:
            if body in self._kept:
                return  # another thread was faster
            self._kept[body] = found
            self._bytes += _size(body, found)
            while self._bytes > self._most_bytes:
                self._bytes -= _size(*self._kept.popitem(last=False))


def _size(body: Body, found: Built) -> int:
    texts = len(body.text or "") + len(body.html or "")
    return len(found.content) + texts + sum(len(one.content) for one in (*body.images, *body.files))
