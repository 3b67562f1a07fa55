"""Rich text is taken apart before it is read: data is left out, and what stands beside the text is put aside.

Source: Rich Text Format (RTF) Specification 1.9.1; MS-OXRTFEX for HTML inside RTF.
"""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from processors.errors import FileError

TOKEN = re.compile(
    rb"\\([A-Za-z]{1,32})(-?\d{1,10})?[ ]?|\\'([0-9A-Fa-f]{2})|\\([^A-Za-z])|([{}])|[\r\n]+|([^\\{}\r\n]+)", re.DOTALL
)
DEEPEST_GROUP = 500
MOST_CHARACTERS = 64 * 1024**2
MOST_FONTS = 1_000

LEFT_OUT = {
    *("pict", "objdata", "themedata", "colorschememapping", "datastore", "stylesheet", "colortbl", "listtable"),
    *("listoverridetable", "rsidtbl", "generator", "blipuid", "fontemb", "filetbl", "revtbl", "htmltag", "mhtmltag"),
    *("sn", "sv", "bkmkstart", "bkmkend", "xe", "tc", "latentstyles", "pgdsctbl", "nonesttables", "nonshppict"),
}
"""Groups that say nothing: pictures, data, and the tables of styles and colours."""

ASIDE = {
    **dict.fromkeys(("header", "headerl", "headerr", "headerf"), "header"),
    **dict.fromkeys(("footer", "footerl", "footerr", "footerf"), "footer"),
    **dict.fromkeys(("shptxt", "dptxbxtext"), "box"),
    "footnote": "note",
    "annotation": "comment",
    "atnauthor": "commenter",
    "title": "title",
    "author": "author",
    "operator": "last_modified_by",
    "subject": "subject",
    "keywords": "keywords",
    "doccomm": "comments",
}
"""Groups that are put aside, and under which name."""

TIMES = {"creatim": "created", "revtim": "modified"}
TIME_UNITS = ("yr", "mo", "dy", "hr", "min")
PAGES = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850", "ansi": "cp1252"}
CHARSETS = {78: 128, 79: 136, 80: 129, 81: 178, 82: 177, 85: 134, 86: 238, 87: 204, 88: 222, 89: 238}
"""Alphabets of the Mac that Python does not know, and the nearest of Windows."""

FIRST_PRINTABLE = 0x20
CONTROLS = bytes(byte for byte in range(FIRST_PRINTABLE) if byte != ord("\t")) + b"\x7f"
BEYOND_ASCII = re.compile(rb"[\x80-\xff]+[\x40-\x7e]?")
"""Bytes of a code page, with the one that may end a character of two bytes."""

OPEN_ROW, END_ROW, END_CELL, MARK = "\x1c", "\x1e", "\x1f", "\x1d"
LINK = re.compile(r'HYPERLINK\s+(?:\\l\s+)?"([^"]{1,4096})"', re.IGNORECASE)


@dataclass(slots=True)
class Parts:
    """A document in parts; each part is rich text for `striprtf`, in which marks tell what that would not say."""

    body: list[str] = field(default_factory=list[str])
    aside: dict[str, list[list[str]]] = field(default_factory=dict[str, list[list[str]]])
    links: list[str] = field(default_factory=list[str])
    times: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    fonts: dict[int, int] = field(default_factory=dict[int, int])
    encoding: str = "cp1252"
    cut: bool = False

    def head(self) -> str:
        """Return the beginning that every part needs: its fonts, which tell the encoding of its bytes."""
        fonts = "".join(f"{{\\f{number}\\fcharset{charset} x;}}" for number, charset in self.fonts.items())
        return f"{{\\rtf1{{\\fonttbl{fonts}}}"


@dataclass(slots=True)
class _Group:
    """What holds inside one pair of braces."""

    out: list[str] | None
    time: dict[str, int] | None = None
    fonts: bool = False
    instruction: list[str] | None = None
    link: int | None = None
    hidden: bool = False


def taken_apart(raw: bytes) -> Parts:
    """Return the parts of a document.

    Raises:
        FileError: groups lie in each other more than 500 deep.
    """
    return _Reading(raw).parts


