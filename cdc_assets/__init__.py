"""Change data capture as Dagster assets: what happens to data, and how Dagster shows it."""
