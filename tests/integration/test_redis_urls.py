"""Every way to name a Redis server, each with a consumer, acknowledgements, a requeue and a publisher."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import trustme
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from broker import redis_transport
from broker.claim_channel import ClaimChannel
from broker.claims import ClaimKeys
from broker.location import NAMED, BrokerLocation, check_reachable
from config.settings import PROJECT_ROOT
from consuming import Taker, claimed, connected, publish
from plain_worker import Plain
from processors.errors import ConfigurationError
from redis_server import RedisServer, bundled, free_port, installed
from waiting import until

PASSWORD = "p@ss:/w%rd"
SECRET = quote(PASSWORD, safe="")
KEYS = ClaimKeys("")


@pytest.fixture(
    scope="module",
    params=[pytest.param(bundled, id="bundled"), pytest.param(installed, id="debian", marks=pytest.mark.services)],
)
def server(request, tmp_path_factory):
    redis_transport.register()
    running = RedisServer(request.param(), "--unixsocket", str(tmp_path_factory.mktemp("socket") / "redis.sock"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def with_password(server):
    with server.client() as client:
        client.flushall()
        client.config_set("requirepass", PASSWORD)
        yield client
        client.config_set("requirepass", "")


@pytest.fixture
def without_password(server):
    with server.client() as client:
        client.flushall()
        yield client


def carries_messages(url: str, client, **options) -> None:
    """Publish, consume, acknowledge, put back, close; nothing stays in hand and nobody is left."""
    with connected(url, **options) as connection:
        publish(connection, "urls", 1, 2, 3)
        taker = Taker(connection, "urls", prefetch=2)
        assert taker.until(2) == [1, 2]
        taker.got[0][1].ack()
        assert taker.until(3) == [1, 2, 3]
        taker.got[2][1].reject(requeue=True)
        assert taker.until(4) == [1, 2, 3, 3]
        taker.got[3][1].ack()
    prefix = options.get("global_keyprefix", "")
    keys = ClaimKeys(prefix)
    with connected(url, **options) as connection:
        taker = Taker(connection, "urls")
        assert taker.until(1) == [2]
        taker.got[0][1].ack()
    assert claimed(client, prefix) == {}
    assert client.zcard(keys.owners) == client.scard(keys.dead) == 0


def test_a_bare_url(server, without_password):
    carries_messages(server.url, without_password)


def test_a_url_with_another_database(server, without_password):
    with server.client(db=3) as client:
        carries_messages(f"redis://127.0.0.1:{server.port}/3", client)
        assert without_password.dbsize() == 0


def test_a_url_with_a_password(server, with_password):
    carries_messages(f"redis://:{SECRET}@127.0.0.1:{server.port}/0", with_password)


def test_a_wrong_password_is_refused(server, with_password):
    with connected(server.url) as connection, pytest.raises(OperationalError, match=r"(?i)auth"):
        connection.ensure_connection(max_retries=1, interval_start=0)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:1/0?socket_timeout=5",
        "redis://127.0.0.1:1/abc",
        "rediss://127.0.0.1:1/0?ssl_cert_reqs=perhaps",
        "rediss://127.0.0.1:1/0?ssl_nothing=1",
        "sentinel://127.0.0.1:1",
    ],
)
def test_a_url_with_a_part_that_nobody_knows_is_refused_in_one_line(url):
    redis_transport.register()
    with pytest.raises(ConfigurationError, match=r"cannot be used as it is written: .*; correct CELERY_BROKER_URL\.$"):
        check_reachable(BrokerLocation(url, NAMED), timeout=1)


def test_a_server_that_answers_and_refuses_is_not_said_to_be_away(server, without_password):
    without_password.execute_command("ACL", "SETUSER", "guest", "on", ">x", "+select", "+ping")
    at = f"127.0.0.1:{server.port}"
    try:
        for url, cause in ((f"redis://{at}/99", "DB index is out of range"), (f"redis://guest:x@{at}/0", "permission")):
            with pytest.raises(ConfigurationError, match=f"refuses to be used: .*{cause}.*; correct CELERY_BROKER_URL"):
                check_reachable(BrokerLocation(url, NAMED), timeout=2)
    finally:
        without_password.acl_deluser("guest")


def test_a_replica_is_no_broker(server, without_password):
    without_password.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(ConfigurationError, match=r"is a replica; name its master in CELERY_BROKER_URL\.$"):
            check_reachable(BrokerLocation(server.url, NAMED), timeout=1)
    finally:
        without_password.replicaof("no", "one")


def test_a_socket(server, without_password):
    path = without_password.config_get("unixsocket")["unixsocket"]
    carries_messages(f"redis+socket://{path}?virtual_host=0", without_password)


def test_a_socket_with_a_password_and_another_database(server, with_password):
    path = with_password.config_get("unixsocket")["unixsocket"]
    with server.client(db=2, password=PASSWORD) as client:
        carries_messages(f"redis+socket://:{SECRET}@{path}?virtual_host=2", client)
        assert with_password.dbsize() == 0


def test_a_key_prefix_stands_before_every_key(server, without_password):
    carries_messages(server.url, without_password, global_keyprefix="mine:")
    assert {key[:5] for key in without_password.scan_iter()} == {b"mine:"}


def test_two_prefixes_share_a_server_and_see_nothing_of_each_other(server, without_password):
    with (
        connected(server.url, global_keyprefix="a:") as first,
        connected(server.url, global_keyprefix="b:") as second,
    ):
        publish(first, "urls", "for a")
        publish(second, "urls", "for b")
        assert Taker(second, "urls").until(1) == ["for b"]
        assert Taker(first, "urls").until(1) == ["for a"]


class TlsServer:
    """Debian's Redis with a certificate for 127.0.0.1, signed by a CA of this run."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca, self.other_ca = folder / "ca.pem", folder / "other.pem"
        certificate, key = folder / "cert.pem", folder / "key.pem"
        issued = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(self.ca)
        trustme.CA().cert_pem.write_to_path(self.other_ca)
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(certificate)
        self.port = free_port()
        files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", self.ca]
        options = ["--tls-port", self.port, *files, "--tls-auth-clients", "no"]
        self.server = RedisServer(installed(), *map(str, options)).start()


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    redis_transport.register()
    running = TlsServer(tmp_path_factory.mktemp("tls"))
    yield running
    running.server.stop()


