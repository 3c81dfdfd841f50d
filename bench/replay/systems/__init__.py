"""Programs that replay a trace through one system: `SCRIPT produce|work`, told by the environment.

A peer's script runs in an environment of its own, where taskq and this package are not installed:
it imports nothing from here but `common`, which lies beside it.
"""
