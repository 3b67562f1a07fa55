"""Who waits for tasks is told of each change, by one look at the database for all of them."""

import asyncio

import pytest

from processors.errors import ServiceUnavailable
from web import watching
from web.watching import TooManyOfOne, TooManyWatchers, Watching

SECONDS = 30


class Marks:
    """What a database would say, and how often it was asked about which tasks."""

    def __init__(self, **marks):
        self.marks, self.asked, self.fails = marks, [], 0

    def __call__(self, task_ids):
        self.asked.append(sorted(task_ids))
        if self.fails:
            self.fails -= 1
            raise ServiceUnavailable("away")
        return {one: self.marks[one] for one in task_ids if one in self.marks}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(watching, "LOOKING_SECONDS", 0.01)


def run(scene):
    return asyncio.run(asyncio.wait_for(scene, SECONDS))


async def asked_again(marks, times=2):
    seen = len(marks.asked)
    while len(marks.asked) < seen + times:  # noqa: ASYNC110 - marks are asked in a thread
        await asyncio.sleep(0)


def test_the_first_look_counts_as_a_change_and_then_only_what_differs():
    async def scene():
        marks = Marks(a=("PENDING",))
        async with Watching(marks, 10).watch("a") as watch:
            assert await watch.change(SECONDS)
            await asked_again(marks)
            assert not await watch.change(0)
            marks.marks["a"] = ("SUCCESS",)
            assert await watch.change(SECONDS)

    run(scene())


def test_all_who_wait_are_told_by_one_look_however_many_they_are():
    async def scene():
        marks = Marks(**{f"t{n}": (0,) for n in range(50)})
        watching = Watching(marks, 500)

        async def one(number):
            async with watching.watch(f"t{number % 50}") as watch:
                assert await watch.change(SECONDS)
                return await watch.change(SECONDS)

        tasks = [asyncio.create_task(one(n)) for n in range(200)]
        await asked_again(marks)
        while sorted({len(asked) for asked in marks.asked[-2:]}) != [50]:
            await asked_again(marks)
        before = len(marks.asked)
        marks.marks = dict.fromkeys(marks.marks, (1,))
        assert all(await asyncio.gather(*tasks))
        assert len(marks.asked) - before <= 5

    run(scene())


def test_nobody_is_asked_when_nobody_waits():
    async def scene():
        marks = Marks(a=(1,))
        watching = Watching(marks, 10)
        async with watching.watch("a") as watch:
            await watch.change(SECONDS)
        await watching._looker
        asked = len(marks.asked)
        async with watching.watch("a") as watch:  # and begins again
            assert await watch.change(SECONDS)
        assert len(marks.asked) > asked

    run(scene())


def test_who_waits_goes_on_waiting_while_the_database_is_away():
    async def scene():
        marks = Marks(a=(1,))
        marks.fails = 3
        async with Watching(marks, 10).watch("a") as watch:
            assert await watch.change(SECONDS)
        assert len(marks.asked) > 3

    run(scene())


def test_more_than_may_wait_are_refused_and_a_place_is_free_again_after_one_left():
    async def scene():
        watching = Watching(Marks(a=(1,)), 1)
        async with watching.watch("a"):
            with pytest.raises(TooManyWatchers, match="1 already wait"):
                async with watching.watch("a"):
                    pass
        async with watching.watch("a") as watch:
            assert await watch.change(SECONDS)

    run(scene())


def test_one_caller_takes_no_more_places_than_its_own_and_others_come_in():
    async def scene():
        watching = Watching(Marks(a=(1,)), 10, 2)
        async with watching.watch("a", "k1"), watching.watch("b", "k1"):
            with pytest.raises(TooManyOfOne, match="2 already wait for tasks with this key"):
                async with watching.watch("a", "k1"):
                    pass
            async with watching.watch("a", "k2") as watch, watching.watch("a"), watching.watch("a"):
                assert await watch.change(SECONDS)
        async with watching.watch("a", "k1") as watch:
            assert await watch.change(SECONDS)
        assert not watching._of

    run(scene())


def test_a_task_that_is_not_there_changes_nothing():
    async def scene():
        marks = Marks()
        async with Watching(marks, 10).watch("none") as watch:
            await asked_again(marks)
            assert not await watch.change(0)

    run(scene())
