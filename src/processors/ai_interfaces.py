"""What AI work needs from outside: models that run here, providers elsewhere, and the ledger of calls to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from processors.interfaces import Run

Look = Callable[[], None]
"""Called often while something is waited for; what it raises (`Cancelled`, a soft time limit) ends the wait."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How a sentence sounds: shares 0..1 that add up to 1, and all in one, -1 (negative) to 1 (positive)."""

    positive: float
    neutral: float
    negative: float
    polarity: float


class SentimentEngine(Protocol):
    """Tells how sentences sound."""

    name: str
    version: str
    languages: Sequence[str]

    def score(self, sentence: str) -> Scores:
        """Return how one sentence sounds."""
        ...


class EmbeddingEngine(Protocol):
    """Turns texts into vectors, on this machine.

    Attributes:
        model: the name of the model.
        model_sha256: of its weights.
        dimensions: of each vector.
        max_tokens: the longest text that is taken whole.
    """

    name: str
    version: str
    model: str
    model_sha256: str
    dimensions: int
    max_tokens: int

    def pieces(self, text: str) -> list[tuple[int, int, int]]:
        """Cut a text into pieces of at most `max_tokens`: where each begins and ends in characters, and its tokens."""
        ...

    def embed(self, texts: Sequence[str]) -> Any:
        """Return texts x dimensions, float32, each vector of length 1; each text has at most `max_tokens`."""
        ...


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call; `estimated` where the provider did not count and they were counted here, roughly."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: "Usage") -> "Usage":
        """Return what two calls took together."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LimitNews:
    """What an answer's headers tell of the limits of the key: figures per minute, None where nothing is told."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


NO_NEWS = LimitNews()


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """One request for vectors.

    Attributes:
        model: what the provider calls it.
        inputs: the texts, none empty.
        dimensions: of each vector; None: the model's own.
        seconds: by which the answer must be whole.
    """

    model: str
    inputs: Sequence[str]
    dimensions: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Embedded:
    """The answer: inputs x dimensions as float32 in the inputs' order, the model that the provider says it was."""

    vectors: Any
    model: str
    usage: Usage | None
    news: LimitNews = NO_NEWS


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One request for the next message of a chat.

    Attributes:
        model: what the provider calls it.
        messages: `role` and `content` each, in OpenAI's form.
        options: more parameters of OpenAI's chat completions, such as `temperature`.
        schema: a JSON schema that the answer must fulfil, or None.
        seconds: by which the answer must be whole.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]
    schema: Mapping[str, Any] | None
    seconds: float


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "interrupted"]


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """The answer; `interrupted` is one whose stream was cut, `refusal` what the model says instead of an answer."""

    text: str
    finish_reason: FinishReason
    model: str
    usage: Usage | None
    refusal: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    news: LimitNews = NO_NEWS


