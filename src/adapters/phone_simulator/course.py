"""What happens to one call after another: it is dialled, rings, is answered, hears documents and ends.

    queued -> initiated -> ringing -> in-progress -> completed
       |          |           |--> busy | no-answer | failed | canceled
       |          |--> busy | failed | canceled
       |--> canceled (by the API, or after a day in the queue)

It knows no HTTP: what it says goes out through `send`, and what comes of that comes back by a function.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from adapters.phone_simulator.callbacks import Callbacks, Note, Send
from adapters.phone_simulator.calls import SIP_CODES, Call
from adapters.phone_simulator.documents import BadDocument, Heard, Recorded, heard
from adapters.phone_simulator.faults import Faults
from adapters.phone_simulator.measures import Measures
from adapters.phone_simulator.orders import LONGEST_TWIML, Webhook, read_webhook
from adapters.phone_simulator.refusals import invalid
from adapters.phone_simulator.timetable import Timetable
from adapters.phone_simulator.webhooks import Message, Reply

DIAL_SECONDS = 0.3
"""From the queue to the first ring, or to the news that there will be none."""

DETECTION_SECONDS = 4.0
BEEP_SECONDS = 12.0
"""How long it takes to tell a machine from a person; how long a machine greets."""

MOST_DOCUMENTS = 200
"""How many documents one call hears at most: what redirects to itself would never end."""

XML_TYPES = frozenset({"text/xml", "application/xml", "text/html"})
WAITING = frozenset({"queued", "initiated", "ringing"})


class Course:
    """Leads calls from the queue to their end. Every method is called under the timetable's lock.

    Args:
        timetable: when things happen.
        callbacks: tells them.
        measures: counts them.
        faults: what goes wrong now.
        send: sends a message, and calls back with what came of it, in another thread.
        note: writes into a call's history.
        over: is given each call that has ended.
        recordings_url: where recordings would be.
    """

    def __init__(
        self,
        timetable: Timetable,
        callbacks: Callbacks,
        measures: Measures,
        faults: Callable[[], Faults],
        *,
        send: Send,
        note: Note,
        over: Callable[[Call], None],
        recordings_url: str,
    ) -> None:
        self._timetable = timetable
        self._clock = timetable.clock
        self._callbacks = callbacks
        self._measures = measures
        self._faults = faults
        self._send = send
        self._note = note
        self._over = over
        self._recordings_url = recordings_url

    def dial(self, call: Call) -> None:
        """Let a call leave the queue."""
        self._measures.left_queue(call)
        call.dialled = self._clock.date()
        self._become(call, "initiated")
        self._callbacks.step(call, "initiated")
        answers = call.callee.answers
        if answers == "busy":
            self.after(DIAL_SECONDS, call, partial(self.end, call, "busy"))
        elif answers == "failed":
            self.after(DIAL_SECONDS, call, partial(self.end, call, "failed"))
        else:
            self.after(DIAL_SECONDS, call, partial(self._ring, call))

    def come_in(self, call: Call) -> None:
        """Let an inbound call ring; what is heard first says whether it is answered."""
        self._measures.left_queue(call)
        call.dialled = self._clock.date()
        self._become(call, "ringing")
        self._hear(call, call.plan.answer, ())

    def _ring(self, call: Call) -> None:
        self._become(call, "ringing")
        self._callbacks.step(call, "ringing")
        callee, patience = call.callee, call.plan.ring_seconds
        if callee.answers == "nobody" or callee.rings > patience:
            self.after(patience, call, partial(self.end, call, "no-answer"))
        else:
            self.after(callee.rings, call, partial(self._answer, call))

    def _answer(self, call: Call) -> None:
        plan = call.plan
        self._pick_up(call)
        self._callbacks.step(call, "answered")
        if plan.detection:
            self.after(self._detection_seconds(call), call, partial(self._detect, call))
        if not plan.detection or plan.detected:
            keys = sum({"w": 0.5, "W": 1.0}.get(key, 0.1) for key in plan.send_digits)
            self.after(keys, call, partial(self._hear, call, plan.answer, ()))

    def _pick_up(self, call: Call) -> None:
        call.answered_at = self._clock.now()
        self._become(call, "in-progress")
        self.after(call.plan.limit_seconds, call, partial(self.end, call, "completed"))
        if call.callee.stays is not None:
            self.after(call.callee.stays, call, partial(self.end, call, "completed"))

    def _detection_seconds(self, call: Call) -> float:
        machine = call.callee.answers == "machine"
        seconds = BEEP_SECONDS if machine and call.plan.detection == "DetectMessageEnd" else DETECTION_SECONDS
        return min(seconds, call.plan.detection_seconds)

    def _detect(self, call: Call) -> None:
        plan = call.plan
        machine = "machine_end_beep" if plan.detection == "DetectMessageEnd" else "machine_start"
        seconds = self._detection_seconds(call)
        known = seconds < plan.detection_seconds
        call.answered_by = (machine if call.callee.answers == "machine" else "human") if known else "unknown"
        self._note(call, f"answered by {call.answered_by}")
        if plan.detected is None:
            self._hear(call, plan.answer, ())
            return
        fields = call.fields() | {"MachineDetectionDuration": str(round(seconds * 1000))}
        if not self._faults().detection_late:
            self._callbacks.tell(call, plan.detected, fields)

    def _hear(self, call: Call, where: Webhook | None, further: tuple[tuple[str, str], ...]) -> None:
        """Ask what is said next; without an address it is what came with the order."""
        call.turn += 1
        turn = call.turn
        if turn > MOST_DOCUMENTS:
            self._note(call, f"heard {MOST_DOCUMENTS} documents: enough")
            self.end(call, "completed")
        elif where is None or not where.url:
            self._listen(call, call.plan.twiml.encode("utf-8", "replace"), "")
        else:
            self._measures.documents += 1
            fields = call.fields() | dict(further)
            self._send(Message(where, tuple(fields.items())), lambda reply: self._came(call, turn, where, reply), "")

    def _came(self, call: Call, turn: int, where: Webhook, reply: Reply) -> None:
        """Take a document that was asked for."""
        with self._timetable.changed:
            if call.ended or call.turn != turn:
                return
            if reply.status != 200:  # noqa: PLR2004 - nothing else is a document
                self._drop(call, where, 11200, f"no document: {reply.problem or reply.status}")
            elif reply.content_type not in XML_TYPES:
                self._drop(call, where, 12300, f"a document of type {reply.content_type[:50]}")
            else:
                self._listen(call, reply.body, where.url)

    def _listen(self, call: Call, document: bytes, here: str) -> None:
        try:
            found = heard(document, call.callee, here.partition("#")[0])
        except BadDocument as error:
            self._drop(call, Webhook(here, "POST"), error.code, str(error))
            return
        self._note(call, f"hears {' '.join(found.verbs) or 'nothing'}")
        if found.used:
            call.callee = replace(call.callee, keys="", speech="")
        if found.rejected and call.answered_at is None:
            self.end(call, found.rejected)
            return
        if call.answered_at is None:
            self._pick_up(call)
        if found.seconds < call.plan.limit_seconds:
            self.after(found.seconds, call, partial(self._heard, call, call.turn, found))

    def _heard(self, call: Call, turn: int, found: Heard) -> None:
        if call.turn != turn:
            return
        further = dict(found.fields)
        for recorded in found.recorded:
            further |= self._recorded(call, recorded)
        if found.asked is None:
            self.end(call, "completed")
        else:
            self._hear(call, found.asked, tuple(further.items()))

    def _drop(self, call: Call, where: Webhook, code: int, why: str) -> None:
        """Ask the fallback once; where there is none, the call ends."""
        self._note(call, f"{code}: {why}")
        fallback = call.plan.fallback
        if fallback and where.url != fallback.url:
            self._hear(call, fallback, (("ErrorCode", str(code)), ("ErrorUrl", where.url)))
        else:
            if call.answered_at is None:
                self._pick_up(call)
            self.end(call, "completed")

    def redirect(self, call: Call, given: dict[str, str]) -> None:
        """Let a call hear something else.

        Raises:
            Refusal: `given` says neither or both of `Url` and `Twiml`, or cannot be read.
        """
        where = read_webhook(given, "Url", "Method", 21205)
        twiml = given.get("Twiml", "")
        if where is None and not twiml:
            raise invalid("Status", "one of Status, Url and Twiml is needed")
        if where and twiml:
            raise invalid("Twiml", "Url and Twiml exclude each other")
        if len(twiml) > LONGEST_TWIML:
            raise invalid("Twiml", f"{LONGEST_TWIML} characters at most")
        call.plan = replace(call.plan, twiml=twiml or call.plan.twiml)
        self._hear(call, where, ())

    def end(self, call: Call, status: str) -> None:
        """Let a call end."""
        queued = call.status == "queued"
        call.ended_at = self._clock.now()
        call.finished = self._clock.date()
        call.sip = SIP_CODES.get(status, call.callee.sip)
        self._timetable.call_off(call.timers)
        call.timers.clear()
        self._become(call, status)
        self._measures.over(call, queued=queued)
        self._callbacks.step(call, "completed")
        plan = call.plan
        if plan.detection and plan.detected and self._faults().detection_late and call.answered_by:
            fields = call.fields() | {"MachineDetectionDuration": str(round(self._detection_seconds(call) * 1000))}
            self._callbacks.tell(call, plan.detected, fields, last=True)
        if plan.record and call.answered_at is not None:
            self._recorded(call, Recorded(call.duration, plan.recording))
        self._over(call)

    def _recorded(self, call: Call, recorded: Recorded) -> dict[str, str]:
        """Tell of a recording; return what the document's action is told of it."""
        sid = f"RE{uuid.uuid4().hex}"
        fields = {"RecordingSid": sid, "RecordingUrl": f"{self._recordings_url}/{sid}"}
        if recorded.told:
            further = {"RecordingStatus": "completed", "RecordingDuration": str(recorded.seconds), "ErrorCode": "0"}
            kind = {"RecordingChannels": "1", "RecordingSource": "OutboundAPI" if call.plan.record else "RecordVerb"}
            self._callbacks.tell(call, recorded.told, call.fields() | fields | further | kind, last=call.ended)
        return fields

    def _become(self, call: Call, status: str) -> None:
        call.status = status
        call.updated = self._clock.date()
        self._note(call, status)

    def after(self, seconds: float, call: Call, action: Callable[[], None]) -> None:
        """Do something with a call later, unless it has ended by then."""
        call.timers.append(self._timetable.after(seconds, action))
