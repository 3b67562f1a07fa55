"""How this installation makes phone calls: its account, its numbers, its addresses and what is said."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, cast
from urllib.parse import urlsplit

from adapters.network_guard import is_loopback
from config.log_setup import get_logger
from config.settings import Settings, settings
from processors import phone_numbers
from processors.call_addresses import checked_address
from processors.call_interfaces import CallOrder, CallRow, Closed, Gate, Granted, NoRoom, VoiceProvider
from processors.calling_hours import CallingHours
from processors.calls import CallOptions, CampaignOptions, content_of
from processors.campaigns import QueueBulkCalls
from processors.dialing import Line
from processors.errors import InvalidArgument, PermanentError
from processors.spoken_messages import Spoken, spoken
from records.call_gates import Wish
from records.task_records import TaskRecord
from services.until_written import until_written
from services.wiring import parts

ANSWER_PATH, STATUS_PATH = "/api/v1/twilio/incoming-call", "/api/v1/twilio/call-status"
HEARD_PATH, MACHINE_PATH = "/api/v1/twilio/heard", "/api/v1/twilio/answered-by"
RECORDING_PATH = "/api/v1/twilio/recording"
VOICE_OF_MARKS = "Polly.Joanna"
"""Says SSML as well as other texts; what campaigns alone say is for any voice that they give."""

DAY_SECONDS = 86_400.0
UNREACHABLE = (
    "WEBHOOK_BASE_URL is an address of this machine, which Twilio cannot reach: what is said goes out with the call, "
    "keys are not heard, and Twilio is asked how the call stands."
)

logger = get_logger()


def provider_of(given: Settings) -> VoiceProvider:
    """Return what makes calls.

    Raises:
        PermanentError: it is not configured; which settings are missing.
    """
    needed = {"TWILIO_ACCOUNT_SID": given.twilio_account_sid, "TWILIO_AUTH_TOKEN": given.twilio_auth_token}
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise PermanentError(
            f"Phone calls are not configured: set {' and '.join(missing)}; or try them with `csai phone-simulator`."
        )
    former = [token.strip() for token in given.twilio_former_auth_tokens.split(",") if token.strip()]
    made: Any = import_module("adapters.twilio_voice").TwilioVoiceService(
        given.twilio_account_sid, given.twilio_auth_token, former_tokens=former, base_url=given.twilio_base_url
    )
    return cast("VoiceProvider", made)


def is_reachable() -> bool:
    """Tell whether the provider reaches this service's addresses, as far as their host tells."""
    return _is_loopback(settings.twilio_base_url) or not _is_loopback(settings.webhook_base_url)


def warnings() -> list[str]:
    """Return what the result of a call is to warn of."""
    return [] if is_reachable() else [UNREACHABLE]


def from_number_of(options: CallOptions) -> str:
    """Return which of our numbers calls.

    Raises:
        PermanentError: none is given, and TWILIO_PHONE_NUMBER is not set.
    """
    if options.from_number is not None:
        return options.from_number
    number = _own_number()
    if number is None:
        raise PermanentError("The call has no from_number, and TWILIO_PHONE_NUMBER is not set: give one of them.")
    return number


def _own_number() -> str | None:
    number = settings.twilio_phone_number
    return None if number is None else phone_numbers.normalised(number, name="TWILIO_PHONE_NUMBER")


def line_of(task_id: str) -> Line:
    """Return what a task's calls are made by."""
    service = parts()
    provider = service.voice
    return Line(
        provider=provider,
        gate=account_gate(provider.account),
        records=service.calls,
        gates=service.call_gates,
        pace=service.order_pace,
        polls=not is_reachable(),
        persist=partial(until_written, task_id),
    )


def account_gate(account: str) -> Gate:
    """Return what bounds all calls of an account."""
    rate = settings.twilio_calls_per_second
    return Gate(f"account:{account}", 1 / rate, settings.twilio_max_live_calls, at_once=max(1, int(rate)))


