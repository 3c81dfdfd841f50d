"""Short stories: rules of several calls that single draws would rarely put together, and damage
done by hand, as somebody with redis-cli might.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from taskq.commands import Ack, Failure, NewJob
from tests.model.calls import EVERY_MS, GRACE_MS
from tests.model.features import FeatureMachine
from tests.model.rules_claim import Wish
from tests.model.strategies import (
    HOUR_MS,
    Lease,
    extras_of,
    few,
    id_lists,
    ids,
    keeps,
    plainly,
    task_of,
    workers,
)

reap_limits = st.sampled_from([100, 100, 1, 2])


class StoryMachine(FeatureMachine):
    """The machine the test runs."""

    def own_lease(self, job_id: str, worker: str) -> Lease | None:
        """The lease of that job, when that worker has it."""
        return next((one for one in self.running() if one[:2] == (job_id, worker)), None)

    def die(self, worker: str, max_crashes: int, limit: int, comes_back: bool = False) -> None:
        """No heartbeat; the worker is suspected, then lost, unless it comes back in time."""
        if worker in self.world.alive:
            self.client.delete(self.keys.alive(worker))
            self.world.drop(f"alive:{worker}")
            self.look_anew()
        self.pass_time(EVERY_MS + 1)  # the clock may have been stepped back by 1 ms since the last
        self.reap(max_crashes, 1000, HOUR_MS, limit)
        self.pass_time(GRACE_MS)
        if comes_back:
            self.heartbeat(worker)
        self.reap(max_crashes, 1000, HOUR_MS, limit)

    @precondition(lambda self: not self.running())
    @rule(
        job_ids=id_lists,
        worker=workers,
        job_class=st.sampled_from(["", "", "", "gpu"]),
        limit=st.integers(1, 4),
        extras=st.lists(extras_of(), min_size=5, max_size=5),
    )
    def work_comes_and_is_taken(
        self,
        job_ids: list[str],
        worker: str,
        job_class: str,
        limit: int,
        extras: list[tuple[str, ...]],
    ) -> None:
        jobs = [
            NewJob(i, task_of(i), i.encode(), job_class=job_class, extras=extra)
            for i, extra in zip(job_ids, extras, strict=False)
        ]
        self.enqueue(plainly(jobs, self.scene), 1000, False)
        self.heartbeat(worker)
        self.claim(worker, Wish(HOUR_MS, limit, {"": 3, "gpu": 2}))

    @rule(
        worker=workers,
        max_crashes=st.sampled_from([1, 2, 3]),
        limit=reap_limits,
        comes_back=st.sampled_from([False, False, True]),
    )
    def a_worker_dies(self, worker: str, max_crashes: int, limit: int, comes_back: bool) -> None:
        self.heartbeat(worker)
        self.claim(worker, Wish(HOUR_MS, 3, {"": 3, "fragile": 1, "gpu": 2}))
        self.die(worker, max_crashes, limit, comes_back)

    @precondition(lambda self: bool(self.running()))
    @rule(
        data=st.data(),
        does=st.sampled_from(["fails", "releases", "dies", "is buried", "confirms", "acks"]),
        keep=keeps,
    )
    def a_running_job_is_cancelled(self, data: st.DataObject, does: str, keep: int) -> None:
        """Its worker is asked to stop it, and may or may not listen."""
        job_id, worker, token = data.draw(st.sampled_from(self.running()))
        self.cancel(job_id, keep, "", "")
        if does == "fails":
            self.fail(worker, [Failure(job_id, token, 1, "error", "E: e", "")], 1000, keep)
        elif does == "releases":
            self.release(worker, [(job_id, token, "")], keep)
        elif does == "dies":
            self.die(worker, 3, 100)
        elif does == "is buried":
            self.bury(worker, 3, 1000, keep, 100)
        elif does == "confirms":
            self.heartbeat(worker)
            self.cancel(job_id, keep, token, worker)
        else:
            self.ack(worker, [Ack(job_id, token, b"", keep)], 1000, Wish(HOUR_MS, 0, {"": 0}))

    @precondition(lambda self: bool(self.running()))
    @rule(
        data=st.data(),
        ms=st.sampled_from([-3_000, -1, 0, 1]),
        late=st.sampled_from(["acks", "fails", "releases", "reports", "confirms"]),
    )
    def a_job_is_claimed_twice_and_its_first_run_reports_late(
        self, data: st.DataObject, ms: int, late: str
    ) -> None:
        """The second lease has a greater token, even when the clock stepped back in between."""
        job_id, worker, token = data.draw(st.sampled_from(self.running()))
        self.release(worker, [(job_id, token, "")], HOUR_MS)
        self.pass_time(ms)
        self.heartbeat(worker)
        self.claim(worker, Wish(HOUR_MS, 5, {"": 5, "gpu": 5}))
        if late == "acks":
            self.ack(worker, [Ack(job_id, token, b"1", HOUR_MS)], 1000, Wish(HOUR_MS, 0, {"": 0}))
        elif late == "fails":
            self.fail(worker, [Failure(job_id, token, 1, "error", "E: e", "")], 1000, HOUR_MS)
        elif late == "releases":
            self.release(worker, [(job_id, token, "")], HOUR_MS)
        elif late == "reports":
            self.progress((job_id, worker, token), 1.0)
        else:
            self.cancel(job_id, HOUR_MS, token, worker)

    @precondition(lambda self: bool(self.running()))
    @rule(
        data=st.data(),
        keep_most=few,
        well=st.sampled_from([True, True, False]),
        more=st.sampled_from([0, 1, 3, 3]),
    )
    def a_worker_ends_all_it_holds(
        self, data: st.DataObject, keep_most: int, well: bool, more: int
    ) -> None:
        """And takes more in the same call."""
        worker = data.draw(st.sampled_from(self.running()))[1]
        mine = [(job_id, token) for job_id, who, token in self.running() if who == worker]
        if well:
            acks = [Ack(*lease, b"1", HOUR_MS) for lease in mine]
            self.ack(worker, acks, keep_most, Wish(HOUR_MS, more, {"": more, "gpu": more}))
        else:
            failures = [Failure(*lease, None, "error", "E: e", "") for lease in mine]
            self.fail(worker, failures, keep_most, HOUR_MS)

    @precondition(lambda self: bool(self.running()))
    @rule(data=st.data(), limit=st.sampled_from([0, 2]), goes_on=st.booleans())
    def a_job_ends_while_the_queue_is_paused(
        self, data: st.DataObject, limit: int, goes_on: bool
    ) -> None:
        job_id, worker, token = data.draw(st.sampled_from(self.running()))
        self.heartbeat(worker)
        self.pause()
        self.ack(worker, [Ack(job_id, token, b"1", HOUR_MS)], 1000, Wish(HOUR_MS, limit, {"": 2}))
        self.claim(worker, Wish(HOUR_MS, limit, {"": 2}))
        if goes_on:
            self.resume()

    @precondition(lambda self: bool(self.running()))
    @rule(data=st.data(), dead_max=few)
    def a_dead_job_is_revived(self, data: st.DataObject, dead_max: int) -> None:
        job_id, worker, token = data.draw(st.sampled_from(self.running()))
        self.fail(worker, [Failure(job_id, token, None, "error", "E: e", "")], dead_max, HOUR_MS)
        self.repeatable(lambda: self.revive([job_id]))

    @rule(
        job_id=ids,
        worker=workers,
        dies=st.booleans(),
        later=st.sampled_from(["", "+9000"]),
        purged=st.booleans(),
    )
    def an_id_is_used_again_when_its_record_is_gone(
        self, job_id: str, worker: str, dies: bool, later: str, purged: bool
    ) -> None:
        """A result is kept for an hour, the end of its job is listed for two; then the id means
        a new job, and the list is purged or trimmed.
        """
        job = NewJob(job_id, task_of(job_id), job_id.encode())
        self.enqueue([job], 1000, False)
        self.heartbeat(worker)
        self.claim(worker, Wish(HOUR_MS, 5, {"": 5}))
        lease = self.own_lease(job_id, worker)
        if lease is None:
            return
        if dies:
            failure = Failure(job_id, lease[2], None, "error", "ValueError: no", "")
            self.fail(worker, [failure], 1000, HOUR_MS)
        acks = [Ack(job_id, lease[2], b"1", HOUR_MS)]
        self.ack(worker, acks, 1000, Wish(2 * HOUR_MS, 0, {"": 0}))
        self.the_next_record_runs_out()
        self.enqueue([job._replace(at=later), NewJob("other", "task", b"")], 1000, False)
        if purged:
            self.purge("dead" if dies else "done", 200)
        self.heartbeat(worker)
        self.claim(worker, Wish(HOUR_MS, 5, {"": 5}))
        lease = self.own_lease("other", worker)
        if lease is not None:
            acks = [Ack("other", lease[2], b"1", HOUR_MS)]
            self.ack(worker, acks, 1, Wish(2 * HOUR_MS, 0, {"": 0}))

    # Damage. The engine need not mend it, but must neither run a job twice at a time nor lose
    # another one.

    @precondition(lambda self: self.tampering and bool(self.running()))
    @rule(
        data=st.data(),
        index=st.sampled_from(["ready", "scheduled", "retry", "running:w1", "running:w2"]),
        now=st.booleans(),
    )
    def somebody_lists_a_running_job_elsewhere(
        self, data: st.DataObject, index: str, now: bool
    ) -> None:
        job_id, worker, _ = data.draw(st.sampled_from(self.running()))
        kind, _, other = index.partition(":")
        if "class" in self.world.jobs[job_id] or other == worker:
            return
        if other and other not in self.world.holders:
            return
        score = self.world.now if now else 7
        self.client.zadd(self.keys.prefix + index, {job_id: score})
        self.world.index(index)[job_id] = score
        self.tampered.add(job_id)
        self.look_anew()
        if index == "ready":
            self.heartbeat("w1")
            self.claim("w1", Wish(HOUR_MS, 3, {"": 3}))
        elif kind in ("scheduled", "retry"):
            self.promote(100)
        elif other:
            self.held(other)
            self.die(other, 3, 100)

    @precondition(lambda self: self.tampering)
    @rule(job_id=ids)
    def somebody_deletes_a_live_record(self, job_id: str) -> None:
        job = self.world.jobs.get(job_id)
        if job and f"job:{job_id}" not in self.world.expiry and "class" not in job:
            self.client.delete(self.keys.job(job_id))
            self.world.forget_record(job_id)
            self.tampered.add(job_id)
            self.again, self.lasting = None, False
            self.look_anew()
