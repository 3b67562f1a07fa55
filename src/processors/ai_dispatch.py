"""AI methods by the name of their kind: the same work, the same result, told with which method it was."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from processors.ai_requests import ProcessAiRequest
from processors.envelopes import Envelope
from processors.results import Request, Result

ENVELOPE = tuple(Envelope.model_fields.keys() - {"schema_name"})


class AiRequestDone(Result):
    """What the method returned, and whether it fulfils the schema that was asked for, after how many repairs."""

    request_type: str
    output: dict[str, Any]
    output_schema_valid: bool | None = None
    repairs: int = 0


class AiRequestProcessed(Envelope):
    """The result of a method, by the name of its kind."""

    schema_name: str = Field(default="csai.ai_request/1", serialization_alias="schema")
    input: dict[str, Any]
    result: AiRequestDone


def process_ai_request(
    request: ProcessAiRequest, methods: Mapping[str, Callable[[Any], Envelope]]
) -> AiRequestProcessed:
    """Do what a method does.

    Args:
        request: names the method, with its arguments.
        methods: each by the name of its kind; takes its own request.

    Raises:
        Exception: as raised by the method.
    """
    inner: Request = request.inner()
    told = methods[request.request_type](inner).as_json()
    output: dict[str, Any] = told["result"]
    shared = {name: told[name] for name in ENVELOPE}
    return AiRequestProcessed.model_validate(
        shared
        | {
            "input": told["input"],
            "result": AiRequestDone(
                request_type=request.request_type,
                output=output,
                output_schema_valid=output.get("output_schema_valid"),
                repairs=output.get("repairs", 0),
            ),
        }
    )
