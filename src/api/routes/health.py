"""Whether the service lives and whether it can take work; open to everybody, and silent about details."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from api.guards import GuardedRoute, everybody
from services import monitoring
from services.wiring import parts

router = APIRouter(route_class=GuardedRoute, dependencies=[everybody()])

LOOKING = ["GET", "HEAD"]
"""Load balancers ask for the headers alone."""


@router.api_route("/livez", methods=LOOKING)
def live() -> dict[str, str]:
    """Tell that this process answers."""
    return {"status": "alive"}


@router.api_route("/readyz", methods=LOOKING)
def ready(response: Response) -> dict[str, object]:
    """Tell whether submitted work would be recorded and published: database and broker."""
    found = monitoring.readiness(parts())
    if found.status != "healthy":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return {"status": found.status, "checks": {one.name: one.status for one in found.checks}}
