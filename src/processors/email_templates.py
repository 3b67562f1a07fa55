"""Mails made of templates: a page, a text and a subject from files in one folder, rendered within bounds.

Imported when the first template is rendered, never before: it loads Jinja and what compiles pages.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from itertools import islice
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, UndefinedError

from processors import email_template_pages
from processors.email_template_budget import Budget, TooMuch, limited
from processors.email_template_files import TemplateFolder, files_below
from processors.email_template_sandbox import Sandbox
from processors.email_template_sources import Lines, Piece, fault, pieces_of, source_of
from processors.errors import PermanentError, WorkError
from processors.mail_interfaces import Rendered
from processors.results import storable
from processors.template_arguments import NAME, template_name

MOST_KEPT = 200
"""Templates that a process keeps compiled."""

MOST_CHECKED = 1_000
"""Templates that are checked at once, some 30 ms each."""

ENDINGS = (".mjml", ".html", ".txt")
LARGEST_OUTPUT = 2_000_000
LONGEST_REASON = 300
NAMES_SHOWN = 10
QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
TYPES = frozenset(
    {
        "bool",
        "dict",
        "float",
        "int",
        "list",
        "Macro",
        "Namespace",
        "None",
        "NoneType",
        "str",
        "StrictUndefined",
        "tuple",
    }
)
BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+\n")
OF_TEMPLATES = (
    TemplateError,
    TooMuch,
    ArithmeticError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""All that a template can raise, when it is compiled or rendered."""

PAGES = Sandbox(autoescape=True, keep_trailing_newline=True)
TEXTS = Sandbox(autoescape=False, keep_trailing_newline=True)
MADE_TEXTS = Sandbox(autoescape=True, prints_text=True, keep_trailing_newline=True)
"""Of pages: as there, escaped and safe values are told apart until they are printed."""


