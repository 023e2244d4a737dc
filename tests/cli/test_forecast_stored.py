import json

import pytest
from click.testing import CliRunner

from agentsched.cli.forecast_stored import command
from agentsched.core.call import RunInfo
from agentsched.core.records import RunClosed
from agentsched.errors import ConfigError
from agentsched.state.experience import EndpointSpeed, packed_run
from agentsched.state.profiles import NewRun, ProfileFile

POOL = """
version: 1
endpoints:
  - {name: gpu, base_url: "http://127.0.0.1:9/v1", model: m}
state: {profiles: %s}
"""


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "pool.yaml"
    path.write_text(POOL % "kept.sqlite", encoding="utf-8")
    return path


@pytest.fixture
def kept(tmp_path):
    content = packed_run([], RunClosed(RunInfo("r", "answer", 0.0), 1.0, "ok", 0, 0, 0, 0, 0.0))
    path = tmp_path / "kept.sqlite"
    ProfileFile(path, print).keep([NewRun("answer", 3, content)], speeds=[EndpointSpeed("k", "gpu", 0.02, 5, 0.3, 4)])
    return path


def test_it_shows_what_is_kept(pool, kept):
    told = CliRunner().invoke(command, [str(pool), "--json"])
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert document["workflows"][0]["workflow"] == "answer"
    assert document["speeds"][0]["tpot_s"] == 0.02
    shown = CliRunner().invoke(command, ["--file", str(kept)])
    assert "answer" in shown.stdout
    assert "20.0" in shown.stdout


def test_nothing_is_kept(pool):
    told = CliRunner().invoke(command, [str(pool)])
    assert isinstance(told.exception, ConfigError)
    assert "no such file" in str(told.exception)
    pool.write_text(POOL % "off", encoding="utf-8")
    told = CliRunner().invoke(command, [str(pool)])
    assert "state.profiles" in str(told.exception)


def test_a_file_of_something_else(pool, tmp_path):
    (tmp_path / "kept.sqlite").write_bytes(b"junk" * 500)
    told = CliRunner().invoke(command, [str(pool)])
    assert isinstance(told.exception, ConfigError)
    assert (tmp_path / "kept.sqlite").read_bytes() == b"junk" * 500
