"""Loaded by workers of tests of phone calls alone: minutes of theirs take a second, and they stand still where told.

What is shortened are constants of waiting; in which order they stand is kept: an order begins and ends before the
doubt about it ends, and that before the first look. Scheduled calls have a soft time limit of a second.

In the folder HELD_CALLS a file with the name of a point makes the first thread that comes there stand still, and
become `<point>.held`, until there is `<point>.go`, or its process is killed. The points:

- `granting`: an attempt is kept, and not committed; `granted`: it is committed, and nothing was sent;
- `answered`: the provider has answered an order, and nothing of that is stored;
- `stored`: the call's name is stored, and its task goes on;
- `looked`: the provider has told how a call stands, and that is not stored.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.twilio_voice import TwilioVoiceService
from processors import call_following, calls, campaigns, dialing, doubt
from records import call_gates, call_records
from records.call_gates import CallGates
from records.call_records import CallRecords
from services.celery_tasks.twilio_calls_tasks import schedule_call

LOOK_SECONDS = 0.02
FOLDER = Path(os.environ["HELD_CALLS"])


def hold(point: str) -> None:
    """Stand still here, where a test said so."""
    try:
        (FOLDER / point).rename(FOLDER / f"{point}.held")
    except FileNotFoundError:
        return
    while not (FOLDER / f"{point}.go").exists():
        time.sleep(LOOK_SECONDS)


def holding(point: str, do: Callable[..., Any], *, before: bool = False) -> Callable[..., Any]:
    """Return what does the same and then comes to the point, where something came of it; or comes to it first."""

    def done(*given: Any, **named: Any) -> Any:
        if before:
            hold(point)
        result = do(*given, **named)
        if not before and result is not None and type(result).__name__ not in {"NoRoom", "Closed"}:
            hold(point)
        return result

    return done


doubt.BEGIN_SECONDS = 0.6
doubt.MARGIN_SECONDS = 0.2
for module in (dialing, call_following):
    module.MARGIN_SECONDS = 1.0
    module.POLL_SECONDS = 0.5
dialing.NOT_TAKEN_SECONDS = 0.5
call_records.FIRST_LOOK_SECONDS = 0.5
call_records.LOOK_LEASE_SECONDS = 3.0
call_gates.NUMBER_SECONDS = 1.0
call_following.BETWEEN_LOOKS_SECONDS = 0.4
call_following.LOOKED_SECONDS = 4.0
call_following.UNSETTLED_SECONDS = 0.5
call_following.FIRST_WAIT_SECONDS = 0.5
campaigns.RUN_SECONDS = 2.0
campaigns.BETWEEN_SECONDS = 0.5
campaigns.QUIET_SECONDS = 1.0
calls.DOUBT_LOOK_SECONDS = 1.0

TwilioVoiceService.__init__.__kwdefaults__["deadline"] = 0.8
schedule_call.soft_time_limit = 1
CallGates._grant = holding("granting", CallGates._grant)
CallGates.grant = holding("granted", CallGates.grant)
TwilioVoiceService.create_call = holding("answered", TwilioVoiceService.create_call)
CallRecords.placed = holding("stored", CallRecords.placed)
CallRecords.seen = holding("looked", CallRecords.seen, before=True)
