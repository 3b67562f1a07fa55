"""Counts by steps can be added up, and tell percentiles within a step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import task_figures
from processors.task_figures import STEPS


def counted(durations) -> list[int]:
    counts = task_figures.none()
    for seconds in durations:
        task_figures.count(counts, seconds)
    return counts


@given(
    durations=st.lists(st.floats(0, STEPS[-1]), min_size=1, max_size=200),
    share=st.floats(0.01, 1),
)
def test_a_percentile_lies_in_the_step_of_the_true_one(durations, share):
    in_order = sorted(durations)
    true = next(one for at, one in enumerate(in_order, 1) if at >= share * len(in_order) - 1e-9)
    found = task_figures.percentile(counted(durations), share)
    at = next(at for at, step in enumerate(STEPS) if true <= step)
    assert (STEPS[at - 1] if at else 0) <= found <= STEPS[at]


@given(some=st.lists(st.lists(st.floats(0, 1e6), max_size=20), max_size=5))
def test_sums_are_the_counts_of_all(some):
    together = [one for durations in some for one in durations]
    assert task_figures.added([counted(durations) for durations in some]) == counted(together)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.001, 86_400.0, 10.0**9])
def test_any_duration_is_counted(seconds):
    assert sum(counted([seconds])) == 1


def test_nothing_has_no_percentile():
    assert task_figures.percentile(task_figures.none(), 0.5) is None
