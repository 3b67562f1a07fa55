"""`csai campaigns`: how campaigns of phone calls stand, and how they are steered."""

from typing import Annotated, Any

import typer

from cli.acts import change, note
from cli.exit_codes import TOLD
from cli.output import AsJson, local, print_json, print_line, print_table
from cli.output import state as coloured
from services.celery_service import celery_service
from services.parent_progress import CAMPAIGN
from services.wiring import parts

Campaign = Annotated[str, typer.Argument(metavar="ID", help="What queue_bulk_calls returned.")]

MOST = 100
COLUMNS = ("id", "state", "since", "members", "counts", "live calls")
MEMBERS = ("", "number", "state", "outcome", "attempts", "reason")


def register(root: typer.Typer) -> None:
    """Add the commands; `campaign` is their former name."""
    for name in ("campaigns", "campaign"):
        group = typer.Typer(help="Campaigns of phone calls.", epilog=TOLD, hidden=name == "campaign")
        group.callback(invoke_without_command=True)(campaigns)
        group.command("show")(show)
        group.command("pause")(pause)
        group.command("resume")(resume)
        group.command("cancel")(cancel)
        group.command("export")(export)
        root.add_typer(group, name=name)


def campaigns(context: typer.Context, as_json: AsJson = False) -> None:
    """List the campaigns that go on, the newest first."""
    if context.invoked_subcommand is not None:
        return
    found = [celery_service.get_campaign(one.id, -1, 1) for one in parts().tasks.going_on(CAMPAIGN, MOST)]
    for one in found:
        del one["members"]
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, map(_row, found), nothing="No campaign goes on.", right={"members", "live calls"})


def show(
    campaign_id: Campaign,
    members: Annotated[int, typer.Option("--members", help="How many members are listed.")] = 20,
    after: Annotated[int, typer.Option("--after", help="The position of the last one of the page before.")] = -1,
    state: Annotated[str | None, typer.Option("--state", help="Members in this state alone, such as failed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how a campaign stands: its members by state, the live calls, and some of its members."""
    found = celery_service.get_campaign(campaign_id, after, members, state=state)
    if as_json:
        print_json(found)
    else:
        _print(found)


def pause(campaign_id: Campaign, as_json: AsJson = False) -> None:
    """Let nobody else be called; calls that are going on go on."""
    change(
        "campaign.pause",
        ("task", campaign_id),
        lambda: celery_service.pause_campaign(campaign_id),
        f"Campaign {campaign_id} is paused.",
        f"Campaign {campaign_id} was paused before, or has ended.",
        as_json=as_json,
    )


def resume(campaign_id: Campaign, as_json: AsJson = False) -> None:
    """Let a paused campaign go on."""
    change(
        "campaign.resume",
        ("task", campaign_id),
        lambda: celery_service.resume_campaign(campaign_id),
        f"Campaign {campaign_id} goes on.",
        f"Campaign {campaign_id} was not paused, or has ended.",
        as_json=as_json,
    )


def cancel(
    campaign_id: Campaign,
    hang_up: Annotated[bool, typer.Option("--hang-up", help="End the calls that somebody has answered, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Call nobody any more, for good, and end what rings or waits at the provider."""
    change(
        "campaign.cancel",
        ("task", campaign_id),
        lambda: celery_service.cancel_campaign(campaign_id, hang_up=hang_up),
        f"Campaign {campaign_id} is cancelled.",
        f"Campaign {campaign_id} had ended before.",
        as_json=as_json,
    )


def export(campaign_id: Campaign) -> None:
    """Print a campaign's members as CSV, with whole numbers: csai campaigns export ID > calls.csv."""
    exported = celery_service.export_campaign(campaign_id)
    note("campaign.export", ("task", campaign_id))
    print(exported, end="")


def _counts(found: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found["counts"].items())


def _row(found: dict[str, Any]) -> tuple[object, ...]:
    info: dict[str, Any] = found["info"] or {}
    waits = info.get("waits_for") == "pause"
    now = coloured("paused") if waits else coloured(found["status"])
    since = local(found["created_at"])
    return found["campaign_id"], now, since, found["total"], _counts(found), found["live_calls"]


def _print(found: dict[str, Any]) -> None:
    info: dict[str, Any] = found["info"] or {}
    print_line(found["campaign_id"], coloured(found["status"]))
    print_line(f"{found['total']} members: {_counts(found)}; {found['live_calls']} live calls")
    if info.get("waits_for") == "pause":
        print_line(info["status"])
    rows = [
        (one["position"], one["phone_number"], one["state"], one["outcome"], one["attempts"], one["reason"])
        for one in found["members"]
    ]
    if rows:
        print_table(MEMBERS, rows, right={"attempts"})
