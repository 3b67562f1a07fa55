"""What goes wrong on purpose, and may be changed while the simulator runs."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]

CreateFault = Literal[
    "late", "cut", "drip", "error_made", "error", "html", "too_many", "too_many_retry_after", "reset_made", "reset"
]
"""What happens to a create. Where the call is made: `late` (201 after `late_seconds`), `cut` (half of the 201), `drip`
(a 201 byte by byte), `error_made` (500) and `reset_made` (the connection is reset). Where it is not: `error` (500),
`html` (502 with a page), `too_many` and `too_many_retry_after` (429) and `reset`."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Faults:
    """All off unless set. Times are the machine's seconds, whatever the speed of phones; shares are from 0 to 1.

    Attributes:
        lose, duplicate, reorder: the share of callbacks that are never sent; that are sent again, `copies` times; that
            are sent after the next one of their call.
        copies: how often a duplicate comes again.
        delay, delay_spread: seconds by which callbacks come late: this, and up to that more.
        reverse: the callbacks of a call come after its end, the last first.
        only_completed: no callback comes but the last one.
        two_terminals: after the last callback, another says `failed`.
        british_spelling: callbacks say `cancelled`.
        unknown_status: after `ringing` comes a callback with a status that nobody knows, and an unknown field.
        wrong_account: callbacks name another account.
        no_sequence, no_duration: callbacks have no SequenceNumber; no CallDuration.
        detection_late: what machine detection found comes after the end.
        signature: how webhooks are signed.
        create: what happens to creates.
        create_share: to which share of them.
        create_times: to how many at most; None: all.
        late_seconds: how late `late` is, and how long `drip` lasts.
        retry_after: the seconds that `too_many_retry_after` names.
        problem_details: refusals are problems (RFC 9457).
        login_refused: every request is refused with 401.
        reads_status: every fetch and list is refused with this HTTP status; 0: none.
        list_lag: seconds for which a new call is in no list.
        fetch_missing: seconds for which a new call is not found.
        queue_seconds: how much longer each new call waits in Twilio's queue.

    Raises:
        ValueError: a name or a value is not acceptable.
    """

    lose: Share = 0.0
    duplicate: Share = 0.0
    copies: Annotated[int, Field(ge=1, le=100)] = 1
    reorder: Share = 0.0
    delay: Seconds = 0.0
    delay_spread: Seconds = 0.0
    reverse: bool = False
    only_completed: bool = False
    two_terminals: bool = False
    british_spelling: bool = False
    unknown_status: bool = False
    wrong_account: bool = False
    no_sequence: bool = False
    no_duration: bool = False
    detection_late: bool = False
    signature: Literal["right", "wrong", "none"] = "right"
    create: CreateFault | None = None
    create_share: Share = 1.0
    create_times: Annotated[int, Field(ge=0)] | None = None
    late_seconds: Seconds = 15.0
    retry_after: Annotated[int, Field(ge=0)] = 1
    problem_details: bool = False
    login_refused: bool = False
    reads_status: Annotated[int, Field(ge=0, le=599)] = 0
    list_lag: Seconds = 0.0
    fetch_missing: Seconds = 0.0
    queue_seconds: Seconds = 0.0
