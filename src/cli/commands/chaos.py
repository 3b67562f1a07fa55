"""`csai chaos`: kills, freezes and cuts off parts of an installation of its own, and counts what came of every task."""

import signal
import sys
from dataclasses import replace
from types import FrameType
from typing import Annotated

import typer

from cli.chaos.experiment import Experiment, temporary_installation
from cli.chaos.outcome import Outcome
from cli.chaos.plan import OF_RECORDS, AppendOnly, Broker, Fault, Plan, Pool, Transport, fault_kinds
from cli.chaos.report import ProgressLine, print_table, told
from cli.output import AsJson, print_json

STOCK_TASKS = 10_000
STOCK_KILLS = 30
FAULTS = f"{Fault.CHILD},{Fault.WORKER},{Fault.PUBLISHER}"


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("chaos")(chaos)


def chaos(  # noqa: PLR0913, PLR0917 - one per option
    seed: Annotated[list[int], typer.Option(help="Decides all faults; may be given several times.")] = [1],  # noqa: B006 - typer's default
    tasks: Annotated[int, typer.Option(help="Unique tasks of one run.")] = 5_000,
    kills: Annotated[int, typer.Option(help="Faults of one run.")] = 10,
    transport: Annotated[Transport, typer.Option(help="Who moves the messages.")] = Transport.OURS,
    records: Annotated[
        bool | None, typer.Option("--records/--no-records", help="With a record per task: unless told, on ours.")
    ] = None,
    broker: Annotated[Broker, typer.Option(help="The system's Redis, the one that comes along, or RabbitMQ.")] = (
        Broker.EMBEDDED
    ),
    appendonly: Annotated[AppendOnly, typer.Option(help="When Redis writes to its disk.")] = AppendOnly.EVERYSEC,
    faults: Annotated[str, typer.Option(help=f"A comma list of {', '.join(Fault)}.")] = FAULTS,
    pool: Annotated[Pool, typer.Option(help="What runs tasks inside a worker.")] = Pool.PREFORK,
    beside_stock: Annotated[
        bool, typer.Option("--beside-stock", help="Run stock Celery too, to compare; it decides nothing.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with journals and logs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Do random faults to a temporary installation and count every task; exit code 1 on a loss or a broken promise."""
    first = Plan(
        seed=seed[0],
        tasks=tasks,
        kills=kills,
        transport=transport,
        records=transport is Transport.OURS if records is None else records,
        broker=broker,
        appendonly=appendonly,
        faults=fault_kinds(faults),
        pool=pool,
    )
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    outcomes = [_run(replace(first, seed=one), keep=keep) for one in seed]
    beside = [_run(_stock(first), keep=keep)] if beside_stock else []
    if as_json:
        print_json([told(outcome) for outcome in [*outcomes, *beside]])
    else:
        print_table([*outcomes, *beside])
    if any(outcome.problems for outcome in outcomes):
        sys.exit(1)


def _run(plan: Plan, *, keep: bool) -> Outcome:
    with ProgressLine(plan) as line, temporary_installation(plan, keep=keep) as installation:
        if keep:
            print(f"Journals and logs: {installation.folder}", file=sys.stderr)
        return Experiment(plan, installation, line.show).run()


def _stock(plan: Plan) -> Plan:
    """Return the run of stock Celery that shows the difference."""
    return replace(
        plan,
        tasks=STOCK_TASKS,
        kills=STOCK_KILLS,
        transport=Transport.STOCK,
        records=False,
        faults=tuple(kind for kind in plan.faults if kind not in OF_RECORDS),
    )


def _leave(number: int, _frame: FrameType | None) -> None:
    """End as a Ctrl-C does: everything that was started is ended first."""
    raise SystemExit(128 + number)
