"""Delivering mails by a real mailer over real rows."""

from collections import Counter
from datetime import UTC, datetime

from sqlalchemy import func, select, update

from composing import composer
from mail_rows import RememberedMembers
from processors import doubt
from processors.bulk_emails import (
    LISTED_STATES,
    BulkEmailsSent,
    SendBatch,
    conclude_bulk,
    counted_by_code,
    deliver_batch,
)
from processors.email_delivery import Post, deliver
from processors.emails import SendEmail
from processors.errors import TransientError
from processors.interfaces import MemberEnd, Run
from records.columns import Now
from records.deliveries import DeliveryRecords, deliveries
from records.mail_rests import mail_rests
from records.suppressions import SuppressionRecords
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers


class Posts:
    """Delivers one mail by a real mailer over real rows, run by run."""

    def __init__(self, database, mailer, *, resend: bool = False, **given) -> None:
        TaskRecords(database).open(Draft("t", "email.send_email", "email", "email"))
        Workers(database).start("w1", "io@host", "host", 1, 0)
        self.database, self.moves, self.rows = database, TaskMoves(database), DeliveryRecords(database)
        self.mailer, self.resend, self.last_attempt = mailer, resend, False
        self.composer = composer()
        self.request = SendEmail(**({"to_email": "b@example.com", "subject": "s", "body": "b"} | given))

    def deliver(self):
        """Let a run begin and send the mail; returns what came of it, or the error."""
        run = Run("t", self.moves.start("t", 0, "w1", "io@host", None).run)
        try:
            return self.work(self.post(run))
        except (TransientError, KeyboardInterrupt) as error:
            return error
        finally:
            self.moves.give_back("t", run.number)

    def work(self, post: Post):
        return deliver(self.request, post, lambda *_: None)

    def post(self, run: Run) -> Post:
        return Post(
            mailer=self.mailer,
            deliveries=self.rows,
            task_id="t",
            date=datetime(2026, 3, 1, tzinfo=UTC),
            sender="a@example.com",
            last_attempt=self.last_attempt,
            run=run,
            persist=lambda write: write(),
            resend=self.resend,
            composer=self.composer,
            suppressions=SuppressionRecords(self.database),
        )

    def die_once_it_is_marked(self, monkeypatch) -> None:
        """End a run between the mark and the first byte."""
        mark = self.rows.turn

        def die(task_id, closed, handed, run):
            mark(task_id, closed, handed, run)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(self.rows, "turn", die)
            assert isinstance(self.deliver(), KeyboardInterrupt)
        self.mailer.close()

    def let_the_doubt_pass(self) -> None:
        past = Now(-doubt.doubt_seconds(self.mailer.deadline))
        self.database.write(lambda c: c.execute(update(deliveries).values(handed_at=past)))

    def let_the_wait_pass(self) -> None:
        self.database.write(lambda c: c.execute(update(deliveries).values(next_attempt_at=Now(-1))))

    def let_the_rests_pass(self) -> None:
        self.database.write(lambda c: c.execute(update(mail_rests).values(not_before=Now(-1))))


class Bulk(Posts):
    """Delivers the mails of a bulk in one batch, again and again until all is done."""

    def __init__(self, database, mailer, items, **options) -> None:
        super().__init__(database, mailer, **options)
        self.members, self.brake = RememberedMembers(items), None

    def work(self, post: Post):
        batch = SendBatch(bulk_id="t", first=0, count=len(self.members.items))
        return deliver_batch(batch, self.members, post, lambda *_: None, self.brake)

    def concluded(self) -> BulkEmailsSent:
        """Add up what is known so far, as the bulk's own result does."""
        closed = self.members.closed
        tally = Counter(state for state, _ in closed.values())
        tally["waiting"] = len(self.members.items) - len(closed)
        failures = [
            {"position": at, "arguments": self.members.items[at], "state": state, "outcome": outcome}
            for at, (state, outcome) in sorted(closed.items())
            if state in LISTED_STATES
        ]
        by_code = counted_by_code(MemberEnd(one["position"], one["state"], one["outcome"]) for one in failures)
        return conclude_bulk(tally=tally, by_code=by_code, failures=failures, seconds=1.0, bulk_id="t", batch_size=50)

    def states(self) -> Counter[str]:
        """Count the rows by their state."""
        query = select(deliveries.c.state, func.count()).group_by(deliveries.c.state)
        return Counter(dict(tuple(row) for row in self.database.read(lambda c: c.execute(query).all())))
