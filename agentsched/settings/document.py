"""YAML text as plain data, with the line of everything in it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from agentsched.errors import ConfigError
from agentsched.settings.problems import Loc, SettingsError, dotted

__all__ = ["Document", "Dumper", "Loader", "child", "read_document"]

# YAML 1.1 takes 1e6 for a text; people who write rate limits do not.
_FLOAT_WITHOUT_POINT = re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LINE_BREAKS = re.compile("[\r\x85\u2028\u2029]")


class Loader(yaml.SafeLoader):
    """Safe YAML that also reads ``1e6`` as a number, and characters that are written as JSON writes them."""


def _text(loader: Loader, node: yaml.ScalarNode) -> str:
    text: str = loader.construct_scalar(node)
    if not _SURROGATE.search(text):
        return text
    try:  # JSON, which is YAML, writes a character beyond U+FFFF as two halves
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise yaml.constructor.ConstructorError(None, None, "half a character", node.start_mark) from None


Loader.add_constructor("tag:yaml.org,2002:str", _text)


class Dumper(yaml.SafeDumper):
    """Writes what `Loader` reads back as it was."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML writes Unicode line breaks into plain texts, where they are then read as spaces: quote such texts.
    style = '"' if _LINE_BREAKS.search(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _represent_text)
for _class in (Loader, Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT_WITHOUT_POINT, list("-+0123456789"))


@dataclass(frozen=True, slots=True)
class Document:
    """The content of one source.

    Attributes:
        data: mappings, lists and scalars; values of keys without a value are left out.
        file: the name shown in errors; None when the source is no file.
        root: the syntax tree; None when the source is no file.
        origins: where the parts of ``data`` came from, when they were made from data of another format.
    """

    data: object
    file: str | None = None
    root: yaml.Node | None = field(default=None, repr=False)
    origins: Mapping[Loc, Loc] = field(default_factory=dict)

    def origin(self, loc: Loc) -> Loc:
        """Where the user wrote what ``loc`` says; ``loc`` itself unless the data were converted."""
        for length in range(len(loc), 0, -1):
            if loc[:length] in self.origins:
                return self.origins[loc[:length]]
        return loc

    def line(self, loc: Loc) -> int | None:
        """The 1-based line of the value at ``loc``, or of the innermost thing around it that exists."""
        node = self.root
        if node is None:
            return None
        line: int = node.start_mark.line + 1
        for part in loc:
            found = child(node, part)
            if found is None:
                break
            key, node = found
            line = (key or node).start_mark.line + 1
        return line

    def problem(self, loc: Loc, message: str, *, given: object = None, allowed: str | None = None) -> ConfigError:
        """An error about the value at ``loc``; ``given`` must be fit to be shown."""
        origin = self.origin(loc)
        return ConfigError(
            message,
            field=dotted(origin) or None,
            given=given,
            allowed=allowed,
            file=self.file,
            line=self.line(origin),
        )


def child(node: yaml.Node, part: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
    """The (key, value) nodes of one step into a mapping, (None, value) into a list; None: there is no such thing."""
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):  # merged keys come first, the mapping's own last
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        return None, node.value[part]
    return None


def read_document(text: str, *, file: str, needed: str = "`version: 1` and `endpoints:`") -> Document:
    """Parse YAML text.

    Args:
        text: the whole text.
        file: the name shown in errors.
        needed: what such a file says at least, for the error about one that says nothing.

    Raises:
        SettingsError: it is no YAML, holds several documents or nothing at all, refers to itself, or has a key twice.
    """
    mistake: ConfigError | None = None
    loader: Loader | None = None
    try:
        loader = Loader(text)
        root = loader.get_single_node()
        doubles = [] if root is None else _doubles(root, file)
        data = None if root is None else _without_nulls(loader.construct_document(root), ())
    except yaml.MarkedYAMLError as error:
        mistake = _syntax_error(error, file)
    except yaml.YAMLError as error:  # a character that YAML forbids; its text names the position only
        mistake = ConfigError(f"not YAML: {str(error).splitlines()[0]}", file=file)
    except RecursionError:
        mistake = ConfigError("an alias refers to itself, or the nesting is too deep", file=file)
    finally:
        if loader is not None:
            loader.dispose()
    # Raised outside the handler: the parser's own error, which quotes the text, must not travel along.
    if mistake is not None:
        raise SettingsError([mistake])
    if root is None or data is None:
        raise SettingsError([ConfigError("the file says nothing", file=file, allowed=needed)])
    if doubles:
        raise SettingsError(doubles)
    return Document(data, file, root)


def document_of(data: Mapping[str, object]) -> Document:
    """The same for data that come from Python."""
    return Document(_without_nulls(data, ()))


def file_name(path: Path) -> str:
    """How a file is called in errors: as the user wrote it."""
    return str(path)


def _without_nulls(value: object, above: tuple[int, ...]) -> object:
    """Leave keys without a value out: ``retry:`` with everything below it commented out means the defaults."""
    if id(value) in above:
        raise RecursionError
    inner = (*above, id(value))
    if isinstance(value, Mapping):
        return {key: _without_nulls(item, inner) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_without_nulls(item, inner) for item in value]
    return value


def _syntax_error(error: yaml.MarkedYAMLError, file: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    problem = re.sub(r"'[^']{3,}'|\"[^\"]{3,}\"", "...", error.problem or "cannot be read")  # may quote a secret
    context = f"{error.context}: " if error.context and "'" not in error.context else ""
    return ConfigError(f"not YAML: {context}{problem}", file=file, line=None if mark is None else mark.line + 1)


def _doubles(node: yaml.Node, file: str, loc: Loc = (), seen: set[int] | None = None) -> list[ConfigError]:
    seen = set() if seen is None else seen
    if id(node) in seen:
        return []
    seen.add(id(node))
    found: list[ConfigError] = []
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            at: Loc = (*loc, key.value)
            if key.value in first and key.tag != "tag:yaml.org,2002:merge":
                message = f"the key stands here twice, first in line {first[key.value]}"
                found.append(ConfigError(message, field=dotted(at), file=file, line=line))
            first.setdefault(key.value, line)
            found += _doubles(value, file, at, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found += _doubles(value, file, (*loc, index), seen)
    return found
