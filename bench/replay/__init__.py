"""Who runs next, measured: seeded traces, replayed by a simulation of the rank rules and by real
workers.

`trace` makes arrivals, `simulate` and `real` turn them into records, `measures` turns records into
figures, `report` and `plots` turn figures into docs/scheduling.md. Entry: bench/scheduling.py.
"""
