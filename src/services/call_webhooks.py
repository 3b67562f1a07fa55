"""What Twilio asks and tells of calls: what is said to whoever answers or calls, and how each call stands.

Nothing is read but what Twilio signed for this installation's account, and nothing is said that is not wanted any more.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from config.log_setup import get_logger
from config.settings import settings
from processors import call_messages, phone_numbers
from processors.call_addresses import ATTEMPT_KEY, with_attempt
from processors.call_interfaces import GIVEN_UP, AttemptRow, CallRow, Unsaid, VoiceProvider
from processors.call_messages import is_machine
from processors.call_questions import LONGEST_CALL_SECONDS
from processors.call_states import CallProgress
from processors.calls import CallOptions
from processors.dialing import MARGIN_SECONDS, hang_up_seconds
from processors.errors import ConfigurationError, InvalidArgument, NotAuthentic, PermanentError, WorkError
from processors.spoken_messages import Spoken, spoken
from records.call_events import CallEvent, Received, Waits
from records.task_records import TaskState
from services import call_lines
from services.submission import submit_by_name
from services.submit_options import Options
from services.wiring import parts

ATTEMPT = re.compile(r"[0-9a-f]{32}")
OPT_OUT_KEY = "9"
ANSWERED = "in-progress"
GOING_ON = frozenset({"sending", "unknown", "placed", "ambiguous"})
PROMPT_SECONDS = 2
WHY_UNSAID: Mapping[Unsaid, str] = {"cancelled": "it was cancelled", "opted_out": "the number opted out"}

THANKS, OPTED_OUT = "Thank you. Goodbye.", "You will not be called again. Goodbye."
APOLOGY = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    "<Response><Say>We are sorry, this call cannot be taken now. Goodbye.</Say><Hangup /></Response>"
)
"""Written out, so that it can be said whatever is away."""

logger = get_logger()


@dataclass(frozen=True, slots=True)
class Told:
    """A message that Twilio has signed.

    Attributes:
        attempt: what its address says of whose it is; None where it says nothing.
        fields: of its form, by their names.
        call_sid: Twilio's name for the call.
        token: Twilio's name for the message, where it has one.
    """

    attempt: str | None
    fields: Mapping[str, str]
    call_sid: str
    token: str | None


def load() -> None:
    """Load what answers, where calls are configured: whoever picks up first is not to wait for it."""
    if settings.twilio_account_sid and settings.twilio_auth_token:
        for name in ("adapters.twilio_voice", "adapters.twiml"):
            import_module(name)


def opened(path: str, query: str, body: bytes, signature: str, token: str | None) -> Told:
    """Return a message that Twilio has signed for the account of the settings.

    What was signed is the address that Twilio was given, which begins with WEBHOOK_BASE_URL; what the request itself
    says of its host may be anybody's.

    Args:
        path: as it came, not decoded.
        query: the same, without its question mark.
        body: a form.
        signature: `X-Twilio-Signature`; empty where there was none.
        token: `I-Twilio-Idempotency-Token`.

    Raises:
        NotAuthentic: it is none, or no calls are configured here.
    """
    provider = _provider()
    if provider is None:
        raise _refused("phone calls are not configured here")
    try:
        pairs = call_messages.pairs_of(body)
        attempts = call_messages.values_of(call_messages.pairs_of(query.encode()), ATTEMPT_KEY)
    except ValueError:
        raise _refused("its form cannot be read") from None
    url = settings.webhook_base_url.rstrip("/") + path + (f"?{query}" if query else "")
    if not provider.is_authentic(url, pairs, signature):
        raise _refused("it is not signed with the account's token for this address")
    fields = dict(pairs)
    if fields.get("AccountSid") != provider.account:
        raise _refused("it is about another account")
    sid = call_messages.name_of(fields.get("CallSid"))
    if sid is None:
        raise _refused("it names no call")
    return Told(attempts[-1] if attempts else None, fields, sid, call_messages.token_of(token))


def twiml_of(work: Callable[[], str]) -> str:
    """Return what `work` lets be said, or an apology where that cannot be told now.

    Raises:
        NotAuthentic: as `work`.
    """
    try:
        return work()
    except NotAuthentic:
        raise
    except WorkError as error:
        logger.warning("call_not_answered", error=str(error))
        return APOLOGY


def answer(told: Told) -> str:
    """Return what is done for somebody who answers a call of ours, or who calls us.

    Raises:
        ServiceUnavailable: the database does not answer.
    """
    if told.attempt is None:
        return _inbound(told)
    answered_by = call_messages.progress_of(told.fields).answered_by
    progress, unsaid = CallProgress(ANSWERED, answered_by=answered_by), _unsaid(told.attempt)
    received = _receive(told, "answer", "", progress, unsaid=unsaid)
    attempt = received.attempt
    call = None if attempt is None else parts().calls.read(attempt.call_id)
    options = None if call is None else call_lines.options_of(call)
    why = _why_silent(received, call) or (None if unsaid is None else WHY_UNSAID[unsaid])
    if why is None and options is not None and options.detection == "hang_up" and is_machine(answered_by):
        why = "a machine answered"
    if why is not None or attempt is None or options is None:
        logger.info("call_hung_up", call_sid=told.call_sid, why=why or "what it was to say is not known any more")
        return _twiml().hangup_twiml()
    return _message(options, attempt.id, to_machine=options.detection != "ignore" and is_machine(answered_by))


def status(told: Told) -> None:
    """Keep how a call stands.

    Raises:
        ServiceUnavailable: that could not be kept.
    """
    progress = call_messages.progress_of(told.fields)
    sequence = "" if progress.sequence is None else progress.sequence
    received = _receive(told, "status", f"{sequence}:{progress.status or ''}", progress)
    _end_extra(told, received, progress)


def machine(told: Told) -> None:
    """Keep who answered; raises as `status`."""
    progress = CallProgress(answered_by=call_messages.progress_of(told.fields).answered_by)
    _receive(told, "machine", progress.answered_by or "", progress)


def recording(told: Told) -> None:
    """Keep where a recording is; raises as `status`."""
    sid = call_messages.name_of(told.fields.get("RecordingSid")) or ""
    _receive(told, "recording", f"{sid}:{call_messages.word_of(told.fields.get('RecordingStatus')) or ''}")


def heard(told: Told) -> str:
    """Keep which keys somebody pressed and what they said, and return what they are told.

    Who opts out has opted out before this returns.

    Raises:
        ServiceUnavailable: that could not be kept.
    """
    found = call_messages.heard_of(told.fields)
    number, options = _listener(told)
    opts_out = number is not None and set(found.get("digits", "")) == {OPT_OUT_KEY}
    if number is not None and opts_out:
        parts().opt_outs.add(number, "keypress", call_sid=told.call_sid)
        logger.info("opted_out", number=phone_numbers.masked(number), call_sid=told.call_sid)
    if found:
        digest = hashlib.sha256(repr(sorted(found.items())).encode("utf-8", "backslashreplace")).hexdigest()
        _receive(told, "heard", digest, CallProgress(ANSWERED), found)
    if told.attempt is None and found and not opts_out and settings.call_inbound != "greeting":
        return _taken({})
    return _twiml().message_twiml(_spoken(OPTED_OUT if opts_out else THANKS, options))


def _provider() -> VoiceProvider | None:
    try:
        return parts().voice
    except (PermanentError, ConfigurationError):
        return None


def _refused(why: str) -> NotAuthentic:
    logger.warning("call_webhook_refused", why=why)
    return NotAuthentic(f"This is no message of Twilio for this service: {why}.")


def _receive(
    told: Told,
    kind: str,
    key: str,
    progress: CallProgress | None = None,
    found: Mapping[str, Any] | None = None,
    unsaid: Unsaid | None = None,
) -> Received:
    """Keep a message, once, and do what it says."""
    attempt_id = told.attempt if told.attempt and ATTEMPT.fullmatch(told.attempt) else None
    event = CallEvent(
        kind,
        f"{kind}:{told.call_sid}:{key}",
        attempt_id,
        told.call_sid,
        told.fields["AccountSid"],
        progress or CallProgress(),
        found,
        told.fields,
        told.token,
        unsaid,
    )
    received = parts().call_events.receive(event, _waits)
    if received.why_not is not None and told.attempt is not None:
        logger.warning("call_message_not_applied", kind=kind, call_sid=told.call_sid, why=received.why_not)
    return received


def _waits(call_id: str) -> Waits:
    """Return how long a call is left alone of which a message is the first news."""
    call = parts().calls.read(call_id)
    options = None if call is None else call_lines.options_of(call)
    if options is None:
        return Waits(MARGIN_SECONDS, hang_up_seconds(0, LONGEST_CALL_SECONDS))
    look = call_lines.line_of(call_id).look_seconds(options.ring_seconds)
    return Waits(look, hang_up_seconds(options.ring_seconds, options.limit_seconds))


def _unsaid(attempt_id: str) -> Unsaid | None:
    """Return why a call is not wanted any more, or None: the last moment at which that can be decided.

    It is decided before the question is kept, which keeps it too: what dies in between leaves no doubt of the answer.
    """
    service = parts()
    attempt, call = _call_of(attempt_id)
    if attempt is None or call is None:
        return None
    record = service.tasks.read(call.campaign_id or call.id)
    if record is None or record.state is TaskState.REVOKED:
        return "cancelled"
    return "opted_out" if service.opt_outs.has(attempt.to_number) else None


def _why_silent(received: Received, call: CallRow | None) -> str | None:
    """Return why nothing is said to who answers a call that may be wanted, or None."""
    attempt = received.attempt
    if received.why_not is not None or attempt is None or call is None:
        return received.why_not or "its call is not known any more"
    if attempt.state not in GOING_ON:
        return f"its attempt is {attempt.state}"
    last = parts().calls.last_attempt(call.id)
    return "another attempt has taken its place" if last is not None and last.id != attempt.id else None


def _end_extra(told: Told, received: Received, progress: CallProgress) -> None:
    """End a call that nobody here wants: a second one for one attempt, or one for an attempt that was given up."""
    attempt = received.attempt
    unwanted = received.second_call or (attempt is not None and attempt.state in GIVEN_UP)
    if not unwanted or progress.ended:
        return
    logger.warning("unwanted_call", call_sid=told.call_sid, attempt_id=told.attempt)
    submit_by_name(
        "twilio_calls.end_call",
        {"call_sid": told.call_sid},
        queue="twilio_calls",
        origin="webhook",
        options=Options(priority="high", idempotency_key=f"unwanted:{told.call_sid}"),
    )


def _message(options: CallOptions, attempt_id: str, *, to_machine: bool) -> str:
    """Return what says a call's message and, where it is for a person, listens."""
    twiml, message = _twiml(), call_lines.message_of(options)
    introduction = call_lines.introduction_of(options)
    prompt, asks = call_lines.opt_out_prompt_of(options), options.call_metadata.get("gather_input") is True
    if to_machine or not (prompt or asks):
        return twiml.message_twiml(message, introduction=introduction)
    gather = twiml.GatherOptions(
        with_attempt(_address(call_lines.HEARD_PATH), attempt_id),
        digits=twiml.MOST_DIGITS if asks else len(OPT_OUT_KEY),
        speech=asks,
    )
    return twiml.message_twiml(message, gather=gather, introduction=introduction, opt_out_prompt=prompt)


