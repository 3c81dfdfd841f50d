"""Every error taskq raises, in one tree.

    TaskqError
    ├── ConfigError              a setting, name or option is wrong; nothing was sent
    │   ├── InvalidName          queue, namespace, task or id breaks the naming rule
    │   ├── InvalidOption        priority, delay, timeout ... outside its range
    │   ├── InvalidArguments     a call does not fit the task's signature
    │   └── UnknownTask          this app has no task of that name
    ├── CodecError               a value cannot cross the wire
    │   ├── SerializationError   it cannot be encoded
    │   ├── PayloadTooLarge      it encodes to more bytes than allowed
    │   └── BadPayload           bytes that are not what taskq wrote
    ├── ScheduleNotFound         no schedule of that name in the queue
    ├── StoreError               the Redis side
    │   ├── StoreUnavailable     not reachable or not able right now; try again
    │   ├── StoreRefused         password, permission or type of a key is wrong
    │   ├── ServerUnsupported    too old, or set up so that jobs would be dropped
    │   └── ScriptBug            a script broke an invariant; please report it
    └── JobError                 about one job (has .job_id)
        ├── JobNotFound          no such id, or its record has expired
        ├── JobConflict          the id is taken by a job with another task or payload
        ├── QueueFull            the queue holds as many jobs as it may
        ├── TaskStruck           the task was struck: nobody may enqueue it now
        ├── QueueClosed          the whole queue is closed for new jobs, to drain it
        ├── DeadlineUnreachable  it would start after its deadline (admit="reject")
        ├── WrongState           the job's state does not allow it
        ├── LeaseLost            the token is no longer current
        ├── JobFailed            the job is dead; .error .traceback .reason
        ├── JobCancelled         the job was cancelled
        ├── JobExpired           its deadline passed before it ran, or it was dropped (on_full)
        ├── ResultExpired        it completed, but its result is kept no longer
        └── ResultTimeout        no result within the given time; the job lives on

    Signal                       raised by a task to steer its own job; not an error
    ├── Retry                    run again, after `delay` seconds
    └── Discard                  give up now, without retries

redis-py's exceptions never leave the store; the cause is kept with `from`.
"""

from __future__ import annotations

from datetime import datetime


class TaskqError(Exception):
    """Root of every error taskq raises."""


class ConfigError(TaskqError):
    """A setting, name or option is wrong; nothing was sent."""


class InvalidName(ConfigError, ValueError):
    """A queue, namespace, task name or job id breaks the naming rule."""


class InvalidOption(ConfigError, ValueError):
    """An option lies outside its range or has the wrong type."""


class InvalidArguments(ConfigError, TypeError):
    """A call does not fit the task's signature."""


class UnknownTask(ConfigError, LookupError):
    """This app has no task of that name."""


class CodecError(TaskqError):
    """A value cannot cross the wire."""


class SerializationError(CodecError, TypeError):
    """A value cannot be encoded; the message names its path."""


class PayloadTooLarge(CodecError, ValueError):
    """A value encodes to more bytes than allowed."""


class BadPayload(CodecError, ValueError):
    """Bytes that are not what taskq wrote."""


class StoreError(TaskqError):
    """The Redis side failed."""


class StoreUnavailable(StoreError):
    """Redis is not reachable, or not able to serve right now; trying again may help."""


class StoreRefused(StoreError):
    """Redis refused: wrong password, missing permission, or a key of the wrong type."""


class ServerUnsupported(StoreError):
    """The server is too old, or set up so that it would drop jobs."""


class ScriptBug(StoreError):
    """A script broke an invariant. This is a bug in taskq."""


class ScheduleNotFound(TaskqError, LookupError):
    """No schedule of that name in the queue."""


class JobError(TaskqError):
    """An error about one job; `job_id` names it."""

    def __init__(self, message: str, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class JobNotFound(JobError, LookupError):
    """No job of that id, or its record has expired."""


class JobConflict(JobError):
    """The id is taken by a job with another task or payload."""


class QueueFull(JobError):
    """The queue holds as many waiting jobs as it may. `on_full` says what the queue wants done
    about it ('' for nothing), `room` how many jobs more it would have taken.
    """

    def __init__(
        self, message: str, *, job_id: str = "", on_full: str = "", room: int = 0, most: int = 0
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.on_full = on_full
        self.room = room
        self.most = most


class TaskStruck(JobError):
    """The task was struck by an operator: it is refused until it is unstruck."""

    def __init__(self, message: str, *, task: str = "") -> None:
        super().__init__(message)
        self.task = task


class QueueClosed(JobError):
    """An operator closed the queue for new jobs, to drain it."""


class DeadlineUnreachable(JobError):
    """The job would start after its deadline, as far as can be told, so it was not enqueued."""

    def __init__(
        self,
        message: str,
        *,
        job_id: str = "",
        predicted_start: datetime | None = None,
        deadline: datetime | None = None,
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.predicted_start = predicted_start
        self.deadline = deadline


class WrongState(JobError):
    """The job's state does not allow what was asked; `state` tells it."""

    def __init__(self, message: str, *, job_id: str = "", state: str = "") -> None:
        super().__init__(message, job_id=job_id)
        self.state = state


class LeaseLost(JobError):
    """The token is no longer current: another worker may run the job."""


class JobFailed(JobError):
    """The job is dead. `error` is "Type: message", `reason` why it was given up."""

    def __init__(
        self,
        message: str,
        *,
        job_id: str = "",
        error: str = "",
        traceback: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.error = error
        self.traceback = traceback
        self.reason = reason


class JobCancelled(JobError):
    """The job was cancelled before it completed."""


class JobExpired(JobError):
    """The job's deadline passed before it ran, or its full queue dropped it."""


class ResultExpired(JobError):
    """The job completed, but its result is kept no longer."""


class ResultTimeout(JobError, TimeoutError):
    """No result within the given time; the job lives on."""


class Signal(Exception):
    """Raised by a task to steer its own job; not an error."""


class Retry(Signal):
    """Run the job again after `delay` seconds (None: the task's own backoff).

    Counts as an attempt; when no retries are left the job is dead.
    """

    def __init__(self, delay: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "asked for a retry")
        self.delay = delay


class Discard(Signal):
    """Give the job up now, without retries: it is dead with reason `discarded`."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "discarded by its task")
        self.reason = reason
