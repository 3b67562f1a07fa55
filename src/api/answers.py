"""What is answered: the shapes of what the services return as dictionaries, each field with an example."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, PlainSerializer

from processors.health import QUEUE_EXAMPLE, QueueFigures
from records.task_records import TaskState

MORNING, NOON, LATER = "2026-11-30T08:00:00+00:00", "2026-11-30T12:00:00+00:00", "2026-11-30T12:00:04+00:00"
TASK = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER_TASK = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
WORKER = "4a1c2f0e9b7d4c55"
NUMBER = "+1234567890"
ERROR = "The server does not answer."
MAIL_KWARGS = {"to_email": ["user@example.com"], "subject": "Welcome!"}

Moment = Annotated[datetime, PlainSerializer(datetime.isoformat, return_type=str)]
"""Written as all other moments, which are texts already: pydantic would end it in Z."""

TaskId = Annotated[str, Field(description="The task's id.", examples=[TASK])]
TaskName = Annotated[str, Field(description="The task's name.", examples=["email.send_email"])]
Category = Annotated[str, Field(description="The task's category.", examples=["email"])]
Queue = Annotated[str, Field(description="The queue that it is in.", examples=["email"])]
Priority = Annotated[str, Field(description="`low`, `normal` or `high`.", examples=["normal"])]
State = Annotated[TaskState, Field(description="Where it stands.", examples=["SUCCESS"])]
Tenant = Annotated[str | None, Field(description="On whose behalf; null: nobody's.", examples=["acme"])]
Tags = Annotated[list[str] | None, Field(description="The words that it was submitted with.", examples=[["welcome"]])]
CreatedAt = Annotated[str, Field(description="When it was made.", examples=[MORNING])]
DueAt = Annotated[str, Field(description="When it is, or was, due.", examples=[NOON])]
StartedAt = Annotated[str | None, Field(description="When it was started last.", examples=[NOON])]
FinishedAt = Annotated[str | None, Field(description="When it ended; null: it has not.", examples=[LATER])]
ExpiresAt = Annotated[str | None, Field(description="When it is cancelled if it still waits.", examples=[None])]
Attempts = Annotated[int, Field(description="How many attempts were begun.", examples=[1])]
Runs = Annotated[int, Field(description="How often a worker has started it.", examples=[1])]
WorkerId = Annotated[str | None, Field(description="The working process that has, or had, it.", examples=[WORKER])]
RetryOf = Annotated[str | None, Field(description="The task in whose place it was submitted.", examples=[None])]
RetriedAs = Annotated[str | None, Field(description="The task that was submitted in its place.", examples=[OTHER_TASK])]
Args = Annotated[
    Any, Field(description="Positional arguments, secrets masked; a stranger's task may have any.", examples=[[]])
]
Kwargs = Annotated[Any, Field(description="Arguments by name, secrets masked.", examples=[MAIL_KWARGS])]
Fingerprint = Annotated[
    str | None, Field(description="Errors that are alike have the same.", examples=["5d41402abc4b"])
]
Traceback = Annotated[
    str | None, Field(description="Where it failed.", examples=["Traceback (most recent call last): …"])
]
Address = Annotated[str, Field(description="The address.", examples=["user@example.com"])]
PhoneNumber = Annotated[str, Field(description="The number, in E.164 form.", examples=[NUMBER])]
ErrorType = Annotated[str | None, Field(description="The class of its error.", examples=["TransientError"])]
Counts = Annotated[
    dict[str, int], Field(description="How many members stand in each state.", examples=[{"done": 1, "pending": 1}])
]

Item = TypeVar("Item")


class Items(BaseModel, Generic[Item]):
    """A list."""

    items: list[Item] = Field(description="What was found.")


class Page(Items[Item], Generic[Item]):
    """A page of a list."""

    next_cursor: str | None = Field(
        description="Leads, as `cursor`, to the next page; null on the last one.", examples=["q83vEjRWeJCrze8"]
    )


# --- Tasks --------------------------------------------------------------------------------------------------------


class TaskStatus(BaseModel):
    """Where a task stands."""

    task_id: TaskId
    status: State
    info: Any = Field(
        description="What it waits for, how far it is, its result, or its error.", examples=[{"accepted_count": 1}]
    )
    traceback: Traceback
    name: TaskName
    queue: Queue
    priority: Priority
    created_at: CreatedAt
    due_at: DueAt
    started_at: StartedAt
    finished_at: FinishedAt
    expires_at: ExpiresAt
    attempts: Attempts
    worker: WorkerId
    retry_of: RetryOf
    retried_as: RetriedAs
    tenant: Tenant
    tags: Tags


class ListedTask(BaseModel):
    """A task of a list; the last four are told where the list is asked for whole tasks."""

    task_id: TaskId
    name: TaskName
    category: Category
    queue: Queue
    priority: Priority
    status: State
    created_at: CreatedAt
    due_at: DueAt
    started_at: StartedAt
    finished_at: FinishedAt
    expires_at: ExpiresAt
    attempts: Attempts
    runs: Runs
    worker: WorkerId
    progress: float = Field(description="How far it is, 0 to 100.", examples=[100.0])
    progress_text: str | None = Field(description="What it does, or did last.", examples=["sends"])
    error: str | None = Field(description="What was wrong; cut off unless it is told whole.", examples=[ERROR])
    error_type: ErrorType
    fingerprint: Fingerprint
    is_parent: bool = Field(description="Whether it has members, as a bulk has.", examples=[False])
    members_total: int | None = Field(description="How many members it has.", examples=[None])
    parent_id: str | None = Field(description="Whose member it is.", examples=[None])
    retry_of: RetryOf
    retried_as: RetriedAs
    held: bool = Field(description="Whether a limit or a pause keeps it back.", examples=[False])
    tenant: Tenant
    tags: Tags
    args: Args = None
    kwargs: Kwargs = None
    result: Any = Field(None, description="What it returned.", examples=[{"accepted_count": 1}])
    traceback: Traceback = None


class ActiveTask(BaseModel):
    """A task that runs, is reserved or waits in a queue."""

    task_id: TaskId
    name: TaskName
    status: State
    worker: WorkerId
    queue: Queue
    args: Args
    kwargs: Kwargs
    time_start: StartedAt


class Incident(BaseModel):
    """How a worker died of a task."""

    run: int = Field(description="Which run of the task that was.", examples=[1])
    why: str = Field(description="`died`, `lost` or `time_limit`.", examples=["died"])
    worker: WorkerId
    host: str | None = Field(description="The machine.", examples=["worker-1"])
    pid: int | None = Field(description="The process.", examples=[4711])
    exit_code: int | None = Field(description="What it ended with.", examples=[None])
    signal: str | None = Field(description="The signal that ended it.", examples=["SIGKILL"])
    memory_mb: int | None = Field(description="The most memory that it had held.", examples=[512])
    at: str | None = Field(description="When.", examples=[NOON])


class Step(BaseModel):
    """Something that happened to a task."""

    at: Moment = Field(description="When.", examples=[MORNING])
    run: int | None = Field(description="In which run; null where none had begun.", examples=[1])
    what: str = Field(description="What.", examples=["started"])
    more: str | None = Field(description="What else is to be known.", examples=["on io@worker-1"])


class WholeTask(TaskStatus):
    """All that is known of a task but what it logged."""

    category: Category
    args: Args
    kwargs: Kwargs
    fingerprint: Fingerprint
    runs: Runs
    timeline: list[Step] = Field(description="What happened to it, in the order of time.")


class FailedTask(TaskStatus):
    """All that is known of a failed task."""

    category: Category
    args: Args
    kwargs: Kwargs
    fingerprint: Fingerprint
    runs: Runs
    incidents: list[Incident] = Field(description="How workers died of it.")
    retry_count: int = Field(description="How often what it is has been submitted again.", examples=[0])


class FailureGroup(BaseModel):
    """Failures that are alike."""

    name: TaskName
    error_type: ErrorType
    error: str | None = Field(description="What the newest of them says.", examples=[ERROR])
    count: int = Field(description="How many they are.", examples=[37])
    open: int = Field(description="How many of them were not submitted again.", examples=[35])
    first_at: Moment = Field(description="When the first of them failed.", examples=[MORNING])
    last_at: Moment = Field(description="When the newest of them failed.", examples=[NOON])
    task_id: TaskId
    filter: dict[str, str] = Field(
        description="What the list of tasks, and an act on many, finds them by.",
        examples=[{"state": "FAILURE", "name": "email.send_email", "error_type": "TransientError"}],
    )


class FailureGroups(BaseModel):
    """What failed, by the like of it."""

    groups: list[FailureGroup] = Field(description="The largest first, at most 100.")
    partial: bool = Field(description="Whether more failed than is looked at, the newest ones.", examples=[False])


class Killed(BaseModel):
    """What cancelling everything came to."""

    killed_count: int = Field(description="How many were cancelled.", examples=[12])
    failed_count: int = Field(description="How many could not be.", examples=[0])
    failed_task_ids: list[str] = Field(description="Those.", examples=[[]])


class LogLine(BaseModel):
    """A line that a task logged."""

    at: str = Field(description="When.", examples=[NOON])
    level: str = Field(description="Its level.", examples=["INFO"])
    logger: str = Field(description="Who logged it.", examples=["processors.email_delivery"])
    text: str = Field(description="What it says.", examples=["mail_sent"])
    run: int = Field(description="In which run of the task.", examples=[1])


class FoundLine(LogLine):
    """A line that some task logged."""

    task_id: TaskId


class Delivery(BaseModel):
    """What became of a mail for one recipient."""

    id: str = Field(description="Leads, as `after`, to what is behind it.", examples=["0:user@example.com"])
    position: int = Field(description="Which mail of a bulk, from 0.", examples=[0])
    address: Address
    role: str = Field(description="`to`, `cc` or `bcc`.", examples=["to"])
    state: str = Field(description="What became of it.", examples=["accepted"])
    attempts: int = Field(description="How often it was tried.", examples=[1])
    code: int | None = Field(description="What the server said last.", examples=[250])
    enhanced: str | None = Field(description="The same, as RFC 3463 has it.", examples=["2.0.0"])
    text: str = Field(description="The same in words, or why it was not asked.", examples=["queued as 4F2"])
    created_at: CreatedAt
    handed_at: str | None = Field(description="When it was handed over.", examples=[NOON])
    closed_at: str | None = Field(description="When that was its end.", examples=[LATER])
    next_attempt_at: str | None = Field(description="When it is tried again.", examples=[None])


class GroupMember(BaseModel):
    """A task of a group."""

    task_id: TaskId
    name: TaskName
    status: State


class GroupBody(BaseModel):
    """What follows a chord's header."""

    task_id: str | None = Field(description="Its task.", examples=[OTHER_TASK])
    name: str | None = Field(description="That one's name.", examples=["reports.build"])
    status: State


