"""Markdown: the text as it is, and its headings as outline."""

import re
from collections.abc import Mapping
from typing import Any, BinaryIO

from processors.document_formats import text
from processors.document_formats.content import Content
from processors.interfaces import Report

HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")
FENCE = re.compile(r"^ {0,3}(```+|~~~+)")


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read Markdown; what stands between fences (CommonMark 4.5) is code, where `#` makes no heading."""
    content = text.read(file, options, report)
    content.pages[0].markdown = content.pages[0].text
    fence = ""
    for line in content.pages[0].text.splitlines():
        mark = FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence and (heading := HEADING.match(line)):
            content.outline.append({"title": heading[2], "level": len(heading[1]), "page": 1})
    return content
