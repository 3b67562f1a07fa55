"""What a call tells: each step in its order, and then what faults make of it."""

from collections.abc import Callable
from email.utils import format_datetime
from random import Random

from adapters.phone_simulator.calls import Call
from adapters.phone_simulator.faults import Faults
from adapters.phone_simulator.measures import Measures
from adapters.phone_simulator.orders import Webhook
from adapters.phone_simulator.timetable import Timetable
from adapters.phone_simulator.webhooks import Message, Reply, Then

Send = Callable[[Message, Then, str], None]
Note = Callable[[Call, str], None]

STRANGE_STATUS = "transferring"
OTHER_ACCOUNT = "AC" + "f" * 32


class Callbacks:
    """Sends what calls tell.

    Args:
        timetable: when what is late is sent.
        faults: what goes wrong now.
        random: decides it.
        measures: what is counted.
        send: sends a message.
        note: writes into a call's history.
    """

    def __init__(
        self,
        timetable: Timetable,
        faults: Callable[[], Faults],
        random: Random,
        measures: Measures,
        send: Send,
        note: Note,
    ) -> None:
        self._timetable = timetable
        self._faults = faults
        self._random = random
        self._measures = measures
        self._send = send
        self._note = note
        self._held: dict[str, list[tuple[Webhook, dict[str, str]]]] = {}

    def step(self, call: Call, event: str) -> None:
        """Tell a step, where somebody wants to know: `initiated`, `ringing`, `answered` or `completed`."""
        webhook = call.plan.status
        if webhook is None or event not in call.plan.events:
            return
        faults = self._faults()
        last = event == "completed"
        fields = self._status_fields(call)
        if faults.only_completed and not last:
            return
        self.tell(call, webhook, fields, last=last)
        if event == "ringing" and faults.unknown_status:
            strange = {"CallStatus": STRANGE_STATUS, "SomethingNew": "1"}
            self.tell(call, webhook, self._status_fields(call) | strange)
        if last and faults.two_terminals:
            self.tell(call, webhook, self._status_fields(call) | {"CallStatus": "failed"}, last=True)

    def tell(self, call: Call, webhook: Webhook, fields: dict[str, str], *, last: bool = False) -> None:
        """Tell something, unless it gets lost.

        Args:
            call: whose it is.
            webhook: where.
            fields: what.
            last: whether the call says nothing after it: what was held back follows.
        """
        faults = self._faults()
        fields = _distorted(fields, faults)
        held = self._held.setdefault(call.sid, [])
        if self._random.random() < faults.lose:
            self._note(call, f"lost: {_name(fields)}")
        elif faults.reverse and not last:
            held.insert(0, (webhook, fields))
        elif not last and self._random.random() < faults.reorder:
            held.append((webhook, fields))
        else:
            self._post(call, webhook, fields)
            last = last or not faults.reverse
        if last:
            for late_webhook, late in self._held.pop(call.sid):
                self._post(call, late_webhook, late)
        elif not held:
            del self._held[call.sid]

    def _post(self, call: Call, webhook: Webhook, fields: dict[str, str]) -> None:
        faults = self._faults()
        message = Message(webhook, tuple(fields.items()))
        again = faults.copies if self._random.random() < faults.duplicate else 0
        for _ in range(1 + again):
            late = faults.delay + self._random.random() * faults.delay_spread
            if late:
                self._timetable.after_real(late, lambda: self._go(call, message))
            else:
                self._go(call, message)

    def _go(self, call: Call, message: Message) -> None:
        self._measures.callbacks += 1
        name = _name(dict(message.fields))

        def done(reply: Reply) -> None:
            with self._timetable.changed:
                if not 200 <= reply.status < 300:  # noqa: PLR2004 - anything else is not taken
                    self._measures.callbacks_failed += 1
                    self._note(call, f"15003: {name} was not taken: {reply.problem or reply.status}")

        self._send(message, done, call.sid)

    def _status_fields(self, call: Call) -> dict[str, str]:
        fields = call.fields() | {
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(call.sequence),
            "Timestamp": format_datetime(self._timetable.clock.date()),
        }
        call.sequence += 1
        if call.ended:
            fields |= {"CallDuration": str(call.duration), "SipResponseCode": str(call.sip)}
            if call.answered_at is not None:
                fields["Duration"] = str(-(-call.duration // 60))
        return fields


def _distorted(fields: dict[str, str], faults: Faults) -> dict[str, str]:
    fields = dict(fields)
    if faults.no_sequence:
        fields.pop("SequenceNumber", None)
    if faults.no_duration:
        fields.pop("CallDuration", None)
    if faults.wrong_account:
        fields["AccountSid"] = OTHER_ACCOUNT
    if faults.british_spelling and fields["CallStatus"] == "canceled":
        fields["CallStatus"] = "cancelled"
    return fields


def _name(fields: dict[str, str]) -> str:
    """Return what a callback is called in a history."""
    if "RecordingSid" in fields:
        return "recording"
    return "machine detection" if "MachineDetectionDuration" in fields else fields["CallStatus"]
