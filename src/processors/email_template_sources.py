"""The sources of a mail template, taken apart into text and tags, and put together: extends, block and include.

That comes before MJML and CSS, which must see the whole page. Imported when the first template is rendered, never
before: it loads Jinja.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal

from jinja2 import TemplateSyntaxError

from processors.email_template_files import TemplateFolder
from processors.email_template_sandbox import Sandbox
from processors.errors import PermanentError
from processors.messages import ENDLESS_NUMBER

LARGEST_TEMPLATE = 500_000
"""Characters, with all that it includes."""

MOST_PIECES = 5_000
"""With each block and each include, and texts between them; each takes 0.2 ms and 20 kB to compile."""

MOST_WORDS = 20_000
"""Names, numbers, signs in all tags; each takes 0.1 ms and 8 kB to compile."""

TOO_MUCH = (
    f"with all that it includes, a template has at most {LARGEST_TEMPLATE} characters, {MOST_PIECES} tags and texts "
    f"between them, and {MOST_WORDS} names, numbers and signs in its tags"
)

DEEPEST = 50
"""Blocks and includes inside each other."""

OTHER_FILE = re.compile(r"""\s*\w+\s+(?:"([^"\\]+)"|'([^'\\]+)')\s*""")
BLOCK = re.compile(r"\s*block\s+(\w+)(?:\s+scoped)?\s*")
SUPER = re.compile(r"\s*super\(\s*\)\s*")
SET_TO_END = re.compile(r"\s*set\s+[\w.]+\s*(?:\|.*)?", re.DOTALL)
WORD = re.compile(r"\s*(\w+)")
OPENING = re.compile(r"\{(?=[{%#]|\Z)")
"""A brace that Jinja would take for the beginning of a tag."""

TAGS = {"value": ("{{", "}}"), "statement": ("{%", "%}")}


