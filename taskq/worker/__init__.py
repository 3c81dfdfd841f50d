"""The worker: claims jobs, runs them, reports how they ended. `Worker` is the way in."""
