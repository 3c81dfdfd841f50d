"""Figures as Markdown: one function a marker of docs/scheduling.md. Knows the page's tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.replay.results import Found, Results

_LOADS = ("load 70%", "load 90%", "load 110%")
_STEADY, _OVERLOAD = "steady backlog", "load 110%"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def percent(share: float) -> str:
    """A share for people."""
    points = share * 100
    if 0 < points < 0.05:
        return "< 0.1 %"
    return f"{points:.0f} %" if points >= 10 or points == 0 else f"{points:.1f} %"


def _spread(found: Found | None, figure: str, show: Callable[[float], str]) -> str:
    """The mean; with several seeds also the least and the most."""
    if found is None or figure not in found.values:
        return ""
    values = found.values[figure]
    text = show(found.mean(figure))
    if len(values) == 1 or show(min(values)) == show(max(values)):
        return text
    return f"{text} ({show(min(values))} to {show(max(values))})"


def _misses(results: Results, scenario: str, how: str) -> str:
    """Misses by load, each with what part it is of FIFO's on the same trace."""
    rows = []
    for row in results.names(scenario, "row"):
        cells = []
        for load in _LOADS:
            found = results.get(scenario, load, row, how)
            fifo = results.get(scenario, load, "FIFO", how)
            text = _spread(found, "misses", percent)
            if found and fifo and row != "FIFO" and fifo.mean("misses"):
                part = found.mean("misses") / fifo.mean("misses")
                text += f", {part:.2f} of FIFO's"
            cells.append(text)
        if any(cells):
            rows.append([row, *cells])
    return _table(["deadlines missed", *_LOADS], rows)


def _waits(results: Results, scenario: str, trace: str, how: str) -> str:
    """The longest wait of any job, by priority."""
    priorities = ("9", "5", "1")
    rows = []
    for row in results.names(scenario, "row"):
        found = results.get(scenario, trace, row, how)
        cells = [_spread(found, f"worst wait {p}", "{:.1f} s".format) for p in priorities]
        if any(cells):
            rows.append([row, *cells])
    return _table(["longest wait", *(f"priority {p}" for p in priorities)], rows)


def _shares(results: Results, how: str) -> str:
    rows = []
    for found in results.found:
        if found.scenario in ("flood", "late") and found.how == how:
            jain = _spread(found, "fairness", "{:.3f}".format)
            rows.append([found.trace, found.row, jain, _spread(found, "idle", percent)])
    return _table(["trace", "order", "Jain index", "idle while work waited"], rows)


def _patience(results: Results, how: str) -> str:
    rows = []
    for row in results.names("patience", "row"):
        found = results.get("patience", "load 95%", row, how)
        if found is not None:
            pairs = zip(found.values["beyond patience"], found.values["longest run"], strict=True)
            held = sum(beyond <= longest for beyond, longest in pairs)
            rows.append(
                [
                    row,
                    f"{max(found.values['beyond patience']):+.1f} s",
                    f"{held} of {len(found.values['longest run'])}",
                ]
            )
    return _table(["order", "most beyond patience", "runs within patience + service"], rows)


def _order(results: Results) -> str:
    rows = []
    for scenario, trace in (("one slot", "one slot, load 95%"), ("load", "load 90%")):
        for row in results.names(scenario, "row"):
            found = results.get(scenario, trace, row, "real")
            if found is not None:
                shape = "1 worker, 1 slot" if scenario == "one slot" else "2 workers, 8 slots each"
                numbers = [f"{found.mean(n):,.0f}" for n in ("jobs", "inversions", "passed by")]
                rows.append([shape, row, *numbers])
    return _table(["", "order", "jobs", "inversions", "one job passed by, at most"], rows)


def _prediction(results: Results) -> str:
    rows = []
    for trace in results.names("prediction", "trace"):
        found = results.get("prediction", trace, "strict", "real")
        if found is not None:
            rows.append(
                [
                    trace,
                    f"{found.mean('jobs'):,.0f}",
                    f"{found.mean('wait'):.1f} s",
                    *(percent(found.mean(name)) for name in ("p50", "p90")),
                    f"{found.mean('bias') * 100:+.0f} %",
                ]
            )
    heads = ["trace", "jobs", "median wait", "error p50", "error p90", "median, signed"]
    return _table(heads, rows)


def _cpu(found: Found) -> float:
    """CPU of server and worker for each job, µs."""
    return found.median("server CPU") + found.median("worker CPU")


def _range(found: Found, figure: str) -> str:
    values = found.values[figure]
    return f" ({min(values):.2f} to {max(values):.2f})" if min(values) < max(values) else ""


def _limits(results: Results) -> str:
    plain, rows = results.get("limits", "drain", "no limits", "real"), []
    for row in results.names("limits", "row"):
        found = results.get("limits", "drain", row, "real")
        if found is not None:
            rows.append(
                [
                    row,
                    f"{found.median('rate'):,.0f} jobs/s",
                    f"{found.median('ratio'):.2f}" + _range(found, "ratio"),
                    f"{_cpu(plain) / _cpu(found):.2f}" if plain else "",
                    *(f"{found.median(f'{side} CPU'):.1f} µs" for side in ("server", "worker")),
                    f"{found.median('script calls'):.3f}",
                ]
            )
    return _table(
        [
            "each job has",
            "drained",
            "of the rate without",
            "of the jobs per CPU without",
            "server CPU per job",
            "worker CPU per job",
            "script calls per job",
        ],
        rows,
    )


