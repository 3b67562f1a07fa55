"""AI_PROVIDERS, AI_ALIASES and AI_FALLBACKS: JSON or TOML, a bad value told by its name, a key told nowhere."""

import json
import re
from pathlib import Path

import pytest

from config.ai_providers import ANY_MODEL, AiProvider, read_name_lists, read_names, read_providers
from config.settings import Settings, SettingsError, explain, load_settings

KEY = "sk-planted-secret-0123456789"
URL = "https://ai.example/v1"


def read(value: object, folder: Path = Path()) -> dict[str, AiProvider]:
    return read_providers(value if isinstance(value, str) else json.dumps(value), folder)


@pytest.fixture(autouse=True)
def _no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")


def test_json_and_toml_say_the_same(tmp_path):
    (tmp_path / "providers.toml").write_text(
        f"""[main]
        url = "{URL}"
        key = "{KEY}"
        requests_per_minute = 500
        [main.models.small]
        input_price = 0.02
        """
    )
    models = {"small": {"input_price": 0.02}}
    told = read({"main": {"url": URL, "key": KEY, "requests_per_minute": 500, "models": models}})
    assert read("providers.toml", tmp_path) == read(str(tmp_path / "providers.toml")) == told
    assert (told["main"].secret, told["main"].models["small"].input_price) == (KEY, 0.02)


def test_an_address_alone_is_a_provider_that_serves_any_model_without_a_key():
    provider = read({"local": "http://localhost:11434/v1"})["local"]
    assert (provider.url, provider.secret, set(provider.models)) == ("http://localhost:11434/v1", None, {ANY_MODEL})


def test_models_may_be_a_list_of_names():
    assert set(read({"a": {"url": URL, "models": ["x", "y"]}})["a"].models) == {"x", "y"}


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ({"url": "ftp://x"}, "main.url: must be an address"),
        ({"url": "ai.example"}, "main.url: must be an address"),
        ({"url": f"https://user:{KEY}@ai.example/v1"}, "main.url: must hold no user, password or query"),
        ({"url": f"https://ai.example/v1?key={KEY}"}, "main.url: must hold no user, password or query"),
        ({"url": "http://ai.example:99999"}, "main.url: must be an address"),
        ({"url": "http://[::1"}, "main.url: must be an address"),
        ({"url": f"https://user:{KEY}/more@ai.example/v1"}, "main.url: must be an address"),
        ({"key": KEY}, "main.url: Field required"),
        ({"url": URL, "key": [KEY]}, "main.key"),
        ({"url": URL, "key": f"{KEY}\n"}, "main.key: must be printable ASCII"),
        ({"url": URL, "key": f"{KEY}é"}, "main.key: must be printable ASCII"),
        ({"url": URL, "api_key": KEY}, "main.api_key: Extra inputs"),
        ({"url": URL, "models": []}, "main.models"),
        ({"url": URL, "models": [[KEY]]}, "main.models"),
        ({"url": URL, "models": [1]}, "main.models"),
        ({"url": URL, "models": {"m": {"price": 1}}}, "main.models.m.price"),
        ({"url": URL, "models": {"m": {"input_price": -1}}}, "main.models.m.input_price"),
        ({"url": URL, "models": {"m": {"input_price": float("nan")}}}, "main.models.m.input_price"),
        ({"url": URL, "requests_per_minute": 0}, "main.requests_per_minute"),
        ({"url": URL, "timeout_seconds": 0}, "main.timeout_seconds"),
        ({"url": URL, "currency": "dollars"}, "main.currency"),
        (5, "main.url"),
        (None, "main.url"),
        ([KEY], "main.url"),
    ],
)
def test_a_bad_provider_is_told_by_its_name_and_without_its_key(provider, words):
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        read({"main": provider})
    assert KEY not in str(error.value)


