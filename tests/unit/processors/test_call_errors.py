"""What is known of an order for a call once it was answered: never that there is none where there may be one."""

import pytest

from processors.call_errors import BY_CODE, meaning

KINDS = {
    "refused": {13224, 13226, 21201, 21202, 21211, 21214, 21216, 21217, 32224},
    "halted": {
        *(403, 10001, 20003, 20005, 20008, 20403, 20404, 21203, 21205, 21208, 21210, 21212, 21213, 21215, 21219),
        *(21626, 70051, 573005),
    },
    "not_taken": {10004, 20429, 70005, 86008},
    "in_doubt": {20500, 20503},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_means_the_same_whatever_the_status(kind):
    assert {code for code, found in BY_CODE.items() if found.kind == kind} == KINDS[kind]
    assert {meaning(status, code).kind for code in KINDS[kind] for status in (400, 403, 429, 500)} == {kind}


def test_only_what_may_pass_once_more_is_tried_once_more():
    assert {code for code, found in BY_CODE.items() if found.retry_once} == {13224, 21214}


def test_only_a_missing_permission_holds_for_one_country():
    assert {code for code, found in BY_CODE.items() if found.country} == {21215}


def test_only_a_limit_of_live_calls_is_one():
    assert {code for code, found in BY_CODE.items() if found.too_many_live} == {10004, 86008}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, None, "refused"),
        (400, 99999, "refused"),
        (403, 99999, "refused"),
        (404, 99999, "refused"),
        (422, 30001, "refused"),
        (401, None, "halted"),
        (401, 99999, "halted"),
        (403, None, "halted"),
        (404, None, "halted"),
        (429, None, "not_taken"),
        (429, 99999, "not_taken"),
        (408, None, "in_doubt"),
        (408, 99999, "in_doubt"),
        (409, 99999, "in_doubt"),
        (500, 99999, "in_doubt"),
        (599, None, "in_doubt"),
        (200, None, "in_doubt"),
        (302, None, "in_doubt"),
        (0, None, "in_doubt"),
    ],
)
def test_a_status_tells_what_no_code_does(status, code, kind):
    assert meaning(status, code).kind == kind


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "in_doubt"), (502, "in_doubt"), (401, "halted"), (429, "not_taken")]
)
def test_a_page_of_somebody_between_refuses_nothing(status, kind):
    assert meaning(status, None, readable=False).kind == kind
