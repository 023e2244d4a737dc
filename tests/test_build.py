"""What hatch_build.py is told to compile. That it does, and that it works, is for `python -m tests compiled`."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_what_is_to_be_compiled_is_there_and_off_unless_asked_for():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    hook = wheel["hooks"]["custom"]
    assert hook["enable-by-default"] is False
    found = [{path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)} for pattern in hook["modules"]]
    assert all(found), "a pattern matches no file"
    assert set().union(*found) > set(hook["uncompiled"])
