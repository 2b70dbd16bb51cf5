"""Reading the catalogue's files: every mistake is reported with its file, line and field."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.catalogue.catalogue import Catalogue
from shared.catalogue.report_type import ReportType

FieldPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in one file; lines count from 1, None where there is none."""

    file: Path
    line: int | None
    field: str
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{place}: {self.field}: {self.reason}" if self.field else f"{place}: {self.reason}"


class CatalogueError(Exception):
    """The catalogue can't be used; the message holds all mistakes, one on each line."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class CatalogueFile:
    """A file that holds a valid report type, and where each of its fields stands."""

    path: Path
    report_type: ReportType
    root: yaml.Node

    def mistake(self, field: FieldPath, reason: str, *, text_line: int | None = None) -> Mistake:
        """Say what is wrong with a field, or with one line (1, ...) of the text that it holds.

        A field that the file leaves out stands where the last one on the way to it does.
        """
        line = _line(_nearest_node(self.root, field))
        if text_line is not None and _value(self.root, field).style == "|":
            line += text_line  # only a literal block keeps the lines that it was written in
        return Mistake(self.path, line, ".".join(map(str, field)), reason)


def load_catalogue(directory: Path) -> Catalogue:
    """Read every `*.yaml` and `*.yml` in the directory.

    Raises `CatalogueError` with all mistakes of all files, and for a directory without any file: a
    service that offers nothing is a mount that went wrong.
    """
    return Catalogue(file.report_type for file in load_files(directory))


def load_files(directory: Path) -> list[CatalogueFile]:
    """Read the same files, and keep where everything stands; raises `CatalogueError` likewise."""
    mistakes: list[Mistake] = []
    loaded: dict[str, CatalogueFile] = {}
    for path in _files(directory):
        try:
            file = _load_file(path)
        except CatalogueError as error:
            mistakes += error.mistakes
            continue
        name = file.report_type.name
        other = loaded.setdefault(name, file)
        if other is not file:
            mistakes.append(file.mistake(("name",), f"{name} is already defined in {other.path}"))
    if mistakes:
        raise CatalogueError(mistakes)
    return list(loaded.values())


def _files(directory: Path) -> list[Path]:
    try:
        # Hidden names are left out: a mounted ConfigMap keeps its versions in such directories.
        files = sorted(
            path
            for path in directory.iterdir()
            if path.suffix in {".yaml", ".yml"} and not path.name.startswith(".")
        )
    except OSError as error:
        reason = f"can't read the catalogue: {error.strerror}"
        raise CatalogueError([Mistake(directory, None, "", reason)]) from error
    if not files:
        raise CatalogueError([Mistake(directory, None, "", "holds no report type (*.yaml)")])
    return files


def _load_file(file: Path) -> CatalogueFile:
    root = _parse(file)
    try:
        repeated = list(_repeated_keys(root))
        declared = yaml.SafeLoader("").construct_document(root)
    except yaml.YAMLError as error:
        raise CatalogueError([_syntax_mistake(file, error)]) from error
    if repeated:
        raise CatalogueError(
            [Mistake(file, _line(key), str(key.value), "is given twice") for key in repeated]
        )
    try:
        report_type = ReportType.model_validate(declared)
    except ValidationError as error:
        raise CatalogueError(
            [_field_mistake(file, root, detail) for detail in error.errors(include_url=False)]
        ) from None
    return CatalogueFile(file, report_type, root)


def _parse(file: Path) -> yaml.Node:
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError([Mistake(file, None, "", f"can't be read: {error}")]) from error
    except yaml.YAMLError as error:
        raise CatalogueError([_syntax_mistake(file, error)]) from error
    if not isinstance(root, yaml.MappingNode):
        reason = "must hold the fields of one report type"
        raise CatalogueError([Mistake(file, 1, "", reason)])
    return root


def _repeated_keys(root: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """YAML's parser silently lets the last of two equal keys win."""
    for node in _walk(root, ()):
        if isinstance(node, yaml.MappingNode):
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            seen: set[str] = set()
            for key in keys:
                if key.value in seen:
                    yield key
                seen.add(key.value)


def _walk(node: yaml.Node, ancestors: tuple[yaml.Node, ...]) -> Iterator[yaml.Node]:
    """Visit a node and all below; an alias that leads back to where it stands has no end."""
    if node in ancestors:
        raise yaml.MarkedYAMLError(problem="an alias holds itself", problem_mark=node.start_mark)
    yield node
    if isinstance(node, yaml.MappingNode):
        below = [part for pair in node.value for part in pair]
    else:
        below = node.value if isinstance(node, yaml.SequenceNode) else []
    for part in below:
        yield from _walk(part, (*ancestors, node))


def _syntax_mistake(file: Path, error: yaml.YAMLError) -> Mistake:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return Mistake(file, error.problem_mark.line + 1, "", f"not YAML: {error.problem}")
    return Mistake(file, None, "", f"not YAML: {error}")


def _field_mistake(file: Path, root: yaml.Node, detail: ErrorDetails) -> Mistake:
    path: FieldPath = (*detail["loc"], *detail.get("ctx", {}).get("path", ()))
    reason = "is not a known field" if detail["type"] == "extra_forbidden" else detail["msg"]
    field = ".".join(map(str, path))
    return Mistake(file, _line(_nearest_node(root, path)), field, reason)


def _nearest_node(root: yaml.Node, path: FieldPath) -> yaml.Node:
    """The key or item at the path, or the last one on the way that the file has."""
    nearest = node = root
    for part in path:
        if isinstance(node, yaml.MappingNode):
            entry = next((pair for pair in node.value if pair[0].value == part), None)
            if entry is None:
                break
            nearest, node = entry
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break
            nearest = node = node.value[part]
        else:
            break
    return nearest


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _value(root: yaml.Node, path: FieldPath) -> yaml.ScalarNode:
    """The text at a path of keys, which the file has."""
    node: Any = root
    for part in path:
        node = next(value for key, value in node.value if key.value == part)
    text: yaml.ScalarNode = node
    return text
