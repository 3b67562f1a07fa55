"""Cached results: the newest one counts, and none outlives the record of its task."""

from records.cached_results import CachedResult, CachedResults
from records.task_moves import TaskMoves
from records.task_records import Draft, TaskRecords
from records.workers import Workers


def test_a_result_is_found_by_its_key_and_a_later_one_takes_its_place(database):
    cached = CachedResults(database)
    assert cached.find("k") is None
    cached.keep("k", "a", {"pages": [1, "\0\ud800"]})
    assert cached.find("k") == CachedResult("a", {"pages": [1, "\0\ud800"]})
    cached.keep("k", "b", {"pages": []})
    assert cached.find("k") == CachedResult("b", {"pages": []})


def test_a_result_goes_with_the_record_of_its_task(database):
    cached, moves = CachedResults(database), TaskMoves(database)
    TaskRecords(database).open(Draft("a", "file_processing.process_document", "file_processing", "file_processing"))
    Workers(database).start("w", "files@host", "host", 1, 0)
    run = moves.start("a", 0, "w", "files@host", None).run
    cached.keep("k", "a", {})
    cached.keep("other", "b", {})
    assert moves.remove(["a"]) == 0
    assert cached.find("k") is not None
    moves.succeed("a", run, {})
    assert moves.remove(["a"]) == 1
    assert cached.find("k") is None
    assert cached.find("other") is not None
