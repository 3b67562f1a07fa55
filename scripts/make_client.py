"""Writes the methods of `src/csai_client.py` from the API's own document; `--check` tells whether they are so."""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "src" / "csai_client.py"
MARK = "# --- Written by scripts/make_client.py from the API's document; what is below is not edited ---\n"
KINDS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
TEXT = "string"
JSON_TYPES = {"bool": "boolean", "int": "integer", "str": TEXT, "list": "array", "dict": "object"}
SUBMITS = "/api/v1/submit"
BY_HAND = frozenset(
    {
        "submit",
        "submit_many",
        "get_task_result",
        "get_task_status",
        "get_contact",
        "get_vectors",
        "receive_bounce",
        "get_artefact",
    }
)
KEY = "idempotency_key"
COUNT = "count"
"""What confirms an act on many; the facade asks nobody."""

INDENT = "    "
WIDTH = 120


def main() -> None:
    """Write the client, or tell that it is not as the document says."""
    written = CLIENT.read_text()
    made = formatted(written.partition(MARK)[0] + MARK + "".join(lines_of(document())))
    if "--check" not in sys.argv:
        CLIENT.write_text(made)
    elif made != written:
        sys.exit(f"{CLIENT.relative_to(ROOT)} is not what the API's document says: run python scripts/make_client.py.")


def formatted(code: str) -> str:
    """Return code as everything here is formatted."""
    ruff = Path(sys.executable).with_name("ruff")
    command = [str(ruff), "format", "--stdin-filename", str(CLIENT), "-"]
    return subprocess.run(command, input=code, capture_output=True, text=True, check=True, timeout=60).stdout


def document() -> dict[str, Any]:
    """Return the API's document."""
    from api.app import create_app  # noqa: PLC0415 - needs settings, which the tests make first
    from config.settings import ensure_folders, settings  # noqa: PLC0415

    ensure_folders(settings)
    return create_app(settings).openapi()


def lines_of(document: dict[str, Any]) -> Iterator[str]:
    """Yield the class with a method for each operation that has the name of one of the facade's methods."""
    from services.celery_service import CeleryService  # noqa: PLC0415

    yield "\n\nclass CsaiClient(Calls):\n"
    yield f'{INDENT}"""The service over HTTP; see the module."""\n'
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            name = operation.get("operationId", "")
            facade = getattr(CeleryService, name, None)
            if facade is not None and name not in BY_HAND:
                yield "\n" + method(name, verb, path, operation, document, inspect.signature(facade))


def method(
    name: str, verb: str, path: str, operation: dict[str, Any], document: dict[str, Any], facade: inspect.Signature
) -> str:
    """Return one method."""
    in_path = [one for one in operation.get("parameters", []) if one["in"] == "path"]
    in_query = [one for one in operation.get("parameters", []) if one["in"] == "query"]
    body = body_schema(operation, document)
    fields = body.get("properties", {})
    parameters = {one["name"]: parameter(one["schema"], required=one["required"]) for one in in_path + in_query}
    parameters |= {one: parameter(schema, required=one in body.get("required", [])) for one, schema in fields.items()}
    if COUNT in fields and COUNT not in facade.parameters:
        parameters[COUNT] = ": int = EVERY"
    with_key = KEY in facade.parameters
    parameters |= {KEY: ": str | None = None"} if with_key else {}
    options = {one for one in fields if one not in facade.parameters} if path.startswith(SUBMITS) else set[str]()
    ordered = in_order({one: kind for one, kind in parameters.items() if one not in options}, facade)
    signature = ", ".join(["self", *ordered, *([f"**options: Unpack[{options_of(name)}]"] if options else [])])
    place = path.removeprefix("/api/v1")
    for one in in_path:
        place = place.replace(f"{{{one['name']}:path}}", f"{{{one['name']}}}").replace(
            f"{{{one['name']}}}", f"{{_place({one['name']})}}"
        )
    shown = f'f"{place}"' if in_path else f'"{place}"'
    query = ", ".join(f"{one['name']}={one['name']}" for one in in_query)
    sent = ", ".join(f"{one}={one}" for one in fields if one not in options)
    returns = (
        facade.return_annotation if isinstance(facade.return_annotation, str) else _spelled(facade.return_annotation)
    )
    accepted = "202" in operation["responses"]
    text = f"{INDENT}def {name}({signature}) -> {returns}:\n"
    text += docstring(operation)
    if accepted and path.startswith(SUBMITS):
        known = f'_known("{name}", {options_of(name)}, options)'
        return text + f"{INDENT * 2}return self._submit({shown}, _given({sent}) | {known})\n"
    arguments = [f'"{verb.upper()}"', shown]
    arguments += [f"_given({query})"] if query else ["None"] if sent else []
    arguments += [f"_given({sent})"] if sent else []
    arguments += [f"once=_key({KEY})"] if with_key else []
    call = f"self._request({', '.join(arguments)})"
    if returns == "None":
        return text + f"{INDENT * 2}{call}\n"
    key = None if returns.startswith("dict") else only_key(operation, document)
    check_type(name, returns, key, operation, document)
    unwrapped = "" if key is None else f'["{key}"]'
    return text + f"{INDENT * 2}return {call}{unwrapped}\n"


