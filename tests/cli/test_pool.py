"""``agentsched pool up``."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

from click.testing import Result

from agentsched.cli.pool import FIRST_PORT, embedded_config
from agentsched.settings import load_settings

Run = Callable[..., Result]


def test_the_default_pool_has_ports_that_can_be_written_down() -> None:
    assert [endpoint.port for endpoint in embedded_config(FIRST_PORT).endpoints] == [8101, 8102, 8103, 8104]
    assert [endpoint.port for endpoint in embedded_config(0).endpoints] == [0, 0, 0, 0]


def test_it_serves_until_interrupted_and_writes_a_matching_configuration(tmp_path: Path) -> None:
    config, written = tmp_path / "emulated.yaml", tmp_path / "pool.yaml"
    config.write_text(
        "endpoints:\n- {name: fast, profile: study-8b-h800, model: m}\n- {name: api, profile: study-hosted-fast}\n",
        encoding="utf-8",
    )
    arguments = ["pool", "up", "--config", str(config), "--write-pool", str(written), "--json"]
    command = [sys.executable, "-m", "agentsched", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("\n}\n"):
            line = process.stdout.readline()
            assert line, process.communicate()
            text += line
        told = json.loads(text)
        with urlopen(told["endpoints"]["fast"] + "/models", timeout=5) as answer:
            assert json.load(answer)["data"][0]["id"] == "m"
        pool = load_settings(written).pool
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest) == (0, "")
    assert f"wrote {written}" in errors.replace("\n", "")
    assert {endpoint.name: endpoint.base_url for endpoint in pool.endpoints} == told["endpoints"]
    assert load_settings(told["pool"]).pool == pool


def test_a_file_of_the_user_is_not_overwritten(run: Run) -> None:
    Path("pool.yaml").write_text("mine", encoding="utf-8")
    result = run("pool", "up", "--write-pool", "pool.yaml")
    assert result.exit_code == 2
    assert "--write-pool: the file is there and was not written by this command" in result.stderr
    assert Path("pool.yaml").read_text(encoding="utf-8") == "mine"
    result = run("pool", "up", "--write-pool", "no/folder/pool.yaml")
    assert (result.exit_code, "there is no such folder" in result.stderr) == (2, True)
    Path("folder").mkdir()
    result = run("pool", "up", "--write-pool", "folder")
    assert (result.exit_code, "--write-pool: cannot be read: Is a directory" in result.stderr) == (2, True)


def test_a_configuration_that_is_wrong(run: Run) -> None:
    Path("emulated.yaml").write_text("endpoints: [{name: a, profile: nothing}]", encoding="utf-8")
    result = run("pool", "up", "--config", "emulated.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nothing" in result.stderr