Kind = Literal["static", "value", "statement"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a template: text as it stands, or what is inside a tag.

    Attributes:
        line: the first one of it in its file.
        words: how many names, numbers and signs are in a tag.
    """

    kind: Kind
    text: str
    file: str = ""
    line: int = 0
    words: int = 0

    @property
    def word(self) -> str:
        """What kind of statement it is: its first word; nothing for what is none."""
        found = WORD.match(self.text) if self.kind == "statement" else None
        return found[1] if found else ""

    @property
    def sets(self) -> bool:
        """Whether it is a whole `set x = …`, which has no end."""
        return self.word == "set" and SET_TO_END.fullmatch(self.text) is None

    @property
    def blank(self) -> bool:
        """Whether it is text that says nothing."""
        return self.kind == "static" and not self.text.strip()


@dataclass(slots=True)
class Block:
    """What a template that extends this one may replace."""

    name: str
    items: "list[Item]" = field(default_factory=list["Item"])


Item = Piece | Block


def fault(piece: Piece, why: str) -> PermanentError:
    """Return the error of a template; its sentence begins with the file and the line."""
    return PermanentError(f"{piece.file} line {piece.line}: {why.strip().rstrip('.')}.")


def pieces_of(folder: TemplateFolder, file: str) -> list[Piece]:
    """Return a template with all that it extends and includes, as one row of pieces.

    Raises:
        PermanentError: one of its files cannot be had or is no template, it has itself inside, or is too large.
        TransientError: one of its files cannot be read now.
    """
    return _Assembly(folder).expanded(file, ())


def check_size(pieces: Sequence[Piece]) -> None:
    """Look that pieces can be compiled in little time and memory.

    Raises:
        PermanentError: they are too many.
    """
    words = accumulate(piece.words for piece in pieces)
    beyond = next((piece for piece, sum_of_words in zip(pieces, words, strict=True) if sum_of_words > MOST_WORDS), None)
    tags = [piece for piece in pieces if piece.kind != "static"]
    if beyond or len(tags) > MOST_PIECES:
        raise fault(beyond or tags[MOST_PIECES], TOO_MUCH)


class Lines:
    """Where the lines of a source come from."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[Piece] = []

    def note(self, line: int, piece: Piece) -> None:
        """Note that a piece begins at a line, later than all before."""
        self._starts.append(line)
        self._pieces.append(piece)

    def piece_at(self, line: int) -> Piece:
        """Return the piece that a line is from, with its own line in its file."""
        at = max(0, bisect_right(self._starts, line) - 1)
        piece = self._pieces[at]
        return replace(piece, line=piece.line + max(0, line - self._starts[at]))


def source_of(pieces: Sequence[Piece], file: str) -> tuple[str, Lines]:
    """Return pieces as the source of a template, each tag at the beginning of a line, and where its lines come from."""
    parts: list[str] = []
    lines, line = Lines(), 1
    lines.note(line, Piece("static", "", file, 1))
    for piece in pieces:
        if piece.kind == "static":
            text = OPENING.sub('{{ "{" }}', piece.text)
        else:
            opened, closed = TAGS[piece.kind]
            lines.note(line + 1, piece)
            text = f"{opened}\n{piece.text}{closed}"
        line += text.count("\n")
        parts.append(text)
    return "".join(parts), lines


class _Assembly:
    """Puts the files of one template together, within bounds."""

    def __init__(self, folder: TemplateFolder) -> None:
        self._folder = folder
        self._sandbox = Sandbox(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        self._known: dict[str, list[Item]] = {}
        self._characters = self._pieces = self._words = 0

    def expanded(self, file: str, around: tuple[str, ...], asked: Piece | None = None) -> list[Piece]:
        """Return a file with all that it extends and includes.

        Args:
            file: its name.
            around: the files that it is inside of.
            asked: the tag that includes it.
        """
        blocks: dict[str, list[list[Item]]] = {}
        first: list[Piece] = []
        while True:
            if file in around or len(around) >= DEEPEST:
                raise PermanentError(f"{file} is inside itself: {' → '.join([*around[-5:], file])}.")
            around = (*around, file)
            self._count(Piece("static", "", file, 1))
            items = self._items(file, asked)
            for block in _blocks(items):
                blocks.setdefault(block.name, []).append(block.items)
            parent = next((one for one in items if isinstance(one, Piece) and one.word == "extends"), None)
            if parent is None:
                return [*first, *self._flat(items, _Place(blocks, around))]
            first = [*first, *_outside_blocks(items, parent)]
            file, asked = _other_file(parent), parent

    def _items(self, file: str, asked: Piece | None) -> list[Item]:
        """Return a file taken apart."""
        if file not in self._known:
            try:
                source = self._folder.read(file)
            except PermanentError as error:
                raise error if asked is None else fault(asked, str(error)) from error
            endless = ENDLESS_NUMBER.search(source)
            if endless:
                line = source.count("\n", 0, endless.start()) + 1
                raise fault(Piece("static", "", file, line), "this is the number of no character")
            try:
                pieces = list(self._pieces_in(source, file))
                self._sandbox.parse(source, file)  # it tells what is wrong better than can be told later
                self._known[file] = _taken_apart(pieces)
            except TemplateSyntaxError as error:
                raise fault(Piece("static", "", file, error.lineno), error.message or "no template") from error
            except (ArithmeticError, ValueError) as error:  # a number of thousands of digits
                raise fault(Piece("static", "", file, 1), str(error)) from error
            except RecursionError as error:
                raise PermanentError(
                    f"{file}: its tags are too deep in each other; make the template simpler."
                ) from error
        return self._known[file]

    def _pieces_in(self, source: str, file: str) -> Iterator[Piece]:
        inside: list[str] = []
        kind: Kind = "static"
        began, words = 1, 0
        for line, sort, value in self._sandbox.lexer.tokeniter(source, file):
            if sort == "data":
                yield Piece("static", value, file, line)
            elif sort in {"variable_begin", "block_begin"}:
                kind, began, inside = ("value" if sort == "variable_begin" else "statement"), line, []
            elif sort in {"variable_end", "block_end"}:
                yield Piece(kind, "".join(inside), file, began, sum(not one.isspace() for one in inside))
            elif not sort.startswith(("raw", "comment")):
                inside.append(value)
                words += 1
                if words > 2 * MOST_WORDS:  # with the blanks between them; it is not parsed
                    raise fault(Piece("static", "", file, line), TOO_MUCH)

    def _flat(self, items: Sequence[Item], place: "_Place") -> Iterator[Piece]:
        """Return items with their blocks and includes filled in."""
        for item in items:
            if isinstance(item, Block):
                self._count(Piece("static", "", place.around[0], 1))
                yield from self._flat(place.blocks[item.name][0], place.inside(item.name, 0))
            elif item.word == "include":
                yield from self.expanded(_other_file(item), place.around, item)
            elif item.kind == "value" and SUPER.fullmatch(item.text):
                level = place.level + 1
                if level >= len(place.blocks.get(place.block, [])):
                    raise fault(item, "super() has nothing above it: it stands in a block that replaces another")
                self._count(item)
                yield from self._flat(place.blocks[place.block][level], place.inside(place.block, level))
            else:
                self._count(item)
                yield item

    def _count(self, piece: Piece) -> None:
        self._characters += len(piece.text)
        self._pieces += 1
        self._words += piece.words
        if self._characters > LARGEST_TEMPLATE or self._pieces > MOST_PIECES or self._words > MOST_WORDS:
            raise fault(piece, TOO_MUCH)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the assembly something stands.

    Attributes:
        blocks: what stands in each block: the last replacement first.
        around: the files that it is inside of.
        block: the block that it is in, and `level`, in which replacement of it.
    """

    blocks: dict[str, list[list[Item]]]
    around: tuple[str, ...]
    block: str = ""
    level: int = 0
    depth: int = 0

    def inside(self, block: str, level: int) -> "_Place":
        if self.depth >= DEEPEST:
            raise PermanentError(f"{self.around[0]}: the block {block} is inside itself, or too deep in others.")
        return _Place(self.blocks, self.around, block, level, self.depth + 1)


def _taken_apart(pieces: Sequence[Piece]) -> list[Item]:
    """Return pieces with those of each block inside it; the parser has looked that every block has its end."""
    root = Block("")
    opened, names = [root], set[str]()
    for piece in pieces:
        if piece.word == "block":
            named = BLOCK.fullmatch(piece.text)
            if named is None:
                raise fault(piece, "a block has a name and nothing else")
            if named[1] in names:
                raise fault(piece, f"there are two blocks {named[1]}; give one another name")
            block = Block(named[1])
            names.add(block.name)
            opened[-1].items.append(block)
            opened.append(block)
        elif piece.word == "endblock":
            opened.pop()
        else:
            opened[-1].items.append(piece)
    return root.items


def _blocks(items: Sequence[Item]) -> Iterator[Block]:
    for item in items:
        if isinstance(item, Block):
            yield item
            yield from _blocks(item.items)


def _outside_blocks(items: Sequence[Item], parent: Piece) -> list[Piece]:
    """Return what a template that extends another sets; all else belongs into blocks."""
    outside = [item for item in items if isinstance(item, Piece) and item is not parent and not item.blank]
    for piece in outside:
        if not piece.sets:
            blank = piece.text[: len(piece.text) - len(piece.text.lstrip())].count("\n")
            got = piece.text.strip()[:40]
            raise fault(
                replace(piece, line=piece.line + blank),
                f"after {{% extends %}} all but {{% set … %}} stands in blocks; got {got!r}",
            )
    return outside


def _other_file(piece: Piece) -> str:
    named = OTHER_FILE.fullmatch(piece.text)
    if named is None:
        raise fault(piece, f"{piece.word} takes the name of one file in quotes, and nothing else")
    return named[1] or named[2]
