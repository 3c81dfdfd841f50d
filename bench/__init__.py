"""Measures taskq: `python bench/run.py`. No part of the package."""
