"""The model store: what is not exactly what the manifest says never gets its name, and nothing else is left."""

import errno
import os
import threading

import pytest

from adapters import model_store
from adapters.model_store import ModelStore
from model_host import ModelHost, refusing, sending, sent_on, without_length
from processors.errors import ConfigurationError, FileError, InvalidArgument, PermanentError, TransientError
from processors.model_files import resolved
from processors.model_manifest import KNOWN

CONTENT = b"weights " * 100_000


@pytest.fixture(scope="module")
def the_host():
    with ModelHost() as one:
        yield one


@pytest.fixture
def host(the_host):
    the_host.asked.clear()
    return the_host


@pytest.fixture
def folder(tmp_path, host):
    """A MODELS_DIR whose own manifest has a model of one file, and one of two."""
    place = tmp_path / "models"
    place.mkdir()
    own = host.own_manifest("tiny", CONTENT, "tiny.onnx") + host.own_manifest("pair", CONTENT, "a.bin", "b.json")
    (place / "models.toml").write_text(own)
    host.answers = {f"/{name}": sending(CONTENT) for name in ("tiny.onnx", "a.bin", "b.json")}
    return place


@pytest.fixture
def store(host, folder):
    return ModelStore(folder, allow_downloads=True, context=host.context)


def ignore(*_):
    """Take no note."""


def state_of(store, name, *, hashed=True):
    stored = store.verify([name]) if hashed else [one for one in store.listed() if one.model.name == name]
    return stored[0].state


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name not in {"models.toml", ".lock"})


def test_a_fetched_model_is_there_whole_and_its_progress_was_told(store, folder):
    told = []
    assert store.fetch("tiny", lambda file, received: told.append((file.name, received))) == folder / "tiny.onnx"
    assert (folder / "tiny.onnx").read_bytes() == CONTENT
    assert told[-1] == ("tiny.onnx", len(CONTENT))
    assert len(told) > 1
    assert [received for _, received in told] == sorted(received for _, received in told)
    assert left_in(folder) == ["tiny.onnx"]
    assert state_of(store, "tiny") == "present"


def test_a_model_of_several_files_is_a_folder_of_its_name(store, folder):
    assert store.fetch("pair", ignore) == folder / "pair"
    assert sorted(path.name for path in (folder / "pair").iterdir()) == ["a.bin", "b.json"]
    assert resolved(folder, "pair") == folder / "pair"


def test_what_is_there_is_not_fetched_again(store, folder, host):
    (folder / "tiny.onnx").write_bytes(CONTENT)
    store.fetch("tiny", ignore)
    assert host.asked == []


def test_a_damaged_file_is_told_by_its_hash_and_fetched_anew(store, folder):
    (folder / "tiny.onnx").write_bytes(b"x" + CONTENT[1:])
    assert state_of(store, "tiny", hashed=False) == "present", "a list looks at sizes alone"
    assert state_of(store, "tiny") == "damaged"
    store.fetch("tiny", ignore)
    assert state_of(store, "tiny") == "present"


def test_a_file_that_was_cut_off_is_damaged_in_a_list_too_and_no_work_is_given_it(store, folder):
    (folder / "tiny.onnx").write_bytes(CONTENT[:-1])
    assert state_of(store, "tiny", hashed=False) == "damaged"
    with pytest.raises(FileError, match=r"tiny \(0.8 MB\) is damaged at .*csai models fetch tiny") as caught:
        resolved(folder, "tiny")
    assert caught.value.code == "model_missing"


def test_downloads_are_off_unless_the_setting_allows_them_and_the_files_places_are_named(host, folder):
    store = ModelStore(folder, allow_downloads=False, context=host.context)
    with pytest.raises(PermanentError, match="set ALLOW_MODEL_DOWNLOADS=true") as caught:
        store.fetch("pair", ignore)
    assert all(str(folder / "pair" / name) in str(caught.value) for name in ("a.bin", "b.json"))
    assert host.asked == []
    assert left_in(folder) == []


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (sending(b"x" + CONTENT[1:]), PermanentError, "has the SHA-256 .* it was thrown away"),
        (sending(CONTENT + b"x"), PermanentError, "longer than its 800000 bytes"),
        (without_length(CONTENT * 20), PermanentError, "longer than its 800000 bytes"),
        (sending(CONTENT[:-1], len(CONTENT)), TransientError, "tiny.onnx broke off"),
        (without_length(CONTENT[:-1]), TransientError, "broke off after 799999 of 800000 bytes"),
        (sending(b""), TransientError, "broke off after 0 of"),
        (refusing(404), PermanentError, r"127.0.0.1:\d+ answered 404"),
        (sent_on("http://127.0.0.1/tiny.onnx"), PermanentError, "an address without https"),
        (sent_on("file:///etc/hostname"), PermanentError, "an address without https"),
        (sent_on("/tiny.onnx"), PermanentError, "sent on more than 5 times"),
        (sent_on("https://["), PermanentError, "to what is no address"),
    ],
    ids=[
        "another hash",
        "too long",
        "longer than announced",
        "cut off",
        "cut off unseen",
        "nothing",
        "no such file",
        "on to http",
        "on to a file",
        "round in circles",
        "on to nowhere",
    ],
)
def test_what_is_not_the_file_leaves_nothing_and_is_one_sentence(store, host, folder, answer, error, words):
    host.answers["/tiny.onnx"] = answer
    with pytest.raises(error, match=words):
        store.fetch("tiny", ignore)
    assert left_in(folder) == []


def test_a_redirect_within_https_is_followed(store, host, folder):
    host.answers["/tiny.onnx"] = sent_on("/elsewhere")
    host.answers["/elsewhere"] = sending(CONTENT)
    store.fetch("tiny", ignore)
    assert host.asked == ["/tiny.onnx", "/elsewhere"]
    assert left_in(folder) == ["tiny.onnx"]


