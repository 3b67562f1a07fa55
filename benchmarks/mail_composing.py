"""What it costs to compose a mail whose body others share: a process of the mail benchmark.

python benchmarks/mail_composing.py 2000 5
"""

import json
import sys
import time
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from systems.mail_content import BODY, SUBJECT, address

from processors.addresses import parse, sort_out
from processors.composition import Composer
from processors.dkim_signing import DkimSigner
from processors.emails import SendEmail
from processors.errors import FileError
from processors.interfaces import Report
from processors.mail_interfaces import FileContent, Signer

MAX_MB = 25


class NoFiles:
    """Fulfils `processors.mail_interfaces.AttachmentReader` for mails that carry none."""

    def read(self, place: str, max_bytes: int, report: Report) -> FileContent:  # noqa: ARG002 - the protocol's
        """Refuse."""
        raise FileError(f"{place} is not to be read.")


def silent(percent: float, text: str) -> None:
    """Report to nobody."""


def signers() -> dict[str, Signer | None]:
    """Return who signs, by what the figures call it."""
    keys = {"Ed25519": Ed25519PrivateKey.generate(), "RSA, 2048 bits": generate_private_key(65537, 2048)}
    pems = {name: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for name, key in keys.items()}
    return {"not signed": None, **{name: DkimSigner("example.com", "s1", pem) for name, pem in pems.items()}}


def milliseconds(composer: Composer, first: int, count: int) -> float:
    """Compose so many mails to different people; returns the processor time of each."""
    mails = [SendEmail(to_email=address(number), subject=SUBJECT, body=BODY) for number in range(first, first + count)]
    recipients = [sort_out(mail.recipients())[0] for mail in mails]
    sender, date = parse("noreply@example.com"), datetime.now(UTC)
    began = time.process_time()
    for number, (mail, to) in enumerate(zip(mails, recipients, strict=True), first):
        composer.compose(mail, sender, to, mail_id=f"bulk-{number}", date=date, report=silent)
    return (time.process_time() - began) / count * 1000


def main(count: int, rounds: int) -> None:
    """Print, for each signer, the milliseconds of each round; they take turns."""
    composers = {name: Composer(NoFiles(), MAX_MB, signer) for name, signer in signers().items()}
    found: dict[str, list[float]] = {name: [] for name in composers}
    for composer in composers.values():
        milliseconds(composer, 0, 1)
    for number in range(rounds):
        for name, composer in composers.items():
            found[name].append(milliseconds(composer, 1 + number * count, count))
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
