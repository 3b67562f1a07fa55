"""The doctor tells whether the ports are free, are the service's own, or another program's."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from config.settings import settings
from ports import free_port
from services.diagnosis import Finding, diagnose
from services.testing import InlineService


@pytest.fixture(autouse=True)
def service(inline_service: InlineService) -> InlineService:
    return inline_service


def found(monkeypatch, port: int, flower_port: int) -> Finding:
    monkeypatch.setitem(vars(settings), "port", port)
    monkeypatch.setitem(vars(settings), "flower_port", flower_port)
    (one,) = [one for one in diagnose() if one.name == "ports"]
    return one


@pytest.fixture
def program():
    """A program that answers with what it is given, and its port."""
    answer = {"body": b'{"status":"alive"}'}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, *_given: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        yield answer, server.server_address[1]
        server.shutdown()


def test_free_ports_and_those_where_the_service_answers_are_well(monkeypatch, program):
    port, flower_port = program[1], free_port()
    detail = f"PORT {port} answers, FLOWER_PORT {flower_port} is free"
    assert found(monkeypatch, port, flower_port) == Finding("ports", good=True, detail=detail)


def test_a_port_of_another_program_is_named_with_the_cure(monkeypatch, program):
    answer, port = program
    answer["body"] = b"hello"
    for prefix, ports in (("", (port, free_port())), ("FLOWER_", (free_port(), port))):
        one = found(monkeypatch, *ports)
        assert not one.good
        assert f"{prefix}PORT {port} on 127.0.0.1 cannot be used: " in one.detail
        assert one.detail.endswith(f"set {prefix}PORT to a free port.")
