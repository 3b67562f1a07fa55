"""One call: its state, its history, and how Twilio shows it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Literal

from adapters.phone_simulator.callees import Callee
from adapters.phone_simulator.orders import CallPlan
from adapters.phone_simulator.timetable import Entry

Direction = Literal["outbound-api", "inbound"]

API_VERSION = "2010-04-01"
PRICE_A_MINUTE = 0.014
PRICE_SECONDS = 60.0
"""How long after the end Twilio knows what a call cost."""

PLACE_FIELDS = ("City", "State", "Zip", "Country")
SIP_CODES = {"completed": 200, "busy": 486, "no-answer": 487, "canceled": 487}


@dataclass(slots=True)
class Call:
    """A call from its order to its end.

    Attributes:
        created: when it was ordered, by the machine; the other moments are in seconds of phones.
        queue_seconds: how long it waits in the queue, in the machine's seconds.
        status: Twilio's; `initiated` between the queue and the first ring.
        turn: how many documents were asked for: an answer to an older one is void.
        sequence: how many callbacks there were.
        timers: what will happen unless it ends before.
        history: what happened, with the date.
    """

    sid: str
    account: str
    direction: Direction
    plan: CallPlan
    created: datetime
    created_at: float
    callee: Callee = field(default_factory=Callee)
    queue_seconds: float = 0.0
    status: str = "queued"
    answered_by: str = ""
    answered_at: float | None = None
    ended_at: float | None = None
    dialled: datetime | None = None
    updated: datetime | None = None
    finished: datetime | None = None
    sip: int = 0
    turn: int = 0
    sequence: int = 0
    timers: list[Entry] = field(default_factory=list[Entry])
    history: list[tuple[datetime, str]] = field(default_factory=list[tuple[datetime, str]])

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.ended_at is not None

    @property
    def other_number(self) -> str:
        """Return the number that is not ours."""
        return self.plan.to if self.direction == "outbound-api" else self.plan.from_

    @property
    def duration(self) -> int:
        """Return the seconds from the answer to the end, begun ones in full; 0 where nobody answered."""
        if self.answered_at is None or self.ended_at is None:
            return 0
        return max(1, math.ceil(self.ended_at - self.answered_at))

    @property
    def shown_status(self) -> str:
        """Return the status of the resource, which does not know `initiated`."""
        return "queued" if self.status == "initiated" else self.status

    def fields(self) -> dict[str, str]:
        """Return what every webhook of this call says; Twilio leaves what it does not know blank."""
        return {
            "AccountSid": self.account,
            "ApiVersion": API_VERSION,
            "CallSid": self.sid,
            "CallStatus": self.status,
            "Called": self.plan.to,
            "Caller": self.plan.from_,
            "Direction": self.direction,
            "From": self.plan.from_,
            "To": self.plan.to,
            **{f"{side}{place}": "" for side in ("From", "To") for place in PLACE_FIELDS},
            **({"AnsweredBy": self.answered_by} if self.answered_by else {}),
        }

    def resource(self, now: float) -> dict[str, Any]:
        """Return the Call resource as Twilio shows it.

        Args:
            now: the moment, in seconds of phones.
        """
        uri = f"/{API_VERSION}/Accounts/{self.account}/Calls/{self.sid}"
        parts = ("notifications", "recordings", "payments", "events", "siprec", "streams", "transcriptions")
        return {
            "sid": self.sid,
            "date_created": _date(self.created),
            "date_updated": _date(self.updated or self.created),
            "parent_call_sid": None,
            "account_sid": self.account,
            "to": self.plan.to,
            "to_formatted": self.plan.to,
            "from": self.plan.from_,
            "from_formatted": self.plan.from_,
            "phone_number_sid": None,
            "status": self.shown_status,
            "start_time": _date(self.dialled),
            "end_time": _date(self.finished),
            "duration": str(self.duration) if self.ended else None,
            "price": self._price(now),
            "price_unit": "USD",
            "direction": self.direction,
            "answered_by": self.answered_by or None,
            "annotation": None,
            "api_version": API_VERSION,
            "forwarded_from": None,
            "group_sid": None,
            "caller_name": None,
            "queue_time": str(round(self.queue_seconds * 1000)),
            "stir_verstat": None,
            "trunk_sid": None,
            "uri": f"{uri}.json",
            "subresource_uris": {name: f"{uri}/{name.title()}.json" for name in parts},
        }

    def seen(self) -> Mapping[str, Any]:
        """Return what the simulator knows of it."""
        return {
            "sid": self.sid,
            "status": self.status,
            "direction": self.direction,
            "to": self.plan.to,
            "from": self.plan.from_,
            "attempt": self.plan.attempt,
            "answered_by": self.answered_by or None,
            "duration": self.duration,
            "history": [[date.isoformat(), what] for date, what in self.history],
        }

    def _price(self, now: float) -> str | None:
        if self.ended_at is None or now < self.ended_at + PRICE_SECONDS:
            return None
        return f"{-PRICE_A_MINUTE * math.ceil(self.duration / 60):.5f}"


def _date(moment: datetime | None) -> str | None:
    return None if moment is None else format_datetime(moment)
