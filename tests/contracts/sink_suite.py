"""The conformance suite of sinks: subclass `SinkSuite` and give it a way to open one."""

from __future__ import annotations

from tests.contracts.sink_alter import SinkAlter
from tests.contracts.sink_existing import SinkExisting
from tests.contracts.sink_fill import SinkFill
from tests.contracts.sink_folds import SinkFolds
from tests.contracts.sink_loads import SinkLoads
from tests.contracts.sink_readers import SinkReaders
from tests.contracts.sink_retype import SinkRetype
from tests.contracts.sink_shared import SinkShared
from tests.contracts.sink_sizes import SinkSizes
from tests.contracts.sink_values import SinkValues
from tests.contracts.sink_writes import SinkWrites


class SinkSuite(
    SinkWrites,
    SinkLoads,
    SinkExisting,
    SinkAlter,
    SinkFill,
    SinkRetype,
    SinkShared,
    SinkFolds,
    SinkValues,
    SinkSizes,
    SinkReaders,
):
    """What every sink passes.

    A subclass overrides `open`, and `killed` where a sink survives its process.
    """
