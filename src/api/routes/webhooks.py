"""Webhooks over HTTP, for admins: who is told of the ends of tasks."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path

from api.answers import Items, MadeWebhook, TestedWebhook, Webhook
from api.guards import GuardedRoute, require
from services import webhooks
from services.access import Caller
from services.webhooks import ChangedWebhook, NewSecret, NewWebhook

Admin = Annotated[Caller, require("admin")]
WebhookId = Annotated[str, Path(description="The id of the endpoint.")]

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], route_class=GuardedRoute)


@router.get("", operation_id="list_webhooks", response_model=Items[Webhook])
def listed(_caller: Admin) -> Any:
    """List the endpoints, the newest first, without their secrets."""
    return {"items": webhooks.listed()}


@router.post("", operation_id="add_webhook", response_model=MadeWebhook, status_code=HTTPStatus.CREATED)
def add(wanted: NewWebhook, caller: Admin) -> Any:
    """Make an endpoint, which is told of what ends from now on; its `secret` is in this answer alone."""
    return webhooks.add(caller, wanted)


@router.patch("/{webhook_id}", operation_id="change_webhook", response_model=Webhook)
def change(webhook_id: WebhookId, wanted: ChangedWebhook, caller: Admin) -> Any:
    """Change an endpoint, from now on; `enabled` ends or begins what it is told."""
    return webhooks.change(caller, webhook_id, wanted)


@router.post("/{webhook_id}/secret", operation_id="renew_webhook_secret", response_model=MadeWebhook)
def renew_secret(webhook_id: WebhookId, caller: Admin, wanted: NewSecret | None = None) -> Any:
    """Give an endpoint another `secret`, which is in this answer alone; the one before signs for a while, too."""
    return webhooks.renew_secret(caller, webhook_id, wanted or NewSecret())


@router.delete("/{webhook_id}", operation_id="remove_webhook", status_code=HTTPStatus.NO_CONTENT)
def remove(webhook_id: WebhookId, caller: Admin) -> None:
    """Remove an endpoint; what was still to be sent to it fails."""
    webhooks.remove(caller, webhook_id)


@router.post("/{webhook_id}/test", operation_id="test_webhook", response_model=TestedWebhook)
def test(webhook_id: WebhookId, caller: Admin) -> Any:
    """Send `webhook.test` at once, also to one that is disabled; tells the status that it answered."""
    return webhooks.test(caller, webhook_id)
