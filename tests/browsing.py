"""The dashboard as a browser sees it: cookies kept, forms sent with their tokens, pages taken apart."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

from fastapi import FastAPI
from fastapi.testclient import TestClient

from services import users
from services.access import Caller, reach

ANN = Caller("user", "ann", reach(("admin",)), origin="cli")
PASSWORD = "correct horse battery"
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}
VOID = frozenset({"meta", "link", "input", "img", "br", "hr"})


@dataclass
class Tag:
    """One element as it was opened."""

    name: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Form:
    """A form with what it would send."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Html(HTMLParser):
    """A page, taken apart as a browser does."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[Tag] = []
        self.forms: list[Form] = []
        self.open: list[Tag] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        given = {key: value or "" for key, value in attributes}
        assert len(given) == len(attributes), f"an attribute twice: {attributes}"
        tag = Tag(name, given)
        self.tags.append(tag)
        if name not in VOID:
            self.open.append(tag)
        if name == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        elif name == "input" and "name" in given and (given.get("type") != "checkbox" or "checked" in given):
            self.forms[-1].fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, name):
        if name in VOID:
            return
        assert self.open, f"</{name}> closes nothing"
        assert self.open[-1].name == name, f"</{name}> closes <{self.open[-1].name}>"
        tag = self.open.pop()
        if name == "textarea":
            self.forms[-1].fields[tag.attributes["name"]] = tag.text.removeprefix("\n")
        elif name == "option":
            select = next(one for one in reversed(self.open) if one.name == "select").attributes["name"]
            chosen = "selected" in tag.attributes or select not in self.forms[-1].fields
            if chosen:  # where none is, it is the first one
                self.forms[-1].fields[select] = tag.attributes.get("value", tag.text)

    def handle_data(self, data):
        self.text += data
        for tag in self.open:
            tag.text += data

    def all(self, name: str) -> list[Tag]:
        return [tag for tag in self.tags if tag.name == name]

    def links(self) -> list[str]:
        return [tag.attributes["href"] for tag in self.all("a")]


class Browser:
    """Somebody with a browser of their own."""

    def __init__(self, app: FastAPI, base_url: str = "http://localhost") -> None:
        self.client = TestClient(app, base_url, raise_server_exceptions=False, follow_redirects=False)
        self.client.headers.update(SAME_SITE)

    def get(self, path: str, **headers: str):
        return self.client.get(path, headers=headers)

    def html(self, path: str, status: int = 200) -> Html:
        answer = self.get(path)
        assert answer.status_code == status, (answer.status_code, answer.headers.get("location"), answer.text[-3000:])
        return Html(answer.text)

    def token(self) -> str:
        """The token that forms of this browser bring."""
        return self.html("/login" if not self.session() else "/").forms[0].fields["token"]

    def post(self, path: str, fields: dict[str, str] | None = None, **headers: str):
        """Send a form with its token; a field that is None is left out."""
        given = {"token": self.token()} | (fields or {}) if "token" not in (fields or {}) else dict(fields)
        return self.client.post(path, data={k: v for k, v in given.items() if v is not None}, headers=headers)

    def submit(self, path: str, fields: dict[str, str] | None = None):
        """Look at a page and send its last form."""
        form = self.html(path).forms[-1]
        return self.client.post(form.action, data=form.fields | (fields or {}))

    def session(self) -> str:
        return self._cookie("csai-session")

    def visitor(self) -> str:
        return self._cookie("csai-visitor")

    def _cookie(self, name: str) -> str:
        return next((one.value for one in self.client.cookies.jar if one.name.endswith(name)), "")

    def log_in(self, name: str, password: str = PASSWORD, **fields: str):
        return self.post("/login", {"name": name, "password": password} | fields)


def somebody(app: FastAPI, name: str, role: str, base_url: str = "http://localhost") -> Browser:
    """A new user who has logged in."""
    users.add(ANN, name, role, PASSWORD)
    browser = Browser(app, base_url)
    answer = browser.log_in(name)
    assert (answer.status_code, answer.headers["location"]) == (303, "/"), answer.text
    return browser