@pytest.mark.parametrize("value", [KEY, "missing.toml", "{", '{"a": ', "", "a\0b"])
def test_what_is_neither_json_nor_a_file_is_told_so(value, tmp_path):
    with pytest.raises(ValueError, match=r"must be JSON text or a (readable )?TOML file") as error:
        read(value, tmp_path)
    assert KEY not in str(error.value)


def test_a_broken_toml_file_is_told_by_its_place(tmp_path):
    (tmp_path / "bad.toml").write_text(f"[main]\nkey = {KEY}\n")
    with pytest.raises(ValueError, match="line 2") as error:
        read("bad.toml", tmp_path)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("name", ["Main", "a b", "", "ä", "a" * 64])
def test_a_providers_name_is_plain(name):
    with pytest.raises(ValueError, match="names of providers"):
        read({name: URL})


@pytest.mark.parametrize(
    ("setting", "given", "words"),
    [
        ("OPENAI_API_KEY", f"{KEY}\n", "must be printable ASCII"),
        ("OPENAI_API_KEY", f"{KEY} {KEY}", "must be printable ASCII"),
        ("OPENAI_BASE_URL", f"https://user:{KEY}@x/v1", "must hold no user, password or query"),
        ("OPENAI_BASE_URL", f"https://x/v1?key={KEY}", "must hold no user, password or query"),
    ],
)
def test_an_endpoint_of_its_own_is_checked_as_others_are(monkeypatch, setting, given, words):
    monkeypatch.setenv(setting, given)
    with pytest.raises(SettingsError, match=words) as error:
        load_settings()
    told = str(error.value)
    assert setting in told
    assert KEY not in told
    assert "\n" not in told


def test_no_key_is_shown_by_settings_or_their_explanation(monkeypatch):
    monkeypatch.setenv("AI_PROVIDERS", json.dumps({"main": {"url": URL, "key": KEY}}))
    settings = load_settings()
    assert settings.ai_providers["main"].secret == KEY
    assert KEY not in f"{settings!r} {settings.ai_providers!r} {explain(settings)!r}"


def test_a_bad_setting_stops_the_start_with_one_line_and_without_the_key(monkeypatch):
    monkeypatch.setenv("AI_PROVIDERS", json.dumps({"main": {"url": "nowhere", "key": KEY}}))
    with pytest.raises(SettingsError, match=r"AI_PROVIDERS.*main.url: must be an address") as error:
        load_settings()
    assert KEY not in str(error.value)


@pytest.mark.parametrize("bad", [{"url": f"https://u:{KEY}@ai.example"}, {"url": [KEY]}, {"url": URL, "key": [KEY]}])
def test_what_pydantic_says_of_a_provider_does_not_repeat_what_was_given(bad):
    with pytest.raises(ValueError, match="1 validation error") as error:
        AiProvider.model_validate(bad)
    assert KEY not in str(error.value)


def test_names_and_lists_of_names_are_pairs():
    assert read_names(" fast = gpt-4o-mini ,smart=gpt-4,") == {"fast": "gpt-4o-mini", "smart": "gpt-4"}
    assert read_name_lists("gpt-4=gpt-4o| llama3") == {"gpt-4": ["gpt-4o", "llama3"]}
    assert read_names("") == {}


@pytest.mark.parametrize("value", ["fast", "=x", "a=,b=c"])
def test_what_is_no_pair_is_told_so(value):
    for read_one in (read_names, read_name_lists):
        with pytest.raises(ValueError, match="must be pairs"):
            read_one(value)


def test_aliases_and_fallbacks_are_names_by_names(monkeypatch):
    monkeypatch.setenv("AI_ALIASES", "fast=gpt-4o-mini, smart=gpt-4")
    monkeypatch.setenv("AI_FALLBACKS", "gpt-4=gpt-4o|llama3")
    settings = load_settings()
    assert settings.ai_aliases == {"fast": "gpt-4o-mini", "smart": "gpt-4"}
    assert settings.ai_fallbacks == {"gpt-4": ["gpt-4o", "llama3"]}
