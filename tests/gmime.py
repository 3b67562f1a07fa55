"""Mails as GMime reads them: a parser in C that shares nothing with Python's own (Debian's libgmime-3.0-0)."""

import ctypes
from ctypes import c_char_p, c_int, c_size_t, c_uint, c_void_p
from ctypes.util import find_library
from dataclasses import dataclass

from requirements_check import missing

RETURNS = {
    "g_mime_init": (None, []),
    "g_mime_stream_mem_new": (c_void_p, []),
    "g_mime_stream_mem_new_with_buffer": (c_void_p, [c_char_p, c_size_t]),
    "g_mime_stream_mem_get_byte_array": (c_void_p, [c_void_p]),
    "g_mime_parser_new_with_stream": (c_void_p, [c_void_p]),
    "g_mime_parser_construct_message": (c_void_p, [c_void_p, c_void_p]),
    "g_mime_object_get_header": (c_char_p, [c_void_p, c_char_p]),
    "g_mime_object_get_content_id": (c_char_p, [c_void_p]),
    "g_mime_object_get_disposition": (c_char_p, [c_void_p]),
    "g_mime_object_get_content_type": (c_void_p, [c_void_p]),
    "g_mime_content_type_get_mime_type": (c_char_p, [c_void_p]),
    "g_mime_message_get_from": (c_void_p, [c_void_p]),
    "internet_address_list_length": (c_int, [c_void_p]),
    "internet_address_list_get_address": (c_void_p, [c_void_p, c_int]),
    "internet_address_get_name": (c_char_p, [c_void_p]),
    "internet_address_mailbox_get_addr": (c_char_p, [c_void_p]),
    "g_mime_part_iter_new": (c_void_p, [c_void_p]),
    "g_mime_part_iter_get_current": (c_void_p, [c_void_p]),
    "g_mime_part_iter_next": (c_int, [c_void_p]),
    "g_mime_part_get_filename": (c_char_p, [c_void_p]),
    "g_mime_part_get_content": (c_void_p, [c_void_p]),
    "g_mime_text_part_get_text": (c_char_p, [c_void_p]),
    "g_mime_data_wrapper_write_to_stream": (ctypes.c_ssize_t, [c_void_p, c_void_p]),
}


class ByteArray(ctypes.Structure):
    """GLib's GByteArray."""

    _fields_ = (("data", c_void_p), ("len", c_uint))


@dataclass(frozen=True)
class Part:
    """A part that holds no other parts, decoded."""

    type: str
    disposition: str | None
    name: str | None
    content_id: str | None
    content: bytes
    text: str | None


class GMimeMessage:
    """A message, read from its bytes.

    Attributes:
        parts: those that hold no others, in their order.
    """

    def __init__(self, content: bytes) -> None:
        self._library = library()
        self._content = content  # GMime reads it where it lies
        stream = self._library.g_mime_stream_mem_new_with_buffer(content, len(content))
        self._message = self._library.g_mime_parser_construct_message(
            self._library.g_mime_parser_new_with_stream(stream), None
        )
        assert self._message, "GMime finds no message"
        self.parts = self._parts()

    def header(self, name: str) -> str | None:
        """The decoded value of a header."""
        return _text(self._library.g_mime_object_get_header(self._message, name.encode()))

    def authors(self) -> list[tuple[str | None, str | None]]:
        """The names and addresses in From."""
        found = self._library.g_mime_message_get_from(self._message)
        all_of_them = [
            self._library.internet_address_list_get_address(found, at)
            for at in range(self._library.internet_address_list_length(found))
        ]
        return [
            (
                _text(self._library.internet_address_get_name(one)),
                _text(self._library.internet_address_mailbox_get_addr(one)),
            )
            for one in all_of_them
        ]

    def _parts(self) -> list[Part]:
        walk, found = self._library.g_mime_part_iter_new(self._message), list[Part]()
        while True:
            one = self._library.g_mime_part_iter_get_current(walk)
            kind = _text(
                self._library.g_mime_content_type_get_mime_type(self._library.g_mime_object_get_content_type(one))
            )
            if not str(kind).startswith("multipart/"):
                found.append(self._part(one, str(kind)))
            if not self._library.g_mime_part_iter_next(walk):
                return found

    def _part(self, part: int, kind: str) -> Part:
        out = self._library.g_mime_stream_mem_new()
        self._library.g_mime_data_wrapper_write_to_stream(self._library.g_mime_part_get_content(part), out)
        array = ByteArray.from_address(self._library.g_mime_stream_mem_get_byte_array(out))
        return Part(
            type=kind,
            disposition=_text(self._library.g_mime_object_get_disposition(part)),
            name=_text(self._library.g_mime_part_get_filename(part)),
            content_id=_text(self._library.g_mime_object_get_content_id(part)),
            content=ctypes.string_at(array.data, array.len),
            text=_text(self._library.g_mime_text_part_get_text(part)) if kind.startswith("text/") else None,
        )


def library() -> ctypes.CDLL:
    """Return GMime, or skip the test (fail it where services are required)."""
    name = find_library("gmime-3.0")
    if name is None:
        missing("the library libgmime-3.0")
    found = ctypes.CDLL(name)
    for function, (returned, taken) in RETURNS.items():
        getattr(found, function).restype, getattr(found, function).argtypes = returned, taken
    found.g_mime_init()
    return found


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
