"""The checker against ledgers made by hand: for every class one that it must find, so that it is
known to be able to fail.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.checker import Record, Verdict, judge
from tests.chaos.ledger import Event, Ledger

J = "job-1"


class Story:
    """A ledger by hand. Times are whole numbers: seconds."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def note(self, at: float, what: str, **fields: Any) -> Story:
        self.events.append({"at": at, "what": what, "job": J, **fields})
        return self

    def sent(self, outcome: str = "returned", job: str = J) -> Story:
        self.note(0, "tried", job=job, mark="m")
        return self.note(0, outcome, job=job) if outcome else self

    def start(
        self, at: float, token: int = 1, pid: int = 10, mark: str = "m", thread: bool = False
    ) -> Story:
        words = {"token": token, "pid": pid, "worker": f"w{pid}", "mark": mark}
        return self.note(at, "start", **words, thread=thread)

    def run(self, at: float, what: str, token: int = 1, pid: int = 10, **fields: Any) -> Story:
        return self.note(at, what, token=token, pid=pid, **fields)

    def end(self, at: float, token: int = 1, pid: int = 10, how: str = "done") -> Story:
        return self.run(at, "end", token, pid, how=how)

    def died(self, at: float, pid: int = 10) -> Story:
        return self.note(at, "died", pid=pid)

    def fault(self, since: float, until: float | None, *pids: int, kind: str = "cut off") -> Story:
        return self.note(since, "fault", kind=kind, since=since, until=until, pids=list(pids))

    def judge(self, record: Record | None = None, **records: Record) -> Verdict:
        return judge(self.events, {**({J: record} if record else {}), **records})


def done(token: int = 1, **fields: Any) -> Record:
    words = {"result": f"m {token}", "homes": ("done",), **fields}
    return Record("completed", token=token, **words)


def names(verdict: Verdict) -> set[str]:
    """The classes that are violated."""
    return {line.split()[0] for line in verdict.violations()}


def test_one_run_that_completed_is_ok() -> None:
    verdict = Story().sent().start(1).end(2).judge(done())

    assert (verdict.ok, names(verdict), verdict.duplicates) == ([J], set(), 0)


def test_a_returned_job_without_a_record_is_lost() -> None:
    verdict = Story().sent().judge()

    assert verdict.lost == [J]
    assert names(verdict) == {"lost"}
    assert "in no record" in verdict.why[J]


@pytest.mark.parametrize("state", ["ready", "running", "scheduled", "retry", "missing"])
def test_a_returned_job_that_has_not_ended_is_lost(state: str) -> None:
    assert Story().sent().judge(Record(state, homes=(state,))).lost == [J]


@pytest.mark.parametrize("state", ["dead", "expired", "cancelled"])
def test_every_end_counts_as_an_end(state: str) -> None:
    assert Story().sent().judge(Record(state, homes=("done",))).ok == [J]


@pytest.mark.parametrize("outcome", ["unknown", ""])
def test_an_unknown_enqueue_that_ran_is_recovered(outcome: str) -> None:
    verdict = Story().sent(outcome).start(1).end(2).judge(done())

    assert (verdict.recovered, names(verdict)) == ([J], set())


def test_an_unknown_enqueue_that_left_nothing_is_absent() -> None:
    verdict = Story().sent("unknown").judge()

    assert (verdict.absent, names(verdict)) == ([J], set())


def test_an_unknown_enqueue_that_is_stuck_is_lost() -> None:
    assert Story().sent("unknown").judge(Record("ready", homes=("ready",))).lost == [J]


def test_a_refused_enqueue_that_ran_is_unexpected() -> None:
    assert names(Story().sent("refused").start(1).end(2).judge(done())) == {"unexpected"}


def test_a_run_that_nobody_sent_is_unexpected() -> None:
    assert names(Story().start(1).end(2).judge(done())) == {"unexpected"}


def test_a_record_that_nobody_sent_is_unexpected() -> None:
    verdict = Story().judge(Record("ready", homes=("ready",)))

    assert names(verdict) == {"unexpected"}


def test_other_arguments_than_were_sent_are_unexpected() -> None:
    verdict = Story().sent().start(1, mark="forged").end(2).judge(done(result=None))

    assert names(verdict) == {"unexpected"}


