"""The last look at Redis: every job's record, and which indexes list it. Reads only."""

from __future__ import annotations

import re
from typing import Any

import redis

from taskq.codec import Codec
from tests.chaos.checker import Record

_INDEX = re.compile(r"ready(?::.+)?|scheduled|retry|running:.+|dead|done")
_JOB = "job:"
#: How many keys are asked for in one round trip.
_PAGE = 500


def look(client: redis.Redis, namespace: str) -> dict[str, Record]:
    """Every job of the namespace. Job ids of two queues must differ, as those taskq makes do."""
    raw: Any = client
    jobs: dict[str, bytes] = {}
    homes: dict[str, list[str]] = {}
    for key in raw.scan_iter(match=f"{namespace}:{{*", count=1000):
        text = key.decode()
        name = text.partition("}:")[2]
        if name.startswith(_JOB):
            jobs[name.removeprefix(_JOB)] = key
        elif _INDEX.fullmatch(name):
            for job in raw.zrange(key, 0, -1):
                homes.setdefault(job.decode(), []).append(name)
    records = {}
    listed = list(jobs.items())
    for start in range(0, len(listed), _PAGE):
        page = listed[start : start + _PAGE]
        pipe = raw.pipeline(transaction=False)
        for _, key in page:
            pipe.hgetall(key)
        for (job, _), fields in zip(page, pipe.execute(), strict=True):
            records[job] = _record(fields, tuple(homes.get(job, ())))
    for job in set(homes) - set(jobs):
        records[job] = Record("missing", homes=tuple(homes[job]))
    return records


def _record(fields: dict[bytes, bytes], homes: tuple[str, ...]) -> Record:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode("utf-8", "replace")

    result = fields.get(b"result")
    return Record(
        state=text(b"state"),
        token=int(text(b"token") or 0),
        attempt=int(text(b"attempt") or 0),
        crashes=int(text(b"crashes") or 0),
        reason=text(b"reason"),
        error=text(b"error"),
        result=None if result is None else str(Codec().decode_value(result)),
        homes=homes,
        worker=text(b"worker"),
        task=text(b"task"),
    )


def unfinished(client: redis.Redis, namespace: str) -> int:
    """How many jobs have not ended, by the indexes."""
    raw: Any = client
    total = 0
    for queue in raw.smembers(f"{namespace}:queues"):
        prefix = f"{namespace}:{{{queue.decode()}}}:"
        names = ["ready", "scheduled", "retry"]
        names += [f"ready:{name.decode()}" for name in raw.smembers(prefix + "classes")]
        names += [f"running:{name.decode()}" for name in raw.smembers(prefix + "holders")]
        pipe = raw.pipeline(transaction=False)
        for name in names:
            pipe.zcard(prefix + name)
        total += sum(pipe.execute())
    return total
