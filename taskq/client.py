"""The producer's side, asynchronously: send jobs, wait for their end, look, cancel, revive.

Sends of one turn of the event loop travel together, in one script call per queue; a lone one leaves
at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from taskq import commands
from taskq.batch import Batch, Posted, chunked, fail, parts, sent_of, tell
from taskq.codec import Codec
from taskq.commands import Call, Confirm, Enqueued, NewJob, Outcome, Sent
from taskq.errors import QueueFull, StoreError, StoreUnavailable, TaskStruck, WrongState
from taskq.job import JobInfo
from taskq.keys import QueueKeys, SharedKeys
from taskq.partition import queue_of
from taskq.patience import Patience
from taskq.queue_settings import share_of
from taskq.results import info_of, timed_out, value_of
from taskq.rights import check_rights
from taskq.store import Store

#: Times a safe call is sent before a lost connection is reported.
TRIES = 4
#: How long a waiter trusts its subscription before it looks again, s.
LOOK_AGAIN = 10.0
#: Script calls of one enqueue_many that are in flight together.
WINDOW = 4


class Limits(NamedTuple):
    """What a producer needs of the settings."""

    max_jobs: int
    max_payload: int
    keep_ms: int
    confirm: Confirm | None = None
    """What replicas have to confirm before an enqueue returns; None: nothing."""
    partitions: Mapping[str, int] = {}
    """How many partitions a queue has; those with one are not in here."""
    full_timeout: float = 30.0
    """Longest wait for room in a queue that wants its producers to wait, s."""

    def bound(self, queue: str) -> int:
        """Waiting jobs a queue, or one partition of one, may hold."""
        if not self.partitions:
            return self.max_jobs
        return share_of(self.max_jobs, self.partitions.get(queue_of(queue), 1))


class Client:
    """Sends and asks over one store. All times in seconds."""

    def __init__(self, store: Store, codec: Codec, namespace: str, limits: Limits) -> None:
        self.store = store
        self._codec = codec
        self._namespace = namespace
        self._shared = SharedKeys(namespace)
        self._limits = limits
        self._name = os.urandom(8).hex()
        self._queues: dict[str, QueueKeys] = {}
        self._registered: set[str] = set()
        self._allowed: set[tuple[str, str]] = set()
        self._batches: dict[str, Batch] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sending: set[asyncio.Future[Any]] = set()
        self._posted: set[Posted] = set()
        """Batches that were sent without a task, and have no answer yet."""
        self._waiting: dict[tuple[str, str], set[asyncio.Future[Outcome]]] = {}

    def keys(self, queue: str) -> QueueKeys:
        """The keys of a queue; InvalidName when it cannot be one."""
        keys = self._queues.get(queue)
        if keys is None:
            keys = self._queues[queue] = QueueKeys(self._namespace, queue)
        return keys

    async def _register(self, queue: str) -> None:
        """List the queue among the known ones, once per process. Not queue state, so no script."""
        if queue not in self._registered:
            await self.allow(queue, "enqueue")
            call = commands.plain("SADD", self._shared.queues, queue, parse=int)
            await self.store.run(call, tries=TRIES)
            self._registered.add(queue)

    async def allow(self, queue: str, script: str) -> None:
        """Ask once whether this Redis user may run all of a script, or it could stop half-way."""
        if (queue, script) not in self._allowed:
            await check_rights(self.store, self.keys(queue), script)
            self._allowed.add((queue, script))

    async def send(self, queue: str, job: NewJob) -> Sent:
        """Enqueue one job together with all others of this turn.

        Raises JobConflict, QueueFull, TaskStruck, DeadlineUnreachable, StoreError; the job is then
        not enqueued, except when the outcome of a lost connection stays unknown after several tries
        (StoreUnavailable).
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._batches, self._sending, self._posted = loop, {}, set(), set()
        batch = self._batches.get(queue)
        if batch is None:
            batch = self._batches[queue] = []
            loop.call_soon(self._flush, queue, batch)
        future: asyncio.Future[Sent] = loop.create_future()
        batch.append((job, future))
        return await future

    def _flush(self, queue: str, batch: Batch) -> None:
        if self._batches.get(queue) is batch:
            del self._batches[queue]
        for part in parts(batch):
            if queue in self._registered and self._limits.confirm is None:
                call = self._enqueue_call(queue, [job for job, _ in part], all_or_none=False)
                posted = Posted(part, queue, self._posted, self._post_failed)
                self._posted.add(posted)
                if self.store.post(call, posted):
                    continue
                self._posted.discard(posted)
            self._track(asyncio.ensure_future(self._send_batch(queue, part)))

    def _track(self, sending: asyncio.Future[Any]) -> None:
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    def _post_failed(self, queue: str, batch: Batch, error: Exception) -> None:
        """A lost connection or a forgotten script is tried again, with the same ids; so are
        neighbours of a struck task, and jobs that shall wait for room. The rest is final.
        """
        waits = isinstance(error, QueueFull) and error.on_full == "wait"
        if waits or isinstance(error, (StoreError, TaskStruck)):
            self._track(asyncio.ensure_future(self._send_batch(queue, batch)))
        else:
            fail(batch, error)

    async def _send_batch(self, queue: str, batch: Batch) -> None:
        try:
            await self._register(queue)
            await self._send_what_may(queue, batch)
        except Exception as error:
            fail(batch, error)
        except BaseException as error:
            fail(batch, error)
            raise

    async def _send_what_may(self, queue: str, batch: Batch) -> None:
        """Send a batch of callers that know nothing of each other: a struck task fails alone, and
        when there is room for some only, the others wait if the queue wants that.
        """
        patience = Patience(self._limits.full_timeout)
        left, size = batch, len(batch)
        while left:
            part = left[:size]
            try:
                done = await self._enqueue(queue, [job for job, _ in part], all_or_none=False)
            except TaskStruck as error:
                struck = [item for item in left if item[0].task == error.task]
                fail(struck or left, error)
            except QueueFull as full:
                if full.on_full != "wait":
                    raise
                await asyncio.sleep(patience.pause(full))
                size = max(1, full.room)
            else:
                tell(part, done)
            left = [item for item in left if not item[1].done()]  # who has gone waits no more

    def _enqueue_call(
        self, queue: str, jobs: Sequence[NewJob], *, all_or_none: bool
    ) -> Call[Enqueued]:
        return commands.enqueue(
            self.keys(queue), jobs, max_jobs=self._limits.bound(queue), all_or_none=all_or_none
        )

    async def _enqueue(self, queue: str, jobs: Sequence[NewJob], *, all_or_none: bool) -> Enqueued:
        call = self._enqueue_call(queue, jobs, all_or_none=all_or_none)
        if self._limits.confirm is not None:
            return await self.store.run_confirmed(call, self._limits.confirm, tries=TRIES)
        return await self.store.run(call, tries=TRIES)

    async def _enqueue_all(self, queue: str, jobs: Sequence[NewJob]) -> Enqueued:
        """All or none; waits for room when the queue wants that."""
        patience = Patience(self._limits.full_timeout)
        while True:
            try:
                return await self._enqueue(queue, jobs, all_or_none=True)
            except QueueFull as full:
                if full.on_full != "wait" or len(jobs) > full.most:
                    raise
                await asyncio.sleep(patience.pause(full))

    async def send_many(self, queue: str, jobs: Sequence[NewJob]) -> dict[str, Sent]:
        """Enqueue many jobs of one queue, 200 a call; what became of those that were not simply
        created, by id.

        Up to 200 jobs are enqueued all or none. Of more, a conflict or a full queue stops what has
        not been sent.
        """
        await self._register(queue)
        odd: dict[str, Sent] = {}
        chunks = chunked(jobs)
        apart = any(job.apart for job in jobs)  # their order matters
        window = 1 if apart else WINDOW
        for start in range(0, len(chunks), window):
            together = chunks[start : start + window]
            answers = await asyncio.gather(*(self._enqueue_all(queue, part) for part in together))
            for part, done in zip(together, answers, strict=True):
                odd |= sent_of(part, done)
        return odd

    async def send_groups(self, groups: Mapping[str, Sequence[NewJob]]) -> list[dict[str, Sent]]:
        """As `send_many`, for several queues at once. All have had their turn when it returns or
        raises the first error.
        """
        if len(groups) == 1:
            return [await self.send_many(*group) for group in groups.items()]
        answers = await asyncio.gather(
            *(self.send_many(*group) for group in groups.items()), return_exceptions=True
        )
        known = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            known.append(answer)
        return known

    async def outcome(self, queue: str, job_id: str, timeout: float | None) -> Outcome:
        """Wait until a job has ended: told by Redis, not by asking again and again. Raises
        ResultTimeout.
        """
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        keys = self.keys(queue)
        channel = keys.ended_channel(self._name)
        waiters = self._waiting.setdefault((queue, job_id), set())
        future: asyncio.Future[Outcome] = loop.create_future()
        waiters.add(future)
        try:
            while True:
                try:
                    if not self.store.subscribed(channel):
                        await self.store.subscribe(channel, lambda m: self._ended(queue, m))
                    outcome = await self.store.run(commands.watch(keys, job_id, channel))
                    if outcome.state != "pending":
                        return outcome
                    trust = LOOK_AGAIN
                except StoreUnavailable:
                    if end is not None and loop.time() >= end:
                        raise
                    trust = 0.5
                if end is not None:
                    trust = min(trust, max(0.0, end - loop.time()))
                done, _ = await asyncio.wait([future], timeout=trust)
                if done:
                    outcome = future.result()
                    if outcome.state == "pending":
                        waiters.discard(future)
                        future = loop.create_future()
                        waiters.add(future)
                        continue
                    if outcome.state != "dead":
                        return outcome
                    # The announcement is short; the record has the traceback.
                    full = await self.store.run(commands.watch(keys, job_id, ""), tries=TRIES)
                    return full if full.state == "dead" else outcome
                if end is not None and loop.time() >= end:
                    assert timeout is not None
                    raise timed_out(job_id, timeout)
        finally:
            waiters.discard(future)
            if not waiters:
                self._waiting.pop((queue, job_id), None)

    def _ended(self, queue: str, message: bytes | None) -> None:
        if message is None:
            self._look_again(queue)
            return
        job_id, outcome = commands.parse_announcement(message)
        for future in self._waiting.get((queue, job_id), ()):
            if not future.done():
                future.set_result(outcome)

    def _look_again(self, queue: str) -> None:
        """The subscription broke: what ended meanwhile was not heard, so all waiters ask once
        more.
        """
        for (its_queue, _), futures in self._waiting.items():
            for future in futures if its_queue == queue else ():
                if not future.done():
                    future.set_result(Outcome("pending"))

    async def result(self, queue: str, job_id: str, timeout: float | None, known: bool) -> Any:
        """A job's return value; see Job.result."""
        outcome = await self.outcome(queue, job_id, timeout)
        return value_of(outcome, self._codec, job_id, queue, known=known)

    async def info(self, queue: str, job_id: str) -> JobInfo:
        """What Redis knows of a job. Raises JobNotFound."""
        (info,) = await self.infos(queue, [job_id])
        if info is None:
            raise commands.not_found(self.keys(queue), job_id)
        return info

    async def infos(self, queue: str, ids: Iterable[str]) -> list[JobInfo | None]:
        """What Redis knows of several jobs, asked together; None where there is no record."""
        keys = self.keys(queue)
        listed = list(ids)
        flats = await self.store.run_many(
            [commands.plain("HGETALL", keys.job(job_id), parse=list) for job_id in listed],
            tries=TRIES,
        )
        return [info_of(job_id, queue, flat) for job_id, flat in zip(listed, flats, strict=True)]

    async def cancel(self, queue: str, job_id: str) -> bool:
        """Stop a job; see Job.cancel."""
        await self.allow(queue, "cancel")
        call = commands.cancel(self.keys(queue), job_id, keep_ms=self._limits.keep_ms)
        return await self.store.run(call, tries=TRIES)

    async def retry(self, queue: str, job_id: str) -> None:
        """Revive a job; see Job.retry."""
        await self.allow(queue, "revive")
        keys = self.keys(queue)
        check_revived(keys, job_id, await self.store.run(commands.revive(keys, [job_id])))

    async def close(self) -> None:
        """Let what is being sent arrive, then close the connections."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            # What failed may have been sent again meanwhile.
            while waits := [*self._sending, *(posted.end(loop) for posted in self._posted)]:
                await asyncio.gather(*waits, return_exceptions=True)
        await self.store.close()


def check_revived(keys: QueueKeys, job_id: str, words: dict[str, str]) -> None:
    """Raise JobNotFound or WrongState unless revive brought the job back."""
    word = words.get(job_id, "NOT_FOUND")
    if word == "NOT_FOUND":
        raise commands.not_found(keys, job_id)
    if word != "READY":
        raise WrongState(
            f"job {job_id} cannot be retried: it is {word};"
            " only dead, expired and cancelled jobs can",
            job_id=job_id,
            state=word,
        )