class _Reading:
    """Goes through the document once; what it is inside of is a stack."""

    def __init__(self, raw: bytes) -> None:
        self.parts = Parts()
        self._group = _Group(self.parts.body)
        self._stack: list[_Group] = []
        self._in_row = False
        self._font = 0
        self._url: str | None = None
        self._size = 0
        self._words: dict[str, Callable[[str, int | None], None]] = {
            **dict.fromkeys(LEFT_OUT, self._leave_out),
            **dict.fromkeys(ASIDE, self._put_aside),
            **dict.fromkeys(TIMES, self._begin_time),
            **dict.fromkeys(TIME_UNITS, self._time_unit),
            **dict.fromkeys(PAGES, self._page),
            **dict.fromkeys(("cell", "nestcell", "row", "nestrow", "trowd"), self._in_table),
            **dict.fromkeys(("listtext", "pntext"), self._item),
            **dict.fromkeys(("outlinelevel", "ilvl"), self._level),
            "ansicpg": self._code_page,
            "fonttbl": self._font_table,
            "f": self._font_number,
            "fcharset": self._font_charset,
            "fldinst": self._instruction,
            "fldrslt": self._link_text,
            "htmlrtf": self._hide,
            "u": self._unicode,
            "uc": self._fallbacks,
        }
        self._read(raw)

    def _read(self, raw: bytes) -> None:
        at = 0
        while match := TOKEN.search(raw, at):
            at = match.end()
            word, number, byte, sign, brace, text = match.groups()
            if word == b"bin":
                at += max(0, int(number or 0))
            elif word:
                self._word(word.decode(), int(number) if number else None)
            elif brace:
                if not self._brace(brace):
                    return
            elif byte:
                self._byte(byte.decode())
            elif sign:
                self._sign(sign)
            elif text:
                self._emit(_plain(text))
            if self._size > MOST_CHARACTERS:
                self.parts.cut = True
                return

    def _emit(self, text: str) -> None:
        if self._group.instruction is not None:
            self._group.instruction.append(text)
        elif self._group.out is not None and not self._group.hidden:
            self._group.out.append(text)
            self._size += len(text)

    def _mark(self, text: str) -> None:
        self._emit(f"{{}}{text}")  # braces end the characters that a reader skips after \u

    def _brace(self, brace: bytes) -> bool:
        """Begin or end a group; False where the document ends."""
        group = self._group
        if brace == b"{":
            if len(self._stack) >= DEEPEST_GROUP:
                raise FileError(f"The rich text is nested more than {DEEPEST_GROUP} deep.", "archive_depth")
            if self._stack:
                self._emit("{")
            self._stack.append(group)
            self._group = _Group(group.out, group.time, group.fonts, group.instruction, None, group.hidden)
            return True
        if not self._stack:
            return True
        if group.link is not None:
            self._mark(f"{MARK}e{group.link}{MARK}")
        self._group = self._stack.pop()
        if group.instruction is not None and self._group.instruction is None:
            self._end_instruction("".join(group.instruction))
        if self._stack:
            self._emit("}")
        return bool(self._stack)

    def _word(self, word: str, number: int | None) -> None:
        handle = self._words.get(word)
        if handle is not None:
            handle(word, number)
        elif word != "rtf":
            self._emit(f"\\{word}{'' if number is None else number} ")

    def _byte(self, digits: str) -> None:
        if int(digits, 16) >= FIRST_PRINTABLE:
            self._emit(f"\\'{digits}")

    def _sign(self, sign: bytes) -> None:
        if sign in b"\r\n":
            self._emit("\\par ")
        elif sign < b"\x7f":
            self._emit(f"\\{sign.decode()}")

    def _leave_out(self, _word: str, _number: int | None) -> None:
        self._group.out = None

    def _put_aside(self, word: str, _number: int | None) -> None:
        if self._group.out is not None:
            self._group.out = []
            self.parts.aside.setdefault(ASIDE[word], []).append(self._group.out)

    def _begin_time(self, word: str, _number: int | None) -> None:
        self._group.time = self.parts.times.setdefault(TIMES[word], {})

    def _time_unit(self, word: str, number: int | None) -> None:
        if self._group.time is not None and number is not None:
            self._group.time[word] = number

    def _page(self, word: str, _number: int | None) -> None:
        self.parts.encoding = PAGES[word]

    def _code_page(self, _word: str, number: int | None) -> None:
        names = {65001: "utf-8", 10000: "mac_roman"}
        name = names.get(number or 0, f"cp{number}")
        try:
            codecs.lookup(name)
        except LookupError:
            return
        self.parts.encoding = name

    def _font_table(self, _word: str, _number: int | None) -> None:
        self._group.fonts, self._group.out = True, None

    def _font_number(self, _word: str, number: int | None) -> None:
        if self._group.fonts:
            self._font = number or 0
        else:
            self._emit(f"\\f{number or 0} ")

    def _font_charset(self, _word: str, number: int | None) -> None:
        if self._group.fonts and self._font >= 0 and len(self.parts.fonts) < MOST_FONTS:
            self.parts.fonts[self._font] = CHARSETS.get(number or 0, max(0, number or 0))

    def _in_table(self, word: str, _number: int | None) -> None:
        if word.endswith("cell"):
            self._mark(END_CELL)
        elif word.endswith("row"):
            self._mark(END_ROW)
            self._in_row = False
        elif not self._in_row:
            self._mark(OPEN_ROW)
            self._in_row = True

    def _item(self, _word: str, _number: int | None) -> None:
        self._mark(f"{MARK}i0{MARK}")
        self._group.out = None

    def _level(self, word: str, number: int | None) -> None:
        if number is not None and 0 <= number < 9:  # noqa: PLR2004 - the levels that there are; 9 is text
            self._mark(f"{MARK}{'h' if word == 'outlinelevel' else 'l'}{number}{MARK}")

    def _instruction(self, _word: str, _number: int | None) -> None:
        self._group.instruction = []

    def _end_instruction(self, instruction: str) -> None:
        match = LINK.search(instruction)
        self._url = match[1] if match else None

    def _link_text(self, _word: str, _number: int | None) -> None:
        if self._url is not None and self._group.out is not None:
            self._group.link = len(self.parts.links)
            self._mark(f"{MARK}s{self._group.link}{MARK}")
            self.parts.links.append(self._url)
        self._url = None

    def _hide(self, _word: str, number: int | None) -> None:
        self._group.hidden = number != 0

    def _unicode(self, _word: str, number: int | None) -> None:
        good = number is not None and (FIRST_PRINTABLE <= number < 2**16 or -(2**15) <= number < 0)
        self._emit(f"\\u{number} " if good else "\\u65533 ")

    def _fallbacks(self, _word: str, number: int | None) -> None:
        self._emit(f"\\uc{max(0, min(255, 1 if number is None else number))} ")


def _plain(text: bytes) -> str:
    """Return text of which bytes beyond ASCII are escapes, tabs are words, and other control characters nothing."""
    written = text.translate(None, CONTROLS).replace(b"\t", b"\\tab ")
    return BEYOND_ASCII.sub(lambda found: b"".join(b"\\'%02x" % byte for byte in found[0]), written).decode()
