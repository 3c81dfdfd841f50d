"""The producer's side for blocking code, any thread: the same calls over the blocking store."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

from taskq import commands
from taskq.batch import chunked, sent_alone, sent_of
from taskq.client import LOOK_AGAIN, TRIES, Limits, check_revived
from taskq.codec import Codec
from taskq.commands import Enqueued, NewJob, Outcome, Sent
from taskq.errors import QueueFull, StoreUnavailable
from taskq.job import JobInfo
from taskq.keys import QueueKeys, SharedKeys
from taskq.patience import Patience
from taskq.results import info_of, timed_out, value_of
from taskq.rights import check_rights_sync
from taskq.store_sync import SyncStore


class SyncClient:
    """As Client, blocking. Safe from threads."""

    def __init__(self, store: SyncStore, codec: Codec, namespace: str, limits: Limits) -> None:
        self.store = store
        self._codec = codec
        self._namespace = namespace
        self._shared = SharedKeys(namespace)
        self._limits = limits
        self._queues: dict[str, QueueKeys] = {}
        self._registered: set[str] = set()
        self._allowed: set[tuple[str, str]] = set()

    def keys(self, queue: str) -> QueueKeys:
        """The keys of a queue; InvalidName when it cannot be one."""
        keys = self._queues.get(queue)
        if keys is None:
            # Two threads may both make them; they are alike.
            keys = self._queues[queue] = QueueKeys(self._namespace, queue)
        return keys

    def _register(self, queue: str) -> None:
        self.allow(queue, "enqueue")
        call = commands.plain("SADD", self._shared.queues, queue, parse=int)
        self.store.run(call, tries=TRIES)
        self._registered.add(queue)

    def allow(self, queue: str, script: str) -> None:
        """As Client.allow."""
        if (queue, script) not in self._allowed:
            check_rights_sync(self.store, self.keys(queue), script)
            self._allowed.add((queue, script))

    def send(self, queue: str, job: NewJob) -> Sent:
        """Enqueue one job. Raises as Client.send."""
        if queue not in self._registered:
            self._register(queue)
        return sent_alone(job, self._enqueue_all(queue, (job,)))

    def send_many(self, queue: str, jobs: Sequence[NewJob]) -> dict[str, Sent]:
        """Enqueue jobs of one queue, 200 a call, each call all or none; what became of those that
        were not simply created, by id.
        """
        if queue not in self._registered:
            self._register(queue)
        odd: dict[str, Sent] = {}
        for part in chunked(jobs):
            odd |= sent_of(part, self._enqueue_all(queue, part))
        return odd

    def _enqueue_all(self, queue: str, jobs: Sequence[NewJob]) -> Enqueued:
        """All or none; waits for room when the queue wants that."""
        patience: Patience | None = None
        call = commands.enqueue(
            self.keys(queue), jobs, max_jobs=self._limits.bound(queue), all_or_none=True
        )
        confirm = self._limits.confirm
        while True:
            try:
                if confirm is None:
                    return self.store.run(call, tries=TRIES)
                return self.store.run_confirmed(call, confirm, tries=TRIES)
            except QueueFull as full:
                if full.on_full != "wait" or len(jobs) > full.most:
                    raise
                patience = patience or Patience(self._limits.full_timeout)
                time.sleep(patience.pause(full))

    def outcome(self, queue: str, job_id: str, timeout: float | None) -> Outcome:
        """Wait until a job has ended. Raises ResultTimeout."""
        keys = self.keys(queue)
        channel = keys.ended_channel(os.urandom(8).hex())
        end = None if timeout is None else time.monotonic() + timeout

        def look() -> Outcome | None:
            found = self.store.run(commands.watch(keys, job_id, channel), tries=TRIES)
            return None if found.state == "pending" else found

        while True:
            left = LOOK_AGAIN if end is None else min(LOOK_AGAIN, max(0.0, end - time.monotonic()))
            try:
                heard = self.store.listen(channel, look, left)
            except StoreUnavailable:
                if end is not None and time.monotonic() >= end:
                    raise
                time.sleep(
                    min(0.5, LOOK_AGAIN if end is None else max(0.0, end - time.monotonic()))
                )
                continue
            if isinstance(heard, Outcome):
                return heard
            if heard is not None:
                outcome = commands.parse_announcement(heard)[1]
                if outcome.state != "dead":
                    return outcome
                full = self.store.run(commands.watch(keys, job_id, ""), tries=TRIES)
                return full if full.state == "dead" else outcome
            if end is not None and time.monotonic() >= end:
                assert timeout is not None
                raise timed_out(job_id, timeout)

    def result(self, queue: str, job_id: str, timeout: float | None, known: bool) -> Any:
        """A job's return value; see Job.result."""
        outcome = self.outcome(queue, job_id, timeout)
        return value_of(outcome, self._codec, job_id, queue, known=known)

    def info(self, queue: str, job_id: str) -> JobInfo:
        """What Redis knows of a job. Raises JobNotFound."""
        (info,) = self.infos(queue, [job_id])
        if info is None:
            raise commands.not_found(self.keys(queue), job_id)
        return info

    def infos(self, queue: str, ids: Iterable[str]) -> list[JobInfo | None]:
        """What Redis knows of several jobs; None where there is no record."""
        keys = self.keys(queue)
        found = []
        for job_id in ids:
            call = commands.plain("HGETALL", keys.job(job_id), parse=as_flat)
            found.append(info_of(job_id, queue, self.store.run(call, tries=TRIES)))
        return found

    def cancel(self, queue: str, job_id: str) -> bool:
        """Stop a job; see Job.cancel."""
        self.allow(queue, "cancel")
        call = commands.cancel(self.keys(queue), job_id, keep_ms=self._limits.keep_ms)
        return self.store.run(call, tries=TRIES)

    def retry(self, queue: str, job_id: str) -> None:
        """Revive a job; see Job.retry."""
        self.allow(queue, "revive")
        keys = self.keys(queue)
        check_revived(keys, job_id, self.store.run(commands.revive(keys, [job_id])))

    def close(self) -> None:
        """Close the connections."""
        self.store.close()


def as_flat(reply: Any) -> list[bytes]:
    """HGETALL as redis-py gives it (a dict), as the flat list the wire gives."""
    return [word for pair in reply.items() for word in pair]
