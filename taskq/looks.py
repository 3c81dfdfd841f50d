"""Looks that both sides of a store can take, async and blocking: why a job waits, what an
autoscaler must know. Steps, as in roster.py.
"""

from __future__ import annotations

from taskq import commands
from taskq.commands import SignalsSeen
from taskq.keys import QueueKeys, SharedKeys, check_name, is_place
from taskq.partition import is_partition, partitions_among
from taskq.reasons import explanation
from taskq.roster import ask, texts, workers
from taskq.signals import signals_of
from taskq.steps import Steps
from taskq.views import Explanation, Signals


def explain(namespace: str, place: str, job_id: str) -> Steps[Explanation]:
    """Why a job of a queue (or partition) is where it is. Raises JobNotFound."""
    keys = QueueKeys(namespace, place)
    (seen,) = yield [commands.explain(keys, check_name(job_id, "job id"))]
    if seen is None:
        raise commands.not_found(keys, job_id)
    known = yield from workers(namespace)
    return explanation(job_id, place, seen, known)


def signals(namespace: str, queue: str, slots_each: int) -> Steps[Signals]:
    """The signals of a queue with all its partitions; of one, when it is one."""
    QueueKeys(namespace, queue)
    names = [queue]
    if not is_partition(queue):
        (reply,) = yield [ask("SMEMBERS", SharedKeys(namespace).queues)]
        names = partitions_among(filter(is_place, texts(reply)), queue) or [queue]
    seen: list[SignalsSeen] = yield [commands.signals(QueueKeys(namespace, n)) for n in names]
    return signals_of(queue, seen, slots_each)
