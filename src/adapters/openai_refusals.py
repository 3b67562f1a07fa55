"""What it means when an endpoint that speaks OpenAI's protocol does not answer: one error with one code for each case.

Sources: OpenAI's guide to error codes; the words of vLLM, llama.cpp, Ollama and text-embeddings-inference, which have
no code for a text that is too long. The order of the cases matters: a code tells more than a status.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from adapters.retry_after import retry_after
from processors.envelopes import clean
from processors.errors import AiError, ProviderFault
from processors.redaction import MASK

LONGEST_WORDS = 300
LONGEST_SEARCHED = 4_000
"""Characters in which a key is looked for; what lies behind them is never told."""

TELLING_KEY = 16
"""Characters; the ends of a shorter key may stand in any text."""

SHOWN_END = 4
"""Characters of a key's beginning or end by which providers name it."""

NO_MODEL = frozenset({"model_not_found"})
NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
TOO_LONG = frozenset({"context_length_exceeded", "exceed_context_size_error"})
FILTERED = frozenset({"content_filter", "content_policy_violation"})
TOO_FAST = frozenset({"rate_limit_exceeded"})
TOO_MUCH = frozenset({"max_tokens_per_request"})
TOO_LONG_IN_WORDS = re.compile(
    r"maximum (context|input|model) length|context (size|length|window) has been exceeded"
    r"|exceeds? (the |its )?(available |maximum )?context (size|length|window)"
    r"|must have less than \d+ tokens|input (\(\d+ tokens\) )?is too large to process",
    re.IGNORECASE,
)
TOO_MUCH_IN_WORDS = re.compile(r"\brequest too large for\b", re.IGNORECASE)
"""Of OpenAI (429) and Groq (413): more tokens than a minute has; with the code of a limit that waiting would cure."""

NOT_THERE = frozenset({404, 501})
"""501: llama.cpp's server has a model for chats or one for vectors, and says so of the other."""

TOO_LARGE, TOO_MANY, PAYMENT = 413, 429, 402
BAD_KEY, AGAIN, SERVER_FAULT = frozenset({401, 403}), frozenset({408, 409, 425}), 500
GATEWAY_TIMEOUT = 504
"""The one in front has given up waiting; who was asked may go on."""

