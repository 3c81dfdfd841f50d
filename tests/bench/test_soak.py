"""The long run: its verdict, table and page, its counts of delays; and one run of two seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.endurance import page
from bench.endurance.delays import Delays, bucket, edge, share_ms, since
from bench.endurance.record import Moment, Record, load
from bench.endurance.take import take
from bench.endurance.verdict import judge, thirds
from bench.server import private_server
from tests.servers import redis_binary, valkey_binary

MIB = 2**20
STEADY = Moment(
    at=0.0,
    done=1_000,
    waiting=3,
    keys=6_000,
    worker_rss=40 * MIB,
    producer_rss=38 * MIB,
    server_used=100 * MIB,
    server_rss=120 * MIB,
    worker_cpu=30.0,
    producer_cpu=20.0,
    server_cpu=40.0,
    p50=0.5,
    p99=2.0,
    longest=9.0,
)


def ran(*, rising: str = "", by: int = 0, looks: int = 30, **words: object) -> Record:
    """A run of `looks` looks, one a second of 100,000 jobs; `rising` has `by` bytes more at each.
    It fills the server for ten seconds first, as real ones do.
    """
    moments = []
    for at in range(1, looks + 1):
        moment = replace(STEADY, at=10.0 * at, done=100_000)
        if at < 10:
            moment = replace(moment, server_used=10 * MIB * at)
        if rising:
            moment = replace(moment, **{rising: getattr(moment, rising) + by * at})
        moments.append(moment)
    jobs = 100_000 * looks
    found = Record(
        machine={"cpu": "x", "python": "CPython 3.11.7"},
        wanted=10_000,
        probed=20_000,
        seconds=10.0 * looks,
        every=10.0,
        keep=60.0,
        rate=9_990.0,
        sent=jobs,
        enqueued=jobs,
        completed=jobs,
        started=jobs,
        moments=moments,
    )
    return replace(found, **words)


def test_memory_that_stays_after_a_beginning_is_flat() -> None:
    verdict = judge(ran())

    assert verdict.problems == ()
    assert [one.share for one in verdict.growth] == [0.0] * 4
    assert verdict.text == "memory is flat, nothing lost"


@pytest.mark.parametrize(
    ("figure", "by", "complaint"),
    [
        # 10 looks of a million jobs together lie between the medians.
        ("worker_rss", MIB // 5, "memory of the worker: +4.6%, 2.00 MiB by million jobs"),
        ("producer_rss", MIB // 5, "memory of the producer: +4.9%, 2.00 MiB by million jobs"),
        ("server_used", MIB, "memory of the server, in use: +8.7%, 10.00 MiB by million jobs"),
        ("server_rss", MIB, "memory of the server, resident: +7.4%, 10.00 MiB by million jobs"),
    ],
)
def test_memory_that_rises_is_named_with_its_price_by_million_jobs(
    figure: str, by: int, complaint: str
) -> None:
    assert judge(ran(rising=figure, by=by)).problems == (complaint,)


def test_two_percent_are_flat_and_more_are_not() -> None:
    # Ten looks lie between the medians, the first of them after 15.5.
    least = 100 * MIB * 0.02 / (10 - 0.02 * 15.5)

    assert not judge(ran(rising="server_used", by=int(least) - 100)).problems
    assert judge(ran(rising="server_used", by=int(least) + 100)).problems


def test_one_look_out_of_line_is_no_growth() -> None:
    record = ran()
    record.moments[-1] = replace(record.moments[-1], worker_rss=400 * MIB)

    assert judge(record).problems == ()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"completed": 2_999_999}, "3,000,000 jobs were sent, 2,999,999 completed"),
        ({"started": 3_000_001}, "3,000,000 jobs were sent, 3,000,001 started"),
        ({"enqueued": 2_000_000}, "3,000,000 jobs were sent, 2,000,000 enqueued"),
        ({"rate": 9_700.0}, "10,000 jobs/s were wanted, 9,700 sent"),
    ],
)
def test_jobs_that_are_missing_and_a_rate_that_was_not_kept_are_said(
    words: dict[str, object], complaint: str
) -> None:
    assert judge(ran(**words)).text == complaint


def test_enqueue_calls_that_failed_are_said_with_the_first_reason() -> None:
    jobs = 2_999_998
    counts = {name: jobs for name in ("enqueued", "completed", "started")}

    verdict = judge(ran(failed=2, trouble="StoreUnavailable: away", **counts))

    assert verdict.text == "2 enqueue calls failed, the first: StoreUnavailable: away"


def test_a_run_that_is_too_short_says_nothing_about_memory() -> None:
    for record in (ran(looks=11), ran(seconds=50.0)):
        verdict = judge(record)

        assert verdict.growth == ()
        assert verdict.text == "nothing lost; too short to say whether memory is flat"


@pytest.mark.parametrize(("looks", "sizes"), [(30, [10, 10, 10]), (11, [5, 3, 3]), (2, [2, 0, 0])])
def test_the_first_third_takes_what_does_not_divide(looks: int, sizes: list[int]) -> None:
    assert [len(third) for third in thirds(ran(looks=looks).moments)] == sizes


def test_the_table_has_memory_by_third_with_its_growth() -> None:
    lines = page.table(ran(rising="worker_rss", by=MIB // 5))

    (worker,) = (line for line in lines if line.startswith("| memory of the worker"))
    assert worker == "| memory of the worker, MiB | 41.1 | 43.1 | 45.1 | +4.64% | +2.000 MiB |"
    assert {line.count("|") for line in lines} == {7}


def test_a_table_can_be_made_of_any_number_of_looks() -> None:
    for looks in range(5):
        lines = page.table(ran(looks=looks))
        assert {line.count("|") for line in lines} == {7}


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(ran(rising="server_rss", by=3).dump())

    assert load(path) == ran(rising="server_rss", by=3)


def test_the_page_says_what_the_newest_results_say() -> None:
    text = page.PAGE.read_text()

    assert page.render(text) == text


def test_a_page_is_made_of_a_run_once_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-23-x.json"
    path.write_text(ran().dump())

    text = page.section(path)

    assert text.startswith("<!-- soak -->\n## A long run")
    assert "3,000,000 completed. Verdict: memory is flat, nothing lost." in text
    assert page.section(None) == "<!-- soak -->\n<!-- /soak -->"


@pytest.mark.parametrize("ns", [0, 1, 8, 9, 1_000, 1_234_567, 999_999_999, 3_600 * 10**9])
def test_a_delay_is_known_to_an_eighth(ns: int) -> None:
    most = edge(bucket(ns))

    assert most > ns
    assert most <= max(ns, 8) * 9 / 8 + 1
    assert bucket(most) == bucket(ns) + 1


@pytest.fixture
def delays(tmp_path: Path) -> Iterator[Delays]:
    """Those that another process notes are seen here: both map one file."""
    delays = Delays(tmp_path / "delays")
    yield delays
    delays.close()


def test_delays_are_read_while_another_notes_them(delays: Delays, tmp_path: Path) -> None:
    other = Delays(tmp_path / "delays")
    for ms in range(1, 101):
        other.note(ms * 1_000_000)
    before = delays.read()
    other.note(5_000_000_000)
    other.close()

    assert sum(before) == 100
    assert 50 <= share_ms(before, 0.5) <= 50 * 9 / 8
    assert 99 <= share_ms(before, 0.99) <= 99 * 9 / 8 + 1
    added = since(delays.read(), before)
    assert sum(added) == 1
    assert 5_000 <= share_ms(added, 1.0) <= 5_000 * 9 / 8
    assert share_ms([0] * 512, 0.5) == 0


def test_a_short_run_sends_all_runs_all_and_looks_at_all() -> None:
    binary = valkey_binary() or redis_binary()
    assert binary
    record = Record(machine={}, wanted=200, probed=0, seconds=2.0, every=0.4, keep=1.0)
    said: list[str] = []
    with private_server(binary) as server:
        take(server, record, said.append)

    assert record.sent == record.enqueued == record.completed == record.started == 400
    assert (record.failed, record.trouble) == (0, "")
    assert len(said) == len(record.moments) >= 3
    last = record.moments[-1]
    assert sum(moment.done for moment in record.moments) <= 400
    assert min(last.worker_rss, last.producer_rss, last.server_used, last.server_rss) > MIB // 2
    assert last.keys > 0
    assert 0 < last.p50 <= last.p99 <= last.longest
