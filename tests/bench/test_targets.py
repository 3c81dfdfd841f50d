"""The table of targets: each line says what was found, and whether that is enough."""

from __future__ import annotations

import json
from pathlib import Path

from bench.bench import Sample
from bench.peers.comparison import Comparison, Measured
from bench.peers.targets import TARGETS, Runs, lines
from bench.results import Results

DRAIN = "no-op coroutines"


def compared(**systems: tuple[str, float, float]) -> Comparison:
    """A run: what each keeps of results, its rate and its server CPU."""
    found = Comparison(machine={}, rounds=1)
    for name, (keeps, rate, cpu) in systems.items():
        measured = found.systems[name] = Measured({"results": keeps})
        measured.add("drain", Sample(DRAIN, "rate", rate, "jobs/s"))
        measured.add("drain", Sample(DRAIN, "server CPU", cpu, "µs/job"))
    return found


def told(runs: Runs) -> dict[str, list[str]]:
    return {what: rest for what, *rest in lines(runs)}


def test_a_share_of_the_best_peer_is_met_or_missed() -> None:
    found = told(
        Runs(
            compared(taskq=("kept", 900, 9), ardiq=("kept", 300, 18), rq=("kept", 10, 90)),
            None,
            None,
        )
    )

    assert found["drain, to the fastest peer"] == ["at least 4x", "3x", "900, ardiq 300", "missed"]
    assert found["server CPU a drained job, to the best peer that keeps results"][1:] == [
        *("0.5x", "9, ardiq 18", "missed"),
    ]


def test_who_keeps_no_results_is_no_measure_for_who_does() -> None:
    systems = compared(
        taskq=("kept", 900, 8), mayu=("nothing (its default)", 300, 9), ardiq=("kept", 200, 20)
    )

    found = told(Runs(systems, None, None))

    assert found["server CPU a drained job, to the best peer that keeps results"][1:] == [
        *("0.4x", "8, ardiq 20", "met"),
    ]
    assert found["drain, to the fastest peer"][2] == "900, mayu 300"


def test_the_ceiling_and_the_floor_are_no_peers() -> None:
    systems = compared(
        taskq=("kept", 900, 8), ceiling=("kept", 1000, 7), floor=("", 9000, 1), rq=("kept", 100, 80)
    )

    found = told(Runs(systems, None, None))

    assert found["drain, to the fastest peer"][1:] == ["9x", "900, rq 100", "met"]
    assert found["drain, of the server-bound rate"][1:] == ["0.9x", "900 of 1,000", "met"]


def test_what_was_not_measured_is_said_so() -> None:
    found = told(Runs(compared(taskq=("kept", 900, 8)), None, None))

    assert found["claim with 10^7 waiting, to one with 10^4"][1:] == ["not measured", "", ""]
    assert len(found) == len(TARGETS)


def test_growth_is_read_off_its_own_run() -> None:
    growth = Results(machine={}, rounds=1)
    for case, value in (("10,000 jobs wait", 20.0), ("10,000,000 jobs wait", 31.0)):
        growth.add("waiting", Sample(case, "claim of one: time in the script", value, "µs"))

    found = told(Runs(compared(taskq=("kept", 900, 8)), growth, None))

    assert found["claim with 10^7 waiting, to one with 10^4"][1:] == [
        *("1.55x", "31 and 20 µs", "missed"),
    ]


def test_every_saved_comparison_has_what_the_targets_ask_of_it() -> None:
    """Names of scenarios and figures drift apart unnoticed else: a target would not be measured."""
    from bench.peers import comparison

    for path in Path("bench/results/peers").glob("*.json"):
        runs = Runs(comparison.load(path), None, None)
        missing = [what for what, (_, found, *_) in told(runs).items() if found == "not measured"]
        assert set(missing) <= {
            "claim with 10^7 waiting, to one with 10^4",
            "idle worker, commands sent",
        }, json.dumps(missing)