class AiProvider(Protocol):
    """One endpoint with one key; one request to it is one call here, which is never repeated inside."""

    def embed(self, call: EmbeddingCall, look: Look) -> Embedded:
        """Return vectors.

        Raises:
            AiError: it refuses: `provider_bad_response`, `too_large`, `context_too_long`, `content_filtered`,
                `model_missing`, `budget_exceeded`; or its answer is none (a wrong number of vectors, broken JSON).
            ProviderFault: it does not answer as it should now: `provider_rate_limited` and `provider_unavailable` with
                `retry_after` where it said when; `provider_auth` where it refuses the key.
            Cancelled: as raised by `look`.
        """
        ...

    def chat(self, call: ChatCall, look: Look, on_text: Callable[[str], None] | None) -> ChatAnswer:
        """Return the next message; `on_text` gets the whole text so far, again and again, while it comes.

        A stream that is cut after its first text is an answer that was `interrupted`.

        Raises:
            AiError: as `embed`.
            ProviderFault: as `embed`.
            Cancelled: as raised by `look`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """A call that is to be made, as the ledger counts it.

    Attributes:
        account: the provider's name, and what tells its key from others (never the key).
        provider: its name.
        model: what the provider calls it.
        kind: what is asked for.
        tokens: of the input, and the most that may come back.
        cost: the most that it may cost; 0 where no price is known.
        currency: of the provider's prices.
        requests_per_minute: the account's limit; None: none is set.
        tokens_per_minute: the same for tokens.
        budget_per_day: the most that the account may cost on one day of UTC; None: no bound.
        seconds: by which the call will have ended.
        patience: seconds that may be waited for room right here.
        run: whose call it is.
        tenant: whose task that is.
    """

    account: str
    provider: str
    model: str
    kind: Literal["embedding", "chat"]
    tokens: int
    cost: float
    currency: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    budget_per_day: float | None
    seconds: float
    patience: float
    run: Run
    tenant: str | None


@dataclass(frozen=True, slots=True)
class Leave:
    """A call may be made after `wait` seconds; `id` is its line in the ledger, to be settled or released."""

    id: int
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class NoRoom:
    """A call may not be made now; its place is kept for the task where `why` is `limit`.

    Attributes:
        seconds: until it may be asked for again.
        why: `limit`: the account's own figures; else what its pause is for.
        text: what to tell people, one sentence.
    """

    seconds: float
    why: Literal["limit", "provider_rate_limited", "provider_auth", "provider_unavailable"]
    text: str


@dataclass(frozen=True, slots=True)
class Share:
    """What one task took of a call: texts of several tasks go in one request."""

    run: Run
    tenant: str | None
    usage: Usage
    cost: float


class AiLedger(Protocol):
    """Counts all calls of all workers to each account: limits, pauses, budgets, and what they took."""

    def ask(self, plan: CallPlan) -> Leave | NoRoom:
        """Take room for a call, within one transaction, or tell when there may be some.

        In any 60 s, no more than the account's requests and tokens begin; a call counts until 60 s after its answer.
        What came first goes first: who was told to come back finds its place kept for 60 s.

        Raises:
            AiError: `budget_exceeded`: the day's budget would be spent; or the plan is over the limit by itself.
        """
        ...

    def settle(self, leave: Leave, shares: Sequence[Share], news: LimitNews = NO_NEWS) -> None:
        """Note what a call took, for each task; it ends the account's pause, and teaches limits that were not set.

        Places that are kept for tasks which it answered, at whatever account, are given up.
        """
        ...

    def release(self, leave: Leave) -> None:
        """Give room back: the call was not made, or the provider refused to take it now."""
        ...

    def fail(self, leave: Leave, shares: Sequence[Share]) -> None:
        """Note a call that had no answer, and what it may have taken, for each task; it ends no pause."""
        ...

    def pause(
        self,
        account: str,
        why: Literal["provider_rate_limited", "provider_auth", "provider_unavailable"],
        seconds: float,
        text: str,
    ) -> None:
        """Let nobody call an account for so many seconds; then one call at a time tries whether it answers again."""
        ...

    def count_failure(self, account: str, text: str, pause_for: Callable[[int], float]) -> None:
        """Count a failure of an account, and pause it where that is needed, within one transaction.

        Calls that fail while it is paused were under way before, and are not counted.

        Args:
            account: whose.
            text: what to tell people, one sentence.
            pause_for: returns the seconds to pause after so many failures in a row; 0: none.
        """
        ...


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """What is known of a model at a provider.

    Attributes:
        input_price: for a million tokens; None where it is not known.
        output_price: the same.
        context_tokens: of a chat's messages and answer together; None where it is not known.
    """

    input_price: float | None = None
    output_price: float | None = None
    context_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTerms:
    """What is known of a provider.

    Attributes:
        name: what the settings call it.
        account: its name and what tells its key from others.
        models: by the names that it serves; `*` stands for any other one.
        currency: of all its prices.
        max_inputs: texts in one request for vectors.
        max_input_tokens: of one of them.
        max_request_tokens: of all of them.
        max_request_bytes: of the whole request.
        call_seconds: by which an answer must be whole.
    """

    name: str
    account: str
    models: Mapping[str, ModelTerms]
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    budget_per_day: float | None = None
    currency: str = "USD"
    max_inputs: int = 2048
    max_input_tokens: int = 8191
    max_request_tokens: int = 300_000
    max_request_bytes: int = 50_000_000
    call_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Serving:
    """Who serves a model: a provider, its terms, and what it calls the model."""

    provider: AiProvider
    terms: ProviderTerms
    model: str

    @property
    def model_terms(self) -> ModelTerms:
        """What is known of the model."""
        return self.terms.models.get(self.model) or self.terms.models.get("*") or ModelTerms()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a request, as its result tells it."""

    provider: str
    model: str
    status: str
    seconds: float
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose request it is.

    Attributes:
        run: the run that asks.
        tenant: the task's.
        created_at: when the task was submitted.
        until: the monotonic second by which an answer must be there.
        look: called while something is waited for.
    """

    run: Run
    tenant: str | None
    created_at: datetime
    until: float
    look: Look
    attempts: list[Attempt] = field(default_factory=list[Attempt])
