"""What AI methods take: refused at the call, in one sentence, where it cannot be right."""

import pytest
from pydantic import ValidationError

from processors.ai_dispatch import process_ai_request
from processors.ai_requests import GenerateEmbedding, ProcessAiRequest, ProcessChat
from processors.errors import InvalidArgument
from processors.results import sentence_of
from services.celery_service import celery_service
from services.wiring import parts

MESSAGE = {"role": "user", "content": "hi"}


def refusal(kind: type, **given: object) -> str:
    with pytest.raises(ValidationError) as error:
        kind.model_validate(given)
    assert len(sentence_of(error.value)) < 2000
    return sentence_of(error.value)


def nested(levels: int) -> dict:
    schema = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.generate_embedding(""), "text: must not be empty"),
        (lambda s: s.generate_embedding(" \n"), r"text: must not be empty; got ' \\n'"),
        (lambda s: s.generate_embedding("a\x00b"), "text: must be text without NUL"),
        (lambda s: s.generate_embedding("a\ud800b"), "text: must be text without NUL and lone surrogates; got"),
        (lambda s: s.generate_embedding("x" * 10_000_000), r"text: has 10000002 of the \d+ bytes of all arguments"),
        (lambda s: s.generate_embedding("x", model="two words"), "model: .*'two words'"),
        (lambda s: s.generate_embedding("x", dimensions=0), "dimensions: .*greater than or equal to 1; got 0"),
        (lambda s: s.process_chat(""), "message: must not be empty"),
        (lambda s: s.process_chat("x", [{"role": "boss", "content": "y"}]), "context.0.role: .*'system'.*got 'boss'"),
        (lambda s: s.process_chat("x", [{"role": "user"}]), "context.0.content: Field required"),
        (lambda s: s.process_chat("x", [{"role": "user", "content": ""}]), "context.0.content: must not be empty"),
        (lambda s: s.process_chat("x", response_schema={"type": "nothing"}), "response_schema: must be a JSON schema"),
        (
            lambda s: s.process_chat("x", response_schema={"title": "\ud800"}),
            "response_schema: .*no NUL",
        ),
        (
            lambda s: s.process_chat("x", response_schema={"minimum": float("nan")}),
            "response_schema: .*numbers that JSON has not",
        ),
        (lambda s: s.process_chat("x", response_schema=nested(3_000)), "response_schema: .*not nested so deeply"),
        (lambda s: s.analyze_sentiment(""), "^text: must not be empty"),
        (lambda s: s.extract_text(""), "content: "),
        (lambda s: s.process_ai_request("poem", {}), "request_type: .*'embedding'.*got 'poem'"),
        (lambda s: s.process_ai_request("chat", {}), "input_data: message: Field required"),
        (lambda s: s.process_ai_request("chat", {"message": "x", "colour": 1}), "input_data: colour: Extra inputs"),
    ],
)
def test_what_is_bad_is_refused_in_one_sentence_and_not_recorded(call, words):
    before = len(parts().tasks.active(limit=10_000))
    with pytest.raises(InvalidArgument, match=words) as error:
        call(celery_service)
    assert "\n" not in str(error.value)
    assert len(parts().tasks.active(limit=10_000)) == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stop": [""]}, "stop.0: .*at least 1 character"),
        ({"stop": ["\0"]}, "stop.0: must be text without NUL"),
        ({"stop": ["half \ud800"]}, "stop.0: "),
        ({"seed": 2**63}, "seed: .*less than or equal"),
    ],
)
def test_what_no_provider_could_be_told_is_refused(settings, words):
    with pytest.raises(InvalidArgument, match=words):
        celery_service.process_ai_request("chat", {"message": "x"}, settings)


@pytest.mark.parametrize("name", ["base_url", "api_key", "url", "key", "data", "context"])
def test_a_model_config_chooses_no_address_no_key_and_no_content(name):
    with pytest.raises(InvalidArgument, match=f"model_config has '{name}', which chat does not take"):
        celery_service.process_ai_request("chat", {"message": "x"}, {name: "http://elsewhere"})


def test_what_is_given_twice_is_refused():
    with pytest.raises(InvalidArgument, match="temperature is given in input_data and in model_config"):
        celery_service.process_ai_request("chat", {"message": "x", "temperature": 1.0}, {"temperature": 0.5})


