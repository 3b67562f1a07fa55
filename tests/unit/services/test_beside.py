"""Work beside its caller's own: its result or its error, wherever it ran."""

import threading

import pytest

from services.beside import beside


@pytest.fixture(params=[False, True], ids=["in a thread", "while the interpreter ends"])
def ends(request, monkeypatch) -> bool:
    if request.param:

        def refuse(_thread: threading.Thread) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

        monkeypatch.setattr(threading.Thread, "start", refuse)
    return request.param


def test_the_outcome_is_the_works_own(ends):
    assert beside(threading.get_ident)() != threading.get_ident() or ends
    with pytest.raises(ZeroDivisionError):
        beside(lambda: 1 // 0)()
