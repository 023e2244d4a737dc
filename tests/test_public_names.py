"""The public face: every name once, the same for people, for type checkers and at run time."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import agentsched as ags
from agentsched import errors

SOURCE = Path(ags.__file__)


def imported_for_type_checkers() -> Iterator[tuple[str, str]]:
    """(name, module) of each import under ``if TYPE_CHECKING`` of the package."""
    (block,) = (
        node
        for node in ast.parse(SOURCE.read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, "only `import x as x` is an export for type checkers"
                assert node.module is not None
                yield alias.name, node.module
        else:
            assert isinstance(node, ast.AnnAssign)
            yield ast.unparse(node.target), "agentsched"


def test_type_checkers_and_users_see_the_same_names() -> None:
    names = [name for name, _ in imported_for_type_checkers()]
    assert sorted(names) == ags.__all__
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("name", "module"), list(imported_for_type_checkers()))
def test_each_name_is_what_type_checkers_think_it_is(name: str, module: str) -> None:
    if name == "__version__":
        assert isinstance(ags.__version__, str)
        return
    if module.startswith("agentsched.intercept"):
        pytest.importorskip("openai")
    assert getattr(ags, name) is getattr(importlib.import_module(module), name)
    assert not isinstance(getattr(ags, name), ModuleType)


def test_every_error_is_public() -> None:
    assert {name for name in errors.__all__} <= set(ags.__all__)
    raised = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert raised == set(errors.__all__)


@pytest.mark.parametrize("name", [name for name in ags.__all__ if name not in ("__version__", "OpenAI", "AsyncOpenAI")])
def test_every_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(ags, name))


def test_dir_lists_them_and_unknown_names_are_refused() -> None:
    assert set(ags.__all__) <= set(dir(ags))
    with pytest.raises(AttributeError, match=r"module 'agentsched' has no attribute 'wrokflow'"):
        ags.wrokflow  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "imports",
    [
        "import agentsched.workflow.scope",
        "from agentsched.workflow import scope",
        "from agentsched.workflow.scope import Run",
        "import agentsched.workflow",
        "from agentsched import SLO",
    ],
)
def test_the_decorator_keeps_its_name_whatever_is_imported_first(imports: str) -> None:
    program = (
        f"{imports}\n"
        "import agentsched, types\n"
        "from agentsched import workflow\n"
        "assert isinstance(workflow, types.FunctionType), workflow\n"
        "assert agentsched.workflow is workflow\n"
        "from agentsched.workflow.scope import Run\n"
        "import agentsched.workflow\n"
        "assert agentsched.workflow is workflow\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=SOURCE.parent.parent, timeout=30)
