"""Files in the storage that schedules name: each is kept as an upload of the schedule's own, as long as it names it.

The hourly clean-up puts off the end of those uploads, and lets each task keep its files that a schedule made and that
waits. So a schedule that is removed leaves nothing, and takes no file from what it has submitted.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from config.log_setup import get_logger
from config.settings import settings
from processors.errors import ArtefactGone, InvalidArgument, ServiceUnavailable, TransientError, WorkError
from records.uploads import SCHEDULED, Upload, reference
from services import uploads
from services.wiring import parts

logger = get_logger()


def keep(schedule: str, arguments: Mapping[str, Any], tenant: str | None) -> None:
    """Keep the files in the storage that a schedule's arguments name.

    Raises:
        InvalidArgument: one is gone.
        ServiceUnavailable: the storage does not answer.
    """
    for uri in _named(arguments):
        try:
            _keep(schedule, uri, tenant)
        except ArtefactGone as error:
            raise InvalidArgument(
                f"kwargs: there is no file at {uri}: it never was, or its time is over; upload it again."
            ) from error
        except TransientError as error:
            raise ServiceUnavailable(str(error)) from error


def renew() -> None:
    """Keep for longer what schedules name, and let what they have submitted and waits keep its files by itself."""
    wanted = {(one.name, uri): one.tenant for one in parts().schedules.listed() for uri in _named(_arguments(one))}
    there = {(one.name, one.address): one.id for one in parts().uploads.scheduled()}  # of each the newest
    parts().uploads.renew([there[one] for one in there.keys() & wanted.keys()], _seconds())
    for (schedule, uri), tenant in wanted.items():
        if (schedule, uri) not in there:  # a schedule of the settings
            try:
                _keep(schedule, uri, tenant)
            except (WorkError, OSError) as error:
                logger.warning("schedule_without_file", schedule=schedule, file=uri, error=str(error))
    names, after = {f"schedule:{schedule}" for schedule, _ in there}, ""
    while names and (page := parts().tasks.unfinished_of(sorted(names), after)):
        for task in page:
            uploads.keep_for(task.id, _arguments(task))
        after = page[-1].id


def _keep(schedule: str, uri: str, tenant: str | None) -> None:
    """Refer to a file by an upload of its own; a kill in between leaves one that ends by itself."""
    storage = parts().storage
    upload = Upload(id=uuid4().hex, address=uri, name=schedule, type="", bytes=storage.size(uri), tenant=tenant)
    parts().uploads.arriving(upload)
    storage.refer(uri, reference(upload.id))
    parts().uploads.kept(upload.id, _seconds(), SCHEDULED)


def _named(arguments: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(uri for _, uri in uploads.stored_in(arguments)))


def _arguments(one: Any) -> dict[str, Any]:
    return {"args": one.args, "kwargs": one.kwargs}


def _seconds() -> float:
    return settings.keep_uploads_hours * uploads.HOUR
