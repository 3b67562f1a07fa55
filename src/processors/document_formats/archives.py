"""Office files are archives: looked at before a library unpacks them."""

import zipfile
from typing import BinaryIO

from processors.errors import FileError

MOST_MEMBERS = 5_000
MOST_BYTES = 512 * 1024**2
MOST_RATIO = 100
RATIO_FROM_BYTES = 10 * 1024**2
CHUNK = 1024**2


def check_archive(file: BinaryIO) -> None:
    """Refuse an archive that unpacks to far more than it is; bytes are counted while unpacking, because headers lie.

    Raises:
        FileError: too many members, too many bytes, or packed more than 100 to 1.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS:
                raise FileError(
                    f"The archive has {len(members)} members, at most {MOST_MEMBERS} are read.", "archive_members"
                )
            total = 0
            for member in members:
                total = _count(archive, member, total)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
        raise FileError(f"The file begins like an Office document and is damaged: {error}.", "corrupt") from error
    except RuntimeError as error:
        raise FileError("The archive inside the document is encrypted.", "encrypted") from error
    finally:
        file.seek(0)


def _count(archive: zipfile.ZipFile, member: zipfile.ZipInfo, total: int) -> int:
    unpacked = 0
    with archive.open(member) as stream:
        while chunk := stream.read(CHUNK):
            unpacked += len(chunk)
            if total + unpacked > MOST_BYTES:
                raise FileError(f"The document unpacks to more than {MOST_BYTES // 1024**2} MB.", "too_large")
            if unpacked > RATIO_FROM_BYTES and unpacked > MOST_RATIO * max(1, member.compress_size):
                raise FileError(f"A part of the document is packed more than {MOST_RATIO} to 1.", "archive_ratio")
    return total + unpacked
