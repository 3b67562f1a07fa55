"""Redaction, clean-up, health and scheduling: the pure parts."""

import pickle
import threading
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from processors.cleanup import CleanupOldFiles, CleanupOldLogs, CleanupOldTasks, clean_files, clean_logs, clean_tasks
from processors.errors import InvalidArgument, SubmitUnknown, TaskFailed, WorkFailed
from processors.health import QueueFigures, check, total
from processors.interfaces import OldFile
from processors.redaction import MASK, redact, redact_text, unmasked, without_numbers
from processors.results import Request, Result, sentence_of
from processors.scheduling import ProcessPendingTasks, RetryFailedTasks

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def silent(percent: float, text: str) -> None:
    """A report that nobody reads."""


# --- Redaction -------------------------------------------------------------------------------------------------


@given(
    value=JSON,
    name=st.sampled_from(
        [
            "password",
            "API_KEY",
            "auth_token",
            "x-secret",
            "Authorization",
            "pins",
            "accessToken",
            "db.password",
            "userPIN",
            "X-API-Key",
            "api-key",
            "private-key",
            "api key",
            "PGPASSWORD",
            "secretkey",
            "authtoken",
            "access_key",
            "pwd",
        ]
    ),
)
def test_a_planted_secret_never_comes_through(value, name):
    planted = redact({"outer": [value, {name: "planted-7f3a"}], "url": "redis://u:planted-7f3a@h"})
    assert "planted-7f3a" not in str(planted)


@given(value=JSON)
def test_redaction_changes_nothing_of_the_original(value):
    before = repr(value)
    redact(value)
    assert repr(value) == before


def test_what_only_resembles_a_secret_stays():
    kept = {"tokenize": 1, "passenger": "x", "keyboard": "y", "password": None, "use_token": True}
    kept |= dict.fromkeys(("compass", "secretary", "passwordless", "key", "primary_key", "keys", "spinning"), "z")
    assert redact(kept) == kept


def test_numbers_of_tokens_are_counts_and_no_secrets():
    counts = {"tokens": 5, "max_tokens": 50, "usage": {"inputTokens": 3, "cached_tokens": 0}, "tokens_per_minute": 9.5}
    assert redact(counts) == counts
    secrets = {"tokens": "abc", "token": 5, "pin": 1234, "passwords": 7, "max_tokens": [5]}
    assert redact(secrets) == dict.fromkeys(secrets, MASK)


@pytest.mark.parametrize(
    "text",
    [
        "{'password': 'planted', 'user': 'ann'}",
        """{"accessToken": "plan\\"ted", "user": 'ann'}""",
        "{'a': [{'pin': 98765}], 'user': 'ann'}",
        "{'user': 'ann', 'secret': \"it's plan",
        "{'user': 'ann', 'url': 'redis://u:planted@h'}",
        "{'user': 'ann', 'url': 'redis://u:pl@planted@h'}",
        "{'credentials': {'db': {'user': 'u'}, 'key': 'planted'}, 'user': 'ann'}",
        "{'tokens': [['a'], 'planted'], 'user': 'ann'}",
        """{"tokens": ["x]", 'y\\'}', ("z)", "planted")], "user": "ann"}""",
        "{'user': 'ann', 'tokens': [['a'], 'planted'",
        "{'user': 'ann', 'tokens': [('a'], 'planted'",
        "{'password': b'correct planted battery', 'user': 'ann'}",
        "{'password': SecretStr('my planted'), 'user': 'ann'}",
        "{'pin': kinds.Pin(number=[98765, (1)], at=f(2)), 'user': 'ann'}",
        "{b'password': b'planted', b'user': b'ann'}",
        """{"body": "{\\"password\\": \\"correct \\\\\\"planted\\", \\"user\\": \\"ann\\"}"}""",
        """{"body": "{\\"tokens\\": [\\"]\\", \\"planted\\"], \\"user\\": \\"ann\\"}"}""",
        "{'password': 'a\\\nplanted', 'user': 'ann'}",
        "{'token': None_planted, 'user': 'ann'}",
    ],
    ids=range(19),
)
def test_a_secret_in_the_text_of_a_dictionary_is_masked_and_the_rest_stays(text):
    shown = redact_text(text)
    assert not any(secret in shown for secret in ("plan", "98765"))
    assert MASK in shown
    assert "ann" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{'tokens': [['a'], 'b'], 'n': [1]} of (2)", "{'tokens': '***', 'n': [1]} of (2)"),
        ("{'password': SecretStr('x y'), 'n': f(1)}", "{'password': '***', 'n': f(1)}"),
        ("{'password': rb'x y', 'n': b'z'}", "{'password': '***', 'n': b'z'}"),
        ("x://u:p@q@h, ann@example.com", "x://u:***@h, ann@example.com"),
        ('{"url":"x://u:p@h","to":"ann@example.com"}', '{"url":"x://u:***@h","to":"ann@example.com"}'),
    ],
)
def test_nothing_but_the_secret_is_masked(text, shown):
    assert redact_text(text) == shown