MOVED, STATUSES = range(300, 400), range(400, 600)
FAULTS = frozenset({"provider_auth", "provider_rate_limited", "provider_unavailable"})
CURES = {
    "provider_auth": "give a valid key in AI_PROVIDERS or OPENAI_API_KEY",
    "model_missing": "name a model that it serves, or another address in AI_PROVIDERS or OPENAI_BASE_URL",
    "budget_exceeded": "add credit there, or give another key in AI_PROVIDERS or OPENAI_API_KEY",
    "context_too_long": "shorten the text, or name a model with a longer context",
    "content_filtered": "change the text, or name another provider in AI_PROVIDERS",
    "provider_rate_limited": "it is asked again later; a lower limit in AI_PROVIDERS keeps this from happening",
    "provider_unavailable": "it is asked again later; if it stays so, see AI_PROVIDERS or OPENAI_BASE_URL",
    "too_large": "send less at once, or set lower limits in AI_PROVIDERS",
    "provider_bad_response": "see what AI_PROVIDERS or OPENAI_BASE_URL says of it",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What came instead of an answer.

    Attributes:
        status: of HTTP; None where the error came in the middle of a stream.
        body: the inner part of an error in OpenAI's form, or whatever else was sent.
        headers: of the answer.
    """

    status: int | None
    body: object
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def in_answer(cls, body: object) -> "Refusal":
        """Return an error that came in the place of an answer, or in the middle of one; its code may be a status."""
        code = _fields(body).get("code")
        return cls(code if isinstance(code, int) and code in STATUSES else None, body)

    @property
    def code(self) -> str:
        """Which of the stable codes it is."""
        names = self._names()
        for code, holds in (
            ("model_missing", self.status in NOT_THERE or names & NO_MODEL),
            ("budget_exceeded", self.status == PAYMENT or names & NO_MONEY),
            ("context_too_long", names & TOO_LONG or TOO_LONG_IN_WORDS.search(self.words)),
            ("content_filtered", names & FILTERED),
            ("provider_auth", self.status in BAD_KEY),
            ("too_large", TOO_MUCH_IN_WORDS.search(self.words)),
            ("provider_rate_limited", self.status == TOO_MANY or names & TOO_FAST),
            ("provider_unavailable", self.status is None or self.status in AGAIN or self.status >= SERVER_FAULT),
            ("too_large", self.status == TOO_LARGE or names & TOO_MUCH),
        ):
            if holds:
                return code
        return "provider_bad_response"

    @property
    def words(self) -> str:
        """What the endpoint says, in its own words; where a redirect leads."""
        if self.status in MOVED:
            return f"it is elsewhere, at {self.headers.get('location', '').partition('?')[0]}"
        return " ".join(_words(self.body).split())

    def _names(self) -> frozenset[str]:
        told = _fields(self.body)
        return frozenset(name for name in (told.get("code"), told.get("type")) if isinstance(name, str))


def _words(body: object) -> str:
    """Return the words of an error in the form of OpenAI, vLLM (`message`), Ollama (a text) or FastAPI (`detail`)."""
    told = _fields(body)
    said = told.get("message") or told.get("error") or told.get("detail") or body
    return "; ".join(map(_problem, cast("list[Any]", said))) if isinstance(said, list) else str(said)


def _problem(one: Any) -> str:
    """Return one entry of FastAPI's list of what is wrong, without the input that it repeats."""
    problem = _fields(one)
    return f"{'.'.join(map(str, problem.get('loc') or ()))}: {problem.get('msg')}" if problem else str(one)


def _fields(body: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", body) if isinstance(body, Mapping) else {}


class Words:
    """Says what is wrong with an endpoint, and never its key.

    Args:
        place: the endpoint's host.
        key: what must not be told, nor its ends by which providers name it.
    """

    def __init__(self, place: str, key: str | None) -> None:
        self._place = place
        self._secret = _secret(key)

    def refused(self, refusal: Refusal) -> AiError | ProviderFault:
        """Return the error for a refusal, with the time that the endpoint asks to wait."""
        status = "" if refusal.status is None else f" {refusal.status}"
        said = f"answers{status}: {refusal.words}"
        charged = refusal.status == GATEWAY_TIMEOUT
        return self.error(said, refusal.code, retry_after(refusal.headers), charged=charged)

    def error(
        self, said: str, code: str, wait: float | None = None, *, charged: bool = False
    ) -> AiError | ProviderFault:
        """Return an error that tells what the endpoint does, and how to cure it.

        Args:
            said: goes on where the endpoint's name ends.
            code: one of `CURES`.
            wait: seconds that the endpoint asks to wait.
            charged: whether the request may cost something all the same.
        """
        words = self._shown(said).rstrip(". ")
        message = f"The provider of AI at {self._place} {words}; {CURES[code]}."
        if code in FAULTS:
            return ProviderFault(message, code, wait, charged=charged)
        return AiError(message, code, charged=charged)

    def _shown(self, said: str) -> str:
        hidden = str(
            clean(self._secret.sub(MASK, said[:LONGEST_SEARCHED]))
        )  # before the cut, which might leave a part of the key
        return hidden if len(hidden) <= LONGEST_WORDS else f"{hidden[:LONGEST_WORDS]}…"


def _secret(key: str | None) -> re.Pattern[str]:
    """Return what finds a key in a text: whole, masked (`sk-ab***cd`, `sk-...cd`), or by its beginning or its end."""
    forms = [r"\bsk-\S+", r"\S*\*{2,}\S*"]
    if key:
        forms.append(re.escape(key))
    if key and len(key) >= TELLING_KEY:
        forms += [rf"\b{re.escape(key[:SHOWN_END])}\S*", rf"\S*{re.escape(key[-SHOWN_END:])}\b"]
    return re.compile("|".join(forms))