def _features(results: Results) -> str:
    rows = []
    for row in results.names("features", "row"):
        found = results.get("features", "scripts", row, "real")
        if found is not None:
            parts = [f"{found.median(name):.1f} µs" for name in ("enqueue", "claim", "ack")]
            rows.append([row, *parts, f"{found.median('ratio'):.2f}" + _range(found, "ratio")])
    heads = ["each job", "enqueue", "claim", "ack", "of a plain job's, all three"]
    return _table(heads, rows)


def _looks(results: Results) -> str:
    traces = results.names("looks", "trace")
    rows = []
    for row in results.names("looks", "row"):
        found = [results.get("looks", trace, row, "real") for trace in traces]
        rows.append([row, *(f"{one.median('usec'):,.0f} µs" if one else "" for one in found)])
    return _table(["one look", *traces], rows)


def _targets(results: Results) -> str:
    """The targets, what was measured, and whether they are met."""
    rows: list[list[str]] = []

    def add(target: str, figure: str, value: float | None, met: Callable[[float], bool]) -> None:
        if value is not None:
            rows.append([target, figure.format(value), "yes" if met(value) else "**no**"])

    def value(scenario: str, trace: str, row: str, figure: str, how: str = "real") -> float | None:
        found = results.get(scenario, trace, row, how)
        return found.mean(figure) if found and figure in found.values else None

    for row in ("FIFO", "strict", "aging", "fair"):
        pairs = value("one slot", "one slot, load 95%", row, "inversions")
        add(f"one slot starts in order of rank: `{row}`", "{:.0f} inversions", pairs, _zero)
        most = value("load", "load 90%", row, "passed by")
        claim = f"a job is passed by at most batch x workers (8 x 2): `{row}`"
        add(claim, "{:.0f} jobs", most, lambda most: most <= 16)
    for how in ("simulated", "real"):
        mine = value("load", "load 90%", "strict", "misses", how)
        fifo = value("load", "load 90%", "FIFO", "misses", how)
        ratio = mine / fifo if mine is not None and fifo else None
        add(f"misses at 90 % load, at most half of FIFO's ({how})", "{:.3f}", ratio, _half)
        jain = value("flood", "flood 100:1", "fair", "fairness", how)
        claim = f"Jain index, one tenant flooding 100:1, at least 0.95 ({how})"
        add(claim, "{:.3f}", jain, lambda jain: jain >= 0.95)
        later = "flood, then the other 60 s later"
        jain = value("late", later, "fair", "fairness", how)
        claim = f"the same, the other comes later ({how})"
        add(claim, "{:.3f}", jain, lambda jain: jain >= 0.95)
        found = results.get("patience", "load 95%", "aging", how)
        if found is not None:
            beyond = max(found.values["beyond patience"])
            longest = min(found.values["longest run"])
            claim = f"`aging`: nobody waits longer than patience plus service ({how})"
            met = beyond <= longest
            rows.append([claim, f"{beyond:+.1f} s beyond patience", "yes" if met else "**no**"])
    late = value("prediction", _STEADY, "strict", "p90")
    add("predicted start within 25 % at p90, steady backlog", "{:.0%}", late, _quarter)
    for row, claim in (
        ("ten limits, none of them a job's", "ten limits that no job has"),
        ("one of ten", "each job has one of ten limits"),
        ("all ten", "each job has all ten limits"),
    ):
        found = results.get("limits", "drain", row, "real")
        ratio = found.median("ratio") if found else None
        add(f"{claim}: at least 0.70 of the rate without", "{:.2f}", ratio, _limit)
    return _table(["target", "measured", "met"], rows)


def _zero(value: float) -> bool:
    return value == 0


def _half(value: float) -> bool:
    return value <= 0.5


def _quarter(value: float) -> bool:
    return value <= 0.25


def _limit(value: float) -> bool:
    return value >= 0.7


def _machine(results: Results, name: str) -> str:
    about = ", ".join(f"{word} {value}" for word, value in results.machine.items())
    lines = [f"Run of {results.when}, `{name}`: {about}.", f"Simulations: {results.seeds} seeds."]
    return "\n".join([*lines, *results.skipped])


def sections(results: Results, name: str = "") -> dict[str, str]:
    """Marker name -> Markdown; only those that the run has something for."""
    makers: dict[str, tuple[str, Callable[[], str]]] = {
        "targets": ("load", lambda: _targets(results)),
        "deadlines, real": ("load", lambda: _misses(results, "load", "real")),
        "deadlines, simulated": ("load", lambda: _misses(results, "load", "simulated")),
        "all due": ("all due", lambda: _misses(results, "all due", "simulated")),
        "waits": ("load", lambda: _waits(results, "load", "load 90%", "real")),
        "patience, real": ("patience", lambda: _patience(results, "real")),
        "patience, simulated": ("patience", lambda: _patience(results, "simulated")),
        "shares, real": ("flood|late", lambda: _shares(results, "real")),
        "shares, simulated": ("flood|late", lambda: _shares(results, "simulated")),
        "order": ("one slot", lambda: _order(results)),
        "prediction": ("prediction", lambda: _prediction(results)),
        "limits": ("limits", lambda: _limits(results)),
        "features": ("features", lambda: _features(results)),
        "looks": ("looks", lambda: _looks(results)),
    }
    known = {found.scenario for found in results.found}
    parts = {"machine": _machine(results, name)} if name else {}
    return parts | {
        word: make()
        for word, (scenario, make) in makers.items()
        if known & set(scenario.split("|"))
    }