def grant(call: CallRow, line: Line, campaign: QueueBulkCalls | None = None) -> Granted | NoRoom | Closed:
    """Ask for an attempt of a call."""
    gates, limits = [line.gate], list[tuple[int, float]]()
    if campaign is not None:
        gates.append(Gate(f"campaign:{call.campaign_id}", campaign.delay_between_calls, campaign.max_concurrent_calls))
    if settings.call_max_per_day:
        limits.append((settings.call_max_per_day, DAY_SECONDS))
    if settings.call_max_per_week:
        limits.append((settings.call_max_per_week, 7 * DAY_SECONDS))
    wish = Wish(call.id, line.provider.account, gates, call.campaign_id or call.id, line.provider.deadline, limits)
    answer = line.persist(lambda: parts().call_gates.grant(wish))
    return cast("Granted | NoRoom | Closed", answer)


def with_usual(plan: QueueBulkCalls) -> QueueBulkCalls:
    """Return a campaign with what the settings say where it says nothing."""
    usual: dict[str, Any] = {}
    if plan.calling_hours is None and settings.call_hours is not None:
        start, _, end = settings.call_hours.partition("-")
        usual["calling_hours"] = CallingHours(start=start, end=end, timezone=settings.call_hours_timezone)
    if plan.caller_identity is None:
        usual["caller_identity"] = settings.call_caller_identity
    if plan.opt_out_prompt is None:
        usual["opt_out_prompt"] = settings.call_opt_out_prompt
    return plan.model_copy(update=usual)


def order_of(options: CallOptions, call: CallRow, attempt_id: str) -> CallOrder:
    """Return what the provider is asked for."""
    base, reachable = settings.webhook_base_url.rstrip("/"), is_reachable()
    return content_of(
        options,
        call,
        attempt_id,
        answer_url=base + ANSWER_PATH if reachable else None,
        status_url=base + STATUS_PATH if reachable else None,
        recording_url=base + RECORDING_PATH if reachable and options.record else None,
        twiml=None if reachable or options.webhook_url else inline_twiml(options),
    )


def check_content(options: CallOptions) -> None:
    """Refuse what no call could say, before one is granted.

    Raises:
        PermanentError: it is longer than a call can bring with it, or a setting has what cannot be said, or asked.
    """
    if is_reachable():
        _check_base()
    if options.webhook_url is not None:
        return
    for name, said in SAID_BY_SETTINGS.items():
        try:
            said(options)
        except InvalidArgument as error:
            raise PermanentError(f"{name} cannot be said in the voice of this call: {error}") from error
    if not is_reachable():
        inline_twiml(options)


def _check_base() -> None:
    """Refuse a WEBHOOK_BASE_URL to which no path can be added, or which Twilio does not take."""
    why = "must have no query (?…): a path is added to it" if "?" in settings.webhook_base_url else None
    try:
        checked_address(settings.webhook_base_url)
    except ValueError as error:
        why = str(error)
    if why is not None:
        raise PermanentError(f"Twilio cannot ask what is said: WEBHOOK_BASE_URL {why}.")


def inline_twiml(options: CallOptions) -> str:
    """Return what is said in a call that cannot ask for it.

    Raises:
        PermanentError: it is longer than a call can bring with it.
    """
    twiml = import_module("adapters.twiml")
    text: str = twiml.message_twiml(message_of(options), introduction=introduction_of(options))
    if not twiml.fits_inline(text):
        raise PermanentError(
            f"The message is too long to go out with the call ({len(text)} characters of TwiML, at most "
            f"{twiml.LONGEST_INLINE}): set WEBHOOK_BASE_URL to an address that Twilio reaches."
        )
    return text


def message_of(options: CallOptions) -> Spoken:
    """Return what a call says."""
    given = options.call_metadata
    return spoken(
        given.get("message", settings.call_greeting), voice=given.get("voice"), language=given.get("language")
    )


