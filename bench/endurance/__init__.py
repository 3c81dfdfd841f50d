"""The long run of `python bench/soak.py`: half load for half an hour, and memory that stays.

Taken by `take`, written down by `record`, judged by `verdict`, shown by `page` and `plots`.
"""
