"""The engines of one sandboxed child: each is loaded by the first file that needs it, and serves all that follow."""

from functools import cached_property
from importlib import import_module

from processors.interfaces import TextReader


class Engines:
    """Engines on demand."""

    @cached_property
    def reader(self) -> TextReader:
        """Reads text in pictures."""
        return import_module("engines.rapidocr_reader").RapidOcrReader()
