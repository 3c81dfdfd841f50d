"""Tasks that only some workers can run: labels, costs, and who runs what.

taskq worker by_capability:app --provides gpu
python by_capability.py
"""

from __future__ import annotations

from taskq import Context, TaskQ

app = TaskQ()


# Only workers that were started with --provides gpu take it; there it occupies four slots.
@app.task(requires={"gpu"}, cost=4)
def render(ctx: Context, frame: int) -> str:
    return f"frame {frame} was rendered by {ctx.worker_id}"


@app.task
async def mail(to: str) -> str:
    return f"mail to {to}"


def main() -> None:
    jobs = [render.enqueue_sync(frame) for frame in range(3)]
    for job in jobs:
        print(job.result_sync(timeout=30))
    print(mail.enqueue_sync("you").result_sync(timeout=30))

    # This call asks for more than its task does, and nobody has that: it waits, and says why.
    job = render.options(requires={"gpu", "region=moon"}).enqueue_sync(4)
    print(job.info_sync().state, "until a worker provides region=moon")
    job.cancel_sync()


if __name__ == "__main__":
    main()
