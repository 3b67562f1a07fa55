"""Archives: every good member is unpacked and processed, every bad one is named, and no header is believed."""

import bz2
import gzip
import io
import json
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import archives, archives_reading
from processors.errors import Cancelled, FileError
from unpacking import (
    PACKERS,
    InProcess,
    Kept,
    encrypted_zip,
    listed,
    overlapping_zip,
    process,
    stored,
    tar,
    tar_member,
    zip_mode,
    zip_of,
)

TEXT = b"The pump runs again, and the harbour master is content."
NOISE = random.Random(4).randbytes(2_500_000)


def fates(found: dict) -> dict[str, str | None]:
    """What became of each member that was listed."""
    return {one["name"]: one["code"] for one in found["members"]}


# --- Listing and unpacking -------------------------------------------------------------------------------------


ARCHIVES: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": lambda members: zip_of(*members.items()),
    "tar": tar,
    **{f"tar.{kind}": lambda members, pack=pack: pack(tar(members)) for kind, pack in PACKERS.items()},
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_every_member_is_listed_and_handed_over_whole(kind):
    members = {"a.txt": TEXT, "folder/b.bin": NOISE}
    found, made = listed(ARCHIVES[kind](members), f"x.{kind}")
    assert fates(found) == {"a.txt": None, "folder/b.bin": None}
    assert [one["bytes"] for one in found["members"]] == [len(one) for one in members.values()]
    assert list(made.values()) == list(members.values())
    assert (found["errors"], found["limits_hit"]) == ([], [])


@pytest.mark.parametrize("kind", PACKERS)
def test_a_single_packed_file_is_its_only_member_under_its_own_name(kind):
    found, made = listed(PACKERS[kind](TEXT), f"note.txt.{kind}")
    assert (fates(found), made) == ({"note.txt": None}, {0: TEXT})


def test_members_that_are_only_checked_are_not_handed_over():
    found, made = listed(zip_of(("a", TEXT)), hand_over=False)
    assert (found["members"][0]["bytes"], made) == (len(TEXT), {})


def test_times_are_told_and_a_zips_have_no_offset():
    info = zipfile.ZipInfo("a", (2026, 3, 3, 10, 0, 0))
    assert listed(zip_of((info, TEXT)))[0]["members"][0]["modified"] == "2026-03-03T10:00:00"
    member = tar_member("a", tarfile.DIRTYPE, mtime=1_772_532_000)
    assert listed(tar({}, member))[0]["members"][0]["modified"] == "2026-03-03T10:00:00+00:00"
    member = tar_member("a", tarfile.DIRTYPE, mtime=8**11 - 1)
    assert listed(tar({}, member))[0]["members"][0]["modified"].startswith("2242")
    info.date_time = (1980, 0, 0, 0, 0, 0)
    assert listed(zip_of((info, TEXT)))[0]["members"][0]["modified"] is None


# --- Names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../../b", "..\\a", "C:\\a", "\\\\server\\a", "c:a"])
def test_a_name_that_leads_out_is_named_and_never_unpacked(name):
    for raw in (zip_of((name, TEXT), ("good", TEXT)), tar({name: TEXT, "good": TEXT})):
        found, made = listed(raw)
        assert list(fates(found).values()) == ["path_traversal", None]
        assert made == {1: TEXT}


def test_a_name_with_nul_is_refused_and_shown_without():
    raw = zip_of(("a_b.txt", TEXT)).replace(b"a_b.txt", b"a\0b.txt")
    assert fates(listed(raw)[0]) == {"a\ufffdb.txt": "path_traversal"}


def test_names_are_shown_short_and_without_what_turns_letters_round():
    found, _ = listed(zip_of((f"\u202etxt.exe{'x' * 3000}", TEXT)))
    (name,) = fates(found)
    assert (name[:8], len(name)) == ("\ufffdtxt.exe", archives_reading.LONGEST_NAME)


def test_names_are_read_as_utf_8_whatever_the_flag_says_and_any_bytes_are_shown():
    unmarked = bytearray(zip_of(("ae.txt", TEXT))).replace(b"ae.txt", "\u00e4.txt".encode())
    assert fates(listed(bytes(unmarked))[0]) == {"ä.txt": None}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", encoding="latin-1", format=tarfile.GNU_FORMAT) as made:
        made.addfile(tarfile.TarInfo("Größe"))
    assert list(fates(listed(raw.getvalue())[0])) == ["Gr\ufffd\ufffde"]