PIECES = [
    "'",
    '"',
    "\\",
    "\\'",
    "'\\",
    "[",
    "'token': [",
    "'token': ['",
    "'token': a(",
    "'token': \\\\\"",
    "x://a:",
    "a@",
    "'a' ",
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("start", ["", "'token': ", "'token': [", "'token': '", "'token': \\\\'", "x://a:"])
def test_a_text_of_any_length_is_masked(start, piece):
    text = start + piece * 100_000
    assert redact_text(redact_text(text)) == redact_text(text)  # in no time: it grows no faster than the text


def test_a_text_without_secrets_stays_as_it_is():
    text = "{'password': None, 'tokenize': True, 'b': 'x: y'}, ('a', 1)"
    assert redact_text(text) == text


class Login(Request):
    """Arguments with a secret."""

    password: int
    settings: dict[str, int]


def test_an_argument_that_is_bad_or_unknown_shows_no_secret_in_its_sentence_or_its_traceback():
    bad = {"password": "planted-1", "api_key": "planted-2", "settings": {"accessToken": "planted-3"}}
    with pytest.raises(ValidationError) as refused:
        Login.model_validate(bad)
    said = "".join(traceback.format_exception(refused.value)) + sentence_of(refused.value)
    assert "api_key" in said
    assert "planted" not in said


def test_what_lies_too_deep_is_masked_whole():
    deep: list = []
    inner = deep
    for _ in range(30):
        inner.append([])
        inner = inner[0]
    inner.append("planted")
    assert "planted" not in str(redact(deep))
    assert MASK in str(redact(deep))


@given(value=JSON, secret=JSON)
def test_what_comes_back_as_it_was_shown_is_what_is_stored(value, secret):
    entry = {"host": value, "password": secret}
    stored = {"list": [entry, value, "x://u:p@h", entry | {"password": "other"}, [secret, {"pin": 7}]], "token": secret}
    assert unmasked(redact(stored), stored) == stored


@given(order=st.lists(st.integers(0, 4)))
def test_no_entry_of_a_list_gets_the_secret_of_another(order):
    hosts = ["a", "b", "c", "same", "same"]
    stored = [{"host": host, "password": f"secret {place}"} for place, host in enumerate(hosts)]
    shown = redact({"accounts": stored})["accounts"]
    edited = {"accounts": [shown[place] for place in order]}

    if [place for place, host in enumerate(hosts[place] for place in order) if host == "same"] in ([], [3, 4]):
        for entry in unmasked(edited, {"accounts": stored})["accounts"]:
            assert entry in stored
    else:
        with pytest.raises(InvalidArgument, match=r"accounts.*masked"):
            unmasked(edited, {"accounts": stored})


ANN, BOB = {"host": "a", "password": "A"}, {"host": "b", "password": "B"}


@pytest.mark.parametrize(
    ("edited", "stored", "name"),
    [
        ({"list": [{"host": "c", "password": MASK}]}, {"list": [ANN]}, r"list\[0\]\.password"),
        ({"list": [redact(ANN)]}, {"list": [ANN, ANN | {"password": "other"}]}, r"list\[0\]\.password"),
        ({"list": [redact(ANN), redact(BOB), {"password": MASK}]}, {"list": [ANN, BOB]}, r"list\[2\]\.password"),
        ({"list": [{"in": redact([ANN, BOB])[1:]}]}, {"list": [{"in": [ANN, BOB]}]}, r"list\[0\]\.in\[0\]\.password"),
        ({"urls": ["x://u:***@c"]}, {"urls": ["x://u:p@h"]}, r"urls\[0\]"),
        ({"url": "x://u:***@c"}, {"url": "x://u:p@h"}, "url"),
        ({"password": MASK}, {}, "password"),
        ({"password": MASK}, {"password": None}, "password"),
        ({"tokens": [MASK, "new"]}, {"tokens": ["a", "b"]}, r"tokens\[0\]"),
    ],
    ids=range(9),
)
def test_a_mask_that_may_stand_for_any_secret_is_refused_by_its_name(edited, stored, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: .*give it anew") as refused:
        unmasked(edited, stored)
    assert "\n" not in str(refused.value)


def test_an_entry_whose_secret_is_given_anew_may_be_anything():
    stored = {"list": [ANN, BOB]}
    new = {"host": "a2", "password": "new"}
    assert unmasked({"list": [new, redact(BOB)]}, stored) == {"list": [new, BOB]}


# --- Clean-up --------------------------------------------------------------------------------------------------


class ListedFiles:
    """A cleaner over a list."""

    def __init__(self, *names: str, stuck: str = ""):
        self.errors = ["/locked: Permission denied"]
        self.files = [OldFile(Path(name), 10, 3600) for name in names]
        self.removed: list[Path] = []
        self.stuck = stuck

    def find(self, directory, min_age):
        self.asked = (directory, min_age)
        return self.files

    def remove(self, directory, file):
        if file.path.name == self.stuck:
            raise PermissionError(13, "Permission denied")
        self.removed.append(file.path)
        return True


def test_a_dry_run_lists_exactly_what_the_real_run_removes():
    cleaner = ListedFiles("/t/a", "/t/b")
    dry = clean_files(CleanupOldFiles(directory="/t", max_age_hours=2, dry_run=True), cleaner, silent)
    assert cleaner.removed == []
    real = clean_files(CleanupOldFiles(directory="/t", max_age_hours=2), cleaner, silent)
    assert dry.items == real.items == [str(path) for path in cleaner.removed]
    assert (dry.deleted_count, dry.bytes, dry.dry_run, real.dry_run) == (2, 20, True, False)
    assert cleaner.asked == (Path("/t"), 7200)


def test_a_file_that_cannot_be_removed_is_told_and_the_rest_goes():
    done = clean_files(CleanupOldFiles(directory="/t"), ListedFiles("/t/a", "/t/b", stuck="a"), silent)
    assert (done.items, done.errors) == (["/t/b"], ["/locked: Permission denied", "/t/a: Permission denied"])


def test_names_that_are_no_text_are_shown_in_a_form_that_is():
    strange = "/t/a\udcff"
    assert clean_files(CleanupOldFiles(directory="/t"), ListedFiles(strange), silent).items == ["/t/a\\xff"]


def test_only_logs_count_as_logs():
    cleaner = ListedFiles("/l/worker-1.log", "/l/notes.txt", "/l/old.log.gz")
    assert clean_logs(CleanupOldLogs(), cleaner, silent).items == ["/l/worker-1.log", "/l/old.log.gz"]


def test_records_go_with_their_artefacts_until_none_is_left():
    class Records:
        left = [f"t{number}" for number in range(1200)]

        def final_before(self, hours, limit):
            return self.left[:limit]

        def remove(self, ids):
            self.left = self.left[len(ids) :]
            return len(ids)

    class Storage:
        def remove(self, task_id):
            return 3

    done = clean_tasks(CleanupOldTasks(), Records(), Storage(), silent)
    assert (done.deleted_count, done.bytes, len(done.items)) == (1200, 3600, 1000)


class FewRecords:
    """Three final records."""

    def __init__(self):
        self.left = ["a", "b", "c"]

    def final_before(self, hours, limit):
        return self.left[:limit]

    def remove(self, ids):
        self.left = [one for one in self.left if one not in ids]
        return len(ids)


def test_a_clean_up_that_ends_midway_leaves_no_artefact_without_its_record():
    class Storage:
        def remove(self, task_id):
            if task_id == "b":
                raise KeyboardInterrupt
            return 3

    records = FewRecords()
    with pytest.raises(KeyboardInterrupt):
        clean_tasks(CleanupOldTasks(), records, Storage(), silent)
    assert records.left == ["a", "b", "c"]


def test_a_record_whose_artefacts_cannot_be_removed_is_told_and_stays_and_the_rest_goes():
    class Storage:
        def remove(self, task_id):
            if task_id == "b":
                raise PermissionError(13, "Permission denied")
            return 3

    records = FewRecords()
    done = clean_tasks(CleanupOldTasks(), records, Storage(), silent)
    assert (done.deleted_count, done.bytes, done.errors) == (2, 6, ["artefacts of b: Permission denied"])
    assert (done.items, records.left) == (["a", "c"], ["b"])


def test_a_clean_up_whose_storage_removes_nothing_ends_and_keeps_all_records():
    class Storage:
        def remove(self, task_id):
            raise OSError(30, "Read-only file system")

    records = FewRecords()
    records.left = [f"t{number}" for number in range(1_200)]
    done = clean_tasks(CleanupOldTasks(), records, Storage(), silent)
    assert (done.deleted_count, len(done.errors), len(records.left)) == (0, 500, 1_200)


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        (CleanupOldTasks, {"max_age_hours": -1}, "max_age_hours: Input should be greater than or equal to 0; got -1"),
        (CleanupOldTasks, {"max_age_hours": float("nan")}, "max_age_hours"),
        (CleanupOldFiles, {"directory": ""}, "directory"),
        (CleanupOldFiles, {"directory": "a\0b"}, "directory"),
        (CleanupOldFiles, {"directory": "/t", "other": 1}, "other"),
        (ProcessPendingTasks, {"max_tasks": 0}, "max_tasks"),
        (ProcessPendingTasks, {"task_types": ["mail"]}, "task_types: must be of email, file_processing"),
        (ProcessPendingTasks, {"task_types": []}, "must not be an empty list"),
        (RetryFailedTasks, {"max_retries": -1}, "max_retries"),
        (RetryFailedTasks, {"max_age_hours": 0}, "max_age_hours"),
    ],
)
def test_a_bad_figure_is_named(model, arguments, words):
    with pytest.raises(ValidationError) as error:
        model.model_validate(arguments)
    assert words in sentence_of(error.value)


