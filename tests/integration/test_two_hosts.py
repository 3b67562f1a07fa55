"""Two machines with one broker and one database: one dies, or loses its network for a while."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.chaos.processes import Processes
from lives import CELERY, Host, Life, Submitter, figures, host, lasting, pacing
from postgresql import PostgresqlServer
from redis_server import RedisServer, installed
from requirements_check import needs
from waiting import until

pytestmark = pytest.mark.services

TASKS = int(lasting(60, 600))
SLOW = set(range(0, TASKS, 4))
CUT_SECONDS = lasting(10, 600)
CUT_SUBMIT_SECONDS = 25
"""What a submit may take where the network loses its packets: the kernel gives up on a connection after 15 s."""


class TwoHosts:
    """Hosts a and b, each with a worker, a beat and a program that submits; the servers are on neither."""

    def __init__(self, life: Life, a: Host, b: Host, urls: dict[str, dict[str, str]]) -> None:
        self.life, self.a, self.b = life, a, b
        self.workers = {one.name: life.worker(f"w{one.name}", on=one, **urls[one.name]) for one in (a, b)}
        self.beats = {
            one.name: life.start(f"beat-{one.name}", [*CELERY, "beat"], on=one, **urls[one.name]) for one in (a, b)
        }
        self.submitters: dict[str, Submitter] = {
            one.name: life.submitter(f"s{one.name}", on=one, **urls[one.name]) for one in (a, b)
        }
        life.until_ready(*self.workers.values(), *self.submitters.values())


@pytest.fixture
def two_hosts(tmp_path: Path) -> Iterator[TwoHosts]:
    needs("ip")
    with ExitStack() as stack:
        a, b = (stack.enter_context(host(name, number)) for number, name in enumerate(("a", "b")))
        addresses = [one.network.address for one in (a, b)]
        redis = RedisServer(installed(), "--bind", "127.0.0.1", *addresses, "--protected-mode", "no").start()
        stack.callback(redis.stop)
        postgresql = PostgresqlServer(*addresses)
        stack.callback(postgresql.stop)
        postgresql.start()
        url = postgresql.fresh_database()
        name = url.partition("@/")[2].partition("?")[0]
        urls = {
            one.name: {
                "CELERY_BROKER_URL": f"redis://{one.network.address}:{redis.port}/0",
                "DATABASE_URL": f"postgresql://csai@{one.network.address}/{name}",
            }
            for one in (a, b)
        }
        processes = stack.enter_context(Processes(tmp_path))
        life = Life(tmp_path, processes, redis.url, url)
        stack.callback(life.close)
        yield TwoHosts(life, a, b, urls)


def on(line: dict, name: str) -> bool:
    return line["host"] == name


def test_a_host_that_dies_leaves_its_work_to_the_other_one(two_hosts: TwoHosts):
    life = two_hosts.life
    for number in range(TASKS):
        two_hosts.submitters["ab"[number % 2]].submit(number, 2.0 if number in SLOW else 0.3)
    until(lambda: life.counts("done").total() >= TASKS // 4, what="a fourth of it is done")

    def has_slow_work(host: str) -> bool:
        begun = {line["number"] for line in life.seen("begin") if on(line, host)}
        return bool(begun & SLOW - set(life.counts("done")))

    until(lambda: has_slow_work("a"), what="the host that is to die has work that lasts")

    ended = {number for number, record in life.by_number().items() if record.final}
    died = time.monotonic()
    two_hosts.a.kill()
    accepted = {one["number"] for name in "ab" for one in two_hosts.submitters[name].answers() if one.get("id")}
    accepted |= set(life.by_number())
    begun = {line["number"] for line in life.seen("begin") if on(line, "a")}
    in_hand = {number for number, record in life.by_number().items() if number in begun and not record.final}
    records = life.until_final(sorted(accepted), 60 + TASKS)

    again = {number for number, record in records.items() if record.run > 1}
    taken = [line["at"] - died for line in life.seen("begin") if line["number"] in again and on(line, "b")]
    done = life.counts("done")
    figures(
        "a host is killed",
        tasks=len(accepted),
        in_hand=len(in_hand),
        ran_again=len(again),
        done_twice=sum(count > 1 for count in done.values()),
        taken_over_after=max(taken, default=0.0),
    )
    assert {record.state for record in records.values()} == {"SUCCESS"}
    assert set(done) == accepted
    assert [number for number in ended if done[number] > 1] == [], "what had ended is not done again"
    assert again, "the host died with work in hand"
    assert again <= in_hand, "nothing ran again but what it had in hand"
    assert max(taken) <= 20, "ten seconds are promised, on a machine that does nothing else"


@pytest.mark.parametrize("way", ["both ways", "one way"])
def test_a_host_whose_network_is_cut_works_again_once_it_is_back(two_hosts: TwoHosts, way: str):
    life, a = two_hosts.life, two_hosts.a
    numbers = range(int((CUT_SECONDS + 4) / 0.25))
    two_hosts.submitters["a"].submit(10_000, once=True)  # it has connections that nobody tells of the cut
    two_hosts.submitters["a"].until_answered(1)
    with pacing(two_hosts.submitters["b"], numbers, 0.25, (0.2, 1.0), once=True):
        until(lambda: any(on(line, "a") for line in life.seen("begin")), what="the host works")
        cut_submits = range(10_001, 10_004)
        if way == "both ways":
            a.network.cut()
            submit_slowly(two_hosts.submitters["a"], cut_submits)
            time.sleep(CUT_SECONDS)  # it is the length of the cut that the test is about
            a.network.heal()
        else:
            with a.deaf():
                submit_slowly(two_hosts.submitters["a"], cut_submits)
                time.sleep(CUT_SECONDS)
        healed = time.monotonic()
        until(
            lambda: any(on(line, "a") and line["at"] > healed for line in life.seen("begin")) or keep_busy(two_hosts),
            60,
            "the host works again",
            every=0.5,
        )
        worked = min(line["at"] for line in life.seen("begin") if on(line, "a") and line["at"] > healed)
    answers = two_hosts.submitters["a"].until_answered(1 + len(cut_submits))[1:]
    unknown = {one["number"] for one in answers if one.get("error") == "SubmitUnknown"}
    refused = {one["number"] for one in answers if one.get("error") == "ServiceUnavailable"}
    submitted = {one["number"] for one in two_hosts.submitters["b"].answers() if one.get("id")}
    records = life.until_final(
        sorted(submitted | {10_000} | ({one["number"] for one in answers if one.get("id")} - unknown))
    )

    done = life.counts("done")
    figures(
        f"a network is cut {way} for {CUT_SECONDS:g} s",
        tasks=len(records),
        works_again_after=worked - healed,
        submits=[(one.get("error") or "accepted", round(one["seconds"], 1)) for one in answers],
        ran_again=sum(record.run > 1 for record in records.values()),
        done_twice=sum(count > 1 for count in done.values()),
    )
    assert {record.state for record in records.values()} == {"SUCCESS"}
    assert set(done) == set(records), "what was refused was not done, and all else was"
    assert set(done.values()) == {1}
    assert not refused & set(records)
    assert max(one["seconds"] for one in answers) <= CUT_SUBMIT_SECONDS


def submit_slowly(submitter: Submitter, numbers: range) -> None:
    for number in numbers:
        submitter.submit(number, once=True)


def keep_busy(two_hosts: TwoHosts) -> None:
    """Give both hosts something to do: only then it is seen who works."""
    number = 20_000 + len(two_hosts.submitters["b"].answers())
    two_hosts.submitters["b"].submit(number, 0.2, once=True)