class Group(BaseModel):
    """How far a group, or the header of a chord, is."""

    group_id: str = Field(description="The group's id.", examples=["b3f1c9a2-4d0e-4b7a-9c55-1f2e3d4c5b6a"])
    total: int = Field(description="How many tasks it has.", examples=[1])
    done: int = Field(description="How many have ended.", examples=[1])
    failed: int = Field(description="How many of those failed.", examples=[0])
    progress: float = Field(description="How far it is, 0 to 100.", examples=[100.0])
    members: list[GroupMember] = Field(description="The first 1 000.")
    body: GroupBody | None = Field(description="Of a chord: what follows; null of a group.")


# --- Bulks, campaigns and calls -----------------------------------------------------------------------------------


class Standing(BaseModel):
    """How a bulk or a campaign stands, by its members."""

    status: State
    paused: bool = Field(description="Whether nothing of it starts until it is resumed.", examples=[False])
    created_at: CreatedAt
    finished_at: FinishedAt
    total: int = Field(description="How many members it has.", examples=[2])
    counts: Counts
    tenant: Tenant
    tags: Tags


class Batch(Standing):
    """A bulk of mails."""

    task_id: TaskId


class ListedCampaign(Standing):
    """A campaign of a list."""

    campaign_id: str = Field(description="The campaign's id.", examples=[TASK])
    live_calls: int = Field(description="Calls that ring or go on.", examples=[1])


