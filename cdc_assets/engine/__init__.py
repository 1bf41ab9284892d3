"""What happens to data, stage by stage. Knows no Dagster.

capture -> (change log) -> reduce -> apply, with copy beside them for history; `run` strings
them together for one run.
"""