def test_the_second_member_of_a_name_is_refused():
    with pytest.warns(UserWarning, match="Duplicate name"):
        raw = zip_of(("a", TEXT), ("a", b"another"))
    found, made = listed(raw)
    assert [one["code"] for one in found["members"]] == [None, "duplicate"]
    assert made == {0: TEXT}


# --- What is no file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "told"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "device"),
    ],
)
def test_links_and_devices_of_a_tar_are_named_and_not_followed(type_, told):
    found, made = listed(tar({"good": TEXT}, tar_member("bad", type_, linkname="good")))
    assert (found["members"][1]["type"], found["members"][1]["code"]) == (told, "unsupported_type")
    assert made == {0: TEXT}


@pytest.mark.parametrize(("mode", "told"), [(stat.S_IFLNK, "link"), (stat.S_IFCHR, "device"), (stat.S_IFIFO, "device")])
def test_links_and_devices_of_a_zip_are_named_and_not_followed(mode, told):
    found, made = listed(zip_of((zip_mode("bad", mode | 0o777), b"/etc/passwd")))
    assert (found["members"][0]["type"], found["members"][0]["code"], made) == (told, "unsupported_type", {})


def test_folders_and_empty_files_are_listed():
    found, made = listed(zip_of(("folder/", b""), ("folder/empty", b"")))
    assert [(one["type"], one["code"]) for one in found["members"]] == [("directory", None), ("file", "empty_file")]
    assert made == {}


# --- Bombs and lies --------------------------------------------------------------------------------------------


def test_members_that_share_their_bytes_are_refused_before_they_are_unpacked():
    found, made = listed(overlapping_zip(100, 1024**2))
    assert [one["code"] for one in found["members"][:-1]] == ["corrupt"] * 99
    assert set(made) <= {99}


def test_members_at_one_place_are_refused():
    raw = zip_of((stored("a"), TEXT), (stored("b"), TEXT))
    directory = raw.index(b"PK\x01\x02")
    second = raw.index(b"PK\x01\x02", directory + 1)
    both = raw[: second + 42] + raw[directory + 42 : directory + 46] + raw[second + 46 :]
    assert "shares packed bytes" in str([one["why"] for one in listed(both)[0]["members"]])


@pytest.mark.parametrize("pack", [*PACKERS.values(), lambda raw: zip_of(("a", raw))], ids=[*PACKERS, "zip"])
def test_what_is_packed_more_than_100_to_1_stops_after_a_mib(pack):
    found, made = listed(pack(bytes(50 * 1024**2)))
    assert list(fates(found).values()) == ["archive_ratio"]
    assert len(made.get(0, b"")) <= 4 * 1024**2


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_bomb_before_the_first_member_of_a_packed_tar_stops_too(pack):
    found, made = listed(pack(tar({"zeros": bytes(50 * 1024**2), "after": TEXT})))
    assert fates(found) == {"zeros": "archive_ratio"}
    assert [error["code"] for error in found["errors"]] == ["archive_ratio"]
    assert 1 not in made


def test_a_sparse_member_of_a_tar_is_no_way_round_the_ratio(tmp_path):
    info = tarfile.TarInfo("sparse")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(10**12),
        "GNU.sparse.map": f"{10**12 - 512},512",
    }
    info.size = 512
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as made:
        made.addfile(info, io.BytesIO(bytes(512)))
    found, _ = listed(raw.getvalue())
    assert [one["code"] for one in found["members"]] in (["archive_ratio"], ["too_large"])


def test_a_member_that_unpacks_to_more_than_is_said_is_damaged():
    raw = bytearray(zip_of(("a", TEXT * 100)))
    for at in (22, raw.index(b"PK\x01\x02") + 24):
        raw[at : at + 4] = (10).to_bytes(4, "little")
    found, made = listed(bytes(raw))
    assert fates(found) == {"a": "corrupt"}
    assert len(made.get(0, b"")) <= 10


def test_a_zip64_that_says_it_is_huge_is_only_as_large_as_it_is():
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as made, made.open(zipfile.ZipInfo("a"), "w", force_zip64=True) as member:
        member.write(TEXT)
    lie = raw.getvalue().replace(len(TEXT).to_bytes(8, "little"), (2**62).to_bytes(8, "little"))
    assert set(fates(listed(lie)[0]).values()) <= {"corrupt", "too_large", None}