class CampaignMember(BaseModel):
    """Somebody whom a campaign calls."""

    position: int = Field(description="Which one, from 0.", examples=[0])
    phone_number: PhoneNumber
    state: str = Field(description="`pending`, or how it ended.", examples=["done"])
    outcome: str | None = Field(description="What became of the last attempt.", examples=["answered"])
    attempts: int = Field(description="How many were made.", examples=[1])
    answered_by: str | None = Field(description="Who answered, where that was asked.", examples=["human"])
    heard: list[Any] | None = Field(description="Keys and speech, in their order.", examples=[[{"digits": "1"}]])
    reason: str | None = Field(description="Why it waits or ended so.", examples=[None])
    task_id: str = Field(description="Its id, for every request about its call.", examples=[f"{TASK}:0"])


class Campaign(BaseModel):
    """How a campaign stands."""

    campaign_id: str = Field(description="The campaign's id.", examples=[TASK])
    status: State
    info: Any = Field(description="How far it is, its result, or its error.", examples=[{"success": True}])
    created_at: CreatedAt
    total: int = Field(description="How many members it has.", examples=[2])
    counts: Counts
    live_calls: int = Field(description="Calls that ring or go on.", examples=[1])
    members: list[CampaignMember] = Field(description="A page of them.")


class CallAttempt(BaseModel):
    """One try of a call."""

    number: int = Field(description="Which one, from 1.", examples=[1])
    state: str = Field(description="Where it stands with us.", examples=["ended"])
    status: str | None = Field(description="Where it stands with the provider.", examples=["completed"])
    from_number: str = Field(description="Our number that called.", examples=["+1987654321"])
    call_sid: str | None = Field(description="The provider's name for it.", examples=["CA1234567890abcdef"])
    ordered_at: Moment = Field(description="When the provider was asked for it.", examples=[NOON])
    placed_at: Moment | None = Field(description="When the provider had it.", examples=[NOON])
    ended_at: Moment | None = Field(description="When it was over.", examples=[LATER])
    answered_by: str | None = Field(description="Who answered, where that was asked.", examples=["human"])
    duration_seconds: int | None = Field(description="From the answer to the end.", examples=[42])
    sip_code: int | None = Field(description="How the far end closed it.", examples=[200])
    error_code: int | None = Field(description="The provider's code of what was wrong.", examples=[None])
    error: str | None = Field(description="What was wrong.", examples=[None])
    price: str | None = Field(description="What it cost.", examples=["-0.0140"])
    price_unit: str | None = Field(description="In this currency.", examples=["USD"])
    unsaid: str | None = Field(description="Why who answered was told nothing.", examples=[None])


