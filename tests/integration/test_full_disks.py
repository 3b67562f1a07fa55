"""A full disk, of the records, the logs or the broker: what is refused is told, and it goes on once there is room."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lives import figures, said
from small_disks import SmallInstallation
from waiting import until


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallInstallation]:
    with ExitStack() as stack:
        yield SmallInstallation(tmp_path_factory.mktemp("small"), stack)


def goes_on(small: SmallInstallation) -> list[dict]:
    """Wait until submits are accepted again; nobody has started anything anew."""
    pids = {one.pid for one in (small.leader, small.worker, small.submitter.group) if one.alive()}
    answer = until(lambda: (one := small.submit()) and "error" not in one and one, what="it goes on", every=0.5)
    assert len(pids) == 3
    return [answer]


def test_a_submit_is_refused_while_the_disk_of_the_records_is_full(small: SmallInstallation):
    accepted = [*goes_on(small), small.submit(2.0)]
    running = accepted[-1]["number"]
    until(lambda: small.life.counts("begin")[running], what="one runs")
    refused = []
    with small.disks.full(small.folders["records"]):
        for _ in range(2000):  # what SQLite had room for already is still written
            answer = small.submit()
            (refused if "error" in answer else accepted).append(answer)
            if len(refused) == 3:
                break
        until(lambda: small.life.counts("done")[running], what="what runs goes on")
    accepted += goes_on(small)
    small.until_done(accepted)

    figures("the records' disk is full", accepted=len(accepted), refused=len(refused), why=refused[0]["why"])
    assert {one["error"] for one in refused} == {"ServiceUnavailable"}
    assert all("make room on its disk" in one["why"] for one in refused)
    assert not {one["number"] for one in refused} & set(small.life.counts("begin"))
    assert small.check_records() == "ok", "nothing is half-written"


def test_work_goes_on_while_the_disk_of_the_logs_is_full(small: SmallInstallation):
    goes_on(small)
    with small.disks.full(small.folders["logs"]):
        accepted = [small.submit() for _ in range(100)]  # the last block of the log has some room left
        small.until_done(accepted)
    accepted += goes_on(small)
    small.until_done(accepted)

    figures("the logs' disk is full", accepted=len(accepted))
    assert [one for one in accepted if "error" in one] == []
    assert said(small.worker, "No space left on device")


def test_what_is_submitted_while_the_brokers_disk_is_full_is_done_once_there_is_room(small: SmallInstallation):
    accepted = goes_on(small)
    with small.disks.full(small.folders["redis"]):
        for _ in range(300):
            accepted.append(small.submit())
            if refuses_writes(small):
                break
        accepted += [small.submit() for _ in range(5)]
        waiting = small.states([one["id"] for one in accepted[-5:]])
    accepted += goes_on(small)
    small.until_done(accepted)

    slowest = max(one["seconds"] for one in accepted)
    figures("the broker's disk is full", accepted=len(accepted), waiting=waiting, slowest_submit=slowest)
    assert [one for one in accepted if "error" in one] == []
    assert set(waiting) == {"PENDING"}


def refuses_writes(small: SmallInstallation) -> bool:
    with small.redis.client(decode_responses=True) as client:
        return client.info("persistence")["aof_last_write_status"] != "ok"
