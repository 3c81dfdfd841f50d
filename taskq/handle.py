"""`Job`: the handle an enqueue returns. Holds an id, not data; every method asks Redis."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Protocol, TypeVar

from taskq.job import JobInfo
from taskq.views import Explanation

R = TypeVar("R")


class Jobs(Protocol):
    """What a handle needs of its client."""

    async def result(self, job: Job[R], timeout: float | None) -> R: ...

    def result_sync(self, job: Job[R], timeout: float | None) -> R: ...

    async def info(self, queue: str, job_id: str) -> JobInfo: ...

    def info_sync(self, queue: str, job_id: str) -> JobInfo: ...

    async def cancel(self, queue: str, job_id: str) -> bool: ...

    def cancel_sync(self, queue: str, job_id: str) -> bool: ...

    async def explain(self, queue: str, job_id: str) -> Explanation: ...

    def explain_sync(self, queue: str, job_id: str) -> Explanation: ...

    async def retry(self, queue: str, job_id: str) -> None: ...

    def retry_sync(self, queue: str, job_id: str) -> None: ...


class Job(Generic[R]):
    """One request to run a task.

    `duplicate` is True when an enqueue met a job with the same id, task and arguments, or one that
    has its key: this is that job. `predicted_start` is known of a job enqueued with `admit=`.
    """

    __slots__ = ("_jobs", "duplicate", "id", "known", "predicted_start", "queue", "task")

    def __init__(
        self,
        jobs: Jobs,
        job_id: str,
        *,
        queue: str,
        task: str = "",
        duplicate: bool = False,
        known: bool = False,
        predicted_start: datetime | None = None,
    ) -> None:
        self._jobs = jobs
        self.id = job_id
        self.queue = queue
        self.task = task
        self.duplicate = duplicate
        self.predicted_start = predicted_start
        """When it will start, as far as could be told when it was enqueued, aware (UTC)."""
        self.known = known
        """True when this process enqueued it, so a missing record means an expired one."""

    def __repr__(self) -> str:
        return f"<job {self.id} {self.task or '?'} in {self.queue}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and (self.id, self.queue) == (other.id, other.queue)

    def __hash__(self) -> int:
        return hash((self.id, self.queue))

    async def result(self, timeout: float | None = None) -> R:
        """The task's return value, waited for at most `timeout` seconds (None: for ever).

        Raises JobFailed, JobCancelled, JobExpired, ResultExpired, JobNotFound, or ResultTimeout
        (the job lives on).
        """
        return await self._jobs.result(self, timeout)

    def result_sync(self, timeout: float | None = None) -> R:
        """As `result`, blocking."""
        return self._jobs.result_sync(self, timeout)

    async def info(self) -> JobInfo:
        """What Redis knows of the job now. Raises JobNotFound."""
        return await self._jobs.info(self.queue, self.id)

    def info_sync(self) -> JobInfo:
        """As `info`, blocking."""
        return self._jobs.info_sync(self.queue, self.id)

    async def explain(self) -> Explanation:
        """Why the job is where it is, and what would change that. Raises JobNotFound."""
        return await self._jobs.explain(self.queue, self.id)

    def explain_sync(self) -> Explanation:
        """As `explain`, blocking."""
        return self._jobs.explain_sync(self.queue, self.id)

    async def cancel(self) -> bool:
        """Stop the job: True when it is cancelled (also when it was before), False when its worker
        was asked to stop it.

        Raises WrongState when it has ended otherwise, JobNotFound when there is none.
        """
        return await self._jobs.cancel(self.queue, self.id)

    def cancel_sync(self) -> bool:
        """As `cancel`, blocking."""
        return self._jobs.cancel_sync(self.queue, self.id)

    async def retry(self) -> None:
        """Run a dead, expired or cancelled job again, with fresh attempts. Raises WrongState,
        JobNotFound.
        """
        await self._jobs.retry(self.queue, self.id)

    def retry_sync(self) -> None:
        """As `retry`, blocking."""
        self._jobs.retry_sync(self.queue, self.id)
