"""The tables a pipeline is known to have, for the asset graph.

In: literal names of the pipeline file, and what runs and the discovery sensor saw. Out: table ids
without asking the network. The inventory is a cache: losing it costs assets in the graph until
the next run or discovery, never data.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING

from resources.errors import ConfigError
from resources.model.table_id import TableId

if TYPE_CHECKING:
    from cdc_assets.settings import PipelineSettings

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Inventory:
    """What is known of a pipeline without asking anybody.

    Args:
        tables: The tables the pipeline's patterns select, sorted.
        first_window: Partition key of the oldest window of the change log, empty if unknown.
    """

    tables: tuple[TableId, ...] = ()
    first_window: str = ""


def inventory_path(pipeline: str, env: Mapping[str, str] = os.environ) -> Path:
    """Return where a pipeline's inventory lies: `.cdc/<pipeline>/` below `CDC_HOME`."""
    return Path(env.get("CDC_HOME") or Path.cwd(), ".cdc", pipeline, "inventory.json")


def load_inventory(settings: PipelineSettings, env: Mapping[str, str] = os.environ) -> Inventory:
    """Return the literal names of the pipeline file and the tables of the inventory file.

    Tables that the patterns no longer select are left out.

    Raises:
        ConfigError: The inventory file is not one.
    """
    path = inventory_path(settings.name, env)
    kept = _read(path)
    literal = {_table(p) for p in settings.source.tables if not _WILDCARD.search(p)}
    selects = build_selector(settings)
    found = {t for t in (*kept.tables, *literal) if selects(t)}
    return Inventory(tuple(sorted(found)), kept.first_window)


def save_inventory(
    settings: PipelineSettings,
    tables: Iterable[TableId],
    windows: Iterable[str] = (),
    env: Mapping[str, str] = os.environ,
) -> list[TableId]:
    """Add tables and windows to a pipeline's inventory file, atomically.

    Two processes that add at once may lose one's share until it looks again.

    Returns:
        The tables that were not in it.
    """
    known = load_inventory(settings, env)
    new = sorted(filter(build_selector(settings), set(tables) - set(known.tables)))
    first = min((w for w in (known.first_window, *windows) if w), default="")
    path = inventory_path(settings.name, env)
    if new or first != known.first_window or not path.exists():
        _write(path, Inventory(tuple(sorted({*known.tables, *new})), first))
    return new


def build_selector(settings: PipelineSettings) -> Callable[[TableId], bool]:
    """Return what says whether the pipeline's patterns select a table."""
    included = _matcher(settings.source.tables)
    excluded = _matcher(settings.source.exclude)
    return lambda table: included(str(table)) and not excluded(str(table))


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a match against all patterns at once: a thousand tables may be named one by one."""
    literal = frozenset(p for p in patterns if not _WILDCARD.search(p))
    wild = [translate(p) for p in patterns if p not in literal]
    expression = re.compile("|".join(wild)) if wild else None
    return lambda name: name in literal or bool(expression and expression.match(name))


def _table(name: str) -> TableId:
    database, _, table = name.partition(".")
    return TableId(database, table)


def _read(path: Path) -> Inventory:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tables = tuple(TableId(database, table) for database, table in content["tables"])
        return Inventory(tables, str(content["first_window"]))
    except FileNotFoundError:
        return Inventory()
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the inventory of tables cannot be read ({type(error).__name__})",
            where=str(path),
            remedy="delete the file: the next run or discovery writes it again",
        ) from None


def _write(path: Path, inventory: Inventory) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = {
        "tables": [[t.database, t.table] for t in inventory.tables],
        "first_window": inventory.first_window,
    }
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".inventory-", suffix=".json")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
