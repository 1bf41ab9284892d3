"""Settings of a pipeline file -> the engine's routes, transforms and schema policies.

In: `PipelineSettings`. Out: immutable rules, each with its file and line for the errors that only
a table's columns can show.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import SecretStr

from cdc_assets.engine.transforms.rule import Mask, RowRule, TransformRule
from cdc_assets.settings import PipelineSettings
from cdc_assets.settings_env import REFERENCE
from cdc_assets.settings_transform import MaskSettings, RowRuleSettings, TransformRuleSettings
from resources.errors import ConfigError

if TYPE_CHECKING:
    from cdc_assets.settings_problems import KeyPath


def transform_rules(settings: PipelineSettings) -> tuple[TransformRule, ...]:
    """Return the rules of `transform`.

    Args:
        settings: With secrets resolved.

    Raises:
        ConfigError: A salt or key of a mask is empty, or is no value yet.
    """
    return tuple(_rule(settings, number, rule) for number, rule in enumerate(settings.transform))


def _rule(settings: PipelineSettings, number: int, rule: TransformRuleSettings) -> TransformRule:
    path: KeyPath = ("transform", number)
    functions = settings.functions_path(rule)
    return TransformRule(
        source=rule.source,
        projection=rule.projection,
        filter=rule.filter,
        primary_keys=rule.primary_keys,
        partition_keys=rule.partition_keys,
        soft_delete=rule.soft_delete,
        masks=tuple(
            _mask(column, mask, settings.where(*path, "mask", column))
            for column, mask in rule.mask.items()
        ),
        exclude=rule.exclude,
        rules=tuple(
            _row_rule(row, settings.where(*path, "rules", i)) for i, row in enumerate(rule.rules)
        ),
        functions=str(functions.absolute()) if functions else "",
        where=settings.where(*path),
        wheres=tuple((text, settings.where(*at)) for text, at in _expressions(rule, path)),
    )


def _expressions(rule: TransformRuleSettings, path: KeyPath) -> Iterator[tuple[str, KeyPath]]:
    """Yield every expression of a rule with its key; the same text at its first place last."""
    for number, row in reversed(list(enumerate(rule.rules))):
        if row.expression:
            yield row.expression, (*path, "rules", number, "expression")
    if rule.filter:
        yield rule.filter, (*path, "filter")
    for number, item in reversed(list(enumerate(rule.projection))):
        yield item, (*path, "projection", number)


def _mask(column: str, mask: MaskSettings, where: str) -> Mask:
    return Mask(
        column=column,
        kind=mask.kind,
        salt=_secret(mask.salt if mask.key is None else mask.key, where),
        keep_first=mask.keep_first or 0,
        keep_last=mask.keep_last or 0,
        length=mask.length or 0,
        value=mask.value or "",
        character=mask.character or "*",
        where=where,
    )


def _secret(secret: SecretStr | None, where: str) -> str:
    """Return a secret's value; a reference in its place would make a mask that anyone can undo."""
    if secret is None:
        return ""
    value = secret.get_secret_value()
    if not value or REFERENCE.fullmatch(value):
        raise ConfigError(
            "the secret of a mask is empty",
            where=where,
            remedy="give its variable a long random value, and keep it: another value makes "
            "other masked values",
        )
    return value


def _row_rule(rule: RowRuleSettings, where: str) -> RowRule:
    return RowRule(
        name=rule.name or rule.column or rule.expression,
        column=rule.column,
        not_null=rule.not_null,
        min=rule.min or "",
        max=rule.max or "",
        min_length=rule.min_length,
        max_length=rule.max_length,
        regex=rule.regex,
        expression=rule.expression,
        on_fail=rule.on_fail,
        where=where,
    )
