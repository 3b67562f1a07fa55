"""Documents of the Office before 2007: converted outside of the sandbox, and what that made is read inside of it."""

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from processors.envelopes import part_of
from processors.errors import FileError
from processors.file_types import MIME
from processors.interfaces import FileSandbox, OfficeConverter, Report

PACKAGES = {"doc": "libreoffice-writer-nogui", "xls": "libreoffice-calc-nogui", "ppt": "libreoffice-impress-nogui"}
"""The kinds that are converted, and the packages of Debian that can."""

OF_THE_FILE = ("kind", "mime", "declared", "sha256", "bytes")


def read_converted(
    sandbox: FileSandbox,
    converter: OfficeConverter | None,
    path: Path,
    found: Mapping[str, Any],
    options: Mapping[str, Any],
    report: Report,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Convert a document and read what that made.

    Args:
        sandbox: opens what was made.
        converter: converts; None where there is none.
        path: the document.
        found: what the sandbox said that it is.
        options: of the job `document`.
        report: told how far it is.

    Returns:
        What the job `document` returns, with the document's own identity; and the conversion's provenance.

    Raises:
        FileError: there is no converter, it cannot convert the document, or what it made cannot be read.
    """
    kind = str(found["kind"])
    if converter is None:
        raise FileError(
            f"The file is {MIME[kind]}, which LibreOffice has to convert, and this machine has none: "
            f"apt install {PACKAGES[kind]}, or set LIBREOFFICE to the path of soffice.",
            "dependency_missing",
        )
    began = monotonic()
    with converter.converted(path, kind, found["sha256"], part_of(report, 0, 60)) as converted:
        provenance = {
            "step": "convert",
            "engine": converter.name,
            "engine_version": converter.version,
            "seconds": round(monotonic() - began, 3),
            "sandbox": list(converted.protections),
            "network": "none" if "network_namespace" in converted.protections else "not cut off",
        }
        own = {**options, "name": f"converted.{converted.ending}"}
        read = sandbox.run("document", converted.path, own, part_of(report, 60, 100))
    return {**read, **{name: found[name] for name in OF_THE_FILE}}, provenance
