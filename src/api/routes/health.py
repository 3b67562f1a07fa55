"""Whether the service lives and can take work: open to all and silent about details, or whole for who has a key."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Response

from api.answers import Alive, Ready
from api.guards import GuardedRoute, everybody, require
from processors.health import Health, check
from services import monitoring
from services.access import Caller
from services.wiring import parts

OPEN = [everybody()]
AWAY = {"description": "Without database or broker."}

router = APIRouter(tags=["health"], route_class=GuardedRoute)


@router.head("/livez", dependencies=OPEN, include_in_schema=False)  # load balancers ask for the headers alone
@router.get("/livez", dependencies=OPEN, operation_id="is_alive", response_model=Alive)
def live() -> dict[str, str]:
    """Tell that this process answers."""
    return {"status": "alive"}


@router.head("/readyz", dependencies=OPEN, include_in_schema=False)
@router.get(
    "/readyz",
    dependencies=OPEN,
    operation_id="is_ready",
    response_model=Ready,
    responses={503: {"model": Ready} | AWAY},
)
def ready(response: Response) -> dict[str, object]:
    """Tell whether submitted work would be recorded and published: database and broker."""
    found = monitoring.readiness(parts())
    if found.status != "healthy":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return {"status": found.status, "checks": {one.name: one.status for one in found.checks}}


@router.get("/api/v1/health", operation_id="get_health", responses={503: {"model": Health} | AWAY})
def health(_caller: Annotated[Caller, require("read")], response: Response) -> Health:
    """Tell of every part of the service whether it is well, with the reason; 503 without database or broker."""
    found = check(monitoring.probes(parts()), monitoring.version())
    if found.status == "unhealthy":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return found
