"""Unsubscribing with one click (RFC 8058): addresses that say who leaves which list, and that we said so."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from processors.suppression import ListName, normalised

VERSION = b"\x01"
PURPOSE = b"csai unsubscribe "
"""Signed before the rest, so that nothing else that is ever signed with the same key can be a token."""

PATH = "/api/v1/unsubscribe/"
LONGEST_TOKEN = 2_000
MAC_BYTES = hashlib.sha256().digest_size

_list_name: TypeAdapter[str] = TypeAdapter(ListName)


@dataclass(frozen=True, slots=True)
class Subscription:
    """An address and the list that it is on; None stands for all mail."""

    address: str
    list_name: str | None


@dataclass(frozen=True, slots=True)
class Unsubscribing:
    """Makes and reads the tokens of unsubscribe addresses.

    A token is good for ever, as the mail that holds it is. It carries the address, so that no row is needed for each
    mail: whoever has the mail knows it.

    Attributes:
        key: signs; whoever knows it can unsubscribe anybody.
        base_url: where this service is reached.
    """

    key: str = field(repr=False)
    base_url: str

    @property
    def one_click(self) -> bool:
        """Whether a List-Unsubscribe header may name these addresses: RFC 8058 3.1 wants https."""
        return self.base_url.startswith("https://")

    def url(self, address: str, list_name: str | None = None) -> str:
        """Return the address where somebody unsubscribes; it shows a page to people and takes a POST of mailboxes.

        Args:
            address: the only recipient of the mail that will hold it.
            list_name: the list to leave; None: all mail.

        Raises:
            ValueError: it is not one valid address, or no list's name.
        """
        return f"{self.base_url.rstrip('/')}{PATH}{self.token(address, list_name)}"

    def token(self, address: str, list_name: str | None = None) -> str:
        """Return the token for one address and list; the same ones have the same."""
        name = "" if list_name is None else _list_name.validate_python(list_name)
        said = f"{normalised(address)}\0{name}".encode()
        return base64.urlsafe_b64encode(VERSION + self._signature(said) + said).rstrip(b"=").decode()

    def read(self, token: str) -> Subscription | None:
        """Return what a token says, or None where it is none of ours."""
        if len(token) > LONGEST_TOKEN or not token.isascii():
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        signature, said = raw[1 : 1 + MAC_BYTES], raw[1 + MAC_BYTES :]
        # base64 has several ways to write the last letter: one is ours
        ours = raw[:1] == VERSION and base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == token
        if not ours or not hmac.compare_digest(signature, self._signature(said)):
            return None
        address, _, list_name = said.decode().partition("\0")
        return Subscription(address, list_name or None)

    def _signature(self, said: bytes) -> bytes:
        return hmac.digest(self.key.encode(), PURPOSE + VERSION + said, "sha256")
