"""System packages that a test needs: absent ones skip it, or fail it where REQUIRE_SERVICES=1."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

EXTRA_FOLDERS = ("/usr/sbin", "/usr/lib/postgresql/15/bin", "/usr/lib/rabbitmq/bin")


def program(name: str) -> str | None:
    """Return the path of an installed program, or None."""
    return shutil.which(name) or next((str(p) for f in EXTRA_FOLDERS if (p := Path(f) / name).exists()), None)


def needs(name: str) -> str:
    """Return the path of the program, or skip the test (fail it where services are required)."""
    return program(name) or missing(f"the program {name}")


def missing(what: str) -> NoReturn:
    """Skip the test that needs this (fail it where services are required)."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"{what} is required here and not installed")
    pytest.skip(f"needs {what}")
