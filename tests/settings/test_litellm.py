"""LiteLLM configurations: what is carried over, what is warned about, and where mistakes are told."""

import logging
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest
import yaml

from agentsched.core.endpoint import Endpoint, Group, Pool, Price
from agentsched.core.rules import BreakerRules, RetryRules, Rules, StreamRules
from agentsched.settings import Settings, SettingsError, settings_schema
from agentsched.settings.document import Loader
from agentsched.settings.load import parse_settings
from agentsched.settings.migration import migrate_litellm

Load = Callable[[str], Settings]

CONFIG = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/LITELLM_TEST_KEY
      rpm: 60
      tpm: 100000
      max_parallel_requests: 8
      input_cost_per_token: 2.5e-6
      output_cost_per_token: 1e-05
      timeout: 30
      weight: 2
  - model_name: gpt-4o
    litellm_params:
      model: azure/my-gpt4o
      api_base: https://x.openai.azure.com/
      api_version: "2024-10-21"
      api_key: sk-canary0123456789
    model_info: {id: azure-eu, mode: chat}
  - model_name: llama
    litellm_params: {model: hosted_vllm/meta/llama-3, api_base: http://10.0.0.5:8000/v1, tags: [gpu]}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet, api_key: os.environ/LITELLM_TEST_NOT_SET}
  - model_name: embed
    litellm_params: {model: openai/text-embedding-3-small}
    model_info: {mode: embedding}
  - model_name: "openai/*"
    litellm_params: {model: "openai/*"}
router_settings:
  num_retries: 2
  allowed_fails: 3
  cooldown_time: 30
  timeout: 20
  routing_strategy: latency-based-routing
  model_group_alias: {gpt-4: gpt-4o, other: nothing}
  fallbacks: [{gpt-4o: [llama]}]
litellm_settings:
  num_retries: 9
  callbacks: [otel]
general_settings:
  master_key: os.environ/LITELLM_TEST_NOT_SET
"""


def test_a_configuration_is_carried_over(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LITELLM_TEST_KEY", "the-key")
    with caplog.at_level(logging.WARNING, "agentsched"):
        settings = load(CONFIG)
    openai = Endpoint(
        name="gpt-4o",
        base_url="https://api.openai.com/v1",
        model="gpt-4o",
        api_key="the-key",
        rpm=60,
        tpm=100_000,
        max_concurrency=8,
        price=Price(2.5, 10.0),
    )
    azure = Endpoint(
        name="azure-eu",
        base_url="https://x.openai.azure.com/openai/deployments/my-gpt4o",
        model="my-gpt4o",
        api_key="sk-canary0123456789",
        kind="azure",
        api_version="2024-10-21",
    )
    llama = Endpoint("llama", "http://10.0.0.5:8000/v1", "meta/llama-3", kind="vllm", tags=("gpu",))
    both = Group(("gpt-4o", "azure-eu"))
    assert settings.pool == Pool([openai, azure, llama], {"gpt-4o": both, "llama": ["llama"], "gpt-4": both})
    assert settings.rules == Rules(
        RetryRules(max_attempts=3),
        BreakerRules(failures=4, cooldown_s=30.0),
        StreamRules(first_token_timeout=20.0, idle_timeout=20.0),
    )
    assert [record.message.removeprefix("pool.yaml: ") for record in caplog.records] == list(settings.warnings)
    assert "canary" not in caplog.text


def test_what_has_no_place_is_listed_with_its_line(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_TEST_KEY", "the-key")
    warnings = load(CONFIG).warnings
    places = [warning.split(": ")[:3] for warning in warnings]
    assert [(line, place, text.split(",")[0]) for line, place, text in places] == [
        ("line 12", "model_list[0].litellm_params.timeout", "not carried over"),
        ("line 13", "model_list[0].litellm_params.weight", "not carried over"),
        ("line 23", "model_list[3]", "left out"),
        ("line 25", "model_list[4]", "left out"),
        ("line 28", "model_list[5]", "left out"),
        ("line 34", "router_settings.timeout",
         "carried over as stream.first_token_timeout and stream.idle_timeout; the time of the whole is bounded by a "
         "workflow's deadline"),
        ("line 36", "router_settings.model_group_alias.other", "not carried over"),
        ("line 35", "router_settings.routing_strategy", "not carried over"),
        ("line 37", "router_settings.fallbacks", "not carried over"),
        ("line 40", "litellm_settings.callbacks", "not carried over"),
        ("line 41", "general_settings", "not carried over"),
    ]  # fmt: skip


def test_a_provider_s_own_host_gets_the_provider_s_own_key_and_no_other(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "own")
    settings = load("""
        model_list:
          - {model_name: a, litellm_params: {model: gpt-4o}}
          - {model_name: b, litellm_params: {model: openai/m, api_base: http://elsewhere/v1}}
          - {model_name: c, litellm_params: {model: groq/llama}}
          - {model_name: d, litellm_params: {model: meta/m, custom_llm_provider: openai, base_url: http://e/v1}}
    """)
    assert [(e.base_url, e.model, e.api_key) for e in settings.pool.endpoints] == [
        ("https://api.openai.com/v1", "gpt-4o", "own"),
        ("http://elsewhere/v1", "m", None),
        ("https://api.groq.com/openai/v1", "llama", None),
        ("http://e/v1", "meta/m", None),
    ]


@pytest.mark.parametrize(
    ("base", "version", "kind", "url"),
    [
        ("https://x.openai.azure.com", '"2024-10-21"', "azure", "https://x.openai.azure.com/openai/deployments/dep"),
        ("os.environ/LITELLM_TEST_BASE", '"1"', "azure", "https://y.openai.azure.com/openai/deployments/dep"),
        ("https://x.openai.azure.com", "null", "openai", "https://x.openai.azure.com/openai/v1"),
        ("https://x.azure.com/openai/deployments/z", '"1"', "azure", "https://x.azure.com/openai/deployments/z"),
    ],
)
def test_azure_urls(load: Load, monkeypatch: pytest.MonkeyPatch, base: str, version: str, kind: str, url: str) -> None:
    monkeypatch.setenv("LITELLM_TEST_BASE", "https://y.openai.azure.com/")
    settings = load(f"""
        model_list:
          - {{model_name: a, litellm_params: {{model: azure/dep, api_base: {base}, api_version: {version}}}}}
    """)
    assert (settings.pool.endpoints[0].base_url, settings.pool.endpoints[0].kind) == (url, kind)


MISTAKES = [
    ("not a list", "model_list: {a: b}", 1, "model_list", "not a list"),
    ("empty", "model_list: []", 1, "model_list", "no deployment can be used"),
    ("no params", "model_list:\n- model_name: a", 2, "model_list[0].litellm_params.model", "missing"),
    ("no name", "model_list:\n- litellm_params: {model: m}", 2, "model_list[0].model_name", "missing"),
    ("not a mapping", "model_list: [a]", 1, "model_list[0]", "missing"),
    (
        "no base",
        "model_list:\n- model_name: a\n  litellm_params:\n    model: hosted_vllm/m",
        3,
        "model_list[0].litellm_params.api_base",
        "missing",
    ),
    (
        "bad rate",
        "model_list:\n- model_name: a\n  litellm_params:\n    model: m\n    rpm: -1",
        5,
        "model_list[0].litellm_params.rpm",
        "out of range (given: -1)",
    ),
    (
        "bad price",
        "model_list:\n- model_name: a\n  litellm_params:\n    model: m\n    input_cost_per_token: cheap",
        5,
        "model_list[0].litellm_params.input_cost_per_token",
        "not a number; allowed: USD per token",
    ),
    (
        "variable",
        "model_list:\n- model_name: a\n  litellm_params:\n    model: m\n    api_key: os.environ/LITELLM_TEST_NO",
        5,
        "model_list[0].litellm_params.api_key",
        "the environment variable LITELLM_TEST_NO is not set",
    ),
    (
        "retries",
        "model_list:\n- {model_name: a, litellm_params: {model: m}}\nrouter_settings:\n  num_retries: many",
        4,
        "router_settings.num_retries",
        "not a whole number (given: 'many')",
    ),
    (
        "settings",
        "model_list:\n- {model_name: a, litellm_params: {model: m}}\nrouter_settings: [1]",
        3,
        "router_settings",
        "not a mapping",
    ),
]


@pytest.mark.parametrize(
    ("text", "line", "field", "words"), [row[1:] for row in MISTAKES], ids=[r[0] for r in MISTAKES]
)
def test_mistakes_are_told_where_the_user_made_them(load: Load, text: str, line: int, field: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(text)
    error = caught.value.errors[0]
    assert (error.line, error.field and error.field[: len(field)]) == (line, field)
    assert words in str(error)


def test_a_file_that_holds_only_foreign_providers_says_why(load: Load) -> None:
    with pytest.raises(SettingsError, match=r"no deployment can be used; line 2: .*'bedrock' does not speak"):
        load("model_list:\n- {model_name: a, litellm_params: {model: bedrock/m}}")


def test_migration_writes_a_file_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    made = migrate_litellm(file)
    assert made.variables == ("AZURE_EU_API_KEY",)
    assert len(made.warnings) == 11
    assert "canary" not in made.text + "".join(made.warnings)
    assert "api_key: ${LITELLM_TEST_KEY}\n" in made.text
    jsonschema.validate(yaml.load(made.text, Loader=Loader), settings_schema())
    monkeypatch.setenv("LITELLM_TEST_KEY", "the-key")
    monkeypatch.setenv("AZURE_EU_API_KEY", "sk-canary0123456789")
    assert parse_settings(made.text, path=file) == parse_settings(CONFIG, path=file)


def test_migration_refuses_what_is_not_litellm_s(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("version: 1\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="is no LiteLLM configuration; allowed: a `model_list:`"):
        migrate_litellm(file)
    file.write_text(dedent(CONFIG).replace("rpm: 60", "rpm: 0"), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"config\.yaml:7: model_list\[0\]\.litellm_params\.rpm: out of range"):
        migrate_litellm(file)
