"""`csai campaign`: how a campaign of phone calls stands, and how it is steered."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from services.celery_service import celery_service

Campaign = Annotated[str, typer.Argument(metavar="ID", help="What queue_bulk_calls returned.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Campaigns of phone calls.", no_args_is_help=True)
    group.command("show")(show)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("cancel")(cancel)
    group.command("export")(export)
    root.add_typer(group, name="campaign")


def show(
    campaign_id: Campaign,
    members: Annotated[int, typer.Option("--members", help="How many members are listed.")] = 20,
    after: Annotated[int, typer.Option("--after", help="The position of the last one of the page before.")] = -1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how a campaign stands: its members by state, the live calls, and some of its members."""
    found = celery_service.get_campaign(campaign_id, after, members)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    _print(found)


def pause(campaign_id: Campaign) -> None:
    """Let nobody else be called; calls that are going on go on."""
    done = celery_service.pause_campaign(campaign_id)
    print(f"Campaign {campaign_id} " + ("is paused." if done else "was paused before, or has ended."))


def resume(campaign_id: Campaign) -> None:
    """Let a paused campaign go on."""
    done = celery_service.resume_campaign(campaign_id)
    print(f"Campaign {campaign_id} " + ("goes on." if done else "was not paused, or has ended."))


def cancel(
    campaign_id: Campaign,
    hang_up: Annotated[bool, typer.Option("--hang-up", help="End the calls that somebody has answered, too.")] = False,
) -> None:
    """Call nobody any more, for good, and end what rings or waits at the provider."""
    done = celery_service.cancel_campaign(campaign_id, hang_up=hang_up)
    print(f"Campaign {campaign_id} " + ("is cancelled." if done else "had ended before."))


def export(campaign_id: Campaign) -> None:
    """Print a campaign's members as CSV, with whole numbers: `csai campaign export ID > calls.csv`."""
    print(celery_service.export_campaign(campaign_id), end="")


def _print(found: dict[str, Any]) -> None:
    console = Console()
    info: dict[str, Any] = found["info"] or {}
    console.print(f"{found['campaign_id']} {found['status']}", highlight=False, markup=False)
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items())
    console.print(
        f"{found['total']} members: {counts}; {found['live_calls']} live calls", highlight=False, markup=False
    )
    if info.get("waits_for") == "pause":
        console.print(info["status"], highlight=False, markup=False)
    if not found["members"]:
        return
    table = Table("", "number", "state", "outcome", "attempts", Column("reason", overflow="fold"), box=None)
    for one in found["members"]:
        told = (one["phone_number"], one["state"], one["outcome"] or "-", str(one["attempts"]), one["reason"] or "")
        table.add_row(str(one["position"]), *map(escape, told))
    console.print(table)
