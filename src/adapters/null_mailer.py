"""Mail that goes nowhere: for load tests, and where mail is switched off."""

from processors.interfaces import MailQueue, Outcome

DROPPED = Outcome("accepted", text="dropped by null://: nothing left this machine")


class NullMailer:
    """Fulfils `processors.interfaces.Mailer`; everybody is accepted, nobody gets anything."""

    name = "null"
    repeatable = True
    deadline = 0.0

    def send(self, queue: MailQueue) -> None:
        """Drop every mail."""
        while (letter := queue.take()) is not None:
            queue.turn([(letter, dict.fromkeys(letter.recipients, DROPPED))], [])
