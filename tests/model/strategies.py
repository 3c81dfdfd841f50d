"""What is drawn: few ids, workers, classes, moments, limits and keys, so that they meet."""

from __future__ import annotations

from hypothesis import strategies as st

from taskq.commands import NewJob
from tests.model.calls import BEAT_MS
from tests.model.world import START_US, Record

HOUR_MS = 3_600_000

ids = st.integers(0, 8).map("j{}".format)
id_lists = st.lists(ids, min_size=1, max_size=5)
workers = st.sampled_from(["w1", "w2", "w3"])
classes = st.sampled_from(["", "", "gpu"])
keeps = st.sampled_from([HOUR_MS, HOUR_MS, 2 * HOUR_MS, 0])
few = st.sampled_from([1000, 1000, 1, 3])
limits = st.sampled_from([1, 1, 2, 3, 5, 0])
slots = st.sampled_from(
    [
        {"": 5},
        {"": 2},
        {"": 5, "gpu": 5},
        {"": 5, "fragile": 1},
        {"fragile": 2, "gpu": 2, "": 2},
        {"": 1, "gpu": 3},
        {"": 3, "gpu": 0},
        {"fragile+gpu": 1, "gpu": 2},
    ]
)
moments = st.sampled_from(
    [""] * 16
    + ["+0", "+1", "+1500", "+4000", f"+{BEAT_MS}"]
    + [str(START_US // 1000 + ms) for ms in (-5_000, 2_000, 30_000)]
)
indexes = st.sampled_from(
    [
        "ready",
        "ready:gpu",
        "ready:fragile",
        "turned",
        "blocked",
        "scheduled",
        "retry",
        "dead",
        "dead",
        "done",
        "done",
    ]
)
queue_settings = st.fixed_dictionaries(
    {},
    optional={
        "policy": st.sampled_from(["", "aging", "fair", "fair"]),
        "horizon_ms": st.sampled_from(["", "1000", "0"]),
        "patience_ms": st.sampled_from(["", "9000 8000 7000 6000 5000 4000 3000 2000 100 0"]),
        "max_jobs": st.sampled_from(["", "", "5"]),
        "on_full": st.sampled_from(["", "drop_oldest", "drop_oldest"]),
        "weight:a": st.sampled_from(["", "2", "0.5"]),
    },
)
Lease = tuple[str, str, str]


rooms = st.sampled_from([None, None, 3, 5])
#: What a queue uses. Plain ones are as they were before limits, keys and shares.
SCENES = st.sampled_from(
    [
        frozenset(words.split())
        for words in (
            "",
            "damage",
            "damage limits cost",
            "limits",
            "limits rates",
            "limits rates keys cost",
            "limits keys fair",
            "keys",
            "keys room",
            "fair",
            "fair limits",
            "cron keys room",
            "limits rates keys fair cost cron room",
        )
    ]
)
groups = st.sampled_from(["", "a", "a", "b"])
#: Limits that jobs name themselves: plain ones, an instance of a template, one with a rate, and
#: the one that is built in.
own_limits = st.sampled_from(
    ["", "", "cap", "slow", "cap slow", "cap tenant:{t}|tenant:1", "tenant:{t}|tenant:2", "none"]
)
KEYED = [
    "queued keep",
    "queued replace",
    "queued extend",
    "running keep",
    "running extend",
    "70000 keep",
    "70000 extend",
    "70000 replace",
]
wanted_keys = st.sampled_from(["", "", *KEYED, "newest"])
admissions = st.sampled_from(["", "", "warn", "reject"])
costs = st.sampled_from(["", "", "2", "4", "9"])
#: By limit, what it may be. Times so long that no key of a rate runs out by the real clock.
DEFINITIONS = {
    "cap": ["concurrency=1 on=job", "concurrency=2 on=job", "concurrency=3 on=job"],
    "tenant:{t}": ["concurrency=1 on=job", "concurrency=2 on=job"],
    "whole": ["concurrency=2 on=queue", "concurrency=4 on=queue"],
    "others": ["concurrency=1 on=task.other"],
    "a's": ["concurrency=1 on=group.a", "concurrency=2 on=group.a by=hand"],
    "pause:task.other": ["concurrency=0 on=task.other by=hand"],
    "pause:group.b": ["concurrency=0 on=group.b by=hand"],
}
RATES = {
    "slow": [
        "every_us=90000001 burst_us=0 on=job",
        "every_us=90000300 burst_us=90000300 on=job",
        "concurrency=2 every_us=70000000 burst_us=0 on=job",
    ],
    "all": ["every_us=80000000 burst_us=240000000 on=queue"],
}


def task_of(job_id: str) -> str:
    """An id means one task."""
    return "other" if job_id in ("j1", "j4") else "task"


@st.composite
def definitions(draw: st.DrawFn, rates: bool) -> Record:
    """A few limits to write, or ('') to remove."""
    known = DEFINITIONS | (RATES if rates else {})
    names = draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=3, unique=True))
    return {name: draw(st.sampled_from([*known[name], *known[name], ""])) for name in names}


@st.composite
def new_jobs(draw: st.DrawFn) -> NewJob:
    """A job to enqueue. The payload is its id's own, mostly, so that the same id means the same
    job. It brings something of everything: see `plainly`.
    """
    job_id = draw(ids)
    payload = draw(st.sampled_from([job_id, job_id, job_id, "other"])).encode()
    # 8 and 9: ranks of 14 and of 13 digits, which a comparison as text would turn round.
    priority = draw(st.sampled_from([5, 5, 9, 8, 0]))
    extras = draw(st.sampled_from([(), (), ("on_miss", "run"), ("timeout_ms", 500)]))
    words = (draw(moments), draw(moments), draw(classes), extras + draw(extras_of()))
    return NewJob(job_id, task_of(job_id), payload, priority, *words)


@st.composite
def extras_of(draw: st.DrawFn) -> tuple[str, ...]:
    """What a job brings of limits, keys and the like."""
    extras: tuple[str, ...] = ()
    for name, some in (("group", groups), ("limits", own_limits), ("cost", costs)):
        if value := draw(some):
            extras += (name, value)
    if how := draw(wanted_keys):
        extras += ("@unique", how, "key", draw(st.sampled_from(["k", "k", "l"])))
    if how := draw(admissions):
        extras += ("@admit", how)
    return extras


def plainly(jobs: list[NewJob], scene: frozenset[str]) -> list[NewJob]:
    """The jobs without what this queue does not use."""
    found, keys = [], set()
    for job in jobs:
        words = [str(word) for word in job.extras]
        extras = dict(zip(words[::2], words[1::2], strict=True))
        if "limits" not in scene:
            extras.pop("limits", None)
        if "limits" not in scene and "fair" not in scene:
            extras.pop("group", None)
        if "cost" not in scene:
            extras.pop("cost", None)
        if "room" not in scene:
            extras.pop("@admit", None)
        if "keys" not in scene or extras.get("key") in keys:
            # Python never sends the same key twice in one call when the newest is to win.
            extras.pop("@unique", None)
            extras.pop("key", None)
        elif "key" in extras:
            keys.add(extras["key"])
        if extras.get("@unique") == "newest":
            extras["@unique"] = "queued replace"
            extras["limits"] = f"{extras.get('limits', '')} key:{extras['key']}".strip()
        flat = tuple(word for pair in extras.items() for word in pair)
        found.append(job._replace(extras=flat))
    return found
