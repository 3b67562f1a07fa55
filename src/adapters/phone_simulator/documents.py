"""What is done with a TwiML document: how long it takes to be heard, and what is asked next.

A call's script is known (what the callee presses, says, and when), so a whole document is worked out at once:
`heard` returns the seconds until its end or its first follow-up. Source: twilio.com/docs/voice/twiml.
"""

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urljoin

from adapters.phone_simulator.callees import KEY_SECONDS, Callee
from adapters.phone_simulator.orders import Webhook
from processors.document_formats.xml_parts import parsed

LETTERS_PER_SECOND = 15.0
PLAY_SECONDS = 5.0
SPOKEN_SECONDS = 3.0
"""How long somebody speaks after the tone, at most."""

DIAL_SECONDS = 10.0
LARGEST_DOCUMENT = 64 * 1024


class BadDocument(Exception):
    """A document that cannot be done; the call drops.

    Attributes:
        code: Twilio's.
    """

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was said after a tone, and where that is told."""

    seconds: int
    told: Webhook | None


@dataclass(frozen=True, slots=True)
class Heard:
    """A document until its end or its first follow-up.

    Attributes:
        seconds: how long that takes; infinite for what is said for ever.
        asked: where is asked what comes next; None: the call ends.
        fields: what that is told beside the usual.
        verbs: what was done, in order.
        used: whether the callee's keys or words were.
        recorded: what was said after tones.
        rejected: how an inbound call was turned away; empty where it was not.
    """

    seconds: float = 0.0
    asked: Webhook | None = None
    fields: tuple[tuple[str, str], ...] = ()
    verbs: tuple[str, ...] = ()
    used: bool = False
    recorded: tuple[Recorded, ...] = ()
    rejected: str = ""


@dataclass(slots=True)
class Listening:
    """One callee who hears one document.

    Attributes:
        here: where the document came from; empty where it came with the order.
    """

    callee: Callee
    here: str
    so_far: Heard = field(default_factory=Heard)
    over: bool = False

    def spend(self, verb: str, seconds: float) -> None:
        """Let a verb take its time."""
        self.so_far = replace(self.so_far, seconds=self.so_far.seconds + seconds, verbs=(*self.so_far.verbs, verb))
        self.over = self.over or math.isinf(seconds)

    def ask(self, element: Any, *fields: tuple[str, str]) -> None:
        """Go on with the document of a verb's action, its own where there is none."""
        self.go_on(element, element.get("action") or self.here, *fields)

    def go_on(self, element: Any, where: str, *fields: tuple[str, str]) -> None:
        """Go on with another document."""
        asked = _webhook(self.here, where, element.get("method"))
        self.so_far = replace(self.so_far, asked=asked, fields=fields)
        self.over = True

    def end(self, rejected: str = "") -> None:
        """Let the call end here."""
        self.so_far = replace(self.so_far, rejected=rejected)
        self.over = True


def heard(document: bytes, callee: Callee, here: str) -> Heard:
    """Return what comes of a document.

    Args:
        document: as it came.
        callee: who hears it; `keys` and `speech` are what is left of them.
        here: where it came from.

    Raises:
        BadDocument: it is too large, not well-formed, or no TwiML.
    """
    if len(document) > LARGEST_DOCUMENT:
        raise BadDocument(11750, "the document is larger than 64 KB")
    try:
        root = parsed(document)
    except (SyntaxError, ValueError) as error:
        raise BadDocument(12100, f"the document cannot be parsed: {str(error)[:100]}") from None
    if root.tag != "Response":
        raise BadDocument(12102, f"the root is {str(root.tag)[:30]!r}, not Response")
    listening = Listening(callee, here)
    for element in root:
        VERBS.get(str(element.tag), _unknown)(element, listening)
        if listening.over:
            break
    return listening.so_far


def _say(element: Any, listening: Listening) -> None:
    listening.spend("Say", _said_seconds(element))


def _said_seconds(element: Any) -> float:
    text = "".join(element.itertext()).strip()
    pauses = sum(_seconds(one.get("time"), 1.0) for one in element.iter("break"))
    return _often(element, len(text) / LETTERS_PER_SECOND + pauses)


def _play(element: Any, listening: Listening) -> None:
    digits = element.get("digits")
    listening.spend("Play", _keys_seconds(digits) if digits else _often(element, PLAY_SECONDS))


def _pause(element: Any, listening: Listening) -> None:
    listening.spend("Pause", _seconds(element.get("length"), 1.0))


