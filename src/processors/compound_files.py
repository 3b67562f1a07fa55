"""Compound files (MS-CFB): what Outlook and the Office before 2007 keep their documents in."""

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO

from processors.errors import FileError

KINDS = {
    "__properties_version1.0": "msg",
    "WordDocument": "doc",
    "Workbook": "xls",
    "Book": "xls",
    "PowerPoint Document": "ppt",
}
"""Streams at the root, and what a file that has them is."""

ENCRYPTED = "EncryptedPackage"
FAULTS = (OSError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RecursionError)
"""What the library raises at a damaged file."""


@contextmanager
def opened(file: BinaryIO) -> Generator[Any]:
    """Open a compound file; chains of sectors that lead out of it are damage, those that go round end with the size.

    Raises:
        FileError: it is damaged.
    """
    try:
        library: Any = import_module("olefile")  # on first use: workers know the kinds of files and open none
        with library.OleFileIO(file, raise_defects=library.DEFECT_INCORRECT) as compound:
            yield compound
    except FAULTS as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise FileError(f"The compound file is damaged: {said or type(error).__name__}.", "corrupt") from error


def compound_kind(file: BinaryIO) -> str:
    """Return what a compound file is: `msg`, `doc`, `xls` or `ppt`.

    Args:
        file: seekable; left at its start.

    Raises:
        FileError: it is damaged, encrypted, or something else.
    """
    try:
        with opened(file) as compound:
            names = {path[0] for path in compound.listdir()}
    finally:
        file.seek(0)
    if ENCRYPTED in names:
        raise FileError("The Office document is encrypted as a whole: save it without a password.", "encrypted")
    for name, kind in KINDS.items():
        if name in names:
            return kind
    raise FileError("The compound file is of no kind that is read: save it as DOCX, XLSX or PPTX.", "unsupported_type")
