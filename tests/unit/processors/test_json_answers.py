"""Schemas of callers, and answers that models write as callers tell them, keep no worker busy and break none."""

import json

import pytest
from referencing import Resource

from processors.json_answers import checked_schema, parsed

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
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
        ({"const": {"type": {}}, "$ref": "#/const"}, "refers to '#/const', which is no schema in it"),
        ({"items": {"$schema": DRAFT_7}}, "[$]schema at its top alone"),
        ({"allOf": [{"unevaluatedProperties": True}]}, "unevaluatedProperties: put additionalProperties"),
        ({"items": {"unevaluatedItems": {}}}, "unevaluatedItems: put items"),
        ({"anyOf": [{"pattern": "^(?=a)"}]}, "look-around"),
        ({"const": float("nan")}, "numbers that JSON has not"),
        ({"const": "half \ud800"}, "lone surrogates"),
        ({"title": "\0"}, "NUL"),
        ({"pattern": "(a{999}){999}"}, "smaller"),
        ({"anyOf": [{"pattern": f"^{number}$"} for number in range(101)]}, "at most 100 different patterns"),
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


@pytest.mark.parametrize("draft", ["https://json-schema.org/draft/2020-12/schema", DRAFT_7])
def test_a_schema_that_says_of_which_draft_it_is_is_held_against_in_the_same_bounds(draft):
    leaf = {"type": "string", "pattern": "^(a+)+$"}
    schema = checked_schema({"$schema": draft, "anyOf": [leaf, {"type": "array", "items": {"$ref": "#"}}]})
    assert parsed('["aa", ["a"]]', schema)[1] is None
    assert parsed(f'[["{"a" * 100}!"]]', schema)[1] is not None


def test_names_of_properties_and_data_are_no_keywords():
    names = {"pattern": {"const": {"$ref": "elsewhere"}}, "patternProperties": {}, "$schema": {}, "$id": {}}
    assert parsed("{}", checked_schema({"properties": names}))[1] is None


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"$ref": "#"}, "1"),
        ({"$ref": "#/$defs/a0", "$defs": DOUBLING}, "1"),
        ({"multipleOf": 0.5}, "1" * 400),
        ({"items": {"allOf": [{"maxLength": 5}] * 1_500}}, f"[{', '.join(['1'] * 1_500)}]"),
        ({"items": {"enum": list(range(3_000))}}, f"[{', '.join(['0'] * 3_000)}]"),
        ({"allOf": [{"uniqueItems": True}] * 1_000}, f"[{', '.join(map(str, range(3_000)))}]"),
        ({"allOf": [{"pattern": "a"}] * 1_000}, f'"{"a" * 3_000}"'),
    ],
)
def test_a_schema_that_leads_on_and_on_is_not_fulfilled(schema, answer):
    assert "cannot be held against" in (parsed(answer, checked_schema(schema))[1] or "")


@pytest.mark.parametrize("schema", [{"type": "integer", "$ref": "#"}, {"not": {"$ref": "#"}, "type": "integer"}])
def test_a_schema_that_refers_to_itself_ends_in_an_error_however_deep_the_stack_is(schema):
    def deeper(calls: int) -> str | None:
        return deeper(calls - 1) if calls else parsed("1", checked_schema(schema))[1]

    assert all("cannot be held against" in (deeper(calls) or "") for calls in range(40))


@pytest.mark.parametrize("keyword", ["$anchor", "$id", "$dynamicAnchor"])
def test_a_schema_is_read_once_and_not_for_each_reference_in_it(keyword, monkeypatch: pytest.MonkeyPatch):
    read, parts_of = list[Resource](), Resource.subresources
    monkeypatch.setattr(Resource, "subresources", lambda part: read.append(part) or parts_of(part))
    names = [f"n{number}" for number in range(100)]
    mark, reference = "" if keyword == "$id" else "#", "$dynamicRef" if keyword == "$dynamicAnchor" else "$ref"
    schema = {
        "$id": "https://own.example/root",
        "$defs": {name: {keyword: name, "type": "string"} for name in names},
        "properties": {name: {reference: mark + name} for name in names},
    }
    assert parsed(json.dumps(dict.fromkeys(names, "x")), checked_schema(schema))[1] is None
    assert len(read) <= 10 * len(names)


def test_many_different_items_are_compared_in_a_time_that_grows_with_their_number():
    answer = json.dumps([{"number": number} for number in range(30_000)])
    assert parsed(answer, checked_schema({"uniqueItems": True}))[1] is None


@pytest.mark.parametrize(
    ("answer", "unique"),
    [
        ('[{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]', False),
        ('[1, true, "1", null, "null", [1], ["1"], {"1": 1}, 1.5]', True),
        ('[[], "[]", {}, "{}", [[]]]', True),
        ('["a", "b", "a"]', False),
        ("5", True),
    ],
)
def test_items_are_unique_as_json_values(answer, unique):
    assert (parsed(answer, checked_schema({"uniqueItems": True}))[1] is None) == unique


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