def _gather(element: Any, listening: Listening) -> None:
    """Listen while the prompt is played: who presses a key or speaks cuts it short."""
    timeout = _seconds(element.get("timeout"), 5.0)
    accepted = (element.get("input") or "dtmf").split()
    callee = listening.callee
    if "dtmf" in accepted and callee.keys:
        digits, complete = _pressed(element, callee.keys)
        listening.so_far = replace(listening.so_far, used=True)
        listening.spend("Gather", KEY_SECONDS + 0.5 * (len(digits) - 1) + (0.0 if complete else timeout))
        listening.ask(element, ("Digits", digits), ("FinishedOnKey", "#" if complete == "#" else ""))
    elif "speech" in accepted and callee.speech:
        listening.so_far = replace(listening.so_far, used=True)
        listening.spend("Gather", KEY_SECONDS + len(callee.speech) / LETTERS_PER_SECOND + 1.0)
        listening.ask(element, ("SpeechResult", callee.speech), ("Confidence", "0.93"))
    else:
        prompt = sum(_prompt_seconds(child) for child in element)
        listening.spend("Gather", prompt + timeout)
        if (element.get("actionOnEmptyResult") or "").lower() == "true" and not listening.over:
            listening.ask(element, ("Digits", ""))


def _pressed(element: Any, keys: str) -> tuple[str, str]:
    """Return the digits that a Gather takes, and what completed them: the key, the number of digits, or nothing."""
    most = _count(element.get("numDigits"), 0)
    last = element.get("finishOnKey")
    last = "#" if last is None else last
    digits = ""
    for key in keys:
        if last and key in last:
            return digits, "#"
        digits += key
        if len(digits) == most:
            return digits, "number"
    return digits, ""


def _prompt_seconds(child: Any) -> float:
    if child.tag == "Say":
        return _said_seconds(child)
    return _often(child, PLAY_SECONDS) if child.tag == "Play" else _seconds(child.get("length"), 1.0)


def _hangup(_element: Any, listening: Listening) -> None:
    listening.spend("Hangup", 0.0)
    listening.end()


def _reject(element: Any, listening: Listening) -> None:
    listening.spend("Reject", 0.0)
    listening.end("busy" if element.get("reason") == "busy" else "no-answer")


def _redirect(element: Any, listening: Listening) -> None:
    listening.spend("Redirect", 0.0)
    listening.go_on(element, (element.text or "").strip())


def _record(element: Any, listening: Listening) -> None:
    """Let the callee speak after the tone; then go on with the action, as with a Gather."""
    seconds = min(SPOKEN_SECONDS, _seconds(element.get("maxLength"), 3600.0))
    silence = _seconds(element.get("timeout"), 5.0)
    told = element.get("recordingStatusCallback")
    method = element.get("recordingStatusCallbackMethod")
    recorded = Recorded(math.ceil(seconds), _webhook(listening.here, told, method) if told else None)
    listening.spend("Record", seconds + silence)
    listening.so_far = replace(listening.so_far, recorded=(*listening.so_far.recorded, recorded))
    listening.ask(element, ("RecordingDuration", str(recorded.seconds)), ("Digits", ""))


def _dial(element: Any, listening: Listening) -> None:
    """Let somebody else talk for a while: no second call is made."""
    listening.spend("Dial", min(DIAL_SECONDS, _seconds(element.get("timeLimit"), DIAL_SECONDS)))
    if element.get("action"):
        listening.ask(element, ("DialCallStatus", "completed"), ("DialCallDuration", str(int(DIAL_SECONDS))))


def _unknown(element: Any, listening: Listening) -> None:
    """Pass over what Twilio does not know (warning 12200), and what this simulator does not."""
    listening.spend(f"{str(element.tag)[:30]} (12200: passed over)", 0.0)


VERBS = {
    "Say": _say,
    "Play": _play,
    "Pause": _pause,
    "Gather": _gather,
    "Hangup": _hangup,
    "Reject": _reject,
    "Redirect": _redirect,
    "Record": _record,
    "Dial": _dial,
}


def _webhook(here: str, where: str, method: str | None) -> Webhook:
    """Return what a URL in a document means.

    Raises:
        BadDocument: it is none.
    """
    try:
        return Webhook(urljoin(here, where), "GET" if (method or "").upper() == "GET" else "POST")
    except ValueError:
        raise BadDocument(11100, "a URL of the document is none") from None


def _often(element: Any, seconds: float) -> float:
    """Return how long something takes that is said `loop` times; 0 is for ever."""
    times = _count(element.get("loop"), 1)
    return seconds * times if times else math.inf


def _count(text: str | None, otherwise: int) -> int:
    return int(text) if text and re.fullmatch(r"[0-9]{1,4}", text) else otherwise


def _seconds(text: str | None, otherwise: float) -> float:
    """Read a duration such as `5`, `1s` or `300ms`."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s)?", text or "")
    if not found:
        return otherwise
    return float(found[1]) / (1000.0 if found[2] == "ms" else 1.0)


def _keys_seconds(digits: str) -> float:
    return sum({"w": 0.5, "W": 1.0}.get(key, 0.1) for key in digits)
