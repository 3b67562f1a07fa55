"""The examples of the documentation, as tests run them."""

import re

from config.settings import PROJECT_ROOT


def examples(page: str, language: str = "python") -> list[str]:
    """Return the code of a page of the documentation, block by block."""
    return re.findall(rf"```{language}\n(.*?)```", (PROJECT_ROOT / "docs" / page).read_text(), re.DOTALL)
