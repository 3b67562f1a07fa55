"""A Redis server that is killed while it writes its log loses no message, at its next start or at the one after.

What is left of a transaction's beginning it keeps in its log, and does at its second start with what came later.
"""

import json
import shutil
from pathlib import Path
from random import Random

import pytest

from broker import claims
from broker.claims import ClaimKeys, give_back_all
from redis_server import RedisServer, bundled, installed

SEED = 20261201
CHANCE_CUTS = 12
KEYS = ClaimKeys("")
SEPARATOR = "\x06\x16"
LISTS = [f"a{SEPARATOR}3", "a"]
LOGGED = ("--appendonly", "yes", "--appendfsync", "always")
TORN = {
    "claim": lambda client: claim(client, "first", 3, 5, settled=[f"{number}:{LISTS[0]}" for number in (1, 2)]),
    "give_back": lambda client: (
        client.zrem(KEYS.owners, "first") and client.sadd(KEYS.dead, "first") and restore(client)
    ),
    "declare_dead": lambda client: declare_dead(client, "first"),
    "retire": lambda client: claims.RETIRE(client, [KEYS.owners, KEYS.dead], ["first"]),
}


def message(number: int) -> bytes:
    properties = {"delivery_info": {}, "delivery_tag": str(number)}
    return json.dumps({"body": f"{number:04}" * 50, "headers": {}, "properties": properties}).encode()


def numbers(raws) -> set[int]:
    return {int(json.loads(raw)["body"][:4]) for raw in raws}


def announce(client, owner: str) -> None:
    claims.announce(client, KEYS, owner)


def claim(client, owner: str, first: int, wanted: int, settled=()) -> list:
    keys = [KEYS.owners, KEYS.claim(owner), KEYS.passed_over, KEYS.marker("a"), *LISTS]
    return claims.CLAIM(client, keys, [owner, first, wanted, 16_000_000, 0, 1, 1, 10, *settled])


def restore(client) -> None:
    give_back_all(client, KEYS, "first", SEPARATOR, lost=True)


def declare_dead(client, owner: str) -> None:
    client.zadd(KEYS.owners, {owner: 1})
    claims.BEAT(client, [KEYS.owners, KEYS.dead, KEYS.grace, KEYS.looked], ["other", 1, 0, 1, 8_000, 0, 600_000, 0])


def kept(client) -> set[int]:
    """All that waits, or is claimed by somebody who lives or whose claims are given back."""
    found = [raw for name in LISTS for raw in client.lrange(name, 0, -1)]
    for owner in (*client.zrange(KEYS.owners, 0, -1), *client.smembers(KEYS.dead)):
        found += client.hvals(KEYS.claim(owner.decode()))
    return numbers(found)


def log_of(server: RedisServer) -> Path:
    folder = Path(server.folder.name)
    several = sorted(folder.glob("appendonlydir/*.incr.aof"))
    return several[-1] if several else folder / "appendonly.aof"


def cuts(log: bytes) -> list[int]:
    """Where the last transaction is cut: behind each of its commands, within each, and at some chance places."""
    begin = log.rindex(b"*1\r\n$5\r\nMULTI\r\n")
    commands = [place for place in range(begin, len(log)) if log.startswith(b"\r\n*", place - 2)]
    print(f"seed {SEED}")  # noqa: T201 - to repeat a failure
    chance = Random(SEED).sample(range(begin + 1, len(log)), CHANCE_CUTS)
    return sorted({*commands, *(place + 9 for place in commands), *chance} - {len(log)})


@pytest.fixture(
    params=[pytest.param(bundled, id="bundled"), pytest.param(installed, id="debian", marks=pytest.mark.services)]
)
def server(request):
    running = RedisServer(request.param(), *LOGGED).start()
    yield running
    running.stop()


@pytest.mark.parametrize("between", [True, False], ids=["claimed-between", "given-back-between"])
@pytest.mark.parametrize("torn", TORN)
def test_no_message_is_lost_wherever_the_last_transaction_of_the_log_was_cut(server, torn, between):
    with server.client() as client:
        announce(client, "first")
        announce(client, "other")
        for number in range(1, 9):
            client.lpush(LISTS[number % 2], message(number))
        claim(client, "first", 1, 2)
        settled = numbers(client.hvals(KEYS.claim("first"))) if torn == "claim" else set[int]()
        TORN[torn](client)
    server.kill()
    whole, folder = log_of(server).read_bytes(), Path(server.folder.name)
    copy = folder.with_name(f"{folder.name}-copy")
    shutil.copytree(folder, copy)
    for cut in cuts(whole):
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
        log_of(server).write_bytes(whole[:cut])
        expected = set(range(1, 9)) - settled
        server.start()
        with server.client() as client:
            assert kept(client) >= expected, cut
            announce(client, "second")
            client.lpush("a", message(9))
            if between:
                claim(client, "second", 1, 3)
                claim(client, "second", 4, 2)
            elif torn == "claim":  # its answer was lost, and so another owner goes on
                claims.RETIRE(client, [KEYS.owners, KEYS.dead], ["first"])
                restore(client)
        server.kill()
        server.start()
        with server.client() as client:
            announce(client, "third")
            assert kept(client) >= expected | {9}, cut
        server.kill()
    shutil.rmtree(copy)
