"""Rows and mailers in memory, as `processors.email_delivery` sees them."""

from dataclasses import replace

from processors import doubt
from processors.interfaces import Delivery, Member, Outcome

WAITING = ("queued", "deferred")


class RememberedDeliveries:
    """Rows in memory, as `records.deliveries` keeps them."""

    def __init__(self):
        self.rows: dict[tuple[str, int, str], Delivery] = {}
        self.turns = 0

    def open(self, task_id, mails, run=None):
        for position, roles in mails.items():
            for address in roles:
                self.rows.setdefault((task_id, position, address), Delivery(Outcome("queued")))
        return {
            position: {a: row for (t, p, a), row in self.rows.items() if (t, p) == (task_id, position)}
            for position in mails
        }

    def turn(self, task_id, closed, handed, run):
        self.turns += 1
        for position, address, outcome in closed:
            row = self.rows[task_id, position, address]
            if row.outcome.state in {*WAITING, "handing"} or outcome.state == "accepted":
                more = outcome.state == "deferred" and row.outcome.state in WAITING
                self.rows[task_id, position, address] = replace(
                    row, outcome=outcome, attempts=row.attempts + more, wait=outcome.retry_after or 0.0
                )
        for position, address in handed:
            row = self.rows[task_id, position, address]
            assert row.outcome.state in WAITING, "only who waits is handed a mail"
            marked = Delivery(Outcome("handing"), row.attempts + 1, handed_ago=0.0)
            self.rows[task_id, position, address] = marked

    def state(self, address, task_id="t", position=0):
        return self.rows[task_id, position, address].outcome.state

    def let_the_doubt_pass(self, mailer):
        self._all(handed_ago=doubt.doubt_seconds(mailer.deadline))

    def let_the_wait_pass(self):
        self._all(wait=0.0)

    def _all(self, **values):
        self.rows = {key: replace(row, **values) for key, row in self.rows.items()}


class RememberedMembers:
    """Members in memory, as `records.members` keeps them."""

    def __init__(self, items):
        self.items, self.closed = items, {}

    def waiting(self, parent_id, first, count):
        return [
            Member(n, self.items[n]) for n in range(first, min(first + count, len(self.items))) if n not in self.closed
        ]

    def close_all(self, parent_id, ends, run=None):
        for end in ends:
            self.closed.setdefault(end.position, (end.state, end.outcome))


class ScriptedMailer:
    """Answers what it is told for each address; by default accepts."""

    name, repeatable, deadline = "scripted", False, 60.0

    def __init__(self, **answers: Outcome | BaseException):
        self.answers, self.sent, self.contents = answers, [], []

    def send(self, queue):
        while (letter := queue.take()) is not None:
            recipients = self.some(letter.recipients)
            queue.turn([], [(letter, recipients)])
            self.sent.append(list(recipients))
            self.contents.append(letter.content)
            outcomes = {one: self.answers.get(one.split("@")[0], Outcome("accepted", 250)) for one in recipients}
            for outcome in outcomes.values():
                if isinstance(outcome, BaseException):
                    raise outcome
            queue.turn([(letter, outcomes)], [])

    def some(self, recipients):
        return recipients


class AwayMailer(ScriptedMailer):
    """Cannot be reached."""

    def __init__(self, fault: Exception):
        super().__init__()
        self.fault = fault

    def send(self, queue):
        letter = queue.take()
        if letter is not None:
            self.sent.append(list(letter.recipients))
            queue.give_back(letter)
            raise self.fault


class InTurns(ScriptedMailer):
    """Takes two recipients a call."""

    def some(self, recipients):
        return recipients[:2]
