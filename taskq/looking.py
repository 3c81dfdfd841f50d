"""What an app can ask about its queues and jobs beside results: a part of TaskQ."""

from __future__ import annotations

from taskq import looks
from taskq.connected import Connected
from taskq.steps import follow, follow_sync
from taskq.views import Explanation, Signals


class Looking(Connected):
    """Asks through the app's clients."""

    async def explain(self, queue: str, job_id: str) -> Explanation:
        """Why a job is where it is; see Job.explain."""
        steps = looks.explain(self.settings.namespace, queue, job_id)
        return await follow(self.client.store, steps)

    def explain_sync(self, queue: str, job_id: str) -> Explanation:
        """As `explain`, blocking."""
        steps = looks.explain(self.settings.namespace, queue, job_id)
        return follow_sync(self.sync_client.store, steps)

    async def signals(self, queue: str = "default") -> Signals:
        """What an autoscaler needs to know of a queue; all its partitions are added up."""
        settings = self.settings
        steps = looks.signals(settings.namespace, queue, settings.concurrency)
        return await follow(self.client.store, steps)

    def signals_sync(self, queue: str = "default") -> Signals:
        """As `signals`, blocking."""
        settings = self.settings
        steps = looks.signals(settings.namespace, queue, settings.concurrency)
        return follow_sync(self.sync_client.store, steps)
