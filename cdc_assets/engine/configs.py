"""What the pipeline file says of a feed, remembered beside its target, so that edits are noticed.

In: the rules for a source table, and those its target was filled by. Out: what was edited, and
whether the rows have to be read again from the source or can be folded again from the change log.
A run does not merge by new rules into a target that was filled by old ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cdc_assets.engine.kept import log_has_columns
from cdc_assets.engine.records import REMEDIES
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import Route
from cdc_assets.naming import job_name
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.engine.pipeline import EngineOptions, Pipeline
    from cdc_assets.engine.transforms.rule import Mask, RowRule, TransformRule
    from resources.stores.table_states import TableState

EDITED = "edited: "
"""How the reason of a table begins that waits since its rules in the pipeline file changed."""
Config = Mapping[str, Any]
"""JSON of what the file says of one feed; keys that say nothing are left out."""
Way = Literal["reread", "refold"]

STORED = ("masks", "exclude")
"""Keys that decide what the change log has; all others act when it is read."""
SALT_ROUNDS = 100_000
_WORDS = {
    "append": "whether it keeps every change (pipeline.append)",
    "exclude": "columns left out (exclude)",
    "filter": "the filter",
    "functions": "the Python functions",
    "masks": "masks",
    "partition_keys": "partition_keys",
    "primary_keys": "the key (primary_keys)",
    "projection": "the projection",
    "rules": "row rules",
    "shard": "columns that tell the shards apart (shard)",
    "shard_in_key": "the key (shard_in_key)",
    "shared": "whether tables share the target (merge)",
    "soft_delete": "soft_delete",
}


@dataclass(frozen=True)
class Edit:
    """What was edited about a feed.

    Args:
        keys: Keys of the configuration that differ, sorted.
        way: `reread` if the change log has no longer, or not yet, what the new rules need.
    """

    keys: tuple[str, ...]
    way: Way

    def words(self) -> str:
        """Return what differs, for a person."""
        return ", ".join(_WORDS.get(key, key) for key in self.keys)


def feed_config(pipeline: str, options: EngineOptions, route: Route) -> dict[str, Any]:
    """Return what the pipeline file says of a feed.

    Equal for equal contents of its target: where rules stand, what they are called and which
    other tables they mean does not count, nor do rules that only stop a run.

    Args:
        pipeline: The change log's name.
        options: With its rules.
        route: The feed's way.
    """
    found: dict[str, Any] = {
        "append": options.appends(route.table),
        "shared": route.shared,
        "shard": [list(pair) for pair in route.shard],
        "shard_in_key": route.shard_in_key,
    }
    rule = options.transforms.rule(route.table)
    if rule is not None:
        found |= _rule_config(pipeline, rule)
    return {key: value for key, value in found.items() if value}


def find_edit(before: Config, after: Config) -> Edit | None:
    """Return what was edited between two configurations of a feed, None for nothing."""
    keys = tuple(sorted(k for k in {*before, *after} if before.get(k) != after.get(k)))
    if not keys:
        return None
    return Edit(keys, "reread" if any(key in STORED for key in keys) else "refold")


def config_text(pipeline: Pipeline, route: Route) -> str:
    """Return what is kept of a feed's configuration (`FeedState.config`) with its shape."""
    return json.dumps(feed_config(pipeline.log_name, pipeline.options, route), sort_keys=True)


def table_config_text(pipeline: Pipeline, table: TableId) -> str:
    """Return what the pipeline file says of all feeds of a source table."""
    routes = pipeline.routes(table)
    return json.dumps({str(r.target): config_text(pipeline, r) for r in routes}, sort_keys=True)


def why_edited(pipeline: Pipeline, route: Route, kept: str) -> str:
    """Return why a feed must not be merged by the file's rules; empty if it may.

    Args:
        pipeline: The opened pipeline.
        route: The feed's way.
        kept: `FeedState.config`; empty if nothing was kept, which is no reason.
    """
    if not kept:
        return ""
    edit = find_edit(json.loads(kept), feed_config(pipeline.log_name, pipeline.options, route))
    if edit is None:
        return ""
    return f"{EDITED}{edit.words()} changed in the pipeline file: {remedy(pipeline, route, edit)}"


