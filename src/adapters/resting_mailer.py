"""A mail server's wish to be left alone: whoever it told waits, and so does everybody else, in every process."""

import math
import random
import re
import time
from collections.abc import Mapping, Sequence

from adapters.smtp_login import CLOSING
from config.log_setup import get_logger
from processors.errors import TransportFault, TransportRests
from processors.interfaces import Handed, Letter, Mailer, MailQueue, Outcome, Told
from processors.mail_interfaces import MailRests, Rest

logger = get_logger()

LOOK_AGAIN_SECONDS = 1.0
"""How long a rest that another process has noted may be unknown here."""

CONNECTION_CODES = frozenset({CLOSING, 454})
"""Closing, and a temporary failure of login or TLS, which some say where a rate is used up (RFC 5321, RFC 4954)."""

LOGIN_CODES = frozenset({530, 534, 535, 538})
THROTTLING = re.compile(r"\brat(?:e|es|ing)\b|throttl|too (?:many|fast|much mail)|slow down", re.IGNORECASE)
GREYLISTING = re.compile(r"gr[ae]y-?\s?list", re.IGNORECASE)
"""About one sender and one recipient: that one waits, and nobody else."""

POLICY_CODE = 451
ABOUT_THE_MAIL = ("4.2.", "4.5.3")
"""A mailbox, and too many recipients of one mail (RFC 3463)."""

LONGEST_DOMAIN = 255
MOST_PUT_OFF = 100
MOST_PUT_OFF_BYTES = 16_000_000
"""Mails that are put off in one commit: they are in memory until then, and may have files of some megabytes each."""

WHOLE = ""
OPENING = "@"
"""What rests in a domain's place where a server has closed a new connection: whoever has an open one may go on."""

GOOD_SECONDS = 10.0
"""How long after a mail was taken a process has an open connection still."""


class RestingMailer:
    """Fulfils `processors.interfaces.Mailer` by another one, which it does not ask while that rests.

    Args:
        mailer: sends.
        transport: names the server and the account.
        rests: what rests, known to all processes.
        most_per_minute: mails that all processes together hand over in a minute; None: as many as there are.
    """

    def __init__(self, mailer: Mailer, transport: str, rests: MailRests, most_per_minute: int | None = None) -> None:
        self.name, self.repeatable, self.deadline = mailer.name, mailer.repeatable, mailer.deadline
        self._mailer, self._transport, self._rests = mailer, transport, rests
        self._most_per_minute = most_per_minute
        self._taken_at = -math.inf

    def send(self, queue: MailQueue) -> None:
        """Send what does not rest.

        Raises:
            TransportRests: the whole transport rests, or its rate is used up; what is left was given back.
        """
        careful = _Careful(queue, self._transport, self._rests, self._most_per_minute, self._taken_at)
        try:
            self._mailer.send(careful)
        except TransportFault as fault:
            if not _wants_rest(fault.code, None, str(fault)):
                raise
            careful.taken_at = -math.inf  # there is no connection any more
            what = OPENING if fault.opening and fault.code == CLOSING else WHOLE
            rest = careful.note(what, fault.retry_after, str(fault), is_login=fault.code in LOGIN_CODES)
            raise _resting(self._transport, rest) from fault
        finally:
            self._taken_at = careful.taken_at
            careful.end()
        if careful.stopped is not None:
            raise careful.stopped