class CallEvent(BaseModel):
    """What happened to a call."""

    at: Moment = Field(description="When.", examples=[NOON])
    attempt: int = Field(description="In which attempt.", examples=[1])
    what: str = Field(description="What happened.", examples=["ringing"])
    more: str | None = Field(description="What else is known of it; numbers are masked.", examples=[None])


# --- People -------------------------------------------------------------------------------------------------------


class KnownContact(BaseModel):
    """How a person is reached, with secrets masked."""

    email: str | None = Field(description="The address.", examples=["ann@example.com"])
    phone: str | None = Field(description="In E.164 form.", examples=[NUMBER])
    push: list[dict[str, Any]] | None = Field(
        description="Browsers.", examples=[[{"endpoint": "https://push.example.com/***", "keys": "***"}]]
    )
    chat: list[str] | None = Field(description="Services for chats.", examples=[["slack://***"]])
    time_zone: str | None = Field(description="An IANA name.", examples=["Europe/Berlin"])
    language: str | None = Field(description="A code of BCP 47.", examples=["de"])
    quiet_hours: dict[str, Any] | None = Field(description="When not.", examples=[{"from": "22:00", "to": "07:00"}])
    preferences: dict[str, Any] | None = Field(description="What is wanted.", examples=[{"channels": {"sms": False}}])


