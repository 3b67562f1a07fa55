"""Keys of the API over HTTP, for admins."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path

from api.answers import Items, Key, MadeKey
from api.guards import GuardedRoute, require
from services import api_keys
from services.access import Caller
from services.api_keys import NewKey

KeyId = Annotated[str, Path(description="The key's id, not the key.")]
Admin = Annotated[Caller, require("admin")]

router = APIRouter(prefix="/api/v1/keys", tags=["keys"], route_class=GuardedRoute)


@router.get("", operation_id="list_keys", response_model=Items[Key])
def keys(_caller: Admin) -> Any:
    """List the keys, those that ended too, the newest first; the admin key of the file is none of them."""
    return {"items": api_keys.listed()}


@router.post("", operation_id="add_key", response_model=MadeKey, status_code=HTTPStatus.CREATED)
def add(wanted: NewKey, caller: Admin) -> Any:
    """Make a key; it is in this answer alone."""
    return api_keys.add(caller, wanted)


@router.delete("/{key_id}", operation_id="revoke_key", response_model=Key)
def revoke(key_id: KeyId, caller: Admin) -> Any:
    """End a key: within 5 s it is refused by every process; one that has ended stays as it is."""
    return api_keys.revoke(caller, key_id)
