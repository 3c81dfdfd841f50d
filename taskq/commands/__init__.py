"""Every call to Redis, as a value: which script or command, with which keys and arguments, and how
to read the reply.

Pure: no I/O, so the async and the sync store share it. One function per script, named after it.
"""

from taskq.commands.call import BATCH, Call, Word, check_reply, plain, text
from taskq.commands.health import Beat, Reaped, heartbeat, leave_roster, reap, retire, roster
from taskq.commands.operate import (
    QueueStats,
    configure,
    forget,
    pause,
    purge,
    resume,
    revive,
    stats,
)
from taskq.commands.produce import (
    Enqueued,
    NewJob,
    Outcome,
    cancel,
    conflict,
    enqueue,
    not_found,
    parse_announcement,
    watch,
)
from taskq.commands.work import (
    Ack,
    ClaimedJob,
    Claims,
    Failure,
    Held,
    ack,
    claim,
    fail,
    held,
    progress,
    promote,
    release,
)

__all__ = [
    "BATCH",
    "Ack",
    "Beat",
    "Call",
    "ClaimedJob",
    "Claims",
    "Enqueued",
    "Failure",
    "Held",
    "NewJob",
    "Outcome",
    "QueueStats",
    "Reaped",
    "Word",
    "ack",
    "cancel",
    "check_reply",
    "claim",
    "configure",
    "conflict",
    "enqueue",
    "fail",
    "forget",
    "heartbeat",
    "held",
    "leave_roster",
    "not_found",
    "parse_announcement",
    "pause",
    "plain",
    "progress",
    "promote",
    "purge",
    "reap",
    "release",
    "resume",
    "retire",
    "revive",
    "roster",
    "stats",
    "text",
    "watch",
]
