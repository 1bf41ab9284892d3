"""YAML with the place of every key and value, read by the rules of YAML 1.2's core schema.

In: a file. Out: plain Python data, line and column of each key and value, and the problems
found on the way. `off`, `no` and `12:30` are words here, not false and 750, as YAML 1.1 has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from cdc_assets.settings_env import bad_reference, expand, is_secret, missing_names
from cdc_assets.settings_problems import KeyPath, Problem, Yaml, join_problems

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_TAGS = {_STR, _MERGE} | {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("bool", "float", "int", "map", "null", "seq", "timestamp", "value")
}
_HINTS = {
    "could not find expected": " a colon and a space behind a key",
    "did not find expected key": "; a text that goes on behind its quotes is quoted as a whole",
    "mapping values are not allowed in this context": "; a text with a colon and a space in it is "
    "put in quotes",
}
"""By libyaml's words for an error."""
_DEEPEST = 20
_LONGEST_NUMBER = 40


@dataclass
class Document:
    """A file's data and where each part of it stands.

    Args:
        file: The file's name as given.
        data: Mappings, lists and scalars.
        keys: Line and column of each key, counted from 1.
        values: Line and column of each value, counted from 1.
        problems: What is wrong with the file, as far as it was looked at.
    """

    file: str
    data: Yaml = None
    keys: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    values: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def mark(self, path: KeyPath, *, at_key: bool = False) -> tuple[int, int]:
        """Return the place of a value or of its key; of the nearest section if it is absent."""
        if not at_key and path in self.values:
            return self.values[path]
        while path and path not in self.keys:
            if isinstance(path[-1], int) and path in self.values:  # an item of a list has no key
                return self.values[path]
            path = path[:-1]
        return self.keys.get(path, (1, 1))

    def where(self, path: KeyPath) -> str:
        """Return `file:line:column` of a value."""
        line, column = self.mark(path)
        return f"{self.file}:{line}:{column}"

    def add(self, path: KeyPath, what: str, *, at_key: bool = False, built: bool = True) -> None:
        """Note a problem at a value or at its key."""
        line, column = self.mark(path, at_key=at_key)
        self.problems.append(Problem(self.file, line, column, path, what, built))

    def add_at(self, line: int, column: int, path: KeyPath, what: str) -> None:
        """Note a problem at a place."""
        self.problems.append(Problem(self.file, line, column, path, what))


def read_document(file: Path) -> Document:
    """Read a YAML file.

    Raises:
        ConfigError: It cannot be read, or it is not YAML.
    """
    document = Document(str(file))
    text = ""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        _check_depth(document, text)
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            document.data = _read(document, node, (), set())
    except OSError as error:
        document.add_at(1, 1, (), f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        document.add_at(line, 1, (), "is not UTF-8 text")
    except yaml.YAMLError as error:
        document.add_at(*_syntax_error(error, text))
    if document.data is None and document.problems:
        raise join_problems(document.problems)
    return document


def _check_depth(document: Document, text: str) -> None:
    """Refuse deep nesting while it is still a flat stream: the composer recurses, in C."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            mark = cast("yaml.Mark", event.start_mark)
            words = f"has more than {_DEEPEST} levels of nesting"
            document.add_at(mark.line + 1, mark.column + 1, (), words)
            raise join_problems(document.problems)


def _syntax_error(error: yaml.YAMLError, text: str) -> tuple[int, int, KeyPath, str]:
    """Say where the YAML breaks; quoted pieces of the file are cut, they may be secrets."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        words = re.sub(r"\s*(?:'.*'|\".*\")", "", error.problem or "", flags=re.DOTALL)
        hint = _hint(words, text, mark)
        return mark.line + 1, mark.column + 1, (), f"is not YAML: {words}{hint}"
    control = re.search(
        r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text
    )
    line = text.count("\n", 0, control.start()) + 1 if control else 1
    return line, 1, (), "is not YAML: it has a control character"


def _hint(words: str, text: str, mark: yaml.Mark) -> str:
    """Return what the commonest slips of the pen need; says nothing of what the file has."""
    line = text.splitlines()[mark.line : mark.line + 1]
    before, rest = (line[0][: mark.column], line[0][mark.column :]) if line else ("", "")
    if rest.startswith("\t") and not before.strip():
        return "; lines are indented by spaces, not by tabs"
    if "*" in (rest[:1], before[-1:]):
        return "; what begins with * is put in quotes"
    if rest[:1] in ("`", "@", "%"):
        return "; what begins with such a character is put in quotes"
    return _HINTS.get(words, "")


def _read(document: Document, node: yaml.Node, path: KeyPath, seen: set[int]) -> Yaml:
    document.values[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    refusal = ""
    if id(node) in seen:
        refusal = "is a YAML alias: write the value out"
    elif node.tag not in _TAGS:
        refusal = "has a YAML tag: write a plain value"
    if refusal:
        document.add(path, refusal)
        return None
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        return _read_scalar(node)
    if isinstance(node, yaml.MappingNode):
        return _read_mapping(document, node, path, seen)
    return [_read(document, item, (*path, i), seen) for i, item in enumerate(node.value)]


def _read_mapping(
    document: Document, node: yaml.MappingNode, path: KeyPath, seen: set[int]
) -> dict[str, Yaml]:
    data: dict[str, Yaml] = {}
    for key_node, value_node in node.value:
        line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
        key = key_node.value
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE:
            document.add_at(line, column, path, "has a key that is no word")
            continue
        here = (*path, key)
        if key in data:
            first, _ = document.keys[here]
            document.add_at(line, column, here, f"is a duplicate: it is on line {first} already")
            continue
        document.keys[here] = (line, column)
        data[key] = _read(document, value_node, here, seen)
    return data


def _read_scalar(node: yaml.ScalarNode) -> Yaml:
    text: str = node.value
    if node.style or node.tag == _STR:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def expand_plain(document: Document, value: Yaml, path: KeyPath, env: Mapping[str, str]) -> Yaml:
    """Replace references in everything but secrets, noting those that are wrong or missing.

    Args:
        document: Takes the problems.
        value: What stands at the path, and below it.
        path: Keys from the top of the file.
        env: The environment.
    """
    if isinstance(value, dict):
        return {k: expand_plain(document, v, (*path, k), env) for k, v in value.items()}
    if isinstance(value, list):
        return [expand_plain(document, v, (*path, i), env) for i, v in enumerate(value)]
    if not isinstance(value, str) or "${" not in value or is_secret(path):
        return value
    if bad_reference(value):
        document.add(path, "has a ${ that begins no reference; write ${env:NAME}")
        return value
    missing = missing_names(value, env)
    for name in missing:
        document.add(path, f"needs environment variable {name}, which is not set")
    return value if missing else expand(value, env)
