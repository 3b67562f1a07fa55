"""Campaigns of calls over HTTP: how each stands, its members, and steering it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from api.answers import Campaign, ListedCampaign, Page
from api.guards import GuardedRoute, require
from api.idempotency import TWICE_IS_ONCE
from api.list_queries import BulksQuery
from api.routes.tasks import Changed
from processors.call_interfaces import MemberState
from records.task_records import LONGEST_ID
from services import acts, batches
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service
from web.task_answers import shown_status

CSV = "text/csv; charset=utf-8"
TABLE = {"schema": {"type": "string"}, "example": "position,phone_number,state\r\n0,'+1234567890,done\r\n"}

CampaignId = Annotated[str, Path(min_length=1, max_length=LONGEST_ID, description="The id that the submit returned.")]
Reader = Annotated[Caller, require("read", tenants=True)]
Operator = Annotated[Caller, require("operate", tenants=True)]

router = APIRouter(prefix="/api/v1/campaigns", tags=["calls"], route_class=GuardedRoute)


@router.get("", operation_id="list_campaigns", response_model=Page[ListedCampaign])
def campaigns(asked: Annotated[BulksQuery, Query()], caller: Reader) -> Any:
    """List campaigns, the newest first, with how many members of each stand in each state, and its live calls."""
    return batches.campaigns(asked.cursor, asked.limit, wall=caller.tenant, **asked.filters())


@router.get("/{campaign_id}", operation_id="get_campaign", response_model=Campaign)
def campaign(
    campaign_id: CampaignId,
    caller: Reader,
    after: Annotated[
        int, Query(ge=-1, le=2**31 - 1, description="The `position` of the last member of the page before.")
    ] = -1,
    limit: Annotated[int, Query(ge=1, le=1_000, description="Members at most.")] = 100,
    state: Annotated[MemberState | None, Query(description="Members in this state alone.")] = None,
) -> Any:
    """Return how a campaign stands: its counts by state, live calls, and a page of its members."""
    shown_status(campaign_id, caller)
    return celery_service.get_campaign(campaign_id, after, limit, state=state)


@router.get(
    "/{campaign_id}/export",
    operation_id="export_campaign",
    response_class=Response,
    responses={200: {"content": {"text/csv": TABLE}, "description": "One line each."}},
)
def export(campaign_id: CampaignId, caller: Operator) -> Response:
    """Return a campaign's members as CSV; whole numbers are in it."""
    shown_status(campaign_id, caller)
    exported = celery_service.export_campaign(campaign_id)
    record_act(caller, "campaign.export", target=("task", campaign_id))
    return Response(exported, media_type=CSV, headers={"Content-Disposition": 'attachment; filename="campaign.csv"'})


@router.post("/{campaign_id}/pause", operation_id="pause_campaign", openapi_extra=TWICE_IS_ONCE)
def pause(campaign_id: CampaignId, caller: Operator) -> Changed:
    """Let nobody else be called; calls that are going on go on."""
    return Changed(changed=acts.pause_campaign(caller, campaign_id))


@router.post("/{campaign_id}/resume", operation_id="resume_campaign", openapi_extra=TWICE_IS_ONCE)
def resume(campaign_id: CampaignId, caller: Operator) -> Changed:
    """Let a paused campaign go on."""
    return Changed(changed=acts.resume_campaign(caller, campaign_id))


@router.post("/{campaign_id}/cancel", operation_id="cancel_campaign", openapi_extra=TWICE_IS_ONCE)
def cancel(
    campaign_id: CampaignId,
    caller: Operator,
    hang_up: Annotated[bool, Query(description="End the calls that somebody has answered, too.")] = False,  # noqa: FBT002 - a parameter of the query
) -> Changed:
    """Call nobody any more, and end what rings or waits at the provider."""
    return Changed(changed=acts.cancel_campaign(caller, campaign_id, hang_up=hang_up))