class Templates:
    """The templates of a folder; fulfils `processors.mail_interfaces.MailTemplates`.

    A template is compiled once and again when one of its files changes. One for all threads of a process.

    Args:
        folder: where they lie (EMAIL_TEMPLATES_DIR).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = Lock()

    def render(self, name: str, context: Mapping[str, Any]) -> Rendered:
        """Return what a template makes of a context.

        Args:
            name: such as `welcome` or `orders/shipped`: the name of its files without their endings.
            context: JSON values by their names.

        Raises:
            PermanentError: there is no such template, it is none, it needs what the context has not, or does too much.
            TransientError: it cannot be read now.
        """
        found = self._compiled(name)
        if isinstance(found, PermanentError):
            raise PermanentError(str(found))
        with limited(Budget()):
            html = found.html.rendered(context) if found.html else None
            text = found.text.rendered(context) if found.text else None
            subject = found.subject.rendered(context).strip() if found.subject else None
        return Rendered(subject, html, _without_gaps(text) if text is not None and found.text_is_made else text)

    def _compiled(self, name: str) -> "_Mail | PermanentError":
        """Return a template, or the error that compiling it gave while its files were the same."""
        with self._lock:
            kept = self._kept.setdefault(name, _Kept())
            self._kept.move_to_end(name)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        with kept.lock:
            if kept.made is None or kept.made[0].changed():
                folder = TemplateFolder(self._folder)
                kept.made = folder, _mail_or_error(folder, name)
            return kept.made[1]


@dataclass(slots=True)
class _Kept:
    """A template, compiled by one thread while others of its name wait: with its files, once that is done."""

    lock: Lock = field(default_factory=Lock)
    made: "tuple[TemplateFolder, _Mail | PermanentError] | None" = None


@dataclass(frozen=True, slots=True)
class _Mail:
    html: "_Part | None"
    text: "_Part | None"
    subject: "_Part | None"
    text_is_made: bool


class _Part:
    """One text that is rendered for each mail.

    Args:
        pieces: of the template.
        file: where they come from.
        sandbox: compiles them.
    """

    def __init__(self, pieces: Sequence[Piece], file: str, sandbox: Sandbox) -> None:
        self._code_name = f"<mail template {file}>"
        self._is_read_from_page = sandbox is MADE_TEXTS
        source, self._lines = source_of(pieces, file)
        try:
            self._template: Template = sandbox.compiled(source, self._code_name)
        except (*OF_TEMPLATES, MemoryError) as error:  # MemoryError: Python's parser has a depth of its own
            raise _explained(error, self._lines, self._code_name) from error

    def rendered(self, context: Mapping[str, Any]) -> str:
        """Return what it makes of a context, within the budget of this thread.

        Raises:
            PermanentError: it cannot be made; the sentence begins with the file and the line.
        """
        try:
            made = "".join(self._bounded(self._template.generate(context)))
            return storable(unescape(made) if self._is_read_from_page else made)
        except OF_TEMPLATES as error:
            raise _explained(error, self._lines, self._code_name, context) from error

    def _bounded(self, parts: Iterator[str]) -> Iterator[str]:
        left = LARGEST_OUTPUT
        for part in parts:
            left -= len(part)
            if left < 0:
                raise TooMuch(f"it makes more than {LARGEST_OUTPUT} characters")
            yield part


def checked(folder: Path) -> tuple[int, list[str]]:
    """Return how many templates are in a folder, and what is wrong with each that cannot be compiled, in a sentence.

    What another file extends or includes is a part and need be no whole template. The first 1 000 are compiled.

    Raises:
        PermanentError: it is no folder, or has too much in it.
        OSError: it, or a folder in it, cannot be read.
    """
    files = (file for file in files_below(folder) if file.endswith(ENDINGS) and not file.endswith(".subject.txt"))
    names = dict.fromkeys(name for name in (file.rpartition(".")[0] for file in files) if NAME.fullmatch(name))
    faults: dict[str, str] = {}
    parts = set[Path]()
    for name in islice(names, MOST_CHECKED):
        read = TemplateFolder(folder)
        try:
            _mail(read, name)
        except WorkError as error:
            faults[name] = str(error)
        parts.update(of for of in map(_name_of, read.stamps) if of != folder / name)
    return len(names), [fault for name, fault in faults.items() if folder / name not in parts]


def _name_of(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(".subject.txt").rpartition(".")[0] or file.name)


def _mail_or_error(folder: TemplateFolder, name: str) -> _Mail | PermanentError:
    try:
        return _mail(folder, name)
    except PermanentError as error:
        return error


def _mail(folder: TemplateFolder, name: str) -> _Mail:
    try:
        template_name(name)
    except ValueError as error:
        raise PermanentError(f"The name of a template {error}.") from error
    mjml, html, text, subject = (f"{name}.{ending}" for ending in ("mjml", "html", "txt", "subject.txt"))
    there = {file for file in (mjml, html, text, subject) if folder.has(file)}
    if {mjml, html} <= there:
        raise PermanentError(f"There are both {mjml} and {html}; remove the one that is not to be sent.")
    page = next((file for file in (mjml, html) if file in there), None)
    if page is None and text not in there:
        raise PermanentError(
            f"There is no template {name!r} in {folder.path} (EMAIL_TEMPLATES_DIR): none of {mjml}, {html} and {text}."
        )
    made = email_template_pages.made(pieces_of(folder, page), page, mjml=page == mjml) if page else None
    of_text = _Part(pieces_of(folder, text), text, TEXTS) if text in there else None
    if made and page and of_text is None:
        of_text = _Part(made.text, page, MADE_TEXTS)
    return _Mail(
        html=_Part(made.html, page, PAGES) if made and page else None,
        text=of_text,
        subject=_Part(pieces_of(folder, subject), subject, TEXTS) if subject in there else None,
        text_is_made=text not in there,
    )


def _explained(
    error: BaseException, lines: Lines, code_name: str, context: Mapping[str, Any] | None = None
) -> PermanentError:
    """Return what a template did wrong in one sentence: its file, its line, and what is missing."""
    line = error.lineno if isinstance(error, TemplateSyntaxError) else _line_of(error.__traceback__, code_name)
    piece = lines.piece_at(line)
    why = _reason(error)
    if context is not None:
        why = QUOTED.sub(lambda quoted: quoted[0] if _is_told(quoted[0][1:-1], piece) else "'…'", why)
    if isinstance(error, UndefinedError) and why.endswith("is undefined") and context is not None:
        names = sorted(map(str, context))
        more = ", …" if len(names) > NAMES_SHOWN else ""
        why = f"{why}; the context has {', '.join(names[:NAMES_SHOWN]) or 'nothing'}{more}"
    return fault(piece, why)


def _is_told(word: str, piece: Piece) -> bool:
    """Tell whether a word may stand in an error: what the template says itself, or a type; no value of a context."""
    return word in piece.text or word.endswith(" object") or word in TYPES


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError | MemoryError):
        return "it is too deep inside itself, or makes too much"
    if isinstance(error, SyntaxError):
        return "its tags are too deep in each other"
    text = (error.message if isinstance(error, TemplateError) else str(error)) or type(error).__name__
    text = f"there is no {text}" if isinstance(error, KeyError) else text
    return " ".join(text.split())[:LONGEST_REASON]


def _line_of(trace: TracebackType | None, code_name: str) -> int:
    """Return the line of the template where an error was raised; Jinja has put it into the traceback."""
    line = 1
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == code_name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _without_gaps(text: str) -> str:
    """Return a text with at most one empty line at a time: what a condition leaves out leaves more."""
    return BLANK_LINES.sub("\n\n", text).strip("\n") + "\n"
