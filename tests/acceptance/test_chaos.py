"""`csai chaos`: nothing is lost by random kills, a loss is seen, and nothing of a run is left, however it ends."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from redis import Redis

from cli.chaos.experiment import Experiment, temporary_installation
from cli.chaos.installation import Installation
from cli.chaos.plan import Broker, Fault, Plan, Transport
from config.settings import PROJECT_ROOT
from waiting import until

CHAOS = [sys.executable, "-m", "cli.main", "chaos"]
SHORT = (
    "--seed=1",
    "--tasks=5000",
    "--kills=10",
    "--broker=embedded",
    "--appendonly=always",
)
TIMEOUT_SECONDS = 580  # for a machine that does much else meanwhile

pytestmark = pytest.mark.slow


def chaos(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(  # noqa: PLW1510 - the caller looks at the code
        [*CHAOS, *options], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, cwd=PROJECT_ROOT, env=environment
    )


def row(table: str, name: str) -> str:
    return re.search(rf"^{name} +(.*?) *$", table, re.MULTILINE)[1]


@pytest.mark.timeout(TIMEOUT_SECONDS + 20)
@pytest.mark.parametrize("records", ["--records", "--no-records"])
def test_nothing_is_lost_by_ten_kills_among_five_thousand_tasks(records: str):
    kinds = ["broker", "child", "publisher", "worker"]
    kinds = ["beat", *kinds] if records == "--records" else kinds
    said = chaos(*SHORT, f"--faults={','.join(kinds)}", records, COLUMNS="120")
    print(said.stdout, said.stderr)  # noqa: T201 - a failing run shows its table
    assert row(said.stdout, "lost") == "0"
    unknown = 0
    if records == "--records":
        unknown = int(row(said.stdout, "  unknown, listed"))
        assert int(row(said.stdout, "with an effect")) > 1_100
        assert int(row(said.stdout, "with a delay")) > 600
        assert row(said.stdout, "  twice") == row(said.stdout, "  begun early") == "0"
        assert "as unknown" not in said.stdout, "each is listed, and none of those that can be looked up"
        assert int(row(said.stdout, "fire times of schedules")) > 15
        assert row(said.stdout, "  left out, twice") == "0, 0"
        assert "of no fire time" not in said.stdout
    assert 0 <= int(row(said.stdout, "accepted")) - int(row(said.stdout, "done")) <= unknown
    assert int(row(said.stdout, "accepted")) > 4_500
    assert row(said.stdout, "ran again after its recorded end") in ("0", "-")
    assert re.findall(r"[a-z]+", row(said.stdout, "faults")) == kinds
    wrong = [line for line in said.stdout.splitlines() if line.startswith("seed 1, ours")]
    slow = [line for line in wrong if "ended by itself" in line or " waited " in line]  # as a busy machine may be
    assert wrong == slow


def test_a_message_that_is_taken_away_is_a_loss_and_is_named():
    plan = Plan(seed=1, tasks=300, kills=0, transport=Transport.STOCK, records=False, broker=Broker.EMBEDDED)
    stolen: list[bytes] = []

    def steal(installation: Installation, _faults: int) -> None:
        if not stolen:
            socket = installation.folder / "redis.sock"
            password = re.search("requirepass (.*)", (installation.folder / "redis.conf").read_text())[1]
            with Redis(unix_socket_path=str(socket), password=password) as thief:
                stolen.extend(filter(None, [thief.lpop("chaos")]))

    with temporary_installation(plan, keep=False) as installation:
        outcome = Experiment(plan, installation, steal, patience=10).run()
    assert len(stolen) == 1
    assert len(outcome.lost) == 1
    assert f"1 accepted tasks were lost: {outcome.lost[0]}." in outcome.problems


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_no_process_and_no_file(number: signal.Signals, tmp_path: Path):
    command = [*CHAOS, "--tasks=5000", "--kills=1", "--broker=embedded"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with (tmp_path / "said").open("wb") as said:
        chaos = subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=PROJECT_ROOT)
    try:
        started = until(
            lambda: len(found := descendants(chaos.pid)) >= 12 and found, what="two workers with their pools"
        )
        chaos.send_signal(number)
        assert chaos.wait(60) != 0
    finally:
        chaos.kill()
    _, alive = psutil.wait_procs(started, 10)
    assert alive == []
    assert [path.name for path in tmp_path.iterdir()] == ["said"]


def descendants(pid: int) -> list[psutil.Process]:
    """The broker, two beats with their leaders, the publisher, and two workers with two children each."""
    return psutil.Process(pid).children(recursive=True)


def test_a_run_does_not_touch_this_installation():
    plan = Plan(seed=1, tasks=1, kills=0)
    with temporary_installation(plan, keep=False) as installation:
        assert Path(tempfile.gettempdir()) in installation.settings.data_dir.parents
        assert installation.folder.name in installation.settings.sqlalchemy_url


def test_faults_that_this_machine_does_not_allow_are_one_line(tmp_path: Path):
    done = chaos(f"--faults={Fault.PARTITION}", "--broker=redis", PATH=str(tmp_path))
    assert done.returncode == 1
    assert re.fullmatch(r"This machine does not allow --faults partition: .*\n", done.stderr)
