"""Changing values in a configuration file while its comments, order and layout stay as the user wrote them."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from agentsched.errors import ConfigError
from agentsched.settings.document import Dumper, Loader, child
from agentsched.settings.litellm import is_litellm
from agentsched.settings.load import parse_settings
from agentsched.settings.problems import Loc, dotted
from agentsched.settings.values import Settings

__all__ = ["EditableValue", "set_values", "update_endpoints", "write_safely"]

Scalar = str | float | int | bool
EditableValue = Scalar | Sequence[Scalar] | Mapping[str, Scalar]
"""What can be written in the place of a value: a scalar, a flat list, a flat mapping (merged key by key)."""


def update_endpoints(settings: Settings, changes: Mapping[str, Mapping[str, EditableValue]]) -> Path:
    """Write new values of endpoints into the file that the settings were read from.

    The file is replaced in one step; what it held before is kept beside it with ``.bak`` added to its name.

    Args:
        settings: read from a file of our own format.
        changes: endpoint name -> key of the endpoint -> its new value.

    Returns:
        The path of the copy.

    Raises:
        ConfigError: there is no such file, it has been changed meanwhile in a way that matters, it is a LiteLLM
            configuration, or a value stands in a place that cannot be edited (a YAML alias).
    """
    if settings.source is None:
        raise ConfigError("the settings came from no file: there is nothing to write to")
    path = Path(os.path.realpath(settings.source))
    text = path.read_bytes().decode("utf-8")
    if is_litellm(yaml.load(text, Loader=Loader)):
        raise ConfigError(
            "a LiteLLM configuration has no place for figures", file=str(path), allowed="agentsched init --from-litellm"
        )
    index = {endpoint.name: i for i, endpoint in enumerate(parse_settings(text, path=path).pool.endpoints)}
    flat: dict[Loc, EditableValue] = {}
    for name, values in changes.items():
        if name not in index:
            raise ConfigError("the endpoint is not in the file any more", field="endpoints", given=name, file=str(path))
        flat |= {("endpoints", index[name], key): value for key, value in values.items()}
    edited = set_values(text, flat, file=str(path))
    parse_settings(edited, path=path)
    backup = path.with_name(path.name + ".bak")
    shutil.copy2(path, backup)
    write_safely(path, edited)
    return backup


def write_safely(path: Path, text: str) -> None:
    """Replace a file, or make it, in one step: a reader sees the old content or the new, never a part.

    An existing file's permissions are kept.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        _replace(path, text)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", file=str(path)) from error


def _replace(path: Path, text: str) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else None
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    try:
        with open(os.open(temporary, flags, 0o666 if mode is None else 0o600), "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def set_values(text: str, changes: Mapping[Loc, EditableValue], *, file: str) -> str:
    """Set values in YAML text by editing it in place.

    Args:
        text: the text.
        changes: place -> new value. The mapping around the place must exist; a key that is missing is added at its
            end. A mapping is merged into an existing one.
        file: the name shown in errors.

    Returns:
        The new text; everything else in it is as it was.

    Raises:
        ConfigError: a place does not exist or is shared through a YAML alias, or the edit would have changed
            something else (nothing is returned then).
    """
    expected = _plain(text)
    edited = text
    for loc, value in changes.items():
        for at, one in _leaves(edited, loc, value):
            edited = _with_value(edited, at, one, file)
            _put(expected, at, one)
    if _plain(edited) != expected:
        raise ConfigError("cannot be edited in place, please change it by hand", file=file)
    return edited


def _plain(text: str) -> object:
    return _copied(yaml.load(text, Loader=Loader))


def _root(text: str) -> yaml.Node:
    node = yaml.compose(text, Loader=Loader)
    assert node is not None, "the text has been loaded before, so it says something"
    return node


def _copied(value: object) -> object:
    """A deep copy in which aliases are no longer shared."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, (list, tuple)) else value


def _put(data: object, loc: Loc, value: EditableValue) -> None:
    for part in loc[:-1]:
        assert isinstance(data, (dict, list))
        data = data[part]  # type: ignore[index]  # the walk over the nodes has found the place
    assert isinstance(data, dict)
    data[loc[-1]] = _copied(value)


def _leaves(text: str, loc: Loc, value: EditableValue) -> list[tuple[Loc, EditableValue]]:
    """A mapping that goes into an existing mapping is set key by key, so that comments inside it survive."""
    node: yaml.Node | None = _root(text)
    for part in loc:
        found = None if node is None else child(node, part)
        node = None if found is None else found[1]
    if isinstance(value, Mapping) and isinstance(node, yaml.MappingNode):
        return [((*loc, key), item) for key, item in value.items()]
    return [(loc, value)]


def _with_value(text: str, loc: Loc, value: EditableValue, file: str) -> str:
    node: yaml.Node = _root(text)
    shared = _shared(node)
    for part in loc[:-1]:
        found = child(node, part)
        if found is None:
            raise ConfigError("is not there to be edited", field=dotted(loc), file=file)
        node = found[1]
        _refuse_shared(node, shared, loc, file)
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError("is not in a mapping", field=dotted(loc), file=file, line=node.start_mark.line + 1)
    found = child(node, loc[-1])
    if found is None:
        return _inserted(text, node, str(loc[-1]), _flow(value))
    _refuse_shared(found[1], shared, loc, file)
    start, end = found[1].start_mark.index, _end(found[1])
    space = " " if start == end else ""  # a key without a value: nothing stands after the colon
    return text[:start] + space + _flow(value) + text[end:]


def _refuse_shared(node: yaml.Node, shared: set[int], loc: Loc, file: str) -> None:
    if id(node) in shared:
        message = "is shared through a YAML alias, please change it by hand"
        raise ConfigError(message, field=dotted(loc), file=file, line=node.start_mark.line + 1)


def _inserted(text: str, node: yaml.MappingNode, key: str, value: str) -> str:
    entry = f"{_flow(key)}: {value}"
    if not node.value:  # only {} is an empty mapping
        inside = node.start_mark.index + 1
        return text[:inside] + entry + text[inside:]
    end = _end(node.value[-1][1])
    if node.flow_style:
        return f"{text[:end]}, {entry}{text[end:]}"
    end = len(text[:end].rstrip("\r\n"))  # a literal block ends behind its line break
    newline = "\r\n" if "\r\n" in text else "\n"
    line_end = text.find(newline, end)
    line_end = len(text) if line_end < 0 else line_end
    indent = " " * node.value[0][0].start_mark.column
    return f"{text[:line_end]}{newline}{indent}{entry}{text[line_end:]}"


def _end(node: yaml.Node) -> int:
    """Where the text of a node ends; a block collection's own mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(node, yaml.MappingNode) else last)
    end: int = node.end_mark.index
    return end


def _shared(root: yaml.Node) -> set[int]:
    """Ids of the nodes that stand in more than one place."""
    seen: Counter[int] = Counter()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        seen[id(node)] += 1
        if seen[id(node)] == 1 and isinstance(node, yaml.CollectionNode):
            pairs = node.value if isinstance(node, yaml.MappingNode) else [(None, item) for item in node.value]
            waiting += [item for _, item in pairs]
    return {identity for identity, count in seen.items() if count > 1}


def _flow(value: EditableValue) -> str:
    plain = _copied(value)
    text = yaml.dump(plain, Dumper=Dumper, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...").strip()
