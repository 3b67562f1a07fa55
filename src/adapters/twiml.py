"""TwiML: what a call does, as Twilio reads it. Every text goes through Twilio's own library, which escapes it.

Source: twilio.com/docs/voice/twiml.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from processors.errors import InvalidArgument
from processors.phone_numbers import normalised
from processors.spoken_messages import Spoken
from processors.ssml import Marked, Part

LONGEST_INLINE = 4_000
"""Characters that a call may bring with it (`Twiml`); a longer one is fetched."""

MOST_DIGITS = 20
LONGEST_WAIT_SECONDS = 60
LONGEST_RECORDING_SECONDS, LONGEST_RING_SECONDS, LONGEST_CALL_SECONDS = 3_600, 600, 14_400
VoiceResponse: Any = import_module("twilio.twiml.voice_response").VoiceResponse  # it has no types


@dataclass(frozen=True, slots=True)
class GatherOptions:
    """How keys and speech are listened for.

    Attributes:
        action_url: where they are told; nothing is told where nobody pressed or said anything.
        digits: how many keys end it; `#` ends it earlier.
        speech: whether speech is listened for too.
        seconds: of silence that end it.
        language: of the speech; None: that of the message.
    """

    action_url: str
    digits: int = 1
    speech: bool = True
    seconds: int = 5
    language: str | None = None

    def __post_init__(self) -> None:
        _check("digits", self.digits, MOST_DIGITS)
        _check("seconds", self.seconds, LONGEST_WAIT_SECONDS)


def message_twiml(
    message: Spoken,
    *,
    gather: GatherOptions | None = None,
    introduction: Spoken | None = None,
    opt_out_prompt: Spoken | None = None,
    goodbye: Spoken | None = None,
) -> str:
    """Return what says a message, listens where that is asked for, and hangs up.

    An introduction comes first, with the prompt right after it; without one, the prompt follows the message. After
    silence the call says goodbye and ends; it never begins again.

    Args:
        message: what is said.
        gather: how to listen, from the first word on; None: not at all.
        introduction: who calls.
        opt_out_prompt: how not to be called again; it needs `gather`, which hears the key.
        goodbye: said at the end where nothing was heard.

    Raises:
        InvalidArgument: there is a prompt, and nothing that hears the answer.
    """
    _check_heard(gather, opt_out_prompt)
    order = (introduction, opt_out_prompt, message) if introduction else (message, opt_out_prompt)
    response = VoiceResponse()
    parent = _gather(response, gather, message.language) if gather else response
    for spoken in (*order, None if gather else goodbye):
        _say(parent, spoken)
    if gather:
        _say(response, goodbye)
    response.hangup()
    return str(response)


def hangup_twiml() -> str:
    """Return what hangs up at once, without a word."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def voicemail_twiml(
    greeting: Spoken,
    *,
    action_url: str,
    recording_url: str,
    limit_seconds: int = 120,
    goodbye: Spoken | None = None,
    gather: GatherOptions | None = None,
    opt_out_prompt: Spoken | None = None,
) -> str:
    """Return what greets whoever calls, records what is said after the tone, and hangs up.

    Args:
        greeting: what is said first.
        action_url: what is asked how to go on after the recording; without one, the call would begin again.
        recording_url: where the recording is told once it is ready.
        limit_seconds: how long the recording is at most, 1 to 3600.
        goodbye: said where nothing was recorded.
        gather: how to listen before the tone; None: not at all.
        opt_out_prompt: how not to be called any more; it needs `gather`.

    Raises:
        InvalidArgument: a figure is out of its bounds, or there is a prompt, and nothing that hears the answer.
    """
    response = VoiceResponse()
    _greet(response, greeting, gather, opt_out_prompt)
    response.record(
        action=action_url,
        method="POST",
        max_length=_check("limit_seconds", limit_seconds, LONGEST_RECORDING_SECONDS),
        play_beep=True,
        recording_status_callback=recording_url,
        recording_status_callback_method="POST",
    )
    _say(response, goodbye)
    response.hangup()
    return str(response)


def forward_twiml(
    number: str,
    *,
    greeting: Spoken | None = None,
    caller_id: str | None = None,
    ring_seconds: int = 30,
    limit_seconds: int = 3_600,
    gather: GatherOptions | None = None,
    opt_out_prompt: Spoken | None = None,
) -> str:
    """Return what puts whoever calls through to a number, and hangs up where nobody answers there.

    Args:
        number: in E.164 form.
        greeting: what is said first.
        caller_id: the number that is shown there; None: that of whoever calls.
        ring_seconds: how long it rings there, 1 to 600.
        limit_seconds: how long both talk at most, 1 to 14400.
        gather: how to listen before it rings there; None: not at all.
        opt_out_prompt: how not to be called any more; it needs `gather`.

    Raises:
        InvalidArgument: a number is none, a figure is out of its bounds, or there is a prompt, and nothing that hears
            the answer.
    """
    response = VoiceResponse()
    _greet(response, greeting, gather, opt_out_prompt)
    dial = response.dial(
        caller_id=None if caller_id is None else normalised(caller_id, name="caller_id"),
        timeout=_check("ring_seconds", ring_seconds, LONGEST_RING_SECONDS),
        time_limit=_check("limit_seconds", limit_seconds, LONGEST_CALL_SECONDS),
    )
    dial.number(normalised(number, name="number"))
    response.hangup()
    return str(response)


def fits_inline(twiml: str) -> bool:
    """Tell whether a call may bring this with it."""
    return len(twiml) <= LONGEST_INLINE


def _gather(response: Any, options: GatherOptions, language: str | None) -> Any:
    tongue = options.language or language
    return response.gather(
        input="dtmf speech" if options.speech else "dtmf",
        action=options.action_url,
        method="POST",
        timeout=options.seconds,
        num_digits=options.digits,
        finish_on_key="#",
        action_on_empty_result=False,
        language=tongue if options.speech else None,
    )


def _greet(response: Any, greeting: Spoken | None, gather: GatherOptions | None, prompt: Spoken | None) -> None:
    """Say what comes before the rest, which goes on after silence."""
    _check_heard(gather, prompt)
    language = greeting.language if greeting else None
    parent = _gather(response, gather, language) if gather else response
    _say(parent, greeting)
    _say(parent, prompt)


def _check_heard(gather: GatherOptions | None, prompt: Spoken | None) -> None:
    if prompt and not gather:
        raise InvalidArgument("opt_out_prompt: must come with gather, which hears the key; got it alone.")


def _say(parent: Any, spoken: Spoken | None) -> None:
    if spoken is None:
        return
    language = {} if spoken.language is None else {"language": spoken.language}
    for piece in spoken.pieces:
        _fill(parent.say(voice=spoken.voice, **language), piece)


def _fill(element: Any, parts: Sequence[Part]) -> None:
    """Put texts and what is marked into an element, in their order."""
    for part in parts:
        if isinstance(part, Marked):
            _fill(element.add_child(part.name, **dict(part.attributes)), part.parts)
        else:
            element.append(part)


def _check(name: str, figure: int, most: int) -> int:
    if not 1 <= figure <= most:
        raise InvalidArgument(f"{name}: must be 1 to {most}; got {figure}.")
    return figure
