"""What the numbers must reach: ratios of ours to somebody else's, within one interleaved run."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

Figures = Mapping[str, Mapping[str, list[float | None]]]
"""For each work and entrant the figure of each round; None where there is none."""

PEERS = ("Dramatiq", "Huey", "RQ", "arq", "taskiq", "stock Celery")


@dataclass(frozen=True, slots=True)
class Threshold:
    """One ratio.

    Attributes:
        title: what it says.
        work: the key of the work of ours.
        ours: the row of ours.
        against: how the rows of the others begin; the best of them counts.
        must: the ratio that must be reached.
        aim: the ratio that is aimed at.
        aim_against: like `against`, for the aim, where that is another one.
    """

    title: str
    work: str
    ours: str
    against: tuple[str, ...]
    must: float
    aim: float
    aim_against: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a threshold; ratios are medians over the rounds with the least and the greatest."""

    threshold: Threshold
    rival: str
    ratio: float | None
    least: float | None
    greatest: float | None
    reached: bool | None
    aim_reached: bool | None


THREADS, SQLITE, POSTGRESQL = "2 x 10 threads", "ours, records in SQLite", "ours, records in PostgreSQL"
PREFORK, QUICK = "ours, prefork of 2", "ours, QuickCelery"
DRAMATIQ, STOCK, RQ, OURS = ("Dramatiq",), ("stock Celery",), ("RQ",), (f"ours, {THREADS}",)
STOCK_PREFORK, LIKE = ("stock Celery, prefork",), ("stock Celery in our environment",)

THRESHOLDS = (
    Threshold("Drain, 2 x 10 threads: the best peer", "drain", f"ours, {THREADS}", PEERS, 1.25, 1.5),
    Threshold("Drain, prefork of 2: stock prefork", "drain", PREFORK, STOCK_PREFORK, 1.35, 1.6),
    Threshold("Publish in bulk: the best peer's bulk path", "publish_bulk", "ours, send_many", PEERS, 2, 4),
    Threshold("Publish one by one: Dramatiq (aim: Huey)", "publish_one", QUICK, DRAMATIQ, 1, 1, ("Huey",)),
    Threshold("Publish one by one: stock `delay`", "publish_one", QUICK, STOCK, 2.2, 2.2),
    Threshold("Submit with record, SQLite: Dramatiq's send", "publish_one", SQLITE, DRAMATIQ, 0.3, 0.5),
    Threshold("Submit with record, PostgreSQL: Dramatiq's send", "publish_one", POSTGRESQL, DRAMATIQ, 0.18, 0.3),
    Threshold("Submit in bulk with record, SQLite: the best bulk path", "publish_bulk", SQLITE, PEERS, 1, 1.5),
    Threshold("Submit in bulk with record, PostgreSQL: the best bulk path", "publish_bulk", POSTGRESQL, PEERS, 1, 1.5),
    Threshold("Drain with records, SQLite: ours without", "drain", f"{SQLITE}, {THREADS}", OURS, 0.6, 0.8),
    Threshold("Drain with records, PostgreSQL: ours without", "drain", f"{POSTGRESQL}, {THREADS}", OURS, 0.4, 0.6),
    Threshold("Latency p50: RQ (aim: the best)", "latency", f"ours, {THREADS}", RQ, 1.1, 1, PEERS),
    Threshold("Latency p50, SQLite: RQ (aim: the best)", "latency", f"{SQLITE}, {THREADS}", RQ, 2, 1, PEERS),
    Threshold("Latency p50, PostgreSQL: RQ (aim: the best)", "latency", f"{POSTGRESQL}, {THREADS}", RQ, 2, 1, PEERS),
    Threshold("Waiting: Dramatiq (aim: taskiq)", "waiting", "ours, 2 x 50 threads", DRAMATIQ, 1, 1, ("taskiq",)),
    Threshold("Drain, 2 ms to Redis and back: stock", "far_drain", f"ours, {THREADS}", STOCK, 5, 10),
    Threshold("Memory of a plain worker: stock in the same environment", "memory", PREFORK, LIKE, 1.05, 1),
    Threshold("Memory of the service, SQLite: stock", "memory", f"{SQLITE}, prefork of 2", STOCK_PREFORK, 1.6, 1.3),
    Threshold(
        "Memory of the service, PostgreSQL: stock", "memory", f"{POSTGRESQL}, prefork of 2", STOCK_PREFORK, 1.6, 1.3
    ),
)


def judge(threshold: Threshold, figures: Figures, *, more_is_better: bool) -> Verdict:
    """Compare round by round; no verdict where ours or every other has no figure."""
    rows = figures.get(threshold.work, {})
    mine = rows.get(threshold.ours, [])
    rival, ratios = _ratios(mine, rows, threshold.against, more_is_better=more_is_better)
    _, aim_ratios = _ratios(mine, rows, threshold.aim_against or threshold.against, more_is_better=more_is_better)
    if not ratios:
        return Verdict(threshold, rival, None, None, None, None, None)
    ratio = statistics.median(ratios)
    aimed = statistics.median(aim_ratios) if aim_ratios else None
    return Verdict(
        threshold,
        rival,
        ratio,
        min(ratios),
        max(ratios),
        _holds(ratio, threshold.must, more_is_better=more_is_better),
        None if aimed is None else _holds(aimed, threshold.aim, more_is_better=more_is_better),
    )


def _ratios(
    mine: list[float | None],
    rows: Mapping[str, list[float | None]],
    against: tuple[str, ...],
    *,
    more_is_better: bool,
) -> tuple[str, list[float]]:
    """Return the best of the others and ours divided by it, in each round in which both have a figure."""
    medians = {
        name: statistics.median(found)
        for name, values in rows.items()
        if name.startswith(against) and (found := [value for value in values if value is not None])
    }
    if not medians:
        return "", []
    rival = (max if more_is_better else min)(medians, key=lambda name: medians[name])
    pairs = zip(mine, rows[rival], strict=False)
    return rival, [one / other for one, other in pairs if one is not None and other is not None]


def _holds(ratio: float, wanted: float, *, more_is_better: bool) -> bool:
    return ratio >= wanted if more_is_better else ratio <= wanted