def test_a_long_value_is_shown_short():
    with pytest.raises(ValidationError) as error:
        CleanupOldTasks.model_validate({"max_age_hours": "x" * 5000})
    assert len(sentence_of(error.value)) < 300


# --- Health ----------------------------------------------------------------------------------------------------


def raises(reason: str):
    def probe() -> str:
        raise RuntimeError(reason)

    return probe


@pytest.mark.parametrize(
    ("probes", "status"),
    [
        ({"database": lambda: "ok", "disk": lambda: "ok"}, "healthy"),
        ({"database": lambda: "ok", "disk": raises("full")}, "degraded"),
        ({"database": raises("away"), "disk": raises("full")}, "unhealthy"),
    ],
)
def test_health_is_as_bad_as_its_worst_check(probes, status):
    health = check(probes, "1.0")
    assert health.status == status
    assert [one.name for one in health.checks] == list(probes)


def test_a_probe_that_hangs_is_told_and_holds_nothing_up():
    release = threading.Event()
    health = check({"broker": lambda: str(release.wait(60)), "disk": lambda: "ok"}, "1.0", seconds=0.2)
    release.set()
    assert [one.status for one in health.checks] == ["unhealthy", "healthy"]
    assert "no answer within 0.2 s" in health.checks[0].detail


def test_queues_add_up_and_the_oldest_is_the_oldest_of_all():
    sums = total(
        {
            "a": QueueFigures(depth=2, oldest_age_seconds=5, consumers=1),
            "b": QueueFigures(depth=3, oldest_age_seconds=9),
        }
    )
    assert (sums.depth, sums.oldest_age_seconds, sums.consumers) == (5, 9, 1)
    assert total({}).oldest_age_seconds is None