@pytest.fixture
def tls_client(tls):
    with tls.server.client() as client:
        client.flushall()
        client.config_set("requirepass", PASSWORD)
        yield client
        client.config_set("requirepass", "")


def tls_url(tls, query: str = "", host: str = "127.0.0.1") -> str:
    return f"rediss://:{SECRET}@{host}:{tls.port}/0{query}"


def is_refused(url: str, **options) -> None:
    with connected(url, **options) as connection, pytest.raises(OperationalError, match=r"(?i)certificate"):
        connection.ensure_connection(max_retries=1, interval_start=0)


@pytest.mark.services
def test_tls_with_its_authority_in_the_url(tls, tls_client):
    carries_messages(tls_url(tls, f"?ssl_cert_reqs=required&ssl_ca_certs={tls.ca}"), tls_client)


@pytest.mark.services
def test_tls_without_a_query_trusts_what_the_machine_trusts(tls, tls_client, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca))
    carries_messages(tls_url(tls), tls_client)


@pytest.mark.services
def test_tls_without_a_query_refuses_a_certificate_of_nobody_known(tls, tls_client):
    is_refused(tls_url(tls))


@pytest.mark.services
def test_tls_refuses_the_certificate_of_another_authority(tls, tls_client):
    is_refused(tls_url(tls, f"?ssl_cert_reqs=required&ssl_ca_certs={tls.other_ca}"))


@pytest.mark.services
def test_tls_refuses_the_certificate_of_another_host(tls, tls_client):
    is_refused(tls_url(tls, f"?ssl_cert_reqs=required&ssl_ca_certs={tls.ca}", host="localhost"))


