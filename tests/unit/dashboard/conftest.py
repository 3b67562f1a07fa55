"""The application with the dashboard, passwords that are quick to check, and somebody for each role."""

import itertools

import pytest
from sqlalchemy import delete

from api import app as api_app
from api.app import create_app
from browsing import Browser, somebody
from config.settings import ensure_folders, settings
from records.schedules import schedules
from services import passwords
from services.celery_app import celery_app
from services.wiring import parts

_numbers = itertools.count()


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _nothing_is_left():
    """Take away the schedules and tasks that a test made: other tests list them all."""
    known = set(celery_app.tasks)
    yield
    parts().database.write(lambda c: c.execute(delete(schedules)))
    for name in celery_app.tasks.keys() - known:
        if name.startswith("own."):
            celery_app.tasks.pop(name)


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch):
    monkeypatch.setattr(passwords, "COST", 2)
    monkeypatch.setattr(passwords, "PARALLELISM", 1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(monkeypatch, clock):
    """The web application; its clock of logins stands still."""
    ensure_folders(settings)
    made = api_app.create_dashboard
    monkeypatch.setattr(api_app, "create_dashboard", lambda watching: made(watching, clock))
    return create_app(settings)


@pytest.fixture
def name() -> str:
    """A user's name that no other test has."""
    return f"user{next(_numbers)}"


@pytest.fixture
def person(app):
    """Make somebody of a role, who has logged in."""

    def make(role: str) -> Browser:
        return somebody(app, f"{role}{next(_numbers)}", role)

    return make


@pytest.fixture
def viewer(person) -> Browser:
    return person("viewer")


@pytest.fixture
def operator(person) -> Browser:
    return person("operator")


@pytest.fixture
def admin(person) -> Browser:
    return person("admin")
