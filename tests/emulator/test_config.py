"""Reading a pool's configuration, and saying what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsched.emulator import EmulatedEndpoint, Emulator, EmulatorConfig, load_config
from agentsched.emulator.defaults import default_config
from agentsched.engine import HardwareProfile, HostedProfile
from agentsched.errors import ConfigError
from agentsched.settings.problems import SettingsError


def test_a_yaml_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(
        """
endpoints:
  - {name: a, profile: study-8b-h800, model: m, faults: [{kind: cut, after: 3}]}
  - name: b
    profile: {ttft_median_s: 0.3, ttft_sigma: 0.2, tpot_median_s: 0.01, tpot_sigma: 0.1}
    kind: openai
time_scale: 4
""",
        encoding="utf-8",
    )
    config = load_config(path)
    assert isinstance(config.endpoints[0].profile, HardwareProfile)
    assert isinstance(config.endpoints[1].profile, HostedProfile)
    assert config.time_scale == 4
    assert EmulatorConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("endpoints: []", "endpoints"),
        ("- 1", "mapping"),
        ("endpoints: [{name: a, profile: no-such-gpu}]", "no-such-gpu"),
        ("endpoints: [{name: a, profile: study-8b-a40, speed: 3}]", "speed"),
        (
            "endpoints:\n- {name: a, profile: study-8b-a40}\n- {name: a, profile: study-8b-a40}",
            r"pool.yaml:3: endpoints\[1\].name: the name is used twice, first by endpoints\[0\] \(given: 'a'\)",
        ),
        ("endpoints: [{name: a b, profile: study-8b-a40}]", r"endpoints\[0\].name: not fit for an address"),
        ("endpoints: [{name: a, profile: 5}]", r"endpoints\[0\].profile: neither a name nor a mapping \(given: 5\)"),
        (
            "endpoints:\n- name: a\n  profile: study-8b-a40\n  faults: [{kind: silnt}]",
            r"pool.yaml:4: endpoints\[0\].faults\[0\].kind: unknown; did you mean 'silent'\? \(given: 'silnt'\)",
        ),
        (
            "endpoints:\n- name: a\n  profile: study-8b-a40\n  faults: [{kind: cut, start_s: 5s}]",
            r"faults\[0\].start_s: not a number \(given: '5s'\); allowed: a number",
        ),
        (
            "endpoints:\n- name: a\n  profile: study-8b-a40\n  lengths: {min_tokens: 5, max_tokens: 2}",
            r"pool.yaml:4: endpoints\[0\].lengths.max_tokens: out of range \(given: 2\); allowed: 5 or more",
        ),
        ("endpoints: [{name: a, profile: study-8b-a40}]\ntime_scale: .inf", "pool.yaml:2: time_scale: not a number"),
        ("endpoints: []\nendpoints: []", "the key stands here twice"),
        ("", "the file says nothing; allowed: `endpoints:`"),
        ("endpoints: [{name: a, profile: {step_base_s: 0.1}}]", "incomplete profile"),
        ("endpoints: [{name: a, profile: {step_base_s: 0.1, colour: red}}]", "colour"),
        ("endpoints: [", "YAML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(path)
    assert "pool.yaml" in str(caught.value)


def test_all_mistakes_are_told_at_once_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text("endpoints: [{name: a, profile: study-8b-a40, port: http}]\ntimescale: 2\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_config(path)
    assert [error.field for error in caught.value.errors] == ["endpoints[0].port", "timescale"]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_bytes(b"endpoints: \xff")
    with pytest.raises(ConfigError, match=r"pool\.yaml: cannot be read: not UTF-8 text"):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_the_default_pool_is_four_unequal_endpoints_of_one_model() -> None:
    config = default_config()
    assert len(config.endpoints) == 4
    assert len({endpoint.model for endpoint in config.endpoints}) == 1
    assert len({endpoint.engine_profile for endpoint in config.endpoints}) == 4


async def test_a_taken_port_is_named_and_nothing_stays_open() -> None:
    first = [EmulatedEndpoint(name="a", profile="study-8b-a40")]  # type: ignore[arg-type]
    async with Emulator(first) as pool:
        port = int(pool.url("a").split(":")[2].split("/")[0])
        again = [EmulatedEndpoint(name="b", profile="study-8b-a40", port=port)]  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="cannot listen"):
            await Emulator(again).start()
        with pytest.raises(ConfigError, match="no such endpoint"):
            pool.url("b")


async def test_the_pool_describes_itself_as_a_pool_file(pool: Emulator) -> None:
    gpu, api = pool.pool_config()["endpoints"]
    assert gpu["base_url"] == pool.url("gpu")
    assert (gpu["kind"], gpu["max_concurrency"], api["kind"]) == ("vllm", 4, "openai")
    assert gpu["profile"]["tpot_s"] == pytest.approx(0.020)
    assert gpu["metrics_url"].endswith("/metrics")
    assert "metrics_url" not in api