class _Careful:
    """A queue that lends nothing of what rests, and notes who is to rest.

    Attributes:
        stopped: why it lends nothing more, though there is something left; what is on its way goes on.
        taken_at: when the server took a mail from this process last.
    """

    def __init__(
        self, queue: MailQueue, transport: str, rests: MailRests, most_per_minute: int | None, taken_at: float
    ) -> None:
        self.stopped: TransportRests | None = None
        self.taken_at = taken_at
        self._queue, self._transport, self._rests = queue, transport, rests
        self._most_per_minute = most_per_minute
        self._known: Mapping[str, Rest] = {}
        self._known_at: float | None = None
        self._counted = 0
        self._noted: set[str] = set()
        self._throttling: dict[str, Outcome] = {}
        self._taken_by: set[str] = set()

    def take(self) -> Letter | None:
        self._note_throttling()
        known = self._look()
        while True:
            put_off: list[Told] = []  # kept together: each commit is as dear as a mail
            letter = None
            try:
                letter = self._next(known, put_off)
            finally:
                self._keep(put_off, letter)
            if letter is not None or self.stopped is not None or not put_off:
                return letter  # else the queue may lend one again, for those of its recipients who do not rest

    def _keep(self, put_off: list[Told], letter: Letter | None) -> None:
        try:
            if put_off:
                self._queue.turn(put_off, [])
        except BaseException:
            if letter is not None:
                self._queue.give_back(letter)
            raise

    def _next(self, known: Mapping[str, Rest], put_off: list[Told]) -> Letter | None:
        size = 0
        while self.stopped is None and len(put_off) < MOST_PUT_OFF and size < MOST_PUT_OFF_BYTES:
            if (letter := self._queue.take()) is None:
                break
            waiting = {one: rest for one in letter.recipients if (rest := known.get(_domain(one)))}
            if waiting:
                put_off.append((letter, {one: _put_off(rest) for one, rest in waiting.items()}))
                size += len(letter.content)
                continue
            try:
                rest = self._rest_of_all(known)
                self.stopped = _resting(self._transport, rest) if rest is not None else self._used_up()
            except BaseException:
                self._queue.give_back(letter)
                raise
            if self.stopped is None:
                return letter
            self._queue.give_back(letter)
        return None

    def _rest_of_all(self, known: Mapping[str, Rest]) -> Rest | None:
        """Return the rest that binds all mail; one of new connections binds nobody who has a good one."""
        is_good = time.monotonic() - self.taken_at < GOOD_SECONDS
        return known.get(WHOLE) or (None if is_good else known.get(OPENING))

    def give_back(self, letter: Letter) -> None:
        self._counted += 1
        self._queue.give_back(letter)

    def turn(self, told: Sequence[Told], handed: Sequence[Handed]) -> None:
        self._queue.turn(told, handed)
        for _, outcomes in told:  # it is noted later: an error here would tell the mailer that nothing may go out
            taken_by = [_domain(one) for one in outcomes if outcomes[one].state == "accepted"]
            if taken_by:
                self.taken_at = time.monotonic()
                self._taken_by.update(taken_by, (WHOLE, OPENING))
            self._throttling |= {
                _scope(one, outcome): outcome
                for one, outcome in outcomes.items()
                if outcome.state == "deferred" and _wants_rest(outcome.code, outcome.enhanced, outcome.text)
            }

    def note(self, domain: str, seconds: float | None, reason: str, *, is_login: bool = False) -> Rest:
        """Let a domain, or the whole transport, rest; returns the rest."""
        self._noted.add(domain)
        new = self._rests.note(self._transport, domain, seconds, reason)
        self._known_at = None
        if new is not None:
            log = logger.error if is_login else logger.warning  # a login is mended by nobody but a person
            log("mail_rests", transport=self._transport, domain=domain or None, seconds=new, reason=reason)
        return self._look().get(domain) or Rest(0.0, reason)

    def end(self) -> None:
        """Note what was learned: who wants rest, and what has recovered because mail was taken."""
        self._note_throttling()
        if recovering := (self._taken_by & self._known.keys()) - self._noted:
            self._rests.ease(self._transport, recovering)

    def _note_throttling(self) -> None:
        while self._throttling:
            domain, outcome = self._throttling.popitem()
            said = " ".join(str(part) for part in (outcome.code, outcome.enhanced, outcome.text) if part)
            self.note(domain, outcome.retry_after, said)

    def _look(self) -> dict[str, Rest]:
        """Return what rests now."""
        now = time.monotonic()
        if self._known_at is None or now >= self._known_at + LOOK_AGAIN_SECONDS:
            self._known, self._known_at = self._rests.of(self._transport), now
        return {domain: rest for domain, rest in self._known.items() if rest.seconds > now - self._known_at}

    def _used_up(self) -> TransportRests | None:
        """Count a mail that goes out; returns the error where the rate has no room for it."""
        if self._most_per_minute is None:
            return None
        if self._counted:
            self._counted -= 1
            return None
        wait = self._rests.pace(self._transport, self._most_per_minute)
        if not wait:
            return None
        said = f"EMAIL_MAX_PER_MINUTE is {self._most_per_minute}, and so many mails have gone out within a minute."
        return TransportRests(said, _spread(wait))


def _wants_rest(code: int | None, enhanced: str | None, text: str) -> bool:
    """Tell whether a server wants less mail; what it says of one mailbox or one mail is no such word."""
    if code in CONNECTION_CODES | LOGIN_CODES:
        return True
    field = enhanced or ""
    if code is None or code // 100 != 4 or field.startswith(ABOUT_THE_MAIL) or GREYLISTING.search(text):  # noqa: PLR2004 - the transient negative replies of RFC 5321 4.2.1
        return False
    return (code == POLICY_CODE and field.startswith("4.7.")) or THROTTLING.search(text) is not None


def _scope(address: str, outcome: Outcome) -> str:
    """Return who is to rest by what a server said to one recipient: its domain, or the whole transport."""
    return WHOLE if outcome.code in CONNECTION_CODES or outcome.of_whole_mail else _domain(address)


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()[:LONGEST_DOMAIN]


def _resting(transport: str, rest: Rest) -> TransportRests:
    shown = transport.partition("#")[0]
    return TransportRests(
        f"The mail server {shown} rests for {rest.seconds:.0f} s: {rest.reason}", _spread(rest.seconds)
    )


def _put_off(rest: Rest) -> Outcome:
    return Outcome("queued", text=f"its server rests: {rest.reason}", retry_after=_spread(rest.seconds))


def _spread(seconds: float) -> float:
    """Return a little more, so that not all who wait come back at once."""
    return seconds * random.uniform(1.0, 1.1)  # noqa: S311 - no secret
