"""A connection tries often enough that a broker which is there again is noticed within two seconds."""

import socket

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError

from broker.prompt_connection import PromptConnection
from broker.quick_messages import QuickCelery
from services.celery_app import celery_app


@pytest.fixture
def nowhere() -> str:
    """The URL of a port at which nobody listens while the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"amqp://127.0.0.1:{bound.getsockname()[1]}//"


def pauses(connection: Connection, monkeypatch, *positional, **options) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("kombu.utils.functional.sleep", slept.append)
    told: list[float] = []
    with pytest.raises(OperationalError):
        connection.ensure_connection(lambda _, interval: told.append(interval), 40, *positional, **options)
    assert sum(slept) == pytest.approx(sum(told))
    return told


def test_no_pause_is_longer_than_two_seconds_however_long_the_broker_is_away(nowhere, monkeypatch):
    told = pauses(PromptConnection(nowhere), monkeypatch)
    assert told[:4] == [0.5, 1.0, 1.5, 2.0]
    assert set(told[4:]) == {2.0}


def test_who_asks_for_other_pauses_gets_them(nowhere, monkeypatch):
    assert set(pauses(PromptConnection(nowhere), monkeypatch, interval_start=5, interval_step=0, interval_max=5)) == {5}
    assert set(pauses(PromptConnection(nowhere), monkeypatch, 1, 0)) == {1}


@pytest.mark.parametrize("app", [celery_app, QuickCelery("quick", broker="redis://127.0.0.1:1")])
def test_workers_and_publishers_connect_this_way(app):
    assert type(app.connection_for_read()) is PromptConnection
    assert type(app.connection_for_write()) is PromptConnection
    assert type(app.connection_for_read().clone()) is PromptConnection