@pytest.mark.services
def test_tls_verifies_nothing_only_where_the_url_says_so_twice(tls, tls_client):
    carries_messages(tls_url(tls, "?ssl_cert_reqs=none&ssl_check_hostname=false", host="localhost"), tls_client)


FLOWER = """
import asyncio

import flowerconfig
from flower.utils.broker import Broker
from services.celery_app import celery_app

celery_app.send_task("nobody.knows", queue="default", ignore_result=True)
with celery_app.connection() as connection:
    url = connection.as_uri(include_password=True)
conf = celery_app.conf
broker = Broker(url, broker_options=conf.broker_transport_options, broker_use_ssl=conf.broker_use_ssl)
print(asyncio.run(broker.queues(["default"])))
"""


@pytest.mark.services
def test_flowers_broker_page_shows_depths_over_tls_with_an_authority_of_ones_own(tls, tls_client, tmp_path):
    url = tls_url(tls, f"?ssl_cert_reqs=required&ssl_ca_certs={tls.ca}")
    env = {**os.environ, "CELERY_BROKER_URL": url, "DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(PROJECT_ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", FLOWER], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.stdout == "[{'name': 'default', 'messages': 1}]\n", found.stderr


class Sentinels:
    """A master, its replica, and the Sentinel that watches them."""

    def __init__(self, folder: Path) -> None:
        self.binary, self.folder, self.port = installed(), folder, free_port()
        self.master = RedisServer(self.binary)
        self.replica = RedisServer(self.binary, "--replicaof", f"127.0.0.1 {self.master.port}")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"sentinel://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.master.start()
        self.replica.start()
        configuration = self.folder / "sentinel.conf"
        # A new master has its first ping after min(down-after, 1 s): below 1 s Sentinel takes that one for down too.
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor m 127.0.0.1 {self.master.port} 1",
            "sentinel down-after-milliseconds m 3000",
            "sentinel failover-timeout m 3000",
        ]
        configuration.write_text("\n".join(lines))
        self.process = subprocess.Popen([self.binary, str(configuration), "--sentinel"], stdout=subprocess.DEVNULL)
        with Redis(port=self.port) as sentinel:
            # On a machine that stood still for two seconds Sentinel does nothing for thirty (TILT).
            until(lambda: _knows_a_replica(sentinel), 90, "Sentinel knows the replica")

    def fail_over(self) -> None:
        """Kill the master, and wait until Sentinel names the other one."""
        self.master.kill()
        with Redis(port=self.port) as sentinel:
            port = self.replica.port
            until(lambda: sentinel.sentinel_get_master_addr_by_name("m")[1] == port, 30, "the replica is the master")

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
        self.master.stop()
        self.replica.stop()


def _knows_a_replica(sentinel: Redis) -> bool:
    try:
        return [one["flags"] for one in sentinel.sentinel_slaves("m")] == ["slave"]
    except RedisError:
        return False


@pytest.fixture
def sentinels(tmp_path):
    redis_transport.register()
    running = Sentinels(tmp_path)
    try:
        running.start()
        yield running
    finally:
        running.end()


@pytest.mark.services
def test_sentinel_names_the_server_of_our_own_channel(sentinels):
    with sentinels.master.client() as client:
        carries_messages(sentinels.url, client, master_name="m")
    with connected(sentinels.url, master_name="m") as connection:
        assert type(connection.transport) is redis_transport.SentinelTransport
        assert isinstance(connection.default_channel, ClaimChannel)


SERVICE = """
from broker.allegiance import generation
from broker.location import check_reachable, resolve
from broker.waiting_messages import message_ids
from config.settings import settings
from services.celery_app import celery_app
from services.wiring import parts

check_reachable(resolve(settings), timeout=5)
celery_app.send_task("nobody.knows", queue="default", ignore_result=True)
with celery_app.connection_for_read() as connection:
    assert generation(connection, parts().database_id)
    assert len(message_ids(connection, ["default"])) == 1
    message = connection.default_channel.basic_get("default")
    print(type(connection.transport).__name__, message.headers["task"])
    message.ack()
"""


