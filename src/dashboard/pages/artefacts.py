"""Files that tasks made and files that came over HTTP: to be saved, or played and shown in a page of ours."""

import re

from starlette.exceptions import HTTPException
from starlette.responses import Response

from dashboard.rendering import HEADERS
from dashboard.visits import Pages, Visit
from processors.errors import ArtefactGone, ServiceUnavailable, TransientError
from services.wiring import parts
from web import downloads
from web.ranges import Unsatisfiable

SHA256 = re.compile("[0-9a-f]{64}")
LONGEST_NAME = 2_000
LONGEST_TYPE = 100

pages = Pages()


@pages.get("/artefacts/{sha256}", "read")
def artefact(visit: Visit) -> Response:
    """Return the bytes of an artefact, or the range of them that is asked for."""
    sha256, name, kind = visit.part("sha256"), visit.asked("name")[:LONGEST_NAME], visit.asked("type")[:LONGEST_TYPE]
    if not SHA256.fullmatch(sha256):
        raise HTTPException(404, "There is no such file.")
    try:
        answer = downloads.artefact(visit.request, parts().storage, sha256, name, kind)
    except ArtefactGone as error:
        raise HTTPException(404, "The file is gone: it went with the last task that had it.") from error
    except Unsatisfiable as error:
        raise HTTPException(416, "The file has no byte in that range.") from error
    except TransientError as error:
        raise ServiceUnavailable(str(error)) from error
    answer.headers.update(HEADERS)
    return answer
