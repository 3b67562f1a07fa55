"""Indexes for the migrations alone, those of `task_records` first: each `…_where` loads the dialect of its database."""

from sqlalchemy import Index, text

from records.call_tables import ATTEMPT_IS_LIVE, call_attempts
from records.deliveries import DOUBTFUL, deliveries
from records.effects import OPEN, effects
from records.task_list_rows import LONG, rows
from records.task_records import FAILED, columns

INDEXES = (
    Index("ix_task_records_created_at", columns.created_at, columns.id),
    Index("ix_task_records_state", columns.state, columns.created_at),
    Index(
        "ix_task_records_finished_at",
        columns.finished_at,
        sqlite_where=columns.finished_at.is_not(None),
        postgresql_where=columns.finished_at.is_not(None),
    ),
    Index("ix_task_records_failed", columns.finished_at, columns.id, sqlite_where=FAILED, postgresql_where=FAILED),
    Index(
        "ix_task_records_relay_at",
        columns.relay_at,
        sqlite_where=columns.relay_at.is_not(None),
        postgresql_where=columns.relay_at.is_not(None),
    ),
    Index(
        "ix_task_records_expires_at",
        columns.expires_at,
        sqlite_where=columns.expires_at.is_not(None) & columns.finished_at.is_(None),
        postgresql_where=columns.expires_at.is_not(None) & columns.finished_at.is_(None),
    ),
    Index(
        "ix_task_records_parent_id",
        columns.parent_id,
        columns.finished_at,
        sqlite_where=columns.parent_id.is_not(None),
        postgresql_where=columns.parent_id.is_not(None),
    ),
    Index(
        "ix_task_records_group_id",
        columns.group_id,
        sqlite_where=columns.group_id.is_not(None),
        postgresql_where=columns.group_id.is_not(None),
    ),
    Index(
        "ix_task_records_error_fingerprint",
        columns.error_fingerprint,
        sqlite_where=columns.error_fingerprint.is_not(None),
        postgresql_where=columns.error_fingerprint.is_not(None),
    ),
    Index(
        "ix_task_records_held",
        columns.hold,
        columns.priority,
        columns.turn,
        columns.created_at,
        columns.id,
        sqlite_where=text("held = 1"),
        postgresql_where=text("held"),
    ),
    Index(
        "ix_task_records_lane",
        columns.hold,
        columns.priority,
        columns.tenant,
        columns.turn,
        sqlite_where=text("held = 1"),
        postgresql_where=text("held"),
    ),
    Index(
        "ix_task_records_released",
        columns.hold,
        sqlite_where=text("hold IS NOT NULL AND held = 0"),
        postgresql_where=text("hold IS NOT NULL AND NOT held"),
    ),
    Index(
        "ix_task_records_tenant",
        columns.queue,
        columns.tenant,
        columns.due_at,
        sqlite_where=text("tenant IS NOT NULL AND finished_at IS NULL AND held = 0"),
        postgresql_where=text("tenant IS NOT NULL AND finished_at IS NULL AND NOT held"),
    ),
    Index("ix_effects_open", effects.c.state, effects.c.intended_at, sqlite_where=OPEN, postgresql_where=OPEN),
    Index(
        "ix_deliveries_doubt",
        deliveries.c.state,
        deliveries.c.handed_at,
        sqlite_where=DOUBTFUL,
        postgresql_where=DOUBTFUL,
    ),
    Index(
        "ix_deliveries_put_off",
        deliveries.c.task_id,
        sqlite_where=deliveries.c.next_attempt_at.is_not(None),
        postgresql_where=deliveries.c.next_attempt_at.is_not(None),
    ),
    Index(
        "uq_call_attempts_live",
        call_attempts.c.account,
        call_attempts.c.to_number,
        unique=True,
        sqlite_where=ATTEMPT_IS_LIVE,
        postgresql_where=ATTEMPT_IS_LIVE,
    ),
    Index(
        "ix_call_attempts_live",
        call_attempts.c.campaign_id,
        sqlite_where=ATTEMPT_IS_LIVE,
        postgresql_where=ATTEMPT_IS_LIVE,
    ),
    Index(
        "ix_call_attempts_look_at",
        call_attempts.c.look_at,
        sqlite_where=ATTEMPT_IS_LIVE,
        postgresql_where=ATTEMPT_IS_LIVE,
    ),
    Index(
        "ix_call_attempts_doubt",
        call_attempts.c.sending_at,
        sqlite_where=call_attempts.c.state.in_(["unknown", "ambiguous"]),
        postgresql_where=call_attempts.c.state.in_(["unknown", "ambiguous"]),
    ),
    Index("ix_task_lists_long", rows.finished, sqlite_where=text(LONG), postgresql_where=text(LONG)),
    *(
        Index(
            f"ix_task_lists_{column.name}",
            column,
            rows.state,
            rows.number,
            sqlite_where=column.is_not(None),
            postgresql_where=column.is_not(None),
        )
        for column in (rows.tenant, rows.parent, rows.worker, rows.error_type, rows.fingerprint)
    ),
)