class InboxItem(BaseModel):
    """A notification in an inbox."""

    id: int = Field(description="Leads, as `before`, to what is behind it.", examples=[17])
    type: str = Field(description="What kind of notification.", examples=["welcome"])
    title: str = Field(description="Its title.", examples=["Welcome!"])
    body: str = Field(description="Its text.", examples=["Thank you for joining!"])
    url: str | None = Field(description="Where it leads.", examples=["https://example.com/start"])
    created_at: CreatedAt
    seen_at: str | None = Field(description="When it was seen.", examples=[NOON])
    read_at: str | None = Field(description="When it was read.", examples=[None])
    archived_at: str | None = Field(description="When it was archived.", examples=[None])


class Inbox(Items[InboxItem]):
    """A person's inbox."""

    unseen: int = Field(description="How many are unseen in all.", examples=[0])
    unread: int = Field(description="How many are unread in all.", examples=[1])


class Marked(BaseModel):
    """What marking came to."""

    marked: int = Field(description="How many of the items there are.", examples=[1])


class Person(BaseModel):
    """Somebody who is known again in pictures."""

    name: str = Field(description="The person's name.", examples=["Ada"])
    consent: str = Field(description="What the person agreed to.", examples=["signed on 2026-03-01, form 12"])
    consent_at: str = Field(description="When that was written down.", examples=[MORNING])
    encodings: int = Field(description="How many pictures the person is known by.", examples=[2])
    created_at: CreatedAt


class OptedOut(BaseModel):
    """A number that is not called any more."""

    phone_number: PhoneNumber
    source: str = Field(description="`manual`, or `keypress` of who pressed 9.", examples=["manual"])
    reason: str = Field(description="Why, in a few words.", examples=["asked by mail"])
    created_at: CreatedAt


class Suppressed(BaseModel):
    """An address that is not mailed."""

    id: int = Field(description="Leads, as `after`, to what is behind it.", examples=[17])
    address: Address
    list_name: str | None = Field(description="Only by this list; null: at all.", examples=["news"])
    reason: str = Field(description="Why.", examples=["unsubscribe"])
    until: str | None = Field(description="When that ends; null: never.", examples=[None])
    source: str = Field(description="Who said so.", examples=["facade"])
    text: str = Field(description="What was said.", examples=[""])
    created_at: CreatedAt


class MailEvent(BaseModel):
    """What was told of a mail after it had gone out."""

    id: int = Field(description="Leads, as `after`, to what is behind it.", examples=[17])
    provider: str = Field(description="`report`, or a provider's name.", examples=["report"])
    kind: str = Field(description="What happened.", examples=["bounced"])
    address: Address
    hard: bool = Field(description="Whether it will never get there.", examples=[True])
    code: int | None = Field(description="What the server said.", examples=[550])
    enhanced: str | None = Field(description="The same, as RFC 3463 has it.", examples=["5.1.1"])
    text: str = Field(description="The same in words.", examples=["No such user."])
    message_id: str | None = Field(description="Which mail.", examples=["<17@example.com>"])
    task_id: str | None = Field(description="Whose mail, where that is known.", examples=[TASK])
    at: str = Field(description="When.", examples=[NOON])


class MailEvents(BaseModel):
    """What was new in a report."""

    events: list[MailEvent] = Field(description="As the list of events tells them.")


