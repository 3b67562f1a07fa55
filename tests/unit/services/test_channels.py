"""Channels of notifications: each has its carrier once its settings are there, and says what is missing until then."""

import sys

import pytest

from config.settings import Settings
from processors.errors import ConfigurationError
from services.channels import CHANNELS, Carriers, missing_carrier
from services.wiring import parts

SID = "AC" + "0" * 32


@pytest.fixture(autouse=True)
def _no_file(monkeypatch, tmp_path):
    """No .env of this machine, and no variable of the run."""
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_fresh_installation_notifies_chat_services_alone_and_says_what_the_others_need():
    settings = Settings()
    assert list(Carriers(settings)) == ["chat"]
    assert missing_carrier("push", settings) == (
        "Web push is not configured: set VAPID_PRIVATE_KEY_FILE and VAPID_SUBJECT."
    )
    assert missing_carrier("sms", settings) == (
        "Text messages are not configured: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER or "
        "TWILIO_MESSAGING_SERVICE_SID."
    )
    assert missing_carrier("chat", settings) is None
    assert "NOTIFICATION_CHAT_SERVICES is none" in (
        missing_carrier("chat", Settings(notification_chat_services="none"))
    )


def test_a_channel_that_lacks_one_setting_names_that_one_and_has_no_carrier():
    settings = Settings(twilio_account_sid=SID, twilio_phone_number="+15005550006")
    assert missing_carrier("sms", settings) == "Text messages are not configured: set TWILIO_AUTH_TOKEN."
    carriers = Carriers(settings)
    assert "sms" not in carriers
    assert "email" not in carriers
    with pytest.raises(KeyError):
        carriers["sms"]
    with pytest.raises(KeyError):
        carriers["email"]


def test_carriers_are_made_when_they_are_first_wanted_and_once(monkeypatch):
    monkeypatch.delitem(sys.modules, "adapters.twilio_sms", raising=False)
    carriers = Carriers(Settings(twilio_account_sid=SID, twilio_auth_token="t", twilio_phone_number="+15005550006"))

    assert list(carriers) == ["sms", "chat"]
    assert "sms" in carriers
    assert "adapters.twilio_sms" not in sys.modules

    assert carriers["sms"].name == "twilio_sms"
    assert carriers["sms"] is carriers["sms"]
    assert carriers["chat"].deadline > 0


def test_a_key_that_cannot_be_used_is_told_when_its_channel_is_wanted(tmp_path):
    settings = Settings(vapid_private_key_file=tmp_path / "absent.pem", vapid_subject="mailto:ops@example.com")
    carriers = Carriers(settings)
    assert "push" in carriers
    with pytest.raises(ConfigurationError, match="VAPID_PRIVATE_KEY_FILE"):
        carriers["push"]


def test_the_parts_know_the_carriers_and_what_is_missing():
    known = parts()
    assert all((channel in known.carriers) is (known.missing_carrier(channel) is None) for channel in CHANNELS)
