"""Which channels carry notifications, by the settings; a carrier and its vendor's library are loaded on first use."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from config.chat_services import HOSTED
from config.settings import Settings
from processors.carriers import Carrier
from processors.optional_packages import load

CHANNELS = ("push", "sms", "chat")


class Carriers(Mapping[str, Carrier]):
    """The carriers of the channels that the settings configure; `missing_carrier` says why one is not there.

    Getting one raises `ConfigurationError` where a setting names what cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Carrier] = {}

    def __getitem__(self, channel: str) -> Carrier:
        if channel not in CHANNELS or missing_carrier(channel, self._settings):
            raise KeyError(channel)
        if channel not in self._made:
            self._made[channel] = MAKERS[channel](self._settings)
        return self._made[channel]

    def __iter__(self) -> Iterator[str]:
        return (channel for channel in CHANNELS if missing_carrier(channel, self._settings) is None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, channel: object) -> bool:
        return channel in list(self)  # without loading it


def missing_carrier(channel: str, settings: Settings) -> str | None:
    """Return a sentence that says which settings a channel needs, or None where it has a carrier.

    Args:
        channel: `push`, `sms` or `chat`.
        settings: of this process.
    """
    if channel == "chat":
        none = settings.notification_chat_services == []
        return "Chat services are not configured: NOTIFICATION_CHAT_SERVICES is none." if none else None
    needed: dict[str, Any] = {
        "push": {
            "VAPID_PRIVATE_KEY_FILE": settings.vapid_private_key_file,
            "VAPID_SUBJECT": settings.vapid_subject,
        },
        "sms": {
            "TWILIO_ACCOUNT_SID": settings.twilio_account_sid,
            "TWILIO_AUTH_TOKEN": settings.twilio_auth_token,
            "TWILIO_PHONE_NUMBER or TWILIO_MESSAGING_SERVICE_SID": _sms_sender(settings),
        },
    }[channel]
    missing = [name for name, value in needed.items() if not value]
    names = {"push": "Web push is", "sms": "Text messages are"}
    return f"{names[channel]} not configured: set {' and '.join(missing)}." if missing else None


def _push(settings: Settings) -> Carrier:
    web_push = load("adapters.web_push", "Web push", "unset VAPID_SUBJECT")
    return web_push.WebPush(settings.vapid_private_key_file, settings.vapid_subject)


def _sms(settings: Settings) -> Carrier:
    return _adapter("twilio_sms", "TwilioSms")(
        settings.twilio_account_sid, settings.twilio_auth_token, _sms_sender(settings)
    )


def _chat(settings: Settings) -> Carrier:
    named = settings.notification_chat_services
    return _adapter("apprise_chats", "AppriseChats")(HOSTED if named is None else named)


def _sms_sender(settings: Settings) -> str | None:
    return settings.twilio_messaging_service_sid or settings.twilio_phone_number


MAKERS = {"push": _push, "sms": _sms, "chat": _chat}


def _adapter(module: str, name: str) -> Any:
    return getattr(import_module(f"adapters.{module}"), name)