def twice(story: Story) -> Story:
    """A second run by another worker, to its end."""
    return story.start(5, token=2, pid=20).end(6, token=2, pid=20)


def test_a_second_run_after_a_completed_one_is_unexplained() -> None:
    verdict = twice(Story().sent().start(1).end(2)).judge(done(2))

    assert names(verdict) == {"unexplained"}
    assert verdict.duplicates == 1


def test_a_second_run_after_a_failure_is_explained() -> None:
    verdict = twice(Story().sent().start(1).end(2, how="failed")).judge(done(2, attempt=1))

    assert (verdict.explained, names(verdict), dict(verdict.reasons)) == ([J], set(), {"failed": 1})


def test_a_second_run_after_a_death_is_explained_and_its_recovery_measured() -> None:
    story = Story().sent().start(1).run(2, "tick").died(2.1)
    verdict = twice(story).judge(done(2, crashes=1))

    assert (verdict.explained, names(verdict)) == ([J], set())
    assert verdict.longest_recovery == 3


def test_a_death_long_after_the_second_run_explains_nothing() -> None:
    story = twice(Story().sent().start(1).run(2, "tick")).died(60)

    assert names(story.judge(done(2))) == {"unexplained"}


def test_a_second_run_after_a_stop_is_explained() -> None:
    story = Story().sent().start(1).run(2, "told", why="cancelled").end(2, how="stopped")

    assert names(twice(story).judge(done(2))) == set()


def test_a_declared_fault_explains_only_what_it_could_touch() -> None:
    def verdict(*pids: int, since: float = 1, until: float = 4) -> set[str]:
        return names(
            twice(Story().sent().start(1).end(2).fault(since, until, *pids)).judge(done(2))
        )

    assert verdict() == set()
    assert verdict(10) == set()
    assert verdict(99) == {"unexplained"}
    assert verdict(since=-20, until=-10) == {"unexplained"}
    assert verdict(since=50, until=60) == {"unexplained"}


def test_what_was_done_long_before_a_death_or_a_fault_is_not_explained_by_it() -> None:
    def story() -> Story:
        began = Story().sent().start(1).end(2)
        return began.start(30, token=2, pid=20).end(31, token=2, pid=20)

    assert names(story().died(9).judge(done(2))) == set()
    assert names(story().died(25).judge(done(2))) == {"unexplained"}
    assert names(story().fault(8, 29).judge(done(2))) == set()
    assert names(story().fault(25, 29).judge(done(2))) == {"unexplained"}


def test_each_extra_run_needs_its_own_reason() -> None:
    story = twice(Story().sent().start(1).end(2, how="failed"))
    story.start(7, token=3, pid=30).end(8, token=3, pid=30)

    assert names(story.judge(done(3, attempt=1))) == {"unexplained"}


def test_a_run_beside_one_that_goes_on_is_overlapping() -> None:
    story = Story().sent().start(1).run(5.5, "tick").run(5.9, "told", why="lease_lost")
    verdict = twice(story.end(5.9, how="stopped")).judge(done(2))

    assert names(verdict) == {"overlapping"}
    assert "0.900 s" in verdict.why[J]


def test_a_run_that_was_told_in_time_does_not_overlap() -> None:
    story = Story().sent().start(1).run(4, "told", why="lease_lost").run(5.5, "tick")

    assert names(twice(story).judge(done(2))) == set()


def test_a_run_whose_process_died_in_time_does_not_overlap() -> None:
    assert names(twice(Story().sent().start(1).died(4)).judge(done(2))) == set()


def test_a_run_without_signs_of_life_counts_as_alive_until_its_process_dies() -> None:
    verdict = twice(Story().sent().start(1).fault(1, None, 10)).judge(done(2))

    assert names(verdict) == {"overlapping"}


def test_only_a_run_of_a_process_that_could_not_run_may_overlap() -> None:
    def story() -> Story:
        return twice(Story().sent().start(1).run(5.5, "tick"))

    frozen = story().fault(1, 5, 10, kind="frozen").judge(done(2))
    assert (names(frozen), frozen.unfenced) == (set(), 1)
    assert names(story().fault(1, 5, 99, kind="frozen").fault(1, 5, 10).judge(done(2))) == {
        "overlapping"
    }
    assert names(story().fault(1, 5, kind="frozen").judge(done(2))) == {"overlapping"}


