"""`python -m services.celery_part worker|beat`: Celery's own commands and options, without what else is installed.

The `celery` command loads the commands of every package beside it into each worker: Flower alone is 15 MiB.
"""

import sys
from importlib import import_module
from typing import Any, cast

from services.left_out import left_out

with left_out():
    from celery.bin.base import CLIContext
    from celery.bin.beat import beat
    from celery.bin.worker import worker
    from celery.utils import debug

    from services.celery_app import celery_app
    from services.supervised_part import SUPERVISED

COMMANDS = {"worker": worker, "beat": beat}


def main(name: str, *options: str) -> None:
    """Run a command until it ends; it ends the process with its own code.

    Args:
        name: `worker` or `beat`.
        options: its options; those not given are read, as Celery does, from variables such as CELERY_WORKER_POOL.
            `--supervised` is ours: whoever started this process puts another one in its place where it says so.
    """
    celery_app.set_current()
    cast("Any", debug).Process = _psutil_process
    if SUPERVISED in options:
        import_module("services.threads").ending.supervised = True
    context = CLIContext(app=celery_app, no_color=False, workdir=None, quiet=False)
    COMMANDS[name].main(
        [one for one in options if one != SUPERVISED],
        prog_name=name,
        obj=context,
        auto_envvar_prefix=f"CELERY_{name.upper()}",
    )


def _psutil_process(pid: int) -> Any:
    """Return what measures this process where somebody asks for a memory sample."""
    return import_module("psutil").Process(pid)


if __name__ == "__main__":
    main(*sys.argv[1:])
