"""The examples of docs/own-tasks.md and docs/testing.md, as tests run them."""

import re

from config.settings import PROJECT_ROOT


def examples(page: str) -> list[str]:
    """Return the Python of a page of the documentation, block by block."""
    return re.findall(r"```python\n(.*?)```", (PROJECT_ROOT / "docs" / page).read_text(), re.DOTALL)
