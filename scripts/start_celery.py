"""Start the parts of the service.

python scripts/start_celery.py worker --queues default email --concurrency 4 --loglevel INFO
python scripts/start_celery.py beat
python scripts/start_celery.py flower
python scripts/start_celery.py web
python scripts/start_celery.py all       everything, supervised, with an embedded Redis where no broker is named
"""

import argparse
import os
import signal
import sys
from pathlib import Path

signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C while this loads is an end, not a traceback

ROOT = Path(__file__).resolve().parents[1]
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

try:
    from config.settings import settings
    from processors.errors import WorkError
    from services.celery_app import QUEUES
    from services.supervisor import CELERY, CELERY_PART, Supervisor
except ModuleNotFoundError as missing:
    sys.exit(
        f"{missing.name} is not installed for {sys.executable}: run `make setup`, then .venv/bin/python {sys.argv[0]}."
    )


def main() -> int:
    """Start what the command line names."""
    arguments = _parser().parse_args()
    if arguments.part == "all":
        try:
            return Supervisor(settings, sys.stdout).run()
        except (WorkError, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
        except OSError as error:
            print(f"The service stopped: {error}; check the disk and the rights of DATA_DIR.", file=sys.stderr)
            return 1
    command = [sys.executable, "-m", "api"] if arguments.part == "web" else _celery(arguments)
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execv(command[0], command)  # noqa: S606 - a fixed command, and one process instead of two
    return 0


def _celery(arguments: argparse.Namespace) -> list[str]:
    command = [*(CELERY if arguments.part == "flower" else CELERY_PART), arguments.part]
    for name in ("queues", "concurrency", "loglevel", "hostname", "port", "address"):
        value = getattr(arguments, name, None)
        if name == "queues" and value is not None:
            value = ",".join(arguments.queues)
        if value is not None:
            command.append(f"--{name}={value}")
    return command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="start_celery.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True, metavar="worker|beat|flower|web|all")
    worker = parts.add_parser("worker", help="run tasks")
    worker.add_argument(
        "--queues", nargs="+", type=_queue, action="extend", help=f"of {', '.join(QUEUES)}; all unless told"
    )
    worker.add_argument("--concurrency", type=_positive, help="processes; CELERY_WORKER_CONCURRENCY unless told")
    worker.add_argument("--hostname", help="the worker's name, where several run on one machine")
    beat = parts.add_parser("beat", help="start what is periodic")
    flower = parts.add_parser("flower", help="watch workers and tasks in a browser")
    flower.add_argument("--port", type=_positive, help="FLOWER_PORT unless told")
    flower.add_argument("--address", help="FLOWER_HOST unless told")
    parts.add_parser("web", help="the API")
    parts.add_parser("all", help="everything, supervised")
    for part in (worker, beat):
        part.add_argument("--loglevel", type=str.upper, choices=LEVELS, help="LOG_LEVEL unless told")
    return parser


def _queue(text: str) -> str:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in QUEUES:
            raise argparse.ArgumentTypeError(f"no queue is named {name!r}; the queues are {', '.join(QUEUES)}")
    return ",".join(names)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more; got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
