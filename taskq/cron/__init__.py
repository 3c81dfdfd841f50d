"""Schedules: when they tick, how they are written down, what is to be done when one is due.

Pure but for steps.py, whose callers bring the connection. The words for people are in taskq/cli,
the firing is in taskq/worker/clockwork.py.
"""