def options_of(name: str) -> str:
    """Return what the facade's method calls its options."""
    from services.celery_service import CeleryService  # noqa: PLC0415

    (kind,) = get_args(get_type_hints(getattr(CeleryService, name))["options"])
    return kind.__name__


def body_schema(operation: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what an operation takes."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return resolved(content.get("schema", {}), document)


def resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return a schema for a reference to it; of several, the one that is not null."""
    for one in schema.get("anyOf", []):
        if one.get("type") != "null":
            return resolved(one, document)
    if "$ref" in schema:
        return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def parameter(schema: dict[str, Any], *, required: bool) -> str:
    """Return type and default of a parameter, as they stand behind its name."""
    kind = kind_of(schema)
    if required:
        return f": {kind}"
    default = schema.get("default")
    return f": {kind if default is not None or 'None' in kind else f'{kind} | None'} = {default!r}"


def kind_of(schema: dict[str, Any]) -> str:
    """Return the type of Python for a schema."""
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(kind_of(one) for one in schema["anyOf"]))
    kind = schema.get("type")
    if kind == "array":
        return f"Sequence[{kind_of(schema.get('items', {}))}]"
    if kind == "object":
        return "Mapping[str, Any]"
    return KINDS.get(str(kind), "Any")


def in_order(parameters: dict[str, str], facade: inspect.Signature) -> list[str]:
    """Return the parameters as the facade has them: its own first, those by keyword alone behind a star."""
    known = {one: kind for one, kind in facade.parameters.items() if one in parameters}
    positional = [one for one, kind in known.items() if kind.kind is not kind.KEYWORD_ONLY]
    by_keyword = [one for one in parameters if one not in positional]
    return [f"{one}{parameters[one]}" for one in positional] + (
        ["*", *(f"{one}{parameters[one]}" for one in by_keyword)] if by_keyword else []
    )


def only_key(operation: dict[str, Any], document: dict[str, Any]) -> str | None:
    """Return the member of an answer that the method returns: the only one, or `items`; None where it is no JSON."""
    names = list(answer_schema(operation, document).get("properties", {}))
    return names[0] if len(names) == 1 else "items" if names else None


def check_type(name: str, returns: str, key: str | None, operation: dict[str, Any], document: dict[str, Any]) -> None:
    """Stop where the document says another type than the method returns."""
    answer = answer_schema(operation, document)
    told = (answer if key is None else answer["properties"].get(key, {})).get("type", TEXT)
    if told != JSON_TYPES.get(returns.partition("[")[0]):
        sys.exit(f"{name}: the facade returns {returns}, and the document says {key or 'the answer'} is {told!r}.")


def answer_schema(operation: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what an operation answers; an empty one where that is no JSON."""
    answer = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
    return resolved(answer.get("content", {}).get("application/json", {}).get("schema", {}), document)


def docstring(operation: dict[str, Any]) -> str:
    """Return what a method does, in the document's words."""
    is_submit = operation["tags"] == ["submit"]
    words = " ".join(str(operation["summary" if is_submit else "description"]).split())
    for mark in ("; ", ": "):
        if len(words) > WIDTH - 2 * len(INDENT) - len('""""""'):  # the first line is a sentence of its own
            words = words.partition(mark)[0].rstrip(".") + "."
    return f'{INDENT * 2}"""{words}"""\n'


def _spelled(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


if __name__ == "__main__":
    main()
