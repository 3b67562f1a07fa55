"""Rows of phone calls for tests: campaigns, single calls, grants, messages and time that passes, on any database."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from sqlalchemy import func, select, text

from processors.call_interfaces import Gate, Granted
from processors.call_outcomes import what_next
from processors.call_states import CallProgress
from processors.interfaces import MemberEnd
from records.call_events import CallEvent, CallEvents, Received, Waits
from records.call_gates import CallGates, Wish
from records.call_records import CallRecords
from records.call_tables import LIVE, call_attempts, call_gates, calls
from records.columns import Instant
from records.database import Database
from records.members import MemberRecords, members
from records.opt_outs import OptOuts
from records.parents import Parents
from records.task_moves import TaskMoves
from records.task_pauses import TaskPauses
from records.task_records import Draft, TaskRecords

ACCOUNT, OURS = "AC1", "+15005550006"
CAMPAIGN = "twilio_calls.queue_bulk_calls"
DEADLINE = 10.0
AGED = (calls, call_attempts, call_gates)


class Phones:
    """All that is remembered of calls in one database, as one process sees it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.calls, self.events = CallRecords(database, what_next), CallEvents(database, what_next)
        self.gates, self.opt_outs = CallGates(database), OptOuts(database)
        self.tasks, self.moves, self.pauses = TaskRecords(database), TaskMoves(database), TaskPauses(database)
        self.members = MemberRecords(database)
        self._keys = count()

    def campaign(self, campaign_id: str, numbers: Sequence[str], **arguments: Any) -> list[str]:
        """Open a campaign whose members are all admitted; returns the ids of their calls."""
        parent = Draft(
            campaign_id, CAMPAIGN, "twilio_calls", "twilio_calls", kwargs=arguments, is_parent=True,
            members_total=len(numbers),
        )  # fmt: skip
        step = Draft(
            f"{campaign_id}-step", "twilio_calls.run_campaign", "twilio_calls", "twilio_calls", parent_id=campaign_id
        )
        Parents(self.database).open(parent, [{"to_number": one} for one in numbers], [step])
        rows = [{"position": at, "to_number": one, "from_number": OURS} for at, one in enumerate(numbers)]
        self.calls.admit(campaign_id, rows)
        return [f"{campaign_id}:{at}" for at in range(len(numbers))]

    def single(self, call_id: str, number: str) -> str:
        """Want a single call, whose task is open."""
        self.tasks.open(Draft(call_id, "twilio_calls.queue_outbound_call", "twilio_calls", "twilio_calls"))
        self.calls.want(call_id, number, OURS)
        return call_id

    def grant(
        self,
        call_id: str,
        *,
        gap: float = 0.0,
        most_live: int | None = None,
        account: str = ACCOUNT,
        account_gap: float = 0.0,
        account_live: int | None = None,
        at_once: int = 1,
        limits: Sequence[tuple[int, float]] = (),
    ) -> Any:
        """Ask for an attempt of a call."""
        campaign_id, mark, _ = call_id.rpartition(":")
        gates = [Gate(f"account:{account}", account_gap, account_live, at_once)]
        if mark:
            gates.append(Gate(f"campaign:{campaign_id}", gap, most_live))
        return self.gates.grant(Wish(call_id, account, gates, campaign_id or call_id, DEADLINE, limits))

    def granted(self, call_id: str, **figures: Any) -> str:
        """Return the id of an attempt, which must be granted."""
        answer = self.grant(call_id, **figures)
        assert isinstance(answer, Granted), answer
        return answer.attempt_id

    def placed(self, call_id: str, sid: str, **figures: Any) -> str:
        """Return the id of an attempt that was granted, and whose call the provider has."""
        attempt_id = self.granted(call_id, **figures)
        assert self.calls.placed(attempt_id, sid, "queued", queue_seconds=0, look=60, hang_up=3600)
        return attempt_id

    def tell(self, attempt_id: str | None, sid: str, status: str | None = None, **more: Any) -> Received:
        """Receive a message of the provider."""
        key = more.pop("key", None) or f"{sid}-{status}-{next(self._keys)}"
        account, heard = more.pop("account", ACCOUNT), more.pop("heard", None)
        unsaid = more.pop("unsaid", None)
        progress = CallProgress(status, **more)
        event = CallEvent("status", key, attempt_id, sid, account, progress, heard, unsaid=unsaid)
        return self.events.receive(event, lambda _: Waits(60, 3600))

    def call(self, call_id: str) -> Any:
        """Return a call's row."""
        return self.database.read(lambda c: c.execute(select(calls).where(calls.c.id == call_id)).one())

    def attempt(self, attempt_id: str) -> Any:
        """Return an attempt's row."""
        own = select(call_attempts).where(call_attempts.c.id == attempt_id)
        return self.database.read(lambda c: c.execute(own).one())

    def attempts(self) -> list[Any]:
        """Return the rows of all attempts, in the order in which they were granted."""
        own = select(call_attempts).order_by(call_attempts.c.sending_at, call_attempts.c.id)
        return list(self.database.read(lambda c: c.execute(own).all()))

    def live(self) -> dict[str, int]:
        """Return how many attempts of each campaign are live, as one look sees it."""
        c = call_attempts.c
        own = select(c.campaign_id, func.count()).where(c.state.in_(LIVE)).group_by(c.campaign_id)
        return {row[0] or "": row[1] for row in self.database.read(lambda r: r.execute(own).all())}

    def member(self, call_id: str) -> MemberEnd:
        """Return what became of a campaign's member."""
        campaign_id, _, place = call_id.rpartition(":")
        return self.members.ends(campaign_id, int(place), 1)[0]

    def member_states(self, campaign_id: str) -> dict[str, int]:
        """Return how many members stand in each state."""
        own = select(members.c.state, func.count()).where(members.c.task_id == campaign_id).group_by(members.c.state)
        return {row[0]: row[1] for row in self.database.read(lambda c: c.execute(own).all())}

    def pass_by(self, seconds: float) -> None:
        """Let all that is remembered of calls be older by so many seconds."""

        def work(connection: Any) -> None:
            for table in AGED:
                moments = [column.name for column in table.columns if isinstance(column.type, Instant)]
                earlier = ", ".join(f"{name} = {self._earlier(name, seconds)}" for name in moments)
                connection.exec_driver_sql(f"UPDATE {table.name} SET {earlier}")

        self.database.write(work)

    def deadlocks(self) -> int:
        """Return how many deadlocks the database has undone."""
        if self.database.is_sqlite:
            return 0
        query = text(
            "SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname=current_database()"
        )
        return int(self.database.read(lambda c: c.execute(query).one())[1])

    def waits_for_a_lock(self) -> bool:
        """Tell whether a session waits for another one's lock."""
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(self.database.read(lambda c: c.execute(query).scalar_one()))

    def _earlier(self, column: str, seconds: float) -> str:
        if self.database.is_sqlite:
            return f"strftime('%Y-%m-%d %H:%M:%f000', {column}, '-{seconds:f} seconds')"
        return f"{column} - interval '{seconds:f} seconds'"
