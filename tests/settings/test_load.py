"""What a good configuration says, and where configurations come from."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from agentsched.core.endpoint import Endpoint, Group, Pool, Price, Profile, Tls
from agentsched.core.rules import BreakerRules, HedgeRules, RetryRules, Rules, SkipRules, StreamRules
from agentsched.engine.profiles import load_profile
from agentsched.errors import ConfigError
from agentsched.settings import (
    CONFIG_VARIABLE,
    InterceptSettings,
    LogSettings,
    PolicySettings,
    Settings,
    StateSettings,
    from_environment,
    load_settings,
)

Load = Callable[[str], Settings]

FULL = """
    version: 1
    endpoints:
      - name: gpu
        base_url: http://10.0.0.5:8000/v1/
        model: llama
        api_key: ${GPU_KEY}
        kind: vllm
        profile: study-8b-a40
        max_concurrency: 64
        rpm: 600
        tpm: 1e6
        price: {input: 0.1, output: 0.5}
        quality: 0.7
        tags: [eu, gpu]
        metrics_url: http://10.0.0.5:8000/metrics
        context_tokens: 32768
        capabilities: [stream, tools]
      - name: cloud
        base_url: https://x.openai.azure.com/openai/deployments/gpt
        model: gpt
        kind: azure
        api_key: os.environ/AZURE_KEY
        api_version: "2024-10-21"
        tls: {ca: /etc/ca.pem, cert: /etc/client.pem, key: "~/client.key"}
        profile: {ttft_s: 300ms, tpot_s: 0.01, tpot_per_batch_s: 0, prefill_tokens_per_s: 5000}
    groups:
      gpt-4.1: {endpoints: [gpu, cloud], min_quality: 0.6}
      "*": [cloud]
    policy: {name: weighted_least_outstanding}
    retry: {max_attempts: 3, budget: 0.1, reserve: 5, backoff: 50ms, max_backoff: 2s, max_wait: 1m}
    breaker: {failures: 2, cooldown: 1s, max_cooldown: 30s}
    stream: {connect_timeout: 1s, first_token_timeout: 10s, idle_timeout: 5s, continuation: false}
    hedge: {max_extra: 0.1, reserve: 2, min_gain: 0.2, margin: 200ms}
    skip: {min_gain: 0.5}
    state: {backend: redis, url: "${STATE_URL}", interval: 250ms}
    log: {path: runs.jsonl, max_bytes: 1 MiB, backups: 2, prompts: true, record_events: /tmp/events.jsonl}
    intercept: {custom_transports: true}
"""


def test_every_key_arrives(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_KEY", "gpu-secret")
    monkeypatch.setenv("AZURE_KEY", "azure-secret")
    monkeypatch.setenv("STATE_URL", "rediss://:canary@h:6380/1")
    settings = load(FULL)
    assert settings.pool == Pool(
        [
            Endpoint(
                name="gpu",
                base_url="http://10.0.0.5:8000/v1",
                model="llama",
                api_key="gpu-secret",
                kind="vllm",
                profile=load_profile("study-8b-a40").prior(),
                max_concurrency=64,
                rpm=600,
                tpm=1_000_000,
                price=Price(0.1, 0.5),
                quality=0.7,
                tags=("eu", "gpu"),
                metrics_url="http://10.0.0.5:8000/metrics",
                context_tokens=32768,
                capabilities=frozenset({"stream", "tools"}),
            ),
            Endpoint(
                name="cloud",
                base_url="https://x.openai.azure.com/openai/deployments/gpt",
                model="gpt",
                api_key="azure-secret",
                kind="azure",
                api_version="2024-10-21",
                tls=Tls("/etc/ca.pem", "/etc/client.pem", str(Path("~/client.key").expanduser())),
                profile=Profile(0.3, 0.01, 0.0, 5000),
            ),
        ],
        {"gpt-4.1": Group(("gpu", "cloud"), 0.6), "*": ["cloud"]},
    )
    assert settings.rules == Rules(
        RetryRules(3, 0.1, 5, 0.05, 2.0, 60.0),
        BreakerRules(2, 1.0, 30.0),
        StreamRules(1.0, 10.0, 5.0, continuation=False),
        HedgeRules(max_extra=0.1, reserve=2, min_gain=0.2, margin_s=0.2),
        skip=SkipRules(0.5),
    )
    assert settings.policy == PolicySettings("weighted_least_outstanding")
    assert settings.log == LogSettings(Path("runs.jsonl"), 1 << 20, 2, True, Path("/tmp/events.jsonl"))
    assert settings.state == StateSettings("redis", "rediss://:canary@h:6380/1", 0.25)
    assert "canary" not in repr(settings)
    assert settings.intercept == InterceptSettings(custom_transports=True)
    assert settings.source == Path("pool.yaml")
    assert dict(settings.key_variables) == {"gpu": "GPU_KEY", "cloud": "AZURE_KEY"}


MINIMAL = """
    version: 1
    endpoints:
      - {name: a, base_url: "http://localhost:1/v1", model: m}
    retry:
      # max_attempts: 3
    groups:
"""


def test_what_is_not_said_has_its_default(load: Load) -> None:
    settings = load(MINIMAL)
    assert settings == Settings(Pool([Endpoint("a", "http://localhost:1/v1", "m")]))
    assert settings.policy.name == "deadline_aware"
    assert settings.log == LogSettings(None, 64 * 1024 * 1024, 3, False, None)


def test_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    file = folder / "pool.yaml"
    text = "version: 1\nendpoints: [{name: a, base_url: 'https://h', model: m, tls: {ca: a.pem}}]\n"
    file.write_text(text + "log: {path: runs.jsonl}\nstate: {backend: sqlite, url: state.db}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_settings(file).log.path == folder / "runs.jsonl"
    assert load_settings(file).pool.endpoints[0].tls == Tls(ca=str(folder / "a.pem"))
    assert load_settings(file).state == StateSettings("sqlite", str(folder / "state.db"))


def test_a_mapping_is_read_like_a_file() -> None:
    endpoint = {"name": "a", "base_url": "http://h/v1", "model": "m", "tags": ("x",)}
    settings = load_settings({"version": 1, "endpoints": [endpoint], "log": {"path": "runs.jsonl"}})
    assert settings.pool.endpoints == (Endpoint("a", "http://h/v1", "m", tags=("x",)),)
    assert (settings.source, settings.log.path) == (None, Path("runs.jsonl"))


def test_a_pool_gets_the_defaults_and_settings_stay_as_they_are() -> None:
    pool = Pool([Endpoint("a", "http://h", "m")])
    settings = load_settings(pool)
    assert settings == Settings(pool)
    assert load_settings(settings) is settings


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_environment() is None
    file = tmp_path / "pool.yaml"
    file.write_text("version: 1\nendpoints: [{name: a, base_url: 'http://h', model: m}]", encoding="utf-8")
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    assert from_environment() == load_settings(file) == load_settings(None)
    monkeypatch.setenv(CONFIG_VARIABLE, "")
    assert from_environment() is None


def test_without_any_configuration_the_error_says_how_to_give_one() -> None:
    with pytest.raises(ConfigError, match=r"no pool is configured; allowed: .*configure.*AGENTSCHED_CONFIG"):
        load_settings()


def test_a_source_of_another_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="pool: cannot be read as a configuration: int; allowed: a path, a mapping"):
        load_settings(7)  # type: ignore[arg-type]


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    for name, reason in (("none.yaml", "No such file"), ("latin.yaml", "not UTF-8"), ("", "directory")):
        with pytest.raises(ConfigError, match=reason) as caught:
            load_settings(tmp_path / name)
        assert caught.value.file == str(tmp_path / name)


def test_a_good_file_logs_nothing(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert load(MINIMAL).warnings == ()
    assert caplog.records == []
