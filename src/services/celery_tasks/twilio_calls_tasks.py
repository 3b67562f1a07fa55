"""Phone calls: single ones, campaigns as parents with one step, and what is asked of calls that were made."""

from __future__ import annotations  # the modules that these name are imported on first use

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from config.settings import settings
from processors.errors import InvalidArgument, PermanentError, Postponed, ServiceUnavailable
from records.task_records import TaskRecord
from services.celery_app import celery_app
from services.celery_tasks.base import ParentTask, RecordedTask, recorded_task
from services.on_first_use import on_first_use

if TYPE_CHECKING:
    from processors import call_questions, calls, campaigns
    from processors.call_interfaces import CallRow
    from services import call_lines, call_retries
    from services import campaigns as ending
else:
    call_questions, calls, campaigns = on_first_use("processors", "call_questions", "calls", "campaigns")
    call_lines, call_retries = on_first_use("services", "call_lines", "call_retries")
    ending = on_first_use("services", "campaigns")

SLEEP_SECONDS = 0.25
AWAY_SECONDS = 2.0


@recorded_task("twilio_calls.queue_outbound_call", "processors.calls:QueueOutboundCall")
def queue_outbound_call(task: RecordedTask, request: calls.QueueOutboundCall) -> calls.CallPlaced:
    """Make one call."""
    return calls.place(request, _tools(task, request), task.report)


@recorded_task("twilio_calls.schedule_call", "processors.calls:ScheduleCall")
def schedule_call(task: RecordedTask, request: calls.ScheduleCall) -> calls.ScheduledCallPlaced:
    """Make one call that was scheduled."""
    placed = calls.place(request, _tools(task, request), task.report)
    run = task.current
    return calls.ScheduledCallPlaced(
        **placed.model_dump(), scheduled_time=request.schedule_time or run.due_at.isoformat(), call_task_id=run.id
    )


@recorded_task("twilio_calls.retry_failed_call", "processors.calls:RetryFailedCall")
def retry_failed_call(task: RecordedTask, request: calls.RetryFailedCall) -> calls.RetriedCallPlaced:
    """Make one call in place of one that failed."""
    tools, run = _tools(task, request), task.current
    former = call_retries.checked_original(request, run.id)

    def grant(call: CallRow) -> Any:
        """Ask for an attempt, unless another repetition has come before since: each is known here before it asks."""
        call_retries.checked_original(request, run.id)
        return tools.grant(call)

    placed = calls.place(request, replace(tools, grant=grant), task.report, retry_of=request.original_task_id)
    return calls.RetriedCallPlaced(
        **placed.model_dump(),
        original_task_id=request.original_task_id,
        retry_task_id=run.id,
        retry_delay=request.retry_delay,
        retry_attempt=former.retries,
        original_found=former.found,
    )


@recorded_task("twilio_calls.run_campaign", "processors.campaigns:RunCampaign")
def run_campaign(task: RecordedTask, request: campaigns.RunCampaign) -> dict[str, Any]:
    """Make the calls of a campaign for a while; then others have the slot, until every member is final."""
    record = task.parts.tasks.read(request.campaign_id)
    if record is None:
        return {"campaign_id": request.campaign_id}
    plan = call_lines.with_usual(campaigns.QueueBulkCalls.model_validate(record.kwargs))
    try:
        tools = _campaign_tools(task, request.campaign_id, plan)
    except (PermanentError, InvalidArgument) as error:
        if task.parts.calls.last_position(request.campaign_id) < 0:
            raise
        # A setting that went away costs no member of a campaign that has begun.
        task.parts.task_pauses.pause(request.campaign_id, str(error))
        raise Postponed(str(error), AWAY_SECONDS) from error
    try:
        campaigns.CampaignStep(plan, tools, task.report).run()
    except ServiceUnavailable as error:  # it is a step's only fault that its calls take longer than its retries would
        raise Postponed(str(error), AWAY_SECONDS) from error
    return {"campaign_id": request.campaign_id}


@recorded_task("twilio_calls.end_campaign", "processors.campaigns:EndCampaign")
def end_campaign(task: RecordedTask, request: campaigns.EndCampaign) -> dict[str, Any]:
    """End those calls of a cancelled campaign that ring or wait; on request those that go on, too."""
    return ending.end_calls(request, task.report)


