"""A plan of what the pipeline file would do, in markdown for a person.

In: the plan. Out: one text for the log and the run's page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cdc_assets.naming import job_name
from cdc_assets.planning import SHOWN, FeedPlan, FilePlan, TargetShape

_WAYS = {
    "load": "is loaded by its snapshot partition",
    "follow": "comes through the log",
    "reread": "is **read again** from the source: materialize its snapshot partition; until then "
    "it waits and its changes are kept in the change log",
    "refold": "is **folded again** from the change log, which has all its rows: run "
    "`{refold}`; until then it waits",
    "fill": "is **filled from the change log**, which has all its rows, with the table's next "
    "change, or at once by `{refold}` with `table: {table}`",
    "stuck": "**cannot be filled again**: the change log does not have all its rows, and its "
    "source is not read again; take the edit back, or load it by a pipeline of another name",
}


def plan_words(pipeline: str, plan: FilePlan, unprotected: Sequence[str] = ()) -> str:
    """Return a plan as markdown.

    Args:
        pipeline: The pipeline's name.
        plan: The plan.
        unprotected: Warnings about masks and excluded columns that hide nothing.
    """
    parts = [_head(plan)]
    parts += _section("Hides nothing", unprotected)
    parts += _section("Refused: two tables, one target", _clashes(plan))
    parts += _section("New tables", [_feed(pipeline, feed) for feed in plan.new])
    parts += _section("Edited rules", [_feed(pipeline, feed) for feed in plan.edited])
    parts += _section(
        "Changes of columns that are not applied yet",
        [
            f"`{table}`"
            + (f" → `{target}`" if target != str(table) else "")
            + ":"
            + "".join(f"\n  - {_line(line)}" for line in words)
            for table, target, words in plan.pending
        ],
    )
    parts += _section(
        "No longer selected",
        [
            f"`{table}`: its targets stay as they are and get no more changes; nothing is dropped. "
            "Selected again later, it is read again."
            for table in plan.left
        ],
    )
    parts += _section(
        "Targets no longer fed",
        [
            f"`{target}` was fed by `{table}`: its rows stay as they are. Drop or clean it by hand."
            for table, target in plan.unfed
        ],
    )
    parts += _section(
        "Not on the source any more", [f"`{table}`: its targets stay." for table in plan.gone]
    )
    parts += _section(
        "Waiting, whatever the file says",
        [
            f"`{table}`: {status}: {_line(reason.removeprefix(f'{table}: '))}"
            for table, status, reason in plan.waiting
        ],
    )
    return "\n\n".join(parts)


def _head(plan: FilePlan) -> str:
    goes_on = f"{plan.same} tables go on as they are."
    if plan.changes_nothing:
        return f"**Nothing changes**: the targets were filled by the rules of this file. {goes_on}"
    return f"**What this pipeline file would do.** Nothing was changed. {goes_on}"


def _clashes(plan: FilePlan) -> list[str]:
    return [
        f"`{target}` would be filled by {' and '.join(f'`{t}`' for t in tables)}: give them "
        "targets of their own, or write `merge: true` on their routes."
        for target, tables in plan.clashes
    ]


def _feed(pipeline: str, feed: FeedPlan) -> str:
    name = f"`{feed.table}`"
    if str(feed.table) != str(feed.target):
        name += f" → `{feed.target}`"
    what = "" if feed.what == "new" else f"{_line(feed.what)}; "
    way = _WAYS[feed.way].format(refold=job_name(pipeline, "refold"), table=feed.table)
    return f"{name}: {what}the target {way}.{_shape(feed.shape)}"


def _shape(shape: TargetShape) -> str:
    if not shape.wanted:
        return ""
    if shape.live is None:
        columns = ", ".join(f"{name} {kind}" for name, kind in shape.wanted)
        return f"\n  - The target is created: {_line(columns)}"
    lines = [f"\n  - `{_line(statement)}`" for statement in shape.ddl]
    return "".join(lines) or "\n  - Its columns stay as they are."


def _section(title: str, lines: Sequence[str]) -> Iterable[str]:
    if not lines:
        return []
    shown = [f"- {line}" for line in lines[:SHOWN]]
    if len(lines) > SHOWN:
        shown.append(f"- … {len(lines) - SHOWN} more")
    return [f"### {title} ({len(lines)})\n\n" + "\n".join(shown)]


def _line(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
