"""A guard for staging machines: mail goes to those only who may get it from there, or all of it to one address."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from processors.interfaces import Handed, Letter, Mailer, MailQueue, Outcome, Told

NOT_ALLOWED = Outcome("skipped", text="EMAIL_ONLY_TO lets no mail out to this address")


class StagingMailer:
    """Fulfils `processors.interfaces.Mailer` by another one.

    Args:
        mailer: sends what may go out.
        only_to: patterns such as `*@example.com`; who matches none is skipped. Empty: everybody may.
        redirect_all_to: the address that gets every mail instead of its recipients; the headers stay as they are.
    """

    def __init__(self, mailer: Mailer, only_to: Sequence[str] = (), redirect_all_to: str | None = None) -> None:
        self.name, self.repeatable, self.deadline = mailer.name, mailer.repeatable, mailer.deadline
        self._mailer, self._redirect_all_to = mailer, redirect_all_to
        self._only_to = [pattern.lower() for pattern in only_to]

    def send(self, queue: MailQueue) -> None:
        """Send what may go out, to whom it may go."""
        if self._only_to:
            queue = _OnlyTo(queue, self._only_to)
        if self._redirect_all_to:
            queue = _Redirected(queue, self._redirect_all_to)
        self._mailer.send(queue)


class _OnlyTo:
    """A queue whose mails have only the recipients that may get them."""

    def __init__(self, queue: MailQueue, patterns: Sequence[str]) -> None:
        self._queue, self._patterns = queue, patterns
        self._lent: dict[str, tuple[Letter, dict[str, Outcome]]] = {}

    def take(self) -> Letter | None:
        while (letter := self._queue.take()) is not None:
            skipped = {one: NOT_ALLOWED for one in letter.recipients if not self._may(one)}
            if len(skipped) < len(letter.recipients):
                self._lent[letter.id] = letter, skipped
                allowed = tuple(one for one in letter.recipients if one not in skipped)
                return replace(letter, recipients=allowed)
            self._queue.turn([(letter, skipped)], [])
        return None

    def give_back(self, letter: Letter) -> None:
        whole, _ = self._lent.pop(letter.id)
        self._queue.give_back(whole)

    def turn(self, told: Sequence[Told], handed: Sequence[Handed]) -> None:
        self._queue.turn([self._whole(letter, outcomes) for letter, outcomes in told], handed)

    def _whole(self, letter: Letter, outcomes: Mapping[str, Outcome]) -> Told:
        whole, skipped = self._lent.pop(letter.id)
        return whole, {**outcomes, **skipped}

    def _may(self, address: str) -> bool:
        return any(fnmatchcase(address.lower(), pattern) for pattern in self._patterns)


class _Redirected:
    """A queue whose mails have one recipient; what became of that one became of all."""

    def __init__(self, queue: MailQueue, address: str) -> None:
        self._queue, self._address = queue, address
        self._lent: dict[str, Letter] = {}

    def take(self) -> Letter | None:
        letter = self._queue.take()
        if letter is None:
            return None
        self._lent[letter.id] = letter
        return replace(letter, recipients=(self._address,))

    def give_back(self, letter: Letter) -> None:
        self._queue.give_back(self._lent.pop(letter.id))

    def turn(self, told: Sequence[Told], handed: Sequence[Handed]) -> None:
        done = [self._of_all(letter, outcomes) for letter, outcomes in told]
        everybody = [(self._lent[letter.id], self._lent[letter.id].recipients) for letter, _ in handed]
        self._queue.turn(done, everybody)

    def _of_all(self, letter: Letter, outcomes: Mapping[str, Outcome]) -> Told:
        whole, outcome = self._lent.pop(letter.id), outcomes[self._address]
        text = f"{outcome.text} (redirected to {self._address})"
        return whole, dict.fromkeys(whole.recipients, replace(outcome, text=text, of_whole_mail=True))