def use_of_the_service(url: str, folder: Path, **settings: str) -> str:
    """Look at the broker, send and take a message as the service does; returns what it says, or its error."""
    command = [sys.executable, "-c", SERVICE]
    env = {**os.environ, "CELERY_BROKER_URL": url, "DATA_DIR": str(folder / "data"), **settings}
    found = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    return (found.stdout or found.stderr).splitlines()[-1]


@pytest.mark.services
def test_the_service_uses_the_server_that_sentinel_names(sentinels, tmp_path):
    with Redis(port=sentinels.port) as sentinel:
        sentinel.execute_command("ACL", "SETUSER", "default", "resetpass", f">{PASSWORD}")
    named = {"REDIS_SENTINEL_MASTER": "m", "REDIS_SENTINEL_PASSWORD": PASSWORD}
    assert use_of_the_service(sentinels.url, tmp_path, **named) == "SentinelTransport nobody.knows"


@pytest.mark.parametrize("own", [{}, {"sentinel_kwargs": {"password": PASSWORD}}], ids=["open", "password"])
def test_a_sentinel_that_hangs_is_asked_once_and_not_waited_for_long(own, monkeypatch):
    redis_transport.register()
    monkeypatch.setattr("broker.claim_channel.SENTINEL_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"sentinel://127.0.0.1:{hanging.getsockname()[1]}"
        asked = r"No master found .*\bsocket_timeout=0\.5,.*\bsocket_connect_timeout=0\.5,"
        with pytest.raises(ConfigurationError, match=asked):
            check_reachable(BrokerLocation(url, NAMED, {"master_name": "m", **own}), timeout=5)
        hanging.settimeout(0)
        with pytest.raises(BlockingIOError):  # Kombu tries twice
            for _ in range(3):
                hanging.accept()[0].close()


def has_open(*ports: int) -> list:
    return [one for one in psutil.Process().net_connections() if one.raddr and one.raddr.port in ports]


@pytest.mark.services
def test_a_consumer_follows_a_failover_and_nothing_that_was_replicated_is_lost(sentinels):
    options = {"master_name": "m"}
    with sentinels.master.client() as client:
        with connected(sentinels.url, **options) as connection:
            publish(connection, "urls", *range(20))
        consumer = connected(sentinels.url, **options)
        connection = consumer.__enter__()
        taker = Taker(connection, "urls", prefetch=5)
        taker.until(5)
        (owner,) = client.zrange(KEYS.owners, 0, -1)
        client.wait(1, 10_000)
    sentinels.fail_over()
    with sentinels.replica.client() as client:
        before = client.zscore(KEYS.owners, owner)
        until(lambda: client.zscore(KEYS.owners, owner) > before, 30, "the owner beats at the new master")
        assert len(claimed(client)) == 5
        for _, message in taker.got[:3]:
            message.ack()
        until(lambda: len(claimed(client)) == 2, 30, "the new master hears what is settled")
        with pytest.raises(connection.connection_errors):
            taker.until(6)
        consumer.__exit__(None, None, None)
        assert claimed(client) == {}
        with connected(sentinels.url, **options) as connection:
            assert Taker(connection, "urls").until(17) == list(range(3, 20))
        until(lambda: not has_open(sentinels.port, sentinels.master.port), 10, "every connection is closed")


def documented_rules() -> list[str]:
    """The rules of the user in `docs/redis.md`."""
    text = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("ACL SETUSER csai on ")]
    return line.split()[3:]