def _inbound(told: Told) -> str:
    """Return what is done for somebody who calls us."""
    twiml = _twiml()
    if told.fields.get("Direction") != "inbound":
        logger.info("call_hung_up", call_sid=told.call_sid, why="its address names no attempt, and it is not inbound")
        return twiml.hangup_twiml()
    _receive(told, "answer", "")
    prompt = call_lines.said_inbound("CALL_OPT_OUT_PROMPT", settings.call_opt_out_prompt)
    if prompt is None:
        return _taken({})
    gather = twiml.GatherOptions(
        _address(call_lines.HEARD_PATH), digits=len(OPT_OUT_KEY), speech=False, seconds=PROMPT_SECONDS
    )
    return _taken({"gather": gather, "opt_out_prompt": prompt})


def _taken(listening: Mapping[str, Any]) -> str:
    """Return what greets who calls us, and takes a message or puts them through where that is set."""
    twiml, greeting = _twiml(), call_lines.inbound_greeting()
    if settings.call_inbound == "voicemail":
        action, recorded = _address(call_lines.HEARD_PATH), _address(call_lines.RECORDING_PATH)
        return twiml.voicemail_twiml(greeting, action_url=action, recording_url=recorded, **listening)
    if settings.call_inbound == "forward":
        return twiml.forward_twiml(settings.call_forward_to, greeting=greeting, **listening)
    return twiml.message_twiml(greeting, **listening)


