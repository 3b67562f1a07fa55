"""Which engine turns speech into text: by the settings, and by what lies on the machine."""

import pytest

from config.settings import Settings
from services.speech_choice import speech_choice


@pytest.fixture
def chosen(tmp_path):
    """Choose by settings; models lie in a folder of the test."""

    def choose(**given):
        return speech_choice(Settings(data_dir=tmp_path, **given))

    return choose


def test_without_a_model_and_an_endpoint_it_is_what_every_machine_has(chosen):
    assert chosen().engine == "pocketsphinx"


@pytest.mark.parametrize("named", [None, "small", "absolute"])
def test_a_models_folder_is_taken_wherever_it_is_named(chosen, tmp_path, named):
    folder = tmp_path / "models" / {None: "whisper", "small": "small", "absolute": "elsewhere"}[named]
    folder.mkdir(parents=True)
    choice = chosen(speech_model=str(folder) if named == "absolute" else named, openai_api_key="k")
    assert (choice.engine, choice.folder) == ("whisper", str(folder))


@pytest.mark.parametrize(
    "given", [{"speech_url": "http://h/v1"}, {"openai_base_url": "http://h/v1"}, {"openai_api_key": "k"}]
)
def test_an_endpoint_with_a_model_comes_before_pocketsphinx(chosen, given):
    choice = chosen(speech_model="some-model", **given)
    assert (choice.engine, choice.endpoint.model) == ("endpoint", "some-model")
    assert chosen(**given).engine == "pocketsphinx", "an endpoint for chats is none for speech"


def test_speech_has_an_endpoint_of_its_own_where_one_is_named(chosen):
    choice = chosen(speech_engine="endpoint", speech_url="http://speech/v1", openai_base_url="http://chat/v1")
    assert choice.endpoint._url == "http://speech/v1/audio/transcriptions"
    openais_own = chosen(speech_engine="endpoint", openai_api_key="k").endpoint
    assert openais_own._url == "https://api.openai.com/v1/audio/transcriptions"


def test_an_engine_that_is_named_is_taken_though_its_model_is_missing(chosen, tmp_path):
    choice = chosen(speech_engine="whisper", speech_model="nowhere/whisper")
    assert (choice.engine, choice.folder) == ("whisper", str(tmp_path / "models/nowhere/whisper"))
    assert chosen(speech_engine="pocketsphinx", speech_model="x", speech_url="http://h").engine == "pocketsphinx"


def test_a_model_that_is_named_and_not_there_is_missed_and_not_replaced_by_a_rough_engine(chosen, tmp_path):
    choice = chosen(speech_model="whisper-small")
    assert (choice.engine, choice.folder) == ("whisper", str(tmp_path / "models/whisper-small"))
