"""Other queues measured beside taskq, on the same machine, server and interpreter, in one run.

`table` says what is measured and how it is set; `apps` has one module for each system, which runs
in that system's own environment; `scenarios` know none of them. See bench/README.md.
"""