def test_a_request_of_any_kind_is_kept_under_the_names_that_callers_know():
    request = ProcessAiRequest(
        request_type="chat", input_data={"message": "x"}, model_config={"temperature": 0.5, "model": "m"}
    )
    assert set(request.model_dump(mode="json")) == {"request_type", "input_data", "model_config"}
    assert ProcessAiRequest.model_validate(request.model_dump(mode="json")).inner() == request.inner()
    assert (request.inner().temperature, request.inner().model) == (0.5, "m")


@pytest.mark.parametrize("where", ["model_config", "input_data"])
def test_a_key_that_a_caller_gives_is_refused_and_not_repeated(where):
    given = {"request_type": "chat", "input_data": {"message": "x"}, "model_config": {}}
    given = given | {where: given[where] | {"api_key": "sk-planted-secret-0123456789"}}
    with pytest.raises(InvalidArgument, match="api_key") as error:
        celery_service.process_ai_request(**given)
    assert "planted" not in str(error.value)


@pytest.mark.parametrize("role", ["wizard", "tool", "USER", "", None, 1])
def test_a_role_that_does_not_exist_is_refused_by_its_place(role):
    said = refusal(ProcessChat, message="hi", context=[MESSAGE, {"role": role, "content": "x"}])
    assert said.startswith("context.1.role: Input should be 'system', 'developer', 'user' or 'assistant'")


def test_five_hundred_messages_are_taken_and_far_too_many_are_not():
    assert len(ProcessChat(message="hi", context=[MESSAGE] * 500).context) == 500
    assert "at most 10000" in refusal(ProcessChat, message="hi", context=[MESSAGE] * 10_001)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": ""}, "model"),
        ({"model": "a b"}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"model": "m" * 256}, "model"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"response_schema": {"type": "wizard"}}, "response_schema: must be a JSON schema"),
        ({"tools": []}, "tools"),
        ({"context": [{"role": "user", "content": "x", "name": "y"}]}, "context.0.name"),
    ],
)
def test_a_bad_option_of_a_chat_is_refused_by_its_name(given, words):
    assert words in refusal(ProcessChat, message="hi", **given)


@pytest.mark.parametrize("dimensions", [0, -1, 100_001, 1.5, "5", True])
def test_bad_dimensions_are_refused(dimensions):
    assert "dimensions" in refusal(GenerateEmbedding, text="hi", dimensions=dimensions)


@pytest.mark.parametrize(
    ("kind", "data", "config", "expected"),
    [
        ("embedding", {"text": "a"}, {"model": "m", "dimensions": 5}, {"text": "a", "model": "m", "dimensions": 5}),
        ("chat", {"message": "a"}, {"temperature": 0.5}, {"message": "a", "temperature": 0.5}),
        ("chat", {"message": "a", "model": "m"}, None, {"message": "a", "model": "m"}),
        ("sentiment", {"text": "a"}, None, {"text": "a"}),
        ("extract_text", {"content": "a"}, {}, {"content": "a"}),
    ],
)
def test_the_doorway_makes_the_request_of_the_method_that_is_meant(kind, data, config, expected):
    inner = ProcessAiRequest(request_type=kind, input_data=data, model_config=config).inner()
    assert inner.model_dump(exclude_unset=True) == expected


def test_the_doorway_returns_what_the_method_returned_and_which_it_was():
    class Told:
        def as_json(self) -> dict[str, object]:
            shared = {"status": "partial", "options": {"a": 1}, "provenance": [], "warnings": [{"code": "w"}]}
            rest = {"errors": [], "limits": {"hit": [], "pages_skipped": 0}, "artefacts": [], "timing": {"run_s": 1.0}}
            result = {"output": {"x": 1}, "output_schema_valid": True, "repairs": 1}
            return {"schema": "csai.chat/1", "input": {"bytes": 1}, "result": result} | shared | rest

    request = ProcessAiRequest(request_type="chat", input_data={"message": "a"})
    done = process_ai_request(request, {"chat": lambda inner: Told() if inner.message == "a" else None}).as_json()
    assert (done["schema"], done["status"], done["warnings"]) == ("csai.ai_request/1", "partial", [{"code": "w"}])
    assert done["result"]["request_type"] == "chat"
    assert done["result"]["output"]["output"] == {"x": 1}
    assert (done["result"]["output_schema_valid"], done["result"]["repairs"]) == (True, 1)
