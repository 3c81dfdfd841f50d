"""bench.replay: traces, the simulation and its targets, figures from records, one real replay."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bench.replay import measures, peers, tables
from bench.replay import trace as traces
from bench.replay.policies import make
from bench.replay.real import replay
from bench.replay.record import Record
from bench.replay.results import Results, load
from bench.replay.scenarios import STRICT, all_scenarios
from bench.replay.simulate import simulate
from bench.replay.take import take_simulated
from bench.replay.trace import Arrival, Trace
from bench.server import private_server
from tests.servers import redis_binary, valkey_binary

SEEDS = range(3)
FEW = 3


def trace_of(*jobs: Arrival, slots: int = 1) -> Trace:
    return Trace("test", 0, slots, jobs)


@pytest.mark.parametrize("load", [0.7, 1.1])
def test_a_trace_is_made_of_its_seed_and_has_the_load_it_is_asked_for(load: float) -> None:
    one, same, other = (traces.mixed(load, seed=seed) for seed in (1, 1, 2))

    assert one == same != other
    assert one.work == pytest.approx(load * one.slots * 200.0)
    times = [job.at for job in one.arrivals]
    assert times == sorted(times)
    assert all(job.deadline is None or job.deadline > job.service for job in one.arrivals)


def test_a_slot_takes_the_best_rank_when_it_is_free() -> None:
    trace = trace_of(Arrival(0, 5), Arrival(1, 5, priority=1), Arrival(2, 5, priority=9))

    found = {name: simulate(trace, make(name)) for name in ("fifo", "strict")}

    assert [record.started for record in found["fifo"]] == [0, 5, 10]
    assert [record.started for record in found["strict"]] == [0, 10, 5]


def test_a_job_past_its_deadline_is_dropped_or_cut_off_when_it_is_to_expire() -> None:
    trace = trace_of(
        Arrival(0, 5, deadline=4), Arrival(0.5, 5, deadline=2), Arrival(1, 5, deadline=9)
    )

    dropped = simulate(trace, make("fifo"), expire=True)
    late = simulate(trace, make("fifo"))

    assert [(record.started, record.stopped) for record in dropped] == [
        (0, 4),
        (None, 4),
        (4, None),
    ]
    assert [record.ended for record in late] == [5, 10, 15]
    assert measures.misses(trace, dropped) == pytest.approx(2 / 3)
    assert measures.misses(trace, late) == 1


def test_shares_count_only_while_all_wait_and_idle_slots_only_while_work_waits() -> None:
    trace = trace_of(Arrival(0, 1), Arrival(0, 1, tenant="b"), slots=2)
    records = [
        Record(0, 0.0, 0.0, started=2.0, ended=6.0),
        Record(1, 0.0, 0.0, started=4.0, ended=6.0),
    ]

    # 0 to 2: both wait, nothing runs. 2 to 4: only b waits, one slot of two runs.
    assert measures.idle_while_waiting(trace, records) == 6 / 8
    assert measures.idle_while_waiting(trace, records, since=2.0) == 2 / 4
    assert measures.fairness(trace, records) == 1.0


def test_jains_index() -> None:
    assert measures.jain([3.0, 3.0]) == 1
    assert measures.jain([1.0, 0.0]) == 0.5
    assert measures.jain([3.0, 1.0]) == 0.8


def test_an_inversion_is_a_start_before_a_better_job_that_was_there() -> None:
    better = Record(0, 1.0, 1.0, started=5.0)
    worse = Record(1, 0.0, 2.0, started=2.0)
    worst = Record(2, 0.0, 3.0, started=3.0, decided=0.5)

    assert measures.inversions([better, worse, worst]) == measures.Inversions(1, 1)
    assert measures.inversions([better, worse, worst], margin=1.0).pairs == 0
    later = [replace(worse, started=6.0), replace(worst, started=7.0)]
    assert measures.inversions([better, *later]).pairs == 0


def test_errors_of_predicted_starts_are_relative_to_the_wait() -> None:
    records = [
        Record(0, 0.0, 0.0, started=10.0, predicted=8.0),
        Record(1, 0.0, 0.0, started=0.1, predicted=8.0),
        Record(2, 0.0, 0.0, predicted=8.0),
    ]

    assert measures.prediction_errors(records, least_wait=1.0) == [0.2]


@pytest.mark.parametrize("seed", SEEDS)
def test_strict_misses_at_most_half_of_what_fifo_misses_at_90_percent_load(seed: int) -> None:
    trace = traces.mixed(0.9, seed=seed)

    fifo, strict = (
        measures.misses(trace, simulate(trace, make(name))) for name in ("fifo", "strict")
    )

    assert fifo > 0.05
    assert strict <= fifo / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flood_of_a_hundred_to_one_is_shared_evenly_and_idles_nothing(seed: int) -> None:
    trace = traces.flood(seed=seed)
    fifo, fair = (simulate(trace, make(name)) for name in ("fifo", "fair"))

    assert measures.fairness(trace, fifo) < 0.55
    assert measures.fairness(trace, fair) >= 0.95
    assert measures.idle_while_waiting(trace, fair) == 0


def test_the_targets_of_the_simulation_are_met() -> None:
    results = Results(machine={}, seeds=FEW)
    for scenario in all_scenarios():
        if scenario.name in ("load", "flood", "late", "patience"):
            take_simulated(scenario, results, FEW)

    rows = tables.sections(results)["targets"].splitlines()[2:]

    assert len(rows) == 4
    assert [row for row in rows if not row.endswith("| yes |")] == []


@pytest.mark.parametrize("name", ["fifo", "strict", "aging", "fair"])
def test_one_slot_starts_in_order_of_rank(name: str) -> None:
    trace = traces.mixed(0.95, seed=1, slots=1)

    assert measures.inversions(simulate(trace, make(name))) == measures.Inversions(0, 0)


def test_a_real_worker_of_one_slot_starts_in_order_of_rank() -> None:
    binary = valkey_binary() or redis_binary()
    assert binary
    jobs = [Arrival(0, 1, priority=n % 10, deadline=20.0 + n if n % 3 else None) for n in range(12)]
    assert STRICT.setup is not None
    with private_server(binary) as server:
        found = replay(
            server, trace_of(*jobs), STRICT.setup, speed=50.0, workers=1, waiting=True
        ).records

    ran = sorted(found, key=lambda record: record.started or 0.0)
    assert [record.rank for record in ran] == sorted(record.rank for record in ran)
    assert {record.rank for record in found} != {float("inf")}
    assert all((record.ended or 0) > (record.started or 0) + 0.5 for record in found)
    assert measures.inversions(found) == measures.Inversions(0, 0)


def test_a_peer_that_cannot_be_installed_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(words: list[str]) -> None:
        raise subprocess.CalledProcessError(1, words, stderr="noise\nERROR: no such package\n")

    monkeypatch.setattr(peers, "_run", fail)

    with pytest.raises(peers.NotHere, match=r"huey is left out, .*: ERROR: no such package"):
        peers.python_of("huey", tmp_path)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results = Results(machine={"cpu": "x"}, seeds=2)
    for value in (0.25, 0.5):
        results.add("load", "load 90%", "strict", "real", {"misses": value})
    results.series["waits: strict: 9"] = [0.0, 1.5]
    results.skipped.append("huey is left out")
    path = tmp_path / "results.json"

    path.write_text(results.dump())

    assert load(path) == results
