"""A signal to stop that comes just while a process is being started."""

import subprocess
import sys

import pytest

from config.settings import PROJECT_ROOT

STARTS = {
    "benchmark": """
from processes import Processes
def start(folder):
    with Processes({}, folder) as processes:
        try:
            return processes.start([sys.executable, "-c", "input()"]).wait(20)
        except KeyboardInterrupt:
            assert len(processes) == 1
            raise
""",
    "chaos": """
from cli.chaos.processes import Processes
def start(folder):
    with Processes(folder) as processes:
        try:
            return processes.start("name", [sys.executable, "-c", "input()"], {})._process.wait(20)
        except KeyboardInterrupt:
            assert len(processes._started) == 1
            raise
""",
}
PROGRAM = """
import os, signal, sys, tempfile
from pathlib import Path
sys.path[:0] = ["src", "benchmarks"]
{start}
def stop(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
os.register_at_fork({moment}=lambda: os.kill(os.getpid(), signal.SIGTERM))
with tempfile.TemporaryDirectory() as folder:
    try:
        print("ended with", start(Path(folder)))
    except KeyboardInterrupt:
        print("stopped")
"""


def said(starter: str, moment: str) -> str:
    program = PROGRAM.format(start=STARTS[starter], moment=moment)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("starter", STARTS)
def test_a_signal_to_stop_in_the_middle_of_a_fork_stops_and_the_child_is_known(starter: str) -> None:
    assert said(starter, "after_in_parent") == "stopped"


@pytest.mark.parametrize("starter", STARTS)
def test_a_signal_to_stop_that_a_child_gets_in_the_middle_of_a_fork_ends_the_child_alone(starter: str) -> None:
    assert said(starter, "after_in_child") == "ended with -15"


ORPHAN = """
import os, signal, subprocess, sys
sys.path.insert(0, "src")
from functools import partial
from config.child_process import die_with_parent
parent = os.getpid()
def lose_parent():
    os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent:
        pass
    die_with_parent(parent, signal.SIGKILL)
subprocess.Popen([sys.executable, "-c", "print('lives on')"], preexec_fn=lose_parent)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_child_whose_parent_dies_before_it_could_tie_itself_to_it_ends_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    # The pipe is read to its end: that of the child, too, has been closed.
    assert (done.returncode, done.stdout, done.stderr) == (-9, "", "")
