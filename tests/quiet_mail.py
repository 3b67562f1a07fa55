"""A process that makes mails of random arguments, and says which sockets it opened for that.

It is one of its own because an audit hook stays for ever, and because another test's threads would be heard too.
"""

import json
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import urllib3.util.connection  # noqa: F401 - at its import it binds a socket to ::1, to see whether there is IPv6

from config.settings import settings
from processors.errors import InvalidArgument, TaskFailed
from services.celery_service import celery_service
from services.testing import running_inline

ROUNDS = 80
ON_THE_NET = (socket.AF_INET, socket.AF_INET6)
NAMES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
REMOTE = ("https://files.example.com/a.pdf", "s3://bucket/a.pdf", "http://192.0.2.1/a.pdf", "https://192.0.2.1/a.png")
PAGES = (
    "<p>Hi</p>",
    '<p><img src="cid:logo"></p>',
    '<link rel="stylesheet" href="https://192.0.2.1/a.css"><img src="http://192.0.2.1/a.png">',
    '<style>@import url("http://192.0.2.1/b.css"); p { background: url(https://192.0.2.1/c.png) }</style><p>Hi</p>',
    '<!DOCTYPE html SYSTEM "http://192.0.2.1/d.dtd"><html><body><iframe src="http://192.0.2.1"></iframe></body></html>',
)
TEMPLATES = {
    "page.html": '<p>{{ name }}</p><img src="https://192.0.2.1/{{ name }}.png">',
    "page.subject.txt": "Hi {{ name }}",
    "mjml.mjml": '<mjml><mj-head><mj-font name="A" href="https://192.0.2.1/font" /></mj-head><mj-body><mj-section>'
    '<mj-column><mj-image src="https://192.0.2.1/a.png" /><mj-text>{{ name }}</mj-text></mj-column></mj-section>'
    "</mj-body></mjml>",
    "mjml.subject.txt": "Hi",
}


class Drawn:
    """Draws arguments of `send_email`.

    Args:
        chance: decides.
        here: a file of this machine.
        remote: whether files of other machines may be among them.
    """

    def __init__(self, chance: Random, here: Path, *, remote: bool) -> None:
        self._chance, self._places = (
            chance,
            [str(here), here.as_uri(), str(here.with_name("gone")), *(REMOTE if remote else ())],
        )

    def mail(self) -> dict[str, Any]:
        """Return arguments that may also contradict each other."""
        draw = self._chance
        ways: dict[str, Callable[[], Any]] = {
            "from_email": lambda: draw.choice(["Ann <ann@192-0-2-1.example>", "ann@münchen.example"]),
            "cc": lambda: [f"c{n}@unknown.invalid" for n in range(draw.choice([1, 60]))],
            "bcc": lambda: ["hidden@[192.0.2.1]", "nope"],
            "html_body": lambda: draw.choice(PAGES),
            "reply_to": lambda: "answers@example.com",
            "headers": lambda: {"X-Link": "https://192.0.2.1/", "Precedence": "bulk"},
            "attachments": lambda: [self._file() for _ in range(draw.choice([1, 3]))],
            "inline_images": lambda: {"logo": self._file() | {"type": "image/png"}},
            "unsubscribe": lambda: draw.choice(
                ["https://192.0.2.1/u?t=1", {"url": "https://192.0.2.1/u", "mailto": "mailto:u@example.com"}]
            ),
            "critical": lambda: True,
            "list_name": lambda: "news",
        }
        made = {name: way() for name, way in ways.items() if draw.random() < 0.3}
        if draw.random() < 0.3:
            made.pop("html_body", None)
            return made | {
                "to_email": self._to(),
                "template": draw.choice(["page", "mjml"]),
                "context": {"name": "Änn"},
            }
        return made | {
            "to_email": self._to(),
            "subject": draw.choice(["s", "Grüße", "x" * 2_000]),
            "body": draw.choice(["b", *PAGES]),
        }

    def _to(self) -> str | list[str]:
        return self._chance.choice(
            ["ann@example.com", "Ann <ann@mail.unknown.invalid>", ["a@[IPv6:2001:db8::1]", "b@ex.example"]]
        )

    def _file(self) -> dict[str, Any]:
        if self._chance.random() < 0.4:
            return {"content": b"bytes", "name": "a.png"}
        return {"path": self._chance.choice(self._places)}


def preview(mail: dict[str, Any]) -> str:
    return celery_service.send_email(**mail, preview=True)


def send(mail: dict[str, Any]) -> str:
    return celery_service.send_email(**mail)


def send_bulk(mail: dict[str, Any]) -> str:
    return celery_service.send_bulk_emails([mail, mail | {"to_email": "last@example.com"}], delay_between_batches=0)


def notify(mail: dict[str, Any]) -> str:
    celery_service.set_contact("ann", email="ann@example.com")
    return celery_service.send_notification(
        "ann", "news", "title", str(mail.get("body", "template")), ["email", "inbox"]
    )


def made_of(seed: str, url: str, ways: list[Callable[[dict[str, Any]], str]], folder: Path) -> int:
    """Make mails in these ways; returns how many tasks succeeded."""
    here, templates = folder / "a.pdf", folder / "templates"
    here.write_bytes(b"%PDF")
    templates.mkdir()
    for name, text in TEMPLATES.items():
        (templates / name).write_text(text)
    settings.email_url, settings.email_templates_dir = url, templates
    chance = Random(seed)
    drawn, made = Drawn(chance, here, remote=ways == [preview]), 0
    for _ in range(ROUNDS):
        mail = drawn.mail()
        try:
            celery_service.get_task_result(chance.choice(ways)(mail))
            made += 1
        except (InvalidArgument, TaskFailed):
            continue
    return made


def main(seed: str, url: str, what: str) -> None:
    opened: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in NAMES or (event == "socket.__new__" and arguments[1] in ON_THE_NET):
            opened.append(f"{event} {arguments[1:]}")

    sys.addaudithook(note)
    with tempfile.TemporaryDirectory() as folder, running_inline(Path(folder) / "service") as _:
        made = made_of(seed, url, [preview] if what == "preview" else [send, send_bulk, notify], Path(folder))
    print(json.dumps({"made": made, "opened": opened}))  # noqa: T201 - the answer


if __name__ == "__main__":
    main(*sys.argv[1:])
