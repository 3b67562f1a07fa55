"""What AI methods take: refused at the call, in one sentence, where it cannot be right."""

import pytest

from processors.ai_requests import ProcessAiRequest
from processors.errors import InvalidArgument
from services.celery_service import celery_service
from services.wiring import parts


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
        (lambda s: s.generate_embedding("a\ud800b"), "text: .*unicode"),
        (lambda s: s.generate_embedding("x" * 10_000_000), "The arguments have"),
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
