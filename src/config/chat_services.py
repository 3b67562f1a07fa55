"""The chat services that notifications can go to, by the schemes of their Apprise URLs.

Each one of them speaks HTTPS, and nothing but HTTPS, to one target, by the module `requests`: a test reads their code.
Whatever acts on this machine (dbus, syslog, Windows), runs programs or speaks something else (mail, MQTT, IRC) is none.
"""

HOSTED = ("slack", "discord", "workflows", "gchat", "tgram", "wxteams", "zulip", "ntfy", "pover")
"""At their vendor's own hosts; Microsoft Teams is `workflows`. What is allowed where no setting says otherwise."""

OTHERS = ("mmosts", "rockets", "gotifys", "ntfys", "jsons", "xmls", "forms", "line", "pbul", "lark", "feishu")
"""Those of other countries, and those at a host that the URL names."""

CHAT_SERVICES = HOSTED + OTHERS
