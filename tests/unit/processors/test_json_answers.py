"""Schemas of callers, and answers that models write as callers tell them, keep no worker busy and break none."""

import pytest

from processors.json_answers import checked_schema, parsed

DOUBLING = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)} | {"a60": {}}


def nested(times: int) -> dict:
    schema: dict = {}
    for _ in range(times):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": 5}, "must be a JSON schema: 5"),
        (nested(5_000), "nested"),
        ({"patternProperties": {"^(a+)+$": {}}}, "patternProperties"),
        ({"const": {"patternProperties": {}}, "$ref": "#/const"}, "patternProperties"),
        ({"allOf": [{"unevaluatedProperties": True}]}, "unevaluatedProperties: put additionalProperties"),
        ({"items": {"unevaluatedItems": {}}}, "unevaluatedItems: put items"),
        ({"anyOf": [{"pattern": "^(?=a)"}]}, "look-around"),
        ({"const": float("nan")}, "numbers that JSON has not"),
        ({"const": "half \ud800"}, "lone surrogates"),
        ({"title": "\0"}, "NUL"),
        ({"pattern": "(a{999}){999}"}, "smaller"),
        (
            {"$ref": "http://elsewhere.example/schema"},
            "refers to 'http://elsewhere.example/schema', which is no schema in it",
        ),
        ({"items": {"$ref": "#/$defs/nothing"}}, "refers to '#/[$]defs/nothing'"),
        ({"$dynamicRef": "other.json"}, "refers to 'other.json'"),
        ({"$ref": "http://[broken"}, "refers to"),
        ({"$ref": "#/type/5", "type": "object"}, "refers to"),
        ({"items": {"$id": "part", "$ref": "#/$defs/a"}, "$defs": {"a": {}}}, "refers to '#/[$]defs/a'"),
        (
            {"$id": "https://own.example", "items": {"$id": "http://[broken"}},
            "[$]id 'http://.broken', which is no address",
        ),
    ],
)
def test_a_schema_that_nothing_can_be_held_against_is_refused(schema, words):
    with pytest.raises(ValueError, match=words):
        checked_schema(schema)


def test_a_pattern_takes_no_longer_than_its_text_is_long():
    schema = checked_schema({"type": "string", "pattern": "^(a+)+$"})
    assert parsed(f'"{"a" * 100_000}"', schema)[1] is None
    assert "does not match" in (parsed(f'"{"a" * 100}!"', schema)[1] or "")
    assert parsed("5", {"pattern": "^a"}) == (5, None)


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"$ref": "#"}, "1"),
        ({"$ref": "#/$defs/a0", "$defs": DOUBLING}, "1"),
        ({"multipleOf": 0.5}, "1" * 400),
    ],
)
def test_a_schema_that_leads_on_and_on_is_not_fulfilled(schema, answer):
    assert "cannot be held against" in (parsed(answer, checked_schema(schema))[1] or "")


def test_a_tree_may_be_as_large_as_an_answer():
    schema = {"type": "array", "items": {"$ref": "#"}}
    assert parsed(f"[{', '.join(['[[]]'] * 5_000)}]", checked_schema(schema))[1] is None


@pytest.mark.parametrize("answer", ["NaN", "[1e999]", "-Infinity", "no", ""])
def test_what_json_cannot_hold_is_no_answer(answer):
    value, problem = parsed(answer, {})
    assert (value, (problem or "").partition(":")[0]) == (None, "it is no JSON")


def test_a_schema_elsewhere_is_not_fetched():
    assert "cannot be held against" in (parsed("1", {"$ref": "http://127.0.0.1:9/schema"})[1] or "")


def test_an_answer_that_is_nested_too_deeply_is_told_so():
    assert parsed("[" * 100_000, {"type": "array"}) == (None, "it is nested too deeply")


@pytest.mark.parametrize("reference", ["#", "#/$defs/a", "#here", "https://own.example/root", "part"])
def test_a_schema_may_refer_to_its_parts_in_every_way(reference):
    own = {"$id": "part", "$ref": "#/$defs/d", "$defs": {"d": {"type": "array"}}}
    parts = {"a": {"type": "array"}, "b": {"$anchor": "here"}, "c": own}
    schema = checked_schema({"$id": "https://own.example/root", "$defs": parts, "items": {"$ref": reference}})
    assert parsed("[[]]", schema) == ([[]], None)


def test_half_characters_in_an_answer_reach_neither_the_value_nor_what_the_model_is_told():
    assert parsed(r'["\ud800"]', {"type": "array"}) == (["\ufffd"], None)
    _, problem = parsed(r'"\ud800"', {"type": "array"})
    assert problem == "at $: '\ufffd' is not of type 'array'"
