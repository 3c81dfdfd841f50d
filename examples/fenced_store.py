"""A store that refuses late writers.

taskq refuses the late report of a worker that was cut off while another ran its job anew. What the
late run writes elsewhere, only the other store can refuse: it needs the run's token, `ctx.token`,
which is larger at every run of a job. Here the store is a table in SQLite.

    taskq worker fenced_store:app &
    python fenced_store.py
"""

import sqlite3

from taskq import Context, TaskQ

app = TaskQ()

TABLE = "create table if not exists entry (job text primary key, token integer, amount integer)"
BOOK = """
    insert into entry values (?, ?, ?)
    on conflict (job) do update set token = excluded.token, amount = excluded.amount
    where excluded.token >= entry.token
"""


class LateWriter(Exception):
    """Another run of this job, with a newer token, has written already."""


def open_ledger() -> sqlite3.Connection:
    ledger = sqlite3.connect("ledger.sqlite", timeout=10)
    ledger.execute(TABLE)
    return ledger


def book(ledger: sqlite3.Connection, job_id: str, token: int, amount: int) -> None:
    """Comparing and writing are one statement; a look before the write would come too early."""
    with ledger:
        if ledger.execute(BOOK, (job_id, token, amount)).rowcount == 0:
            raise LateWriter(f"token {token} of job {job_id} is not the newest")


@app.task
def settle(ctx: Context, amount: int) -> int:
    ledger = open_ledger()
    try:
        book(ledger, ctx.job_id, ctx.token, amount)
    finally:
        ledger.close()
    return amount


if __name__ == "__main__":
    job = settle.enqueue_sync(42)
    print("booked:", job.result_sync(timeout=20))

    # What a worker does that was cut off during the run before this one, and comes back now:
    token = int(job.info_sync().token or 0)
    ledger = open_ledger()
    try:
        book(ledger, job.id, token - 1, 41)
    except LateWriter:
        print("refused: a late writer")
    print("in the ledger:", ledger.execute("select sum(amount) from entry").fetchone()[0])
    ledger.close()
