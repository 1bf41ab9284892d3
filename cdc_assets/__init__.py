"""Change data capture as Dagster assets: what happens to data, and how Dagster shows it."""

import os

# Arrow's allocator gives memory back to the system within a second, and takes it again for the next
# batch: page faults were a fifth of the CPU time of a busy run (docs/decisions/0016). It is asked
# once, when pyarrow is loaded.
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "-1")