def test_what_would_unpack_to_too_much_is_left_out_and_what_is_small_is_not():
    noise = bytes(range(256)) * 8
    for raw in (zip_of(("a", noise), ("b", noise * 2), ("c", noise)), tar({"a": noise, "b": noise * 2, "c": noise})):
        found, made = listed(raw, max_bytes=5000)
        assert fates(found) == {"a": None, "b": "too_large", "c": None}
        assert found["limits_hit"] == ["max_archive_mb"]
        assert set(made) == {0, 2}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_no_more_members_are_listed_than_allowed(kind):
    found, made = listed(ARCHIVES[kind]({str(number): TEXT for number in range(20)}), max_members=7)
    assert (len(found["members"]), len(made), found["limits_hit"]) == (7, 7, ["max_archive_members"])


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
def test_a_cut_archive_keeps_what_came_before_the_cut(kind):
    raw = ARCHIVES[kind]({"a": TEXT, "b": NOISE, "c": TEXT})
    found, made = listed(raw[: len(raw) // 2])
    assert fates(found) | {"b": ""} == {"a": None, "b": ""} or kind == "tar.bz2"
    assert made.get(0, TEXT) == TEXT
    assert found["errors"]


def test_a_damaged_member_is_the_only_one_that_fails():
    raw = zip_of((stored("a"), TEXT), (stored("b"), TEXT[::-1]))
    found, _ = listed(raw.replace(TEXT[:20], b"another".ljust(20)))
    assert fates(found) == {"a": "corrupt", "b": None}


def test_an_archive_without_members_says_so():
    with pytest.raises(FileError, match="has no members") as error:
        listed(zip_of(), "x.zip")
    assert error.value.code == "empty_file"


@pytest.mark.parametrize("raw", [b"PK\x03\x04 broken", gzip.compress(TEXT, mtime=0)[:-9], bz2.compress(TEXT)[:20]])
def test_an_archive_that_cannot_be_read_at_all_is_one_sentence(raw):
    try:
        (member,) = listed(raw)[0]["members"]
        said = member["why"]
    except FileError as error:
        said = str(error)
    assert "damaged" in said
    assert "\n" not in said


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(sorted(ARCHIVES)), at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_an_archive_with_a_wrong_byte_is_listed_or_refused(kind, at, byte):
    raw = bytearray(ARCHIVES[kind]({"a.txt": TEXT, "b/c": TEXT * 9}))
    raw[at % len(raw)] = byte
    try:
        found, _ = listed(bytes(raw))
    except FileError as error:
        assert error.code  # noqa: PT017 - both ends are good
    else:
        assert len(found["members"]) <= 3


# --- Passwords -------------------------------------------------------------------------------------------------


def test_an_encrypted_member_wants_its_password_and_only_that_one():
    raw = encrypted_zip("a.txt", TEXT, b"open")
    assert fates(listed(raw)[0]) == {"a.txt": "encrypted"}
    assert fates(listed(raw, password="planted")[0]) == {"a.txt": "password_wrong"}
    assert listed(raw, password="open")[1] == {0: TEXT}
    assert listed(raw)[0]["members"][0]["encrypted"]


def test_encryption_with_aes_is_said_not_to_be_read():
    raw = bytearray(encrypted_zip("a.txt", TEXT, b"open"))
    for at in (8, raw.index(b"PK\x01\x02") + 10):
        raw[at] = archives_reading.AES
    (member,) = listed(bytes(raw), password="open")[0]["members"]
    assert (member["code"], "AES" in member["why"]) == ("encrypted", True)


# --- Processing the members ------------------------------------------------------------------------------------


def members_of(done) -> dict[str, dict]:
    return {one["name"]: one for one in done.as_json()["detail"]["result"]["members"]}


def test_each_member_goes_to_the_method_for_what_it_is(tmp_path):
    done = process(tmp_path, zip_of(("a.txt", TEXT), ("folder/", b""), ("folder/b.csv", b"a,b\n1,2\n")))
    members = members_of(done)
    assert (done.route, done.status, done.detail.schema_name) == ("archive", "ok", "csai.archive/1")
    assert {name: one["status"] for name, one in members.items()} == {
        "a.txt": "ok",
        "folder/": "skipped",
        "folder/b.csv": "ok",
    }
    assert members["a.txt"]["route"] == "document"
    assert members["a.txt"]["detail"]["result"]["text"].strip() == TEXT.decode()
    assert members["folder/b.csv"]["detail"]["input"]["name"] == "b.csv"
    assert members["folder/b.csv"]["detail"]["result"]["tables"]


def test_one_bad_member_costs_only_itself(tmp_path):
    done = process(tmp_path, zip_of(("bad.pdf", b"%PDF-1.7 and nothing more"), ("../up", TEXT), ("good.txt", TEXT)))
    members = members_of(done)
    assert {name: (one["status"], one["code"]) for name, one in members.items()} == {
        "bad.pdf": ("failed", "corrupt"),
        "../up": ("failed", "path_traversal"),
        "good.txt": ("ok", None),
    }
    assert (done.status, [one["member"] for one in done.detail.errors]) == ("partial", ["bad.pdf", "../up"])


def test_what_nothing_reads_is_skipped_and_says_why(tmp_path):
    done = process(tmp_path, zip_of(("a.txt", TEXT), ("b.bin", b"\0\1\2\3" * 50), ("c", b"")))
    members = members_of(done)
    assert (done.status, members["b.bin"]["status"], members["c"]["code"]) == ("ok", "skipped", "empty_file")
    assert "unknown type" in members["b.bin"]["why"]


def test_an_archive_of_which_no_member_can_be_processed_fails(tmp_path):
    with pytest.raises(FileError, match=r"No member of the archive could be processed: .* be read as one") as error:
        process(tmp_path, zip_of(("bad.pdf", b"%PDF-1.7 and nothing more"), ("folder/", b"")))
    assert error.value.code == "corrupt"


def test_an_archive_in_an_archive_is_opened_five_deep(tmp_path):
    raw = zip_of(("a.txt", TEXT))
    for depth in range(5):
        raw = ARCHIVES[["tar.gz", "zip", "tar.xz", "tar", "tar.bz2"][depth]]({f"{depth}": raw, f"{depth}.txt": TEXT})
    done = process(tmp_path, raw)
    at, seen = done.as_json()["detail"], 0
    while "members" in at["result"]:
        seen += 1
        inner = at["result"]["members"][0]
        if inner["detail"] is None:
            break
        at = inner["detail"]
    assert (seen, inner["code"], done.status) == (5, "archive_depth", "partial")


def test_an_archive_that_was_opened_before_is_not_opened_again(tmp_path):
    inner = zip_of(("a.txt", TEXT))
    sandbox = InProcess()
    done = process(tmp_path, tar({"1.zip": inner, "2.zip": inner}), sandbox=sandbox)
    members = members_of(done)
    assert (members["1.zip"]["status"], members["2.zip"]["code"]) == ("ok", "archive_depth")
    assert sandbox.jobs.count("document") == 1


class Quine(InProcess):
    """Says that the first member of an archive has the archive's own content, as that of a quine has."""

    def run(self, job, *more):
        found = super().run(job, *more)
        if job == "archive":
            found["members"][0]["sha256"] = found["sha256"]
        return found


def test_an_archive_that_contains_itself_is_opened_once(tmp_path):
    sandbox = Quine()
    done = process(tmp_path, zip_of(("itself.zip", b"PK"), ("a.txt", TEXT)), sandbox=sandbox)
    assert [one["code"] for one in members_of(done).values()] == ["archive_depth", None]
    assert sandbox.jobs.count("archive") == 1


def test_the_limits_hold_for_all_archives_together(tmp_path):
    inner = [zip_of(*((f"{n}-{m}.txt", TEXT + bytes([65 + n])) for m in range(4))) for n in range(4)]
    sandbox = InProcess()
    done = process(tmp_path, tar({f"{n}.zip": one for n, one in enumerate(inner)}), sandbox=sandbox, max_members=10)
    members = members_of(done)
    assert sandbox.jobs.count("document") == 6
    assert members["1.zip"]["detail"]["limits"]["hit"] == ["max_archive_members"]
    assert [members[f"{n}.zip"]["code"] for n in (2, 3)] == ["archive_members"] * 2


def test_details_that_are_too_large_together_are_artefacts(tmp_path):
    storage, long = Kept(), b"A pump moves water here. " * 20
    done = process(tmp_path, zip_of(("a.txt", long), ("b.txt", long)), storage=storage, inline_text_kb=4)
    members = members_of(done)
    assert members["a.txt"]["detail"]["result"]["text"]
    assert members["b.txt"]["detail"] is None
    stored_detail = json.loads(storage.kept[members["b.txt"]["ref"]])
    assert stored_detail["schema"] == "csai.document/1"
    (artefact,) = done.as_json()["detail"]["artefacts"]
    assert (artefact["kind"], artefact["member"]) == ("member_result", "b.txt")


def test_a_list_is_all_that_is_made_where_no_more_is_asked_for(tmp_path):
    sandbox = InProcess()
    done = process(tmp_path, zip_of(("a.txt", TEXT)), options={"process_members": False}, sandbox=sandbox)
    assert (members_of(done)["a.txt"]["status"], sandbox.jobs) == ("skipped", ["identify", "archive"])


class SlowDocuments(InProcess):
    """Takes a minute of a false clock for each document."""

    now = 0.0

    def run(self, job, *more):
        self.now += 60 if job == "document" else 0
        return super().run(job, *more)


def test_members_after_the_time_are_named_and_the_others_kept(tmp_path, monkeypatch):
    sandbox = SlowDocuments()
    monkeypatch.setattr(archives, "monotonic", lambda: sandbox.now)
    raw = zip_of(*((f"{number}.txt", TEXT) for number in range(4)))
    done = process(tmp_path, raw, sandbox=sandbox, members_seconds=100)
    assert [one["code"] for one in members_of(done).values()] == [None, "timeout", "timeout", "timeout"]
    assert (done.status, done.detail.limits.hit) == ("partial", ["members_seconds"])
    assert sandbox.jobs.count("document") == 2


def test_a_cancellation_is_noticed_between_members_and_leaves_no_file(tmp_path):
    left = []

    @contextmanager
    def folder():
        with TemporaryDirectory(prefix="archive-", dir=tmp_path) as name:
            yield Path(name)

    def report(_percent, text):
        if text == "member 2 of 3":
            left.extend(path.name for path in tmp_path.glob("archive-*/*"))
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        process(tmp_path, tar({f"{n}.txt": TEXT for n in range(3)}), report=report, folder=folder)
    assert sorted(left) == ["1", "2"], "what was processed went before"
    assert not list(tmp_path.glob("archive-*"))


def test_progress_only_grows(tmp_path):
    told = []
    inner = zip_of(*((f"{n}.txt", TEXT) for n in range(3)))
    process(tmp_path, tar({"a": inner, "b.txt": TEXT}), report=lambda percent, _text: told.append(percent))
    assert told == sorted(told)
    assert told[0] >= 0
    assert told[-1] <= 100


def test_a_password_opens_an_archive_and_what_is_in_it_and_is_not_shown(tmp_path):
    done = process(tmp_path, encrypted_zip("a.txt", TEXT, b"open"), options={"password": "open"})
    assert members_of(done)["a.txt"]["status"] == "ok"
    assert '"password"' not in json.dumps(done.as_json())


# --- Any tree --------------------------------------------------------------------------------------------------

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
nothing = st.binary(max_size=60).map(b"\0".__add__)  # begins like no picture, sound or film
leaves = nothing | st.text(max_size=60).map(str.encode)
trees = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=4), max_leaves=10)


def packed(tree, kinds) -> bytes:
    """Pack a tree of dicts, each as an archive of the next kind."""
    if isinstance(tree, bytes):
        return tree
    return ARCHIVES[next(kinds)]({name: packed(inner, kinds) for name, inner in tree.items()})


@settings(max_examples=60, deadline=None)
@given(tree=st.dictionaries(names, trees, min_size=1, max_size=4), kind=st.randoms(use_true_random=False))
def test_any_tree_of_archives_ends_with_every_member_named_once(tmp_path_factory, tree, kind):
    def kinds():
        while True:
            yield kind.choice(sorted(ARCHIVES))

    raw = packed(tree, kinds())
    try:
        done = process(tmp_path_factory.mktemp("tree"), raw)
    except FileError as error:
        assert error.code  # noqa: PT017 - both ends are good
        return
    json.dumps(done.as_json(), allow_nan=False, ensure_ascii=False).encode()
    members = done.as_json()["detail"]["result"]["members"]
    assert len(members) == len(tree)
    assert all(one["why"] for one in members if one["status"] == "failed")