def inbound_greeting() -> Spoken:
    """Return what who calls us hears: where CALL_GREETING cannot be said, what it is unless it is set."""
    usual: str = Settings.model_fields["call_greeting"].default
    return said_inbound("CALL_GREETING", settings.call_greeting) or spoken(usual)


def said_inbound(name: str, text: str | None) -> Spoken | None:
    """Return what a setting lets be said to who calls us; None where it is not set, or cannot be said."""
    try:
        return None if text is None else spoken(text)
    except InvalidArgument as error:
        logger.warning("setting_not_said", setting=name, error=str(error))
        return None


def introduction_of(options: CallOptions) -> Spoken | None:
    """Return what a campaign's call, or one in place of it, says first: who calls."""
    return _said(options, options.caller_identity if isinstance(options, CampaignOptions) else None)


def opt_out_prompt_of(options: CallOptions) -> Spoken | None:
    """Return what a campaign's call, or one in place of it, says of how not to be called again."""
    return _said(options, options.opt_out_prompt if isinstance(options, CampaignOptions) else None)


def options_of(call: CallRow) -> CampaignOptions | None:
    """Return what was said of a call when it was submitted, or of its campaign; None where that was removed."""
    record = parts().tasks.read(call.campaign_id or call.id)
    if record is None:
        return None
    if call.campaign_id is not None:
        return with_usual(QueueBulkCalls.model_validate(record.kwargs))
    return own_options(record)


SAID_BY_SETTINGS: Mapping[str, Callable[[CallOptions], object]] = {
    "CALL_GREETING": message_of,
    "CALL_CALLER_IDENTITY": introduction_of,
    "CALL_OPT_OUT_PROMPT": opt_out_prompt_of,
}
"""What was not checked with the call's arguments."""


def own_options(record: TaskRecord) -> CampaignOptions:
    """Return what a single call's record says of it, or that of one which repeats a campaign's."""
    own = {name: value for name, value in record.kwargs.items() if name in CampaignOptions.model_fields}
    return CampaignOptions.model_validate(own)


def metadata_of(call_sid: str) -> dict[str, Any] | None:
    """Return what was kept with a call that the provider names so; None where it is none of ours."""
    attempt = parts().calls.attempt_of_sid(call_sid)
    call = None if attempt is None else parts().calls.read(attempt.call_id)
    options = None if call is None else options_of(call)
    return None if options is None else options.call_metadata


def _said(options: CallOptions, text: str | None) -> Spoken | None:
    given = options.call_metadata
    return None if text is None else spoken(text, voice=given.get("voice"), language=given.get("language"))


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return is_loopback(host) or host.endswith(".localhost")


def _check_settings() -> None:
    """Refuse settings that cannot be said, those that who calls us hears in the voice of inbound calls."""
    voices = {"CALL_GREETING": None, "CALL_OPT_OUT_PROMPT": None, "CALL_CALLER_IDENTITY": VOICE_OF_MARKS}
    for name, voice in voices.items():
        text: str | None = getattr(settings, name.lower())
        try:
            if text is not None:
                spoken(text, voice=voice)
        except InvalidArgument as error:
            whose = "any voice" if voice else "the voice of inbound calls"
            raise PermanentError(f"{name} cannot be said in {whose}: {error}") from error


def described() -> str:
    """Tell what makes calls, and whether it reaches this service; nobody is asked.

    Raises:
        InvalidArgument: TWILIO_PHONE_NUMBER is no phone number.
        PermanentError: a setting cannot be said.
    """
    if not settings.twilio_account_sid or not settings.twilio_auth_token:
        return "not set: no calls are made"
    _check_settings()
    where = urlsplit(settings.twilio_base_url).hostname
    number = _own_number()
    from_number = "no TWILIO_PHONE_NUMBER" if number is None else f"from {phone_numbers.masked(number)}"
    reached = "told of calls by it" if is_reachable() else "which cannot reach WEBHOOK_BASE_URL and is asked instead"
    return f"{where}, {from_number}, {settings.twilio_calls_per_second:g} calls a second, {reached}"