class KeptEvents(BaseModel):
    """What became of a provider's message."""

    kept: int = Field(description="How many events in it were new.", examples=[1])


class Doubt(BaseModel):
    """Something of which it is not known whether it happened."""

    key: str = Field(description="What settling it takes.", examples=["mail:0f8fad5b:0:user@example.com"])
    kind: str = Field(description="`effect`, `mail` or `call`.", examples=["mail"])
    task_id: TaskId
    name: str | None = Field(
        description="The task's name; null where its record is gone.", examples=["email.send_email"]
    )
    state: str = Field(
        description="`intended`: its task looks again by itself; `unknown`: it waits to be settled.",
        examples=["unknown"],
    )
    intended_at: str | None = Field(description="When it was to happen.", examples=[NOON])
    error: str | None = Field(description="Why it is not known.", examples=["The answer was lost."])


# --- The service --------------------------------------------------------------------------------------------------


class Alive(BaseModel):
    """That the process answers."""

    status: Literal["alive"] = Field(description="Always this.")


class Ready(BaseModel):
    """Whether submitted work would be recorded and published."""

    status: str = Field(description="`healthy` or `unhealthy`.", examples=["healthy"])
    checks: dict[str, str] = Field(
        description="The same of each part.", examples=[{"database": "healthy", "broker": "healthy"}]
    )


class Figures(BaseModel):
    """What came, ended and waited in a time; seconds are null where nothing ended."""

    created: int = Field(description="Tasks that were submitted.", examples=[120])
    succeeded: int = Field(description="That ended well.", examples=[118])
    failed: int = Field(description="That failed.", examples=[1])
    cancelled: int = Field(description="That were cancelled, or expired.", examples=[1])
    wait_p50: float | None = Field(description="Half of them waited for less, in seconds.", examples=[0.02])
    wait_p95: float | None = Field(description="19 of 20 waited for less.", examples=[0.3])
    run_p50: float | None = Field(description="Half of them ran for less, in seconds.", examples=[0.8])
    run_p95: float | None = Field(description="19 of 20 ran for less.", examples=[4.1])
    depth: int | None = Field(
        description="The most that waited as a minute began; null where nobody looked.", examples=[12]
    )
    oldest_age_seconds: float | None = Field(
        description="For how long the oldest of that had waited, at most; null where nothing waited.", examples=[3.5]
    )


class Point(Figures):
    """The same for a point of a plot."""

    at: str = Field(description="Where it begins.", examples=[NOON])


class Totals(Figures):
    """The same in all."""

    failure_rate: float | None = Field(description="Of what succeeded or failed, 0 to 1.", examples=[0.008403])


class Now(BaseModel):
    """How things stand now."""

    depth: int = Field(description="What waits in queues.", examples=[12])
    oldest_age_seconds: float | None = Field(description="For how long, at most.", examples=[3.5])
    running: int = Field(description="What runs.", examples=[4])
    scheduled: int = Field(description="What is due later.", examples=[7])
    workers: int = Field(description="Working processes that live.", examples=[4])
    queues: dict[str, QueueFigures] = Field(description="Each queue.", examples=[{"email": QUEUE_EXAMPLE}])


class Overview(BaseModel):
    """What the service does at a look."""

    step_seconds: float = Field(description="From one point to the next one.", examples=[60.0])
    counted_from: str | None = Field(description="Since when it is counted.", examples=[MORNING])
    counted_to: str | None = Field(description="Until when.", examples=[NOON])
    points: list[Point] = Field(description="The oldest first.")
    queues: dict[str, Figures] = Field(
        description="By queue, for all of the time.",
        examples=[
            {
                "email": {"created": 120, "succeeded": 118, "failed": 1, "cancelled": 1}
                | {"wait_p50": 0.02, "wait_p95": 0.3, "run_p50": 0.8, "run_p95": 4.1}
                | {"depth": 12, "oldest_age_seconds": 3.5}
            }
        ],
    )
    totals: Totals = Field(description="In all.")
    now: Now = Field(description="And now.")