def test_a_thread_may_overlap_until_it_looks_and_no_longer() -> None:
    def story(seconds: float) -> Story:
        began = Story().sent().start(1, thread=True).run(5 + seconds, "tick")
        return twice(began.run(5 + seconds, "told", why="lease_lost"))

    moment = story(0.1).judge(done(2))
    assert (names(moment), moment.threads) == (set(), 1)
    assert names(story(0.5).judge(done(2))) == {"overlapping"}


def test_the_last_sign_of_life_counts_where_no_end_was_written() -> None:
    story = twice(Story().sent().start(1).run(2, "tick").fault(1, None, 10))

    assert names(story.judge(done(2))) == set()


def test_the_same_token_twice_is_found() -> None:
    story = Story().sent().start(1).end(2, how="failed").start(5, pid=20).end(6, pid=20)

    assert names(story.judge(done(attempt=1))) == {"tokens"}


def test_a_token_that_shrinks_is_found() -> None:
    story = Story().sent().start(1, token=9).end(2, token=9, how="failed")
    verdict = twice(story).judge(done(2, attempt=1))

    assert names(verdict) == {"tokens"}


def test_a_sink_that_took_an_older_token_is_found() -> None:
    story = Story().sent().start(1).note(2, "sink", token=7, accepted=True).end(3)
    story.note(4, "sink", token=6, accepted=False)
    assert names(story.judge(done())) == set()

    story.note(4, "sink", token=6, accepted=True)

    assert names(story.judge(done())) == {"tokens"}


def test_a_result_of_another_token_is_found() -> None:
    assert names(Story().sent().start(1).end(2).judge(done(result="m 9"))) == {"results"}


def test_a_completion_by_a_token_that_never_ended_is_found() -> None:
    story = Story().sent().start(1).end(2)

    assert names(story.judge(done(7))) == {"results"}
    assert names(Story().sent().start(1).judge(done())) == {"results"}


@pytest.mark.parametrize("homes", [(), ("done", "ready")])
def test_a_job_in_no_index_or_in_two_is_found(homes: tuple[str, ...]) -> None:
    assert names(Story().sent().start(1).end(2).judge(done(homes=homes))) == {"homes"}


def test_attempts_that_no_run_failed_are_found() -> None:
    assert names(Story().sent().start(1).end(2).judge(done(attempt=1))) == {"charges"}


def test_crashes_without_any_trouble_are_found() -> None:
    assert names(Story().sent().start(1).end(2).judge(done(crashes=1))) == {"charges"}
    assert names(Story().sent().start(1).end(2).died(9, pid=99).judge(done(crashes=1))) == set()


def test_what_a_scenario_allows_is_no_violation_and_must_be_a_class() -> None:
    verdict = Story().sent().judge()

    assert verdict.violations(allow={"lost"}) == []
    with pytest.raises(ValueError, match="bogus"):
        verdict.violations(allow={"bogus"})


def test_summary_and_figures_say_what_was_found() -> None:
    clean = Story().sent().start(1).end(2).judge(done())
    again = twice(Story().sent().start(1).died(2)).judge(done(2))

    assert clean.summary() == "1 jobs, 0 lost, none ran twice"
    assert again.summary() == "1 jobs, 0 lost, 1 extra runs (worker died 1)"
    assert "jobs 1, ok 1, lost 0" in again.figures()
    assert "extra runs 1" in again.figures()


def test_the_ledger_keeps_whole_lines_only(tmp_path: Any) -> None:
    ledger = Ledger(tmp_path)
    ledger.note("tried", job="a")
    first, offset = ledger.since(0)
    with ledger.path.open("ab") as file:
        file.write(b'{"what": "half')

    assert [event["job"] for event in first] == ["a"]
    assert ledger.since(offset) == ([], offset)
    ledger.close()


def test_a_death_is_known_only_as_exactly_as_it_is_watched() -> None:
    """Killed before its first sign of life, and noted a moment later: that is no overlap."""
    assert names(twice(Story().sent().start(1).died(5.05)).judge(done(2))) == set()
    assert "overlapping" in names(twice(Story().sent().start(1).died(5.5)).judge(done(2)))
