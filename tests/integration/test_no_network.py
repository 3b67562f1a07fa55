"""The whole service on a machine whose network is cut: all of the example works, and nothing looks for a way out."""

import os
import re
import subprocess
import sys

import pytest

import service as service_module
from cut_off import CutOff, cut_off
from service import Service

pytestmark = [pytest.mark.services, pytest.mark.slow]


@pytest.fixture
def network():
    with cut_off(f"csai-tests-{os.getpid()}") as network:
        yield network


@pytest.fixture
def service(network, tmp_path, monkeypatch):
    monkeypatch.setattr(service_module, "SCRIPT", network.command(service_module.SCRIPT))
    service = Service(tmp_path)
    yield service
    service.end()


def reach_out(network: CutOff, code: str) -> None:
    subprocess.run(network.command([sys.executable, "-c", code]), check=True, timeout=60)


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.socket().connect_ex(('203.0.113.1', 443))",
        "import socket; socket.socket(socket.AF_INET6).connect_ex(('2001:db8::1', 443))",
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect_ex(('203.0.113.1', 53))",
    ],
    ids=["ipv4", "ipv6", "udp"],
)
def test_whoever_looks_for_a_way_out_is_counted(network, code):
    before = network.attempts()
    reach_out(network, code)
    assert network.attempts() > before


def test_the_whole_example_works_without_a_network_and_nothing_looks_for_one(network, service):
    service.start().until_ready()
    example = service.run(*network.command([sys.executable, "-m", "examples.celery_example"]))
    assert example.returncode == 0, example.stdout
    assert re.search(r"(\d+) of \1 rows are good", example.stdout)
    assert network.attempts() == 0