class Limit(BaseModel):
    """A limit that is in force; the figures are null where it is of each tenant or the like by itself."""

    scope: str = Field(description="What for.", examples=["queue:email"])
    rate: str = Field(description="Starts per second, minute or hour, or `none`.", examples=["50/m"])
    concurrency: int | str = Field(description="How many may run at once, or `none`.", examples=["none"])
    source: str = Field(description="`settings`, or `database` where it was set.", examples=["settings"])
    used: int | None = Field(description="Starts that count now.", examples=[12])
    running: int | None = Field(description="What runs.", examples=[4])
    waiting: int | None = Field(description="What it keeps back.", examples=[0])


class Schedule(BaseModel):
    """A task that runs again and again."""

    name: str = Field(description="The schedule's name.", examples=["nightly report"])
    task: TaskName
    kwargs: Kwargs
    args: Args
    queue: Queue
    priority: Priority
    tenant: Tenant
    crontab: str | None = Field(description="When; or", examples=["0 3 * * *"])
    every: float | None = Field(description="how many seconds apart.", examples=[None])
    timezone: str = Field(description="The zone of the crontab.", examples=["Europe/Berlin"])
    catch_up: str = Field(description="What becomes of fire times that were missed.", examples=["latest"])
    paused: bool = Field(description="Whether it does not fire.", examples=[False])
    source: str = Field(description="`database`, or `settings`.", examples=["database"])
    next_at: str | None = Field(description="When it fires next; null: it is paused.", examples=[NOON])
    last_fire_at: str | None = Field(description="When it fired last.", examples=[MORNING])
    last_task_id: str | None = Field(description="The task of then.", examples=[TASK])
    created_at: CreatedAt
    updated_at: str = Field(description="When it was changed last.", examples=[MORNING])


class RunningTask(BaseModel):
    """What a working process runs."""

    task_id: TaskId
    name: TaskName


class Worker(BaseModel):
    """A working process that lives."""

    id: str = Field(description="Its id, a new one at each start.", examples=[WORKER])
    name: str = Field(description="The worker's name.", examples=["io@worker-1"])
    host: str = Field(description="The machine.", examples=["worker-1"])
    pid: int = Field(description="The process.", examples=[4711])
    parent_pid: int = Field(description="Whose child it is.", examples=[4700])
    memory_mb: int | None = Field(description="The most memory that it has held.", examples=[128])
    overrun: str | None = Field(description="A task that was given up and goes on in it.", examples=[None])
    started_at: str = Field(description="Since when.", examples=[MORNING])
    seen_at: str = Field(description="When it was heard of last.", examples=[NOON])
    tasks: list[RunningTask] = Field(description="What it runs.")


class Inspected(BaseModel):
    """What Celery's workers tell of themselves, each by its name."""

    active: dict[str, Any] = Field(description="What it runs.", examples=[{"io@worker-1": []}])
    registered: dict[str, Any] = Field(description="What it knows.", examples=[{"io@worker-1": ["email.send_email"]}])
    stats: dict[str, Any] = Field(description="What it has done.", examples=[{"io@worker-1": {"pid": 4700}}])
    revoked: dict[str, Any] = Field(description="What it was told to revoke.", examples=[{"io@worker-1": []}])


class UsageLine(BaseModel):
    """What AI calls took; what the report is not by is left out."""

    day: str | None = Field(None, description="Of UTC.", examples=["2026-11-30"])
    provider: str | None = Field(None, description="Who was asked.", examples=["openai"])
    model: str | None = Field(None, description="Which model.", examples=["gpt-4"])
    kind: str | None = Field(None, description="What for.", examples=["chat"])
    tenant: str | None = Field(None, description="On whose behalf.", examples=["acme"])
    calls: int = Field(description="How many.", examples=[12])
    input_tokens: int = Field(description="What was sent.", examples=[3400])
    output_tokens: int = Field(description="What was answered.", examples=[1200])
    cached_tokens: int = Field(description="Of those sent, what the provider had.", examples=[0])
    reasoning_tokens: int = Field(description="Of those answered, what nobody reads.", examples=[0])
    cost: float = Field(description="What it cost.", examples=[0.0412])
    currency: str = Field(description="In this currency.", examples=["USD"])
    estimated: float = Field(description="The share of calls that nobody counted, 0 to 1.", examples=[0.0])


