"""pydantic's errors in the words of a pipeline file.

In: a ValidationError and the file it came from. Out: problems at the right line, with the
nearest key or the allowed values.
"""

from __future__ import annotations

import difflib
import re
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cdc_assets.settings_place import PLACE, WORD
from cdc_assets.settings_problems import KeyPath
from cdc_assets.settings_yaml import Document

NOT_BUILT_TYPES: dict[str, tuple[str, ...]] = {
    "source": ("postgres", "oracle", "sqlserver", "mongodb"),
    "sink": (),
}
"""Types of later releases, refused by name."""

_ABSENT = object()
_WORDING = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "string_type": "must be text: put it in quotes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
}


def add_problems(error: ValidationError, document: Document, model: type[BaseModel]) -> None:
    """Add each of pydantic's errors to the document's problems.

    A value that already has a problem gets no second one.
    """
    known = {problem.path for problem in document.problems}
    for detail in error.errors(include_url=False):
        path, kind = _path(detail["loc"], document.data), detail["type"]
        path += tuple(detail.get("ctx", {}).get("at", ()))
        if kind in ("union_tag_invalid", "union_tag_not_found"):
            path = (*path, "type")
        if path in known or (kind == "too_short" and detail["input"]):
            continue  # a list whose only items are wrong counts as too short
        if kind == "extra_forbidden":
            allowed = _keys_at(model, path[:-1], document.data)
            document.add(path, f"is an unknown key; {_guess(path[-1], allowed)}", at_key=True)
        elif kind == "literal_error" and detail["loc"][-1] == "[key]":
            allowed = _allowed(detail)
            document.add(path, f"is an unknown key; {_guess(path[-1], allowed)}", at_key=True)
        elif kind == "missing":
            document.add(path, "is required", at_key=True)
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            _add_type_problem(path, detail, document, model)
        elif path[-1:] == ("[key]",):
            document.add(path[:-1], _words(detail), at_key=True)
        else:
            document.add(path, _words(detail))


def _add_type_problem(
    path: KeyPath, detail: ErrorDetails, document: Document, model: type[BaseModel]
) -> None:
    """Say which types a source or sink may have, and which come later."""
    given = detail.get("ctx", {}).get("tag")
    members = _models(model.model_fields[str(path[0])].annotation)
    allowed = [t for m in members for t in get_args(m.model_fields["type"].annotation)]
    if given is None:
        document.add(path, f"is required; allowed: {', '.join(allowed)}", at_key=True)
    elif given in NOT_BUILT_TYPES[str(path[0]).removesuffix("s")]:
        document.add(path, f"`{given}` is not built yet", built=False)
    else:
        document.add(path, f"is not one of its values; {_guess(given, allowed)}")


def _path(loc: tuple[str | int, ...], data: object) -> KeyPath:
    """Leave out of pydantic's location what is not in the file: the names of union members."""
    path: list[str | int] = []
    for number, step in enumerate(loc, start=1):
        inside = _inside(data, step)
        last = number == len(loc)
        if inside is not _ABSENT:
            data = inside
            path.append(step)
        elif last and isinstance(data, dict) and step not in (data.get("type"), WORD, PLACE):
            path.append(step)
    return tuple(path)


def _inside(data: object, step: str | int) -> object:
    if isinstance(data, dict):
        return data.get(step, _ABSENT)
    if isinstance(data, list) and isinstance(step, int) and step < len(data):
        return data[step]
    return _ABSENT


def _guess(given: object, allowed: list[str]) -> str:
    near = difflib.get_close_matches(str(given), allowed, n=1)
    question = f"did you mean `{near[0]}`? " if near else ""
    return f"{question}allowed: {', '.join(allowed)}"


def _allowed(detail: ErrorDetails) -> list[str]:
    return re.findall(r"'([^']*)'", detail["ctx"]["expected"])


def _words(detail: ErrorDetails) -> str:
    if detail["type"] == "literal_error":
        return f"is not one of its values; {_guess(detail['input'], _allowed(detail))}"
    if detail["type"] in _WORDING:
        return _WORDING[detail["type"]]
    return detail["msg"].replace("Input should be", "must be").replace("String should", "must")


def _keys_at(model: type[BaseModel], path: KeyPath, data: object) -> list[str]:
    """Return the keys allowed in a section, choosing union members by the file's `type`."""
    shapes: list[Any] = [model]
    for step in path:
        data = _inside(data, step)
        shapes = [below for shape in shapes for below in _below(shape, step)]
        shapes = [s for s in shapes if _has_type(s, data)] or shapes
    return list(shapes[0].model_fields)


def _below(shape: object, step: str | int) -> list[Any]:
    """Return the models, lists and mappings that a key or an index leads to."""
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return _shapes(shape.model_fields[str(step)].annotation)
    return _shapes(get_args(shape)[0 if get_origin(shape) is tuple else 1])


def _shapes(annotation: object) -> list[Any]:
    """Look through unions and marks."""
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return [shape for part in get_args(annotation) for shape in _shapes(part)]
    model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return [annotation] if model or get_origin(annotation) in (tuple, dict) else []


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _has_type(shape: object, data: object) -> bool:
    kind = getattr(shape, "model_fields", {}).get("type")
    return kind is not None and _inside(data, "type") in get_args(kind.annotation)
