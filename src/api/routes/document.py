"""The OpenAPI document of this API, for whoever may read anything."""

from typing import Annotated, Any

from fastapi import APIRouter, Request

from api.guards import GuardedRoute, require
from services.access import Caller

SHOWN: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"example": {"openapi": "3.1.0", "info": {}, "paths": {}}}}}
}

router = APIRouter(prefix="/api/v1", tags=["document"], route_class=GuardedRoute)


@router.get("/openapi.json", operation_id="get_document", responses=SHOWN)
def document(_caller: Annotated[Caller, require("read", tenants=True)], request: Request) -> dict[str, Any]:
    """Return what this API takes and answers (OpenAPI 3.1)."""
    return request.app.openapi()