def test_the_documented_user_may_do_all_that_the_service_needs(server, without_password, tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
    more = re.search(r"The service needs `([^`]*)` too", text)[1].split()
    rules = [">" + PASSWORD if one == ">password" else one for one in documented_rules()]
    without_password.execute_command("ACL", "SETUSER", "csai", *rules, *more)
    try:
        said = use_of_the_service(f"redis://csai:{SECRET}@127.0.0.1:{server.port}/0", tmp_path)
        assert said == "Transport nobody.knows"
    finally:
        without_password.acl_deluser("csai")


def test_the_documented_user_may_do_all_that_celery_needs_and_no_more(server, without_password, tmp_path):
    admin, store = without_password, RedisServer(bundled()).start()
    rules = documented_rules()
    admin.execute_command("ACL", "SETUSER", "csai", *[">" + PASSWORD if one == ">password" else one for one in rules])
    url = f"redis://csai:{SECRET}@127.0.0.1:{server.port}/0"
    options = {"priority_steps": [0, 3, 6, 9], "global_keyprefix": "csai:", "visibility_timeout": 1}
    # What the killed stock worker held comes back a second later, which may be after the next worker's first look.
    options |= {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    plain = Plain(server, tmp_path, url=url, store=store, broker_transport_options=options)
    try:
        admin.execute_command("ACL", "LOG", "RESET")
        admin.config_resetstat()
        everything_that_celery_does(plain)
        refused = {(one["reason"], one["object"]) for one in admin.acl_log() if one["username"] == "csai"}
        assert refused - {("command", "client"), ("command", "client|setinfo")} == set()
        used = {name.removeprefix("cmdstat_").split("|")[0] for name in admin.info("commandstats")}
        assert {rule[1:].split("|")[0] for rule in rules if rule.startswith("+")} - used == set()
    finally:
        plain.close()
        store.stop()
        admin.acl_deluser("csai")


def everything_that_celery_does(plain: Plain) -> None:
    plain.send("hold", "x")
    stock = plain.worker("-c", "1", "-E", stock=True)
    plain.until_seen("begin x")
    stock.kill()
    until_nobody_waits_for_a_message(plain)
    plain.release()
    for number in range(40):
        plain.send("note", number, priority=(0, 9)[number % 2])
    worker = plain.worker("-c", "1", "-E")
    plain.until_seen("end x", *map(str, range(40)))
    assert plain.app.control.ping(timeout=10, limit=1) == [{"w1@here": {"ok": "pong"}}]
    assert plain.app.control.add_consumer("more", reply=True, timeout=10, limit=1)
    plain.send("reject", True)
    plain.send("reject", False)
    plain.until_seen("redelivered True")
    with plain.app.producer_pool.acquire() as producer, producer.batch():
        for number in range(3):
            plain.send("note", f"batch {number}", producer=producer)
    plain.until_seen("batch 2")
    with plain.start_command("events", "--dump") as watch:
        until(lambda: "heartbeat: " in watch.said(), 30, "events are shown")
    plain.effects.delete("release")
    plain.send("hold", "y")
    plain.until_seen("begin y")
    worker.kill()
    plain.release()
    worker = plain.worker("-P", "threads", "-c", "2", "-E")
    plain.until_seen("end y")
    assert "Traceback" not in worker.stop()
    plain.send("note", 1)
    answer = plain.run("amqp", "basic.get", "work")
    assert "delivery_info" in answer.stdout, answer.stderr
    assert "1 message" in plain.run("purge", "-f").stdout


def until_nobody_waits_for_a_message(plain: Plain) -> None:
    """Redis may still hand a message to a stock worker whose end it has not read; that message is lost."""
    until(lambda: all(one["cmd"] != "brpop" for one in plain.broker.client_list()), what="the dead worker is gone")


@pytest.mark.services
def test_a_worker_follows_a_failover(sentinels, tmp_path):
    store = RedisServer(bundled()).start()
    options = {"master_name": "m", "priority_steps": [0, 3, 6, 9]}
    plain = Plain(sentinels.master, tmp_path, url=sentinels.url, store=store, broker_transport_options=options)
    try:
        worker = plain.worker("-c", "2")
        plain.send("note", "before")
        plain.until_seen("before")
        sentinels.fail_over()
        with sentinels.replica.client() as client:
            plain.send("note", "after", retry=True)
            plain.until_seen("after")
            assert plain.app.control.ping(timeout=10, limit=1) == [{"w0@here": {"ok": "pong"}}]
            worker.stop()
            assert claimed(client) == {}
            until(lambda: client.zcard(KEYS.owners) == 0, 20, "nobody is left")
    finally:
        plain.close()
        store.stop()
