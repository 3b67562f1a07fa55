"""Who serves a model: by name, by alias, or who serves any; fallbacks in order; else it is an error."""

import pytest

from processors.ai_interfaces import ModelTerms, ProviderTerms, Serving
from processors.ai_routes import ANY_MODEL, Routes
from processors.errors import AiError


def serving(provider: str, model: str) -> Serving:
    terms = {model: ModelTerms(input_price=1.0)}
    return Serving(None, ProviderTerms(name=provider, account=provider, models=terms), model)


ROUTES = Routes(
    [serving("a", "small"), serving("b", "small"), serving("b", "large"), serving("c", ANY_MODEL)],
    aliases={"fast": "small", "smart": "large"},
    fallbacks={"fast": ["smart"], "large": ["fast", "other"]},
)


def names(model: str, *, fallbacks: bool = False) -> list[tuple[str, str]]:
    return [(one.terms.name, one.model) for one in ROUTES.of(model, fallbacks=fallbacks)]


def test_who_names_a_model_is_asked_in_order_and_who_serves_any_is_not():
    assert names("small") == [("a", "small"), ("b", "small")]


def test_a_name_that_nobody_names_goes_to_who_serves_any_with_its_terms():
    assert names("unheard-of") == [("c", "unheard-of")]
    assert ROUTES.of("unheard-of", fallbacks=False)[0].model_terms.input_price == 1.0


def test_an_alias_is_another_name():
    assert names("fast") == names("small")


@pytest.mark.parametrize(
    ("model", "others"),
    [
        ("fast", [("b", "large")]),
        ("large", [("a", "small"), ("b", "small"), ("c", "other")]),
        ("smart", [("a", "small"), ("b", "small"), ("c", "other")]),
        ("small", []),
    ],
)
def test_fallbacks_of_the_alias_or_else_of_the_model_come_after_it_in_their_order(model, others):
    assert names(model, fallbacks=True) == names(model) + others


def test_fallbacks_stay_away_where_other_models_will_not_do():
    assert names("fast", fallbacks=False) == [("a", "small"), ("b", "small")]


def test_a_model_that_nobody_serves_is_an_error_that_names_those_that_are_served():
    routes = Routes([serving("a", "small")], aliases={"fast": "small"})
    with pytest.raises(AiError, match=r"'gpt-4'.*fast, small") as error:
        routes.of("gpt-4", fallbacks=True)
    assert error.value.code == "model_missing"


def test_without_any_provider_the_error_names_the_settings_and_ollama():
    with pytest.raises(AiError, match=r"OPENAI_API_KEY.*OPENAI_BASE_URL.*ollama serve.*OPENAI_MODEL"):
        Routes().of("gpt-4", fallbacks=True)
