"""Webhooks: one task for each end that an endpoint is told of."""

from __future__ import annotations  # the modules that these name are imported on first use

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.celery_tasks.base import RecordedTask, recorded_task
from services.on_first_use import on_first_use

if TYPE_CHECKING:
    from processors import webhooks
    from services import webhooks as sending
else:
    webhooks = on_first_use("processors", "webhooks")
    sending = on_first_use("services", "webhooks")

RETRIES = 9
"""As many as `processors.webhooks.DELAYS` has."""


def limited_by(arguments: Mapping[str, Any]) -> list[str]:
    """Return the key by which an operator may limit what goes to one endpoint, or with `webhook:*` to each."""
    return [f"webhook:{arguments.get('endpoint_id')}"]


@recorded_task(
    "notification.send_webhook",
    "processors.webhooks:SendWebhook",
    category="webhook",
    max_retries=RETRIES,
    limited_by=limited_by,
)
def send_webhook(task: RecordedTask, request: webhooks.SendWebhook) -> webhooks.WebhookSent:
    """Tell one end to one endpoint."""
    return sending.send(request, task.current.attempt)
