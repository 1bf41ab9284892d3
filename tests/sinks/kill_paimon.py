"""Run as `python -m tests.sinks.kill_paimon <step> <folder>`: die before the n-th write.

As `kill_delta`, with the Paimon sink: its every write goes through its store.
"""

from __future__ import annotations

import sys
from pathlib import Path

from resources.sinks.paimon import PaimonSink
from tests.sinks.kill_delta import main
from tests.sinks.kill_parquet import CALLS

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), PaimonSink, CALLS)
