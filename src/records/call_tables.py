"""The tables of phone calls: what is wanted, the orders to a provider, what it told, and what keeps calls back."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, UniqueConstraint

from records.columns import Instant, Json, PlainText, metadata

LIVE = ("sending", "unknown", "placed")
"""States of an attempt for which there is a call, or may be one."""

OPEN = ("waiting", "dialing")

calls = Table(
    "calls",
    metadata,
    Column("id", String(255), primary_key=True),  # the task's; of a member <campaign>:<position>
    Column("campaign_id", String(255)),
    Column("position", Integer),
    Column("to_number", String(16), nullable=False),
    Column("from_number", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", PlainText),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Instant),
    Column("outcome", String(16)),  # of the last attempt
    Column("answered_by", String(32)),
    Column("heard", Json),  # keys and speech, in their order
    Column("retry_of", String(255)),  # the call that this one was to repeat
    Column("created_at", Instant, nullable=False),
    Column("ended_at", Instant),
)

Index("ix_calls_campaign_id", calls.c.campaign_id, calls.c.state, calls.c.next_attempt_at)
Index("ix_calls_position", calls.c.campaign_id, calls.c.position)
Index("ix_calls_to_number", calls.c.to_number)
Index("ix_calls_retry_of", calls.c.retry_of)
Index("ix_calls_ended_at", calls.c.ended_at)

call_attempts = Table(
    "call_attempts",
    metadata,
    Column("id", String(32), primary_key=True),  # random: it stands in addresses that the provider is given
    Column("call_id", String(255), nullable=False),
    Column("number", Integer, nullable=False),  # 1, 2, … of its call
    Column("campaign_id", String(255)),
    Column("account", String(64), nullable=False),
    Column("to_number", String(16), nullable=False),
    Column("from_number", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("sending_at", Instant, nullable=False),
    Column("doubt_until", Instant, nullable=False),  # before it, the order itself may still be going on
    Column("look_at", Instant),  # when the provider is asked what became of it
    Column("looks", Integer, nullable=False),
    Column("hang_up_at", Instant),  # a call that goes on for longer is ended
    Column("call_sid", String(64), unique=True),
    Column("status", String(16)),
    Column("sequence", Integer),
    Column("answered_by", String(32)),
    Column("duration_seconds", Integer),
    Column("sip_code", Integer),
    Column("error_code", Integer),
    Column("error", PlainText),
    Column("price", String(32)),
    Column("price_unit", String(8)),
    Column("queue_seconds", Float),
    Column("placed_at", Instant),
    Column("ending_at", Instant),  # when somebody here asked for its end
    Column("unsaid", String(16)),  # why whoever answered was told nothing: opted_out, cancelled
    Column("ended_at", Instant),
    UniqueConstraint("call_id", "number", name="uq_call_attempts_number"),
)

ATTEMPT_IS_LIVE = call_attempts.c.state.in_(LIVE)

Index("ix_call_attempts_to_number", call_attempts.c.to_number, call_attempts.c.sending_at)
Index("ix_call_attempts_account", call_attempts.c.account, call_attempts.c.sending_at)
Index("ix_call_attempts_campaign_id", call_attempts.c.campaign_id, call_attempts.c.sending_at)

call_events = Table(
    "call_events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("dedupe_key", String(255), nullable=False, unique=True),
    Column("token", String(64), unique=True),  # the provider's own name for the message, where it gave one
    Column("attempt_id", String(32)),
    Column("call_sid", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # status, machine, recording, answer, heard
    Column("sequence", Integer),
    Column("status", String(32)),
    Column("raw", Json, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("applied", Boolean, nullable=False),
    Column("why_not", PlainText),
)

Index("ix_call_events_call_sid", call_events.c.call_sid, call_events.c.id)
Index("ix_call_events_received_at", call_events.c.received_at)

call_gates = Table(
    "call_gates",
    metadata,
    Column("key", String(300), primary_key=True),  # account:<sid>, campaign:<id>, or halted:<sid>:+<calling code>
    Column("next_free_at", Instant, nullable=False),
    Column("text", PlainText),  # what was said where it is closed for longer than its pace
)

opt_outs = Table(
    "opt_outs",
    metadata,
    Column("to_number", String(16), primary_key=True),
    Column("source", String(32), nullable=False),  # who said so: keypress, manual, …
    Column("call_sid", String(64)),
    Column("text", PlainText, nullable=False),
    Column("created_at", Instant, nullable=False),
)