def changed_configs(pipeline: Pipeline) -> list[tuple[Route, str]]:
    """Return the feeds whose targets were filled by other rules than the file's.

    Feeds of tables that wait to be loaded anyway are passed over.

    Returns:
        Routes, and why their tables have to wait.
    """
    kept: dict[TableId, dict[str, str]] = {}
    for (table, target), config in pipeline.feeds.configs().items():
        kept.setdefault(table, {})[target] = config
    states = pipeline.tables.all()
    found: list[tuple[Route, str]] = []
    for table, targets in kept.items():
        state = states.get(table)
        waits = state is not None and state.status == "needs_snapshot"
        if state is None or state.status in ("new", "dropped"):
            continue
        if waits and not state.reason.startswith(EDITED):
            continue
        for route in pipeline.routes(table):
            text = targets.get(str(target_id(route)))
            if text is None:
                words = why_added(pipeline, route)
            else:
                words = why_edited(pipeline, route, text)
            if words:
                found.append((route, words))
    return found


def why_added(pipeline: Pipeline, route: Route) -> str:
    """Return why a loaded table's new target cannot simply be filled from the log; else empty."""
    if log_is_whole(pipeline, route.table):
        return ""
    with pipeline.sink() as sink:
        known = sink.read_watermark(target_id(route), pipeline.feed(route.table))
    if known is not None:
        return ""
    return f"{EDITED}it goes to {route.target} now: {REMEDIES[pipeline.options.history]}"


def mark_edited(pipeline: Pipeline) -> list[tuple[Route, str]]:
    """Let tables wait whose rules were edited, and let those go on whose edit was taken back.

    Called at the start of a run, before anything is merged.

    Returns:
        As `changed_configs`.
    """
    found = changed_configs(pipeline)
    edited = {route.table: words for route, words in found}
    for table, state in pipeline.tables.all().items():
        if table in edited and (state.status, state.reason) != ("needs_snapshot", edited[table]):
            pipeline.say(f"{table}: {edited[table]}")
            pipeline.tables.set(table, "needs_snapshot", edited[table])
        elif table not in edited and _waits_for_edit(state):
            pipeline.tables.set(table, "behind", "its rules are as they were")
    return found


def remedy(pipeline: Pipeline, route: Route, edit: Edit) -> str:
    """Return what to do about an edit."""
    if edit.way == "refold" and log_is_whole(pipeline, route.table):
        return f"run {job_name(pipeline.name, 'refold')}, the change log has all its rows"
    return REMEDIES[pipeline.options.history]


def log_is_whole(pipeline: Pipeline, table: TableId) -> bool:
    """Return whether the change log has every row a table ever had, with all its rules read.

    So it is where rows come from the log alone, or the table was made while it was followed, and
    as long as retention has removed nothing of it.
    """
    if pipeline.log.segments.table_floor(table) or not log_has_columns(pipeline, table):
        return False
    if pipeline.options.history == "log":
        return True
    from cdc_assets.engine.apply import is_birth  # it leads back here

    return any(is_birth(notice) for notice in pipeline.log.notices(table, 0))


def _waits_for_edit(state: TableState) -> bool:
    return state.status == "needs_snapshot" and state.reason.startswith(EDITED)


def _rule_config(pipeline: str, rule: TransformRule) -> dict[str, Any]:
    return {
        "masks": sorted((_mask_config(pipeline, mask) for mask in rule.masks), key=str),
        "exclude": sorted(rule.exclude),
        "projection": list(rule.projection),
        "filter": rule.filter,
        "primary_keys": list(rule.primary_keys),
        "partition_keys": list(rule.partition_keys),
        "soft_delete": rule.soft_delete,
        # A rule that fails a run lets no row through, so it decides nothing about a target.
        "rules": [_plain(r, "name", "where") for r in rule.rules if r.on_fail != "fail"],
        "functions": _file_digest(rule.functions) if rule.functions else "",
    }


def _mask_config(pipeline: str, mask: Mask) -> dict[str, Any]:
    found = _plain(mask, "where", "salt")
    return found | ({"salt": _salt_digest(pipeline, mask.salt)} if mask.salt else {})


def _plain(value: Mask | RowRule, *but: str) -> dict[str, Any]:
    """Return the fields of a rule that are not as they are by default."""
    return {
        f.name: getattr(value, f.name)
        for f in fields(value)
        if f.name not in but and getattr(value, f.name) != f.default
    }


@lru_cache(maxsize=64)
def _salt_digest(pipeline: str, salt: str) -> str:
    """Return what tells two salts apart; slow to guess, for the state store may be read."""
    digest = hashlib.pbkdf2_hmac("sha256", salt.encode(), pipeline.encode(), SALT_ROUNDS, 8)
    return digest.hex()


def _file_digest(path: str) -> str:
    """Return a digest of a file of functions; a file that is gone is refused where it is used."""
    try:
        content = Path(path).read_bytes()
    except OSError:
        return "missing"
    return hashlib.blake2b(content, digest_size=8).hexdigest()
