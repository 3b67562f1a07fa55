"""What extracting text needs from outside, made of the settings and parts."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from config.settings import settings
from processors.documents import DocumentTools
from processors.files import RouteTools
from processors.texts import TextTools
from services.file_tools import folder, route_tools
from services.wiring import Parts


def text_tools(parts: Parts, task_id: str) -> TextTools:
    """Return what extracting text needs, for one task that begins now."""
    return TextTools(
        storage=parts.storage,
        task_id=task_id,
        inline_text_kb=settings.inline_text_kb,
        folder=partial(folder, "text-"),
        route_tools=partial(_route_tools, parts, task_id, monotonic()),
    )


def _route_tools(parts: Parts, task_id: str, began: float, path: Path) -> RouteTools:
    """Return what sending a file to its method needs, in the time of an AI task, and without pictures of pages."""
    tools = route_tools(parts, path, task_id, began, settings.ai_task_soft_time_limit)

    def tools_of(route: str, place: Path) -> Any:
        own = tools.tools_of(route, place)
        return replace(own, max_page_images=0) if isinstance(own, DocumentTools) else own

    return replace(tools, tools_of=tools_of)
