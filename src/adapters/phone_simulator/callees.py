"""Who is called, by the last digits of the number: see `MAGIC_HELP`."""

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from adapters.phone_simulator.refusals import REFUSALS, Refusal, refusal

MAGIC_HELP = f"""The last digits of a number decide what happens:

…0001 busy · …0002 nobody answers · …0003 failed (SIP 404) · …0004 a machine · …0005 answers after 25 s ·
…0006 hangs up at once · …0007 presses 9 · …0008 presses 1 · …0009 says "yes"

A number that ends with one of Twilio's error codes is refused with that code, as +15550021211 with 21211: {
    ", ".join(str(code) for code in sorted(REFUSALS))
}.

Anybody else answers after 2 to 6 s and listens as long as the message lasts."""

KEY_SECONDS = 2.0
"""How long somebody listens before the first key is pressed, or the first word is said."""


@dataclass(frozen=True, slots=True)
class Callee:
    """What whoever is called does, or whoever calls us.

    Attributes:
        answers: who takes the call, or why nobody does.
        rings: seconds from the first ring to the answer.
        keys: what is pressed when first asked for keys.
        speech: what is said when first asked for speech.
        stays: seconds from the answer until they hang up; None: as long as the message lasts.
        sip: the SIP code of a call that fails.
    """

    answers: Literal["person", "machine", "busy", "nobody", "failed"] = "person"
    rings: float = 3.0
    keys: str = ""
    speech: str = ""
    stays: float | None = None
    sip: int = 404


MAGIC: dict[str, Callee] = {
    "0001": Callee("busy"),
    "0002": Callee("nobody"),
    "0003": Callee("failed"),
    "0004": Callee("machine", rings=10.0),
    "0005": Callee(rings=25.0),
    "0006": Callee(stays=0.5),
    "0007": Callee(keys="9"),
    "0008": Callee(keys="1"),
    "0009": Callee(speech="yes"),
}


def callee_of(number: str, random: Random, *, magic: bool) -> Callee:
    """Return who answers at a number."""
    someone = Callee(rings=random.uniform(2.0, 6.0))
    found = MAGIC.get(number[-4:], someone) if magic else someone
    return replace(found, rings=someone.rings) if found.rings == Callee.rings else found


def refusal_of(number: str) -> Refusal | None:
    """Return the refusal that a number's last digits name: the longest code counts."""
    for digits in (6, 5):
        if number[-digits:].isdigit() and int(number[-digits:]) in REFUSALS:
            return refusal(int(number[-digits:]))
    return None
