"""Secret files are read where their owner alone can read them."""

import pytest

from config.secret_files import private_content


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_of_its_owner_alone_is_read(tmp_path, mode):
    file = tmp_path / "key.pem"
    file.write_bytes(b"content")
    file.chmod(mode)
    assert private_content(file) == b"content"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_may_open_is_refused_with_the_cure(tmp_path, mode):
    file = tmp_path / "key.pem"
    file.write_bytes(b"content")
    file.chmod(mode)
    with pytest.raises(ValueError, match=r"chmod 600 .*key\.pem"):
        private_content(file)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.pem cannot be read: No such file"):
        private_content(tmp_path / "nothing.pem")
