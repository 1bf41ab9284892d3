"""Measurements; `python -m benchmarks` runs them all. Nothing here is asserted as a time."""

import cdc_assets  # noqa: F401 - before pyarrow, as in a run (docs/decisions/0016)
