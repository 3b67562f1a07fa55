"""Submits over HTTP: a route for each method of the facade that submits, by its name, and one for tasks by theirs."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter, ValidationError

from api.bodies import body_of
from api.documents import Accepted, AcceptedMany, problems
from api.examples import EXAMPLES
from api.guards import CALLER, Guard, GuardedRoute, require
from api.idempotency import HEADER, SAME_TASK
from config.settings import settings
from processors.errors import InvalidArgument
from processors.results import sentence_of
from services import uploads
from services.access import Caller
from services.audit import record_act
from services.celery_service import celery_service
from services.facade_methods import BY_NAME, MANY_BY_NAME, OF_ALL_TENANTS, OPERATING, Method, methods
from services.file_roots import check_paths
from services.own_tasks import is_ours
from services.submission import MAX_ARGUMENT_BYTES
from web.task_answers import shown_status

LARGE = frozenset({"send_email", "send_bulk_emails", "queue_bulk_calls", "generate_embeddings", MANY_BY_NAME})
"""What has many items, or files among its arguments."""

MOST_BYTES = 6 * MAX_ARGUMENT_BYTES
"""Of any other body: the most arguments that are accepted, each character as an escape."""

REFUSALS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)

TASKS = "/api/v1/tasks/"


class SubmitRoute(GuardedRoute):
    """A route whose endpoint is called at once: FastAPI's way through dependencies took a tenth of a submit."""

    def answering(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what reads the body and submits, in a thread."""
        (read,) = (one.call for one in self.dependant.dependencies if one.call and not isinstance(one.call, Guard))

        async def answer(request: Request) -> Response:
            return await run_in_threadpool(self.endpoint, request, await read(request), request.scope[CALLER])

        return answer


router = APIRouter(prefix="/api/v1/submit", tags=["submit"], route_class=SubmitRoute)


def arguments_of(body: bytes, kind: TypeAdapter[dict[str, Any]], request: Request) -> dict[str, Any]:
    """Return the arguments of a submit, checked as far as their shapes go; the method checks the rest.

    Raises:
        InvalidArgument: the body is not what the method takes, a path lies outside of FILE_ROOTS, or a file that the
            storage should have is gone.
        ServiceUnavailable: the storage does not answer.
    """
    try:
        given = kind.validate_json(body)
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error
    check_paths(given)
    uploads.check_stored(given)
    key = request.headers.get(HEADER)
    if key is not None and given.setdefault("idempotency_key", key) != key:
        raise InvalidArgument(
            "idempotency_key: is given as a header and as an argument, and they differ; give one of them."
        )
    return given


def accepted(task_id: str) -> JSONResponse:
    """Return the answer to a submit; checking what it says would take another turn in a thread."""
    location = {"Location": f"{TASKS}{task_id}"}
    return JSONResponse({"task_id": task_id}, HTTPStatus.ACCEPTED, location)


def accepted_many(task_ids: list[str]) -> JSONResponse:
    """Return the answer to a submit of many tasks."""
    return JSONResponse({"task_ids": task_ids}, HTTPStatus.ACCEPTED)


def _bytes_of(method: str) -> int:
    return settings.api_max_body_mb * 1024**2 if method in LARGE else MOST_BYTES


def _submitting(method: Method) -> Callable[..., JSONResponse]:
    caller_of = require("operate" if method.name in OPERATING else "submit", tenants=method.name not in OF_ALL_TENANTS)
    body_bytes = body_of(_bytes_of(method.name))

    def submit(
        request: Request,
        body: Annotated[bytes, Depends(body_bytes)],
        caller: Annotated[Caller, caller_of],
    ) -> JSONResponse:
        arguments = arguments_of(body, method.body, request)
        _bind(arguments, method, caller)
        told = method.call(celery_service, arguments)
        is_one = isinstance(told, str)
        ids, of_each = ([told], [arguments]) if is_one else (told, arguments["many"])
        for task_id, its_arguments in zip(ids, of_each, strict=True):
            uploads.keep_for(task_id, its_arguments)
        count, details = None if is_one else len(ids), {"method": method.name}
        record_act(caller, "task.submit", target=("task", ids[0]), count=count, details=details, sure=False)
        return accepted(told) if is_one else accepted_many(ids)

    return submit


def _bind(arguments: dict[str, Any], method: Method, caller: Caller) -> None:
    """Make a submit its caller's tenant's, and let it name nothing that is beyond the caller.

    Raises:
        HTTPException: 403, where it is another tenant's, or takes by its name a task that has a method of its own.
        UnknownTask: it names a task of another tenant.
    """
    if caller.tenant is not None and arguments.setdefault("tenant", caller.tenant) != caller.tenant:
        raise HTTPException(HTTPStatus.FORBIDDEN, f"This key submits for the tenant {caller.tenant!r} alone.")
    by_any_name = caller.tenant is None and caller.may("operate")  # some act on all tenants' tasks
    if method.name in {BY_NAME, MANY_BY_NAME} and not by_any_name and is_ours(arguments["name"]):
        raise HTTPException(
            HTTPStatus.FORBIDDEN,
            "Tasks of the service by their names want a key with the scope operate that is not a tenant's key; "
            "see /submit/….",
        )
    original = arguments.get("original_task_id")
    if isinstance(original, str) and celery_service.get_task_status(original)["status"] != "UNKNOWN":
        shown_status(original, caller)


def _add(path: str, function: Callable[..., Any], method: Method) -> None:
    content = {"schema": method.body.json_schema(), "example": EXAMPLES[method.name]}
    router.add_api_route(
        path,
        function,
        methods=["POST"],
        status_code=HTTPStatus.ACCEPTED,
        operation_id=method.name,
        summary=method.summary,
        description=method.description,
        response_model=AcceptedMany if method.name == MANY_BY_NAME else Accepted,
        response_description="It is recorded, and will be done.",
        responses=problems(*REFUSALS),
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": content}},
            **SAME_TASK,
        },
    )


for _one in methods().values():
    _add("" if _one.name == BY_NAME else f"/{_one.name}", _submitting(_one), _one)