def _listener(told: Told) -> tuple[str | None, CallOptions | None]:
    """Return the number that can opt out, where it was told how, and what the call was to say."""
    if told.attempt is None:
        return None if settings.call_opt_out_prompt is None else _caller(told), None
    attempt, options = _asked(told.attempt)
    prompted = attempt is not None and options is not None and call_lines.opt_out_prompt_of(options) is not None
    return attempt.to_number if attempt is not None and prompted else None, options


def _asked(attempt_id: str) -> tuple[AttemptRow | None, CallOptions | None]:
    """Return an attempt, and what was said of its call when it was submitted."""
    attempt, call = _call_of(attempt_id)
    return attempt, None if call is None else call_lines.options_of(call)


def _call_of(attempt_id: str) -> tuple[AttemptRow | None, CallRow | None]:
    """Return an attempt and its call."""
    attempt = parts().calls.attempt(attempt_id) if ATTEMPT.fullmatch(attempt_id) else None
    return attempt, None if attempt is None else parts().calls.read(attempt.call_id)


def _caller(told: Told) -> str | None:
    """Return the number of who calls us; None where it is withheld, or a name."""
    try:
        return phone_numbers.normalised(told.fields.get("From"))
    except InvalidArgument:
        return None


def _spoken(text: str, options: CallOptions | None) -> Spoken:
    given = {} if options is None else options.call_metadata
    return spoken(text, voice=given.get("voice"), language=given.get("language"))


def _address(path: str) -> str:
    return settings.webhook_base_url.rstrip("/") + path


def _twiml() -> Any:
    return import_module("adapters.twiml")
