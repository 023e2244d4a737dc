"""Compiles the hot modules with mypyc while a wheel is built, if that is asked for (docs/compiled.md).

The modules are those that `pyproject.toml` names. Their sources stay what they are and go into the wheel as well: there
is one source of truth, and who does without a C compiler runs it as it is.
"""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_MYPY_ARGUMENTS = ("--follow-imports=silent", "--ignore-missing-imports", "--no-error-summary")


class CompilingHook(BuildHookInterface[Any]):
    """Adds an extension module for each of the modules; an editable install stays uncompiled, as it is edited."""

    _built: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the extension modules put beside their sources."""
        if version == "editable":
            self.app.display_warning("an editable install is not compiled")
            return
        self._built = tempfile.TemporaryDirectory()
        with contextlib.chdir(self.root):
            made = _compiled(self._modules(), Path(self._built.name))
        build_data["force_include"].update({str(path): str(place) for path, place in made.items()})
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what is in the wheel by now."""
        if self._built is not None:
            self._built.cleanup()

    def _modules(self) -> list[str]:
        root, left_out = Path(self.root), set(self.config["uncompiled"])
        found = {str(path.relative_to(root)) for pattern in self.config["modules"] for path in root.glob(pattern)}
        return sorted(found - left_out)


def _compiled(modules: list[str], folder: Path) -> dict[Path, Path]:
    """Compile these files: each extension module that was made, and where it belongs in the wheel."""
    # Only there when something is compiled: these are requirements of the hook alone.
    from mypyc.build import mypycify  # noqa: PLC0415
    from setuptools import Distribution  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415
    from setuptools.errors import CompileError  # noqa: PLC0415

    arguments = [*_MYPY_ARGUMENTS, f"--cache-dir={folder / 'mypy'}", *modules]
    extensions = mypycify(arguments, opt_level="2", debug_level="0", target_dir=str(folder / "c"))
    command = build_ext(Distribution({"name": "agentsched", "ext_modules": extensions}))
    command.build_temp, command.build_lib = str(folder / "objects"), str(folder / "made")
    command.ensure_finalized()
    try:
        command.run()
    except CompileError as error:
        needs = (
            "this needs a C compiler and Python's headers; without HATCH_BUILD_HOOK_ENABLE_CUSTOM nothing is compiled"
        )
        raise SystemExit(f"{needs} ({error})") from error
    made = folder / "made"
    return {path: path.relative_to(made) for path in made.rglob("*") if path.is_file()}
