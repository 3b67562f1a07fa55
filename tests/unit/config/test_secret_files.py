"""Secret files are read where nobody but their owner, and those whom a container trusts, can read them."""

import pytest

from config.secret_files import given_secret


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640, 0o700])
def test_a_file_of_its_owner_and_its_group_is_read(tmp_path, mode):
    file = tmp_path / "key.pem"
    file.write_bytes(b"content")
    file.chmod(mode)
    assert given_secret(file) == b"content"


@pytest.mark.parametrize("mode", [0o604, 0o660, 0o601])
def test_a_file_that_others_may_open_is_refused_with_the_cure(tmp_path, mode):
    file = tmp_path / "key.pem"
    file.write_bytes(b"content")
    file.chmod(mode)
    with pytest.raises(PermissionError, match="chmod 600"):
        given_secret(file)


def test_a_file_that_is_not_there_or_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.pem"):
        given_secret(tmp_path / "nothing.pem")
    with pytest.raises(OSError, match=str(tmp_path)):
        given_secret(tmp_path)
