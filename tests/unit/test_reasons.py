"""taskq/reasons.py: what follows from one look, where a real server is more than it takes."""

from __future__ import annotations

import json

import pytest

from taskq.commands import Ahead, Holder, LimitSeen, Seen
from taskq.reasons import explanation
from taskq.views import WorkerView

NOW = 1_800_000_000_000


def worker(**fields: object) -> WorkerView:
    words: dict[str, object] = {
        "id": "w1", "host": "h", "pid": 1, "queues": ("q",), "tasks": frozenset({"t"}),
        "provides": frozenset(), "concurrency": 4, "slots": 4, "taken": 0, "process_slots": 0,
        "running": 0, "done": 0, "failed": 0, "cpu": 0.0, "rss": 0, "loop_lag": 0.0,
        "beat_age": 0.0, "started_at": None, "python": "", "alive": True, "health": "ok", **fields,
    }  # fmt: skip
    return WorkerView(**words)  # type: ignore[arg-type]


def seen(
    state: str = "ready",
    *,
    ahead: list[Ahead] | None = None,
    limits: list[LimitSeen] | None = None,
    facts: dict[str, float] | None = None,
    meta: dict[str, str] | None = None,
    **fields: str,
) -> Seen:
    words = {"state": state, "task": "t", **fields}
    return Seen(
        NOW,
        {name: value.encode() for name, value in words.items()},
        {"score": 4.0e13 + NOW, "before": 0.0, **(facts or {})},
        ahead or [],
        [Holder("w1", 0, "alive", 4)],
        meta or {},
        limits or [],
    )


def limit(**words: object) -> LimitSeen:
    found: dict[str, object] = {
        "name": "l", "instance": "l", "definition": "concurrency=2 on=job", "holding": 2,
        "parked": 0, "rate_us": 0, "due_ms": None, "holders": [], **words,
    }  # fmt: skip
    return LimitSeen(**found)  # type: ignore[arg-type]


def test_a_job_that_costs_more_than_is_free_anywhere() -> None:
    able = [worker(taken=3), worker(id="w2", slots=2, taken=1)]
    found = explanation("a", "q", seen(cost="2"), able)

    assert found.codes == ("slots_too_few", "next")
    assert found.reasons[0].details == {"workers": 2, "free_slots": 1, "cost": 2}


def test_a_job_that_costs_more_than_any_worker_has_waits_for_an_empty_one() -> None:
    assert explanation("a", "q", seen(cost="9"), [worker()]).codes == ("next",)
    assert explanation("a", "q", seen(cost="9"), [worker(taken=1)]).codes == (
        "slots_too_few",
        "next",
    )


def test_predicted_start_is_the_work_ahead_on_the_slots_of_those_able() -> None:
    look = seen(ahead=[Ahead("", 8, 9), Ahead("gpu", 100, 100)], facts={"all_average_ms": 500.0})
    able = [worker(slots=1), worker(id="w2", slots=1), worker(id="w3", queues=("other",))]
    found = explanation("a", "q", look, able)

    assert found.codes == ("behind",)
    assert found.predicted_start is not None
    assert found.predicted_start.timestamp() == (NOW + 8 * 500 / 2) / 1000

    unknown = look._replace(facts={"score": 4.0e13 + NOW})
    assert explanation("a", "q", unknown, able).predicted_start is None
    first = look._replace(ahead=[Ahead("", 0, 9)])
    start = explanation("a", "q", first, able).predicted_start
    assert start is not None
    assert start.timestamp() == NOW / 1000


def test_partitions_are_named_and_commands_name_the_queue() -> None:
    found = explanation("a", "q~3", seen(meta={"paused": str(NOW)}), [])

    assert "queue q~3 is paused" in found.sentence
    assert found.remedies == (
        "`taskq queue resume q`",
        "no worker alive serves the queue: run `taskq worker APP -q q`",
    )


@pytest.mark.parametrize(
    "odd", ["", "concurrency=x on=job", "every_us=x", "on=", "=", "concurrency="]
)
def test_a_definition_that_says_nothing_holds_nothing_back(odd: str) -> None:
    found = explanation("a", "q", seen(limits=[limit(definition=odd)]), [worker()])
    assert found.codes == ("next",)


def test_ten_holders_are_named_and_the_others_counted() -> None:
    who = [(f"j{n}", "w1" if n else "", "t") for n in range(10)]
    one = limit(definition="concurrency=25 on=job", holding=25, holders=who)
    found = explanation("a", "q", seen(limits=[one]), [worker()])

    assert "25 of 25 run (j0, j1 on w1, " in found.sentence
    assert found.sentence.endswith("and 15 more)")
    json.dumps([one.details for one in found.reasons])


def test_a_rate_with_a_burst_lets_the_next_one_start_earlier() -> None:
    words = "every_us=1000000 burst_us=5000000 on=job"
    one = limit(definition=words, rate_us=(NOW + 7000) * 1000)
    found = explanation("a", "q", seen(limits=[one]), [worker()])
    assert found.codes == ("limit_rate", "next")
    assert found.reasons[0].details["until_ms"] == NOW + 2000

    early = limit(definition=words, rate_us=(NOW + 5000) * 1000)
    assert explanation("a", "q", seen(limits=[early]), [worker()]).codes == ("next",)


@pytest.mark.parametrize("odd", ["", "inf", "nan", "-5", "9" * 30, "x"])
def test_nonsense_in_the_record_is_no_error(odd: str) -> None:
    for state in ("ready", "running", "scheduled", "retry", "blocked", "dead", "completed"):
        look = seen(state, started_ms=odd, ended_ms=odd, attempt=odd, cost=odd, blocked_by=odd)
        found = explanation("a", "q", look, [worker()])
        assert str(found)
        json.dumps([one.details for one in found.reasons])
    assert explanation("a", "q", seen("nonsense"), []).codes == ("dead",)


def test_an_infinite_score_is_no_error() -> None:
    for state in ("ready", "scheduled"):
        for score in (float("inf"), float("-inf"), 1e300):
            found = explanation("a", "q", seen(state, facts={"score": score}), [worker()])
            assert str(found)