def test_a_host_whose_certificate_nobody_trusts_is_sent_nothing(host, folder):
    with pytest.raises(TransientError, match=r"does not answer: .*certificate"):
        ModelStore(folder, allow_downloads=True).fetch("tiny", ignore)
    assert host.asked == []


def test_a_host_that_drips_is_given_up(store, folder, monkeypatch):
    monkeypatch.setattr(model_store, "FIRST_SECONDS", 0)
    monkeypatch.setattr(model_store, "SLOWEST_BYTES_PER_SECOND", 10**15)
    with pytest.raises(TransientError, match="comes too slowly"):
        store.fetch("tiny", ignore)
    assert left_in(folder) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(store, folder, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(model_store.os, "fsync", full)
    with pytest.raises(PermanentError, match=r"tiny \(0.8 MB\) cannot be written .*No space left.*MODELS_DIR"):
        store.fetch("tiny", ignore)
    assert left_in(folder) == []


def test_a_folder_that_may_not_be_written_is_one_sentence(store, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(model_store.Path, "mkdir", forbidden)  # root, who runs some tests, may write everywhere
    with pytest.raises(PermanentError, match=r"Permission denied; make room or give the right, or set MODELS_DIR"):
        store.fetch("tiny", ignore)


def test_two_who_fetch_at_once_fetch_once(host, folder):
    both = threading.Barrier(2)
    stores = [ModelStore(folder, allow_downloads=True, context=host.context) for _ in range(2)]

    def fetch(store):
        both.wait()
        store.fetch("tiny", ignore)

    threads = [threading.Thread(target=fetch, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert host.asked == ["/tiny.onnx"]
    assert left_in(folder) == ["tiny.onnx"]


def test_a_setting_may_name_a_model_or_a_path(store, folder):
    (folder / "tiny.onnx").write_bytes(CONTENT)
    (folder / "mine.onnx").write_bytes(b"mine")
    assert resolved(folder, "tiny") == folder / "tiny.onnx"
    assert resolved(folder, "mine.onnx") == folder / "mine.onnx"
    assert resolved(folder, str(folder / "mine.onnx")) == folder / "mine.onnx"


def test_a_missing_model_names_its_file_its_size_and_the_command(store, folder):
    with pytest.raises(FileError) as caught:
        resolved(folder, "yolox-s")
    place = folder / "object_detection_yolox_2022nov.onnx"
    assert str(caught.value) == (
        f"The model yolox-s (35.9 MB) is not at {place}: run `csai models fetch yolox-s`, or put it there."
    )
    with pytest.raises(FileError, match=r"other.onnx is not at .*csai models list") as caught:
        resolved(folder, "other.onnx")
    assert caught.value.code == "model_missing"


def test_a_name_that_is_none_is_refused_with_the_names_there_are(store):
    with pytest.raises(InvalidArgument, match=r"no model is named 'tine'; the models are lpd-yunet, .*tiny"):
        store.fetch("tine", ignore)


def test_the_users_own_manifest_adds_and_replaces(store, host, folder):
    assert {one.model.name for one in store.listed()} == {*KNOWN, "tiny", "pair"}
    (folder / "models.toml").write_text(host.own_manifest("yolox-s", CONTENT, "tiny.onnx"))
    assert {one.model.name for one in store.listed()} == set(KNOWN)
    assert store.fetch("yolox-s", ignore) == folder / "tiny.onnx"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ('"', "is no TOML"),
        ("tiny = 3", r"tiny: must be a table \[tiny\]; got 3"),
        ("name climbs", r"files.0.name: .*got '../x'"),
        ("url is http", r"files.0.url: .*got 'http://127"),
        ("url has no host", "files.0.url: must name a host"),
        ("size is none", r"files.0.bytes: .*got 0"),
        ("hash is short", "files.0.sha256"),
        ("own manifest", "none is models.toml"),
        ("twice", "must have a name of its own"),
        ("place taken", r"tiny: face_detection_yunet_2023mar.onnx is where yunet lies; give it another name"),
    ],
)
def test_an_own_manifest_that_cannot_be_used_is_one_sentence(store, host, folder, given, words):
    good = host.own_manifest("tiny", CONTENT, "x")
    broken = {
        "name climbs": good.replace('"x"', '"../x"'),
        "url is http": good.replace("https", "http"),
        "url has no host": good.replace("https://127.0.0.1", "https://"),
        "size is none": good.replace(f"bytes = {len(CONTENT)}", "bytes = 0"),
        "hash is short": good.replace('sha256 = "', 'sha256 = "z'),
        "own manifest": good.replace('"x"', '"models.toml"'),
        "place taken": good.replace('"x"', '"face_detection_yunet_2023mar.onnx"'),
        "twice": host.own_manifest("tiny", CONTENT, "x", "x"),
    }
    (folder / "models.toml").write_text(broken.get(given, given))
    with pytest.raises(ConfigurationError, match=words) as caught:
        store.listed()
    assert "models.toml in MODELS_DIR" in str(caught.value)


def test_what_is_known_is_pinned_by_commit_and_free_to_use():
    assert {model.licence for model in KNOWN.values()} == {"MIT", "Apache-2.0"}
    for model in KNOWN.values():
        assert model.files[0].url.split("/")[6].isalnum()
        assert len(model.files[0].url.split("/")[6]) == 40


def test_a_model_that_no_engine_here_reads_is_listed_as_one_for_tasks_of_ones_own():
    assert {name for name, model in KNOWN.items() if not model.purpose.startswith("your own tasks: ")} == {"yolox-s"}