# --- Errors and results ----------------------------------------------------------------------------------------


def test_errors_carry_what_a_caller_needs():
    assert SubmitUnknown("x", "t-1").task_id == "t-1"
    assert WorkFailed("x").result == {}
    failed = TaskFailed("x", {"a": 1}, "ValueError", "trace")
    assert (failed.result, failed.error_type, failed.traceback) == ({"a": 1}, "ValueError", "trace")


def test_a_result_is_a_success_unless_it_says_otherwise():
    assert Result().failure() is None
    assert Request().model_dump() == {}


def test_an_error_shows_of_a_huge_value_what_a_sentence_can_hold_and_keeps_the_cure():
    error = InvalidArgument(f"queue: no queue is named {'x' * 100_000!r}; the queues are default and email.")

    assert len(str(error)) <= 1_000
    assert str(error).startswith("queue: no queue is named 'xxx")
    assert str(error).endswith("xxx'; the queues are default and email.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_is_cut_from_an_error_leaves_no_secret_without_its_name():
    account = {"private_key": "hunter2" * 300, "mail": "a@b.example"}
    said = str(InvalidArgument(f"account: must be a text; got {account!r}."))

    assert "hunter2" not in said
    assert said.endswith("'mail': 'a@b.example'}.")


def test_an_error_may_be_made_of_another_error():
    assert str(InvalidArgument(KeyError("tenant"))) == "'tenant'"
    assert InvalidArgument("tenant: unknown", 4).args == ("tenant: unknown", 4)


def test_phone_numbers_are_shown_by_their_calling_code_and_last_digits_alone():
    shown = without_numbers("{'to_number': '+491701234567', 'code': '+1', 'sum': '1+1234567890123456789'}")
    assert shown == "{'to_number': '+49 *** **67', 'code': '+1', 'sum': '1+1234567890123456789'}"