@recorded_task("twilio_calls.end_call", "processors.call_questions:EndCall")
def end_call(task: RecordedTask, request: call_questions.EndCall) -> call_questions.CallEnded:
    """End a call."""
    return call_questions.end_call(request.call_sid, task.parts.voice, task.parts.calls)


@recorded_task("twilio_calls.get_call_status", "processors.call_questions:GetCallStatus")
def get_call_status(task: RecordedTask, request: call_questions.GetCallStatus) -> call_questions.CallStatus:
    """Tell how a call stands."""
    parts = task.parts
    told = call_questions.call_status(request.call_sid, lambda: parts.voice, parts.calls)
    metadata = call_lines.metadata_of(request.call_sid)
    return told if metadata is None else told.model_copy(update={"call_info": told.call_info | {"metadata": metadata}})


@recorded_task("twilio_calls.cleanup_stale_calls", "processors.call_questions:CleanupStaleCalls")
def cleanup_stale_calls(task: RecordedTask, request: call_questions.CleanupStaleCalls) -> Any:
    """Ask the provider about old calls that are not known to have ended, and note what it says."""
    return call_questions.cleanup_stale_calls(
        request, lambda: call_lines.line_of(task.current.id), task.parts.calls, task.report
    )


@recorded_task("monitoring.follow_calls", "processors.results:Request", queue="twilio_calls")
def follow_calls(task: RecordedTask, request: Any) -> dict[str, int]:  # noqa: ARG001 - it has no fields
    """Ask the provider what became of calls whose time to look has come."""
    return {"looked_at": call_questions.follow_due(call_lines.line_of(task.current.id), task.parts.calls, task.report)}


class QueueBulkCallsParent(ParentTask):
    """A campaign: moved by the rows of its members."""

    name = "twilio_calls.queue_bulk_calls"
    category = "twilio_calls"

    def result_of(self, record: TaskRecord, tally: Mapping[str, int], seconds: float) -> campaigns.CampaignEnded:
        """Return what the members' rows add up to."""
        return ending.result_of(record, tally, seconds)

    def settle(self, record: TaskRecord, until: float) -> bool:
        """Cancel what waits where the campaign was cancelled, and wait for the calls that are live."""
        return ending.settle(record, until)


celery_app.register_task(QueueBulkCallsParent())


def _sleep(task: RecordedTask) -> Callable[[float], None]:
    def sleep(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, SLEEP_SECONDS))
            task.check_cancelled()

    return sleep


def _tools(task: RecordedTask, request: calls.QueueOutboundCall) -> calls.CallTools:
    run = task.current
    line = call_lines.line_of(run.id)
    call_lines.check_content(request)

    def grant(call: CallRow) -> Any:
        """Ask for an attempt, unless the task is a replay, and the call has been repeated since."""
        call_retries.check_replay(run.id)
        return call_lines.grant(call, line)

    return calls.CallTools(
        call_id=run.id,
        from_number=call_lines.from_number_of(request),
        line=line,
        calls=task.parts.calls,
        grant=grant,
        content=lambda call, attempt_id: call_lines.order_of(request, call, attempt_id),
        sleep=_sleep(task),
        last_attempt=run.last_attempt(),
        strict=settings.call_number_check == "plan",
        warnings=call_lines.warnings(),
    )


def _campaign_tools(task: RecordedTask, campaign_id: str, plan: campaigns.QueueBulkCalls) -> campaigns.CampaignTools:
    parts, line = task.parts, call_lines.line_of(task.current.id)
    call_lines.check_content(plan)
    return campaigns.CampaignTools(
        campaign_id=campaign_id,
        from_number=call_lines.from_number_of(plan),
        line=line,
        calls=parts.calls,
        members=parts.members,
        opted_out=parts.opt_outs.among,
        grant=lambda call: call_lines.grant(call, line, plan),
        content=lambda call, attempt_id: call_lines.order_of(plan, call, attempt_id),
        paused=lambda: parts.task_pauses.paused(campaign_id),
        pause=lambda why: parts.task_pauses.pause(campaign_id, why),
        strict=settings.call_number_check == "plan",
        sleep=_sleep(task),
    )
