"""Measurements; `python -m benchmarks` runs them all. Nothing here is asserted as a time."""
