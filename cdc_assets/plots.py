"""Open dirty rows as a small table and a plot.

In: counts per table, stage, error class and column. Out: metadata. pandas and matplotlib are
imported here and only when there is something to show; without matplotlib there is no plot.
"""

from __future__ import annotations

import base64
import importlib.util
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from cdc_assets.metadata import cut

if TYPE_CHECKING:
    import pandas as pd

    from resources.stores.dirty_rows import DirtyStats

LINES = 50


def dirty_metadata(stats: Sequence[DirtyStats]) -> dict[str, dg.MetadataValue[Any]]:
    """Return open dirty rows per table, stage and error class, most first, and a plot of them.

    Args:
        stats: Of one table or of all.

    Returns:
        `dirty rows` and `dirty rows plot`; nothing if no row is open.
    """
    open_stats = [s for s in stats if s.open]
    if not open_stats:
        return {}
    frame = dirty_frame(open_stats)
    found: dict[str, dg.MetadataValue[Any]] = {"dirty rows": table_value(frame)}
    if plot := dirty_plot(frame):
        found["dirty rows plot"] = dg.MetadataValue.md(f"![dirty rows]({plot})")
    return found


def dirty_frame(stats: Sequence[DirtyStats]) -> pd.DataFrame:
    """Return one line per table, stage, error class and column, most open rows first."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "table": [str(s.table) for s in stats],
            "stage": [s.stage for s in stats],
            "error": [s.error for s in stats],
            "column": [s.field for s in stats],
            "open": [s.open for s in stats],
            "ever": [s.total for s in stats],
            "since": [_minute(s.oldest_us) for s in stats],
        }
    )
    return frame.sort_values(["open", "table"], ascending=[False, True], ignore_index=True)


def table_value(frame: pd.DataFrame) -> dg.MetadataValue[Any]:
    """Return a frame's first lines as a table of the UI."""
    records = [
        dg.TableRecord({str(k): v if isinstance(v, int) else cut(str(v)) for k, v in line.items()})
        for line in frame.head(LINES).astype(object).to_dict("records")
    ]
    columns = [dg.TableColumn(str(name), _column_type(frame[name])) for name in frame.columns]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def dirty_plot(frame: pd.DataFrame) -> str:
    """Return open rows per table and error class as a PNG data URI, empty without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return ""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = frame.pivot_table("open", "table", "error", aggfunc="sum", fill_value=0)
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False).index[:LINES]]
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(counts)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    left = [0] * len(counts)
    for error in counts.columns:
        axes.barh(counts.index, counts[error], left=left, label=str(error))
        left = [a + b for a, b in zip(left, counts[error], strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("open dirty rows")
    axes.legend(fontsize="small")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=80)
    return "data:image/png;base64," + base64.b64encode(image.getvalue()).decode()


def _minute(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")


def _column_type(column: pd.Series[Any]) -> str:
    return "int" if column.dtype.kind == "i" else "string"
