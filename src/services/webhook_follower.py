"""Tells ends to webhooks: a thread of the leader that opens their tasks, so that one does it over all machines."""

import threading
from collections.abc import Callable

from records.leadership import Lead
from records.webhook_following import WebhookFollowing
from services.follower import LOOK_SECONDS, Beginning, LeadThread

ROWS_AT_ONCE = 200
REST = 4.0
"""How much longer than a turn took the rest after it is."""


class WebhookFollower(LeadThread):
    """Opens the tasks while its process leads.

    Args:
        following: finds what ended.
        lead: returns the lead while it is held for sure, else None.
        stopping: set when it is to end.
    """

    def __init__(self, following: WebhookFollowing, lead: Callable[[], Lead | None], stopping: threading.Event) -> None:
        super().__init__("webhooks", lead, stopping)
        self._following = following

    def turn(self, lead: Lead) -> float:
        """Look at some ends; returns how long to rest."""
        began = Beginning()
        return began.rest(REST) if self._following.turn(ROWS_AT_ONCE, lead) else LOOK_SECONDS
