"""What Alembic runs: on the connection it is handed, or on the database of the settings for its own command."""

from alembic import context
from sqlalchemy import Connection

from records.ai_accounts import ai_accounts
from records.ai_answers import ai_answers
from records.ai_window import ai_calls
from records.api_keys import api_keys
from records.audit import audit
from records.cached_results import cached_results
from records.call_tables import call_attempts, call_events, call_gates, calls, opt_outs
from records.chords import chords
from records.columns import metadata
from records.contacts import contacts
from records.deliveries import deliveries
from records.digests import digest_entries, digests
from records.effects import effects
from records.email_events import email_events
from records.identity import identity
from records.inbox import inbox
from records.incidents import incidents
from records.leadership import leadership
from records.limits import limit_starts, limiters, limits, pauses
from records.mail_rests import mail_rests
from records.members import members
from records.people import people
from records.saved_views import saved_views
from records.schedules import schedules
from records.submit_keys import submit_keys
from records.suppressions import hard_bounces, suppressions
from records.task_indexes import INDEXES
from records.task_list_rows import task_list_marks, task_list_tags, task_lists, task_words_due
from records.task_logs import task_logs
from records.task_minutes import task_minutes
from records.task_pauses import task_pauses
from records.task_records import task_records
from records.uploads import uploads
from records.users import user_sessions, users
from records.webhook_bodies import webhook_bodies
from records.webhook_endpoints import webhook_endpoints
from records.workers import workers

TABLES = (
    ai_accounts,
    ai_answers,
    ai_calls,
    api_keys,
    audit,
    cached_results,
    call_attempts,
    call_events,
    call_gates,
    calls,
    chords,
    contacts,
    deliveries,
    digest_entries,
    digests,
    effects,
    email_events,
    hard_bounces,
    identity,
    inbox,
    incidents,
    leadership,
    limit_starts,
    limiters,
    limits,
    mail_rests,
    members,
    opt_outs,
    pauses,
    people,
    saved_views,
    schedules,
    submit_keys,
    suppressions,
    task_list_marks,
    task_list_tags,
    task_lists,
    task_logs,
    task_minutes,
    task_pauses,
    task_records,
    task_words_due,
    uploads,
    user_sessions,
    users,
    webhook_bodies,
    webhook_endpoints,
    workers,
)
KNOWN = (*TABLES, *INDEXES)


def run(connection: Connection) -> None:
    """Bring the schema to the wanted revision in one transaction, so that nobody sees another one."""
    # Alembic takes SQLite's transactions for ones that end at a change of the schema; those that are begun do not.
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


given = context.config.attributes.get("connection")
if given is None:
    raise SystemExit("Run `csai db upgrade`: it knows the database of the settings and takes the lock.")
run(given)
