"""AI_PROVIDERS and its kin: what is taken, and that no key is ever told."""

import pytest

from config.ai_providers import AiModel
from config.settings import SettingsError, explain, load_settings

KEY = "sk-planted-0123456789"


def said(monkeypatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    return str(error.value)


def test_providers_are_json_text_or_a_toml_file(monkeypatch, tmp_path):
    monkeypatch.setenv("AI_PROVIDERS", '{"house": {"url": "http://h:8000/v1", "models": ["llama"], "max_inputs": 32}}')
    (house,) = load_settings().ai_providers.values()
    assert (house.url, house.models, house.max_inputs, house.secret) == (
        "http://h:8000/v1",
        {"llama": AiModel()},
        32,
        None,
    )
    file = tmp_path / "providers.toml"
    file.write_text(f'[a]\nurl = "https://a/v1"\nkey = "{KEY}"\n[a.models."gpt"]\ninput_price = 0.15\n')
    monkeypatch.setenv("AI_PROVIDERS", str(file))
    (a,) = load_settings().ai_providers.values()
    assert (a.secret, a.models["gpt"].input_price) == (KEY, 0.15)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ('{"a": {"url": "ftp://x", "key": "KEY"}}', "a.url: must be an address such as https://"),
        ('{"a": {"url": "https://user:KEY@x/v1"}}', "a.url: must hold no user, password or query"),
        ('{"a": {"url": "https://x/v1?key=KEY"}}', "a.url: must hold no user, password or query"),
        ('{"a": {"url": "https://x/v1", "key": "KEY", "speed": 3}}', "a.speed: Extra inputs"),
        ('{"a": {"url": "https://x/v1", "key": ["KEY"]}}', "a.key: must be a valid string"),
        ('{"a": {"url": "https://x/v1", "key": "KEY\\n"}}', "a.key: must be printable ASCII"),
        ('{"a": {"url": "https://x/v1", "key": "KEYé"}}', "a.key: must be printable ASCII"),
        ('{"a": {"key": "KEY"}}', "a.url: Field required"),
        ('{"a": "KEY"}', "a.url: must be an address"),
        ('{"A b": {"url": "https://x/v1", "key": "KEY"}}', "names of providers are small letters"),
        ('{"a": {"url": "https://x/v1", "key": "KEY", "models": []}}', "a.models"),
        ('{"a": {"key": "KEY"', "must be JSON text or a TOML file"),
        ("/nowhere/KEY.toml", "must be JSON text or a readable TOML file: No such file"),
    ],
)
def test_what_is_wrong_is_told_by_its_place_and_without_the_key(monkeypatch, given, words):
    told = said(monkeypatch, AI_PROVIDERS=given.replace("KEY", KEY))
    assert words in told
    assert KEY not in told
    assert "\n" not in told


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
    told = said(monkeypatch, **{setting: given})
    assert words in told
    assert setting in told
    assert KEY not in told
    assert "\n" not in told


def test_no_key_is_shown_by_settings_or_their_explanation(monkeypatch):
    monkeypatch.setenv("AI_PROVIDERS", f'{{"a": {{"url": "https://x/v1", "key": "{KEY}"}}}}')
    settings = load_settings()
    assert KEY not in repr(settings)
    assert KEY not in str(settings.ai_providers)
    assert KEY not in str(explain(settings))


def test_aliases_and_fallbacks_are_names_by_names(monkeypatch):
    monkeypatch.setenv("AI_ALIASES", "fast=gpt-4o-mini, smart=gpt-4")
    monkeypatch.setenv("AI_FALLBACKS", "gpt-4=gpt-4o|llama3")
    settings = load_settings()
    assert settings.ai_aliases == {"fast": "gpt-4o-mini", "smart": "gpt-4"}
    assert settings.ai_fallbacks == {"gpt-4": ["gpt-4o", "llama3"]}


@pytest.mark.parametrize("given", ["fast", "=gpt", "fast="])
def test_names_without_their_other_half_are_refused(monkeypatch, given):
    assert "must be pairs, comma-separated, such as" in said(monkeypatch, AI_ALIASES=given)
