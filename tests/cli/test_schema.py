"""``agentsched schema``."""

import json
from collections.abc import Callable

import jsonschema
import pytest
from click.testing import Result

from agentsched.settings import settings_schema
from agentsched.sim.scenario_files import scenario_schema
from agentsched.telemetry.schema import log_schema

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("subject", "expected"), [("pool", settings_schema()), ("log", log_schema()), ("scenario", scenario_schema())]
)
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_it_prints_the_schema(run: Run, subject: str, expected: object, arguments: tuple[str, ...]) -> None:
    result = run("schema", subject, *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == expected
    jsonschema.Draft202012Validator.check_schema(json.loads(result.stdout))


def test_anything_else_is_refused(run: Run) -> None:
    assert run("schema", "nothing").exit_code == 2