# --- Access -------------------------------------------------------------------------------------------------------


class Key(BaseModel):
    """A key of the API, without the key itself."""

    id: str = Field(description="The key's id.", examples=["59eac692f71571c0"])
    name: str = Field(description="What it is for.", examples=["billing"])
    scopes: list[str] = Field(description="What it may do.", examples=[["read", "submit"]])
    tenant: str | None = Field(description="Whose tasks alone it sees; null: everybody's.", examples=[None])
    created_at: CreatedAt
    expires_at: str | None = Field(description="When it ends.", examples=["2030-01-01T00:00:00+00:00"])
    revoked_at: str | None = Field(description="When it was ended.", examples=[None])
    last_used_at: str | None = Field(description="When it was used last.", examples=[NOON])


class MadeKey(Key):
    """A key that was made."""

    key: str = Field(description="The key itself, in this answer alone.", examples=["csai_…"])


class Webhook(BaseModel):
    """An endpoint that is told of ends, without its secret."""

    id: str = Field(description="The endpoint's id.", examples=["c0b6a9b4-6f0e-4a39-9d55-6a1b2c3d4e5f"])
    url: str = Field(description="Where to.", examples=["https://shop.example.com/hooks/csai"])
    states: list[str] = Field(description="The ends that it is told of.", examples=[["FAILURE"]])
    category: str | None = Field(description="Of tasks of this category alone.", examples=[None])
    name: str | None = Field(description="Of tasks of this name alone.", examples=["email.send_email"])
    tenant: str | None = Field(description="Of this tenant's tasks alone.", examples=[None])
    created_at: CreatedAt
    disabled_at: str | None = Field(description="Since when it is told nothing.", examples=[None])
    disabled_why: str | None = Field(description="Why.", examples=[None])
    failing_since: str | None = Field(description="Since when it takes nothing.", examples=[None])
    seen_to: str = Field(description="What ended until then was looked at for it.", examples=[NOON])
    old_secret_until: str | None = Field(description="Until then the secret before signs, too.", examples=[None])


class MadeWebhook(Webhook):
    """An endpoint that was made."""

    secret: str = Field(description="What its messages are signed with, in this answer alone.", examples=["whsec_…"])


class TestedWebhook(BaseModel):
    """What became of a test."""

    delivered: bool = Field(description="Whether it was taken.", examples=[True])
    status: int | None = Field(description="What the endpoint answered.", examples=[200])
    error: str | None = Field(description="Why it was not taken.", examples=[None])


class Actor(BaseModel):
    """Who did something."""

    kind: str = Field(description="`user`, `key` or the like.", examples=["key"])
    name: str = Field(description="Which.", examples=["billing"])


class Target(BaseModel):
    """What something was done to."""

    kind: str = Field(description="Of what kind.", examples=["queue"])
    id: str | None = Field(description="Which.", examples=["email"])


class AuditedAct(BaseModel):
    """An act that was written down."""

    id: int = Field(description="Its number.", examples=[17])
    at: str = Field(description="When.", examples=[NOON])
    actor: Actor = Field(description="Who.")
    act: str = Field(description="What.", examples=["queue.purge"])
    target: Target | None = Field(description="To what.")
    count: int | None = Field(description="To how many.", examples=[12])
    details: dict[str, Any] | None = Field(description="What else is to be known, secrets masked.", examples=[None])
    origin: str = Field(description="`api`, `cli` or `dashboard`.", examples=["api"])
    outcome: str = Field(description="`done` or `failed`.", examples=["done"])
