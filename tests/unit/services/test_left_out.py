"""What a worker leaves out is left out while it begins, and there for whoever imports it later."""

import subprocess
import sys

SCRIPT = """
import sys
from services.left_out import LEFT_OUT, left_out

import yaml
with left_out():
    import structlog
    from celery.utils import debug
    assert sys.modules["yaml"] is yaml, "it was loaded before"
    try:
        import rich
    except ImportError:
        pass
    else:
        raise AssertionError("it was found")
assert not {"rich", "psutil", "pygments"} & set(sys.modules)
import rich, psutil, pygments
"""

MEMORY_SAMPLE = """
import sys
from services import celery_part
from celery.utils import debug
assert "psutil" not in sys.modules

celery_part.COMMANDS["none"] = celery_part.worker
try:
    celery_part.main("none", "--help")
except SystemExit:
    pass
assert debug.ps().pid
"""


def run(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_what_is_left_out_while_a_process_begins_can_be_imported_afterwards():
    run(SCRIPT)


def test_celery_still_tells_how_much_memory_a_worker_has():
    run(MEMORY_SAMPLE)
