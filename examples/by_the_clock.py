"""Tasks that run by the clock: schedules in code, and how to steer them while workers run.

taskq worker by_the_clock:app
python by_the_clock.py
"""

from __future__ import annotations

from taskq import Context, TaskQ

app = TaskQ()


# In the morning of every working day in Rome, summer and winter. While one report is being made the
# next is not asked for.
@app.cron("0 9 * * mon-fri", tz="Europe/Rome", overlap="skip")
@app.task(retries=3)
async def report(ctx: Context, words: int = 3) -> str:
    return " ".join(["all is well"] * words) + f" ({ctx.job_id})"


# Every second; if no worker was there, only the newest counts.
@app.every(1, missed="once", priority=2)
def beat() -> None:
    """Nothing but a sign of life."""


def main() -> None:
    for info in app.schedules.list_sync():
        when = info.cron or f"every {info.every:g} s"
        print(f"{info.name}: {when}, next at {info.next_at}")

    job = app.schedules.trigger_sync("report")  # now, not at nine
    print("triggered:", job.result_sync(timeout=30))

    app.schedules.pause_sync("beat")  # it stays paused, whatever workers start
    print("paused since", app.schedules.get_sync("beat").paused_at)
    app.schedules.resume_sync("beat")

    # Schedules are data: this one is in no code, any worker fires it.
    app.schedules.add_sync("short", report, every=3600, args=[1])
    print("there are", [info.name for info in app.schedules.list_sync()])
    app.schedules.remove_sync("short")


if __name__ == "__main__":
    main()
