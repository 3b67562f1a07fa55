"""What tests of the API share."""

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from config.settings import ensure_folders, settings
from services.access import admin_key


@pytest.fixture(scope="module")
def client():
    """Who asks with the admin key."""
    ensure_folders(settings)
    with TestClient(create_app(settings), base_url="http://localhost", raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {admin_key(settings)}"
        yield client
