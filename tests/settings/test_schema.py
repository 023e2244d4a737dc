"""The published JSON Schema: it accepts what the loader accepts, and the committed copy is current."""

import json
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest
import yaml

from agentsched.core.endpoint import Endpoint, Profile
from agentsched.core.rules import Rules
from agentsched.settings import LogSettings, StateSettings, load_settings, settings_schema
from agentsched.settings.document import Loader
from agentsched.settings.json_schema import properties_at

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = settings_schema()

EXAMPLES = {
    "minimal": "{version: 1, endpoints: [{name: a, base_url: http://h/v1, model: m}]}",
    "everything": """
        version: 1
        endpoints:
          - {name: a, base_url: http://h/v1, model: m, kind: llama_cpp, profile: study-8b-a40, tpm: 1e6, tags: [eu],
             capabilities: [stream], price: {input: 1, output: 2}, quality: 0.5, api_key: "${SCHEMA_KEY:-x}"}
          - {name: b, base_url: "${SCHEMA_URL:-http://h}", model: m, rpm: "${SCHEMA_RPM:-60}",
             kind: "${SCHEMA_KIND:-vllm}",
             profile: {ttft_s: 300ms, tpot_s: 0.01, tpot_per_batch_s: 0, prefill_tokens_per_s: 100}}
        groups: {x: [a], y: {endpoints: [a, b], min_quality: 0.1}}
        policy: {name: shortest_expected_completion}
        retry: {max_attempts: 2, budget: 0, backoff: 1m30s, max_wait: 5}
        stream: {first_token_timeout: "1.5 m", continuation: false}
        log: {path: a.jsonl, max_bytes: 64 MiB, prompts: false}
        state: {backend: redis, url: 'redis://h:6379/0', interval: 1s}
        intercept: {custom_transports: "${SCHEMA_FLAG:-true}"}
    """,
    "keys without a value": """
        version: 1
        endpoints: [{name: a, base_url: HTTP://h/v1, model: m, kind: , profile: , price: {input: }, tags: }]
        groups:
        policy: {name: }
        retry:
        stream: {idle_timeout: , upgrade: }
        state: {backend: , url: }
        log: {max_bytes: }
    """,
    "numbers": """
        version: 1
        endpoints: [{name: a, base_url: http://h/v1, model: m, max_concurrency: 1e2}]
        groups: {x: }
        policy: {samples: "${SCHEMA_SAMPLES:-16}", joins: "${SCHEMA_JOINS:-false}", toll: "${SCHEMA_TOLL:-0.5}"}
        retry: {max_wait: "1e3"}
        state: {interval: 0.05, profiles: off}
        log: {max_bytes: 1e6}
        learning: {train: off}
    """,
}
REFUSED = {
    "no endpoints": "{version: 1, endpoints: []}",
    "version": "{version: 2, endpoints: [{name: a, base_url: http://h, model: m}]}",
    "unknown key": "{version: 1, endpoints: [{name: a, base_url: http://h, model: m, url: x}]}",
    "kind": "{version: 1, endpoints: [{name: a, base_url: http://h, model: m, kind: vlm}]}",
    "url": "{version: 1, endpoints: [{name: a, base_url: h:1, model: m}]}",
    "rate": "{version: 1, endpoints: [{name: a, base_url: http://h, model: m, rpm: 0}]}",
    "profile": "{version: 1, endpoints: [{name: a, base_url: http://h, model: m, profile: h}]}",
    "duration": "{version: 1, endpoints: [{name: a, base_url: http://h, model: m}], retry: {backoff: soon}}",
    "size": "{version: 1, endpoints: [{name: a, base_url: http://h, model: m}], log: {max_bytes: 3 apples}}",
    "backend": "{version: 1, endpoints: [{name: a, base_url: http://h, model: m}], state: {backend: redis}}",
    **{
        section: f"{{version: 1, endpoints: [{{name: a, base_url: http://h, model: m}}], {section}}}"
        for section in (
            "retry: {backoff: '5 5'}",
            "retry: {backoff: 0s}",
            "retry: {backoff: 1e9}",
            "state: {url: a.db}",
            "state: {backend: sqlite, url: }",
            "state: {backend: redis, url: h}",
            "state: {interval: 0.04}",
            "state: {interval: 61}",
            "state: {profiles: true}",
            "learning: {train: true}",
            "log: {max_bytes: 0 B}",
            "log: {max_bytes: 1e15}",
        )
    },
}


def test_it_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_schema_and_loader_accept(text: str) -> None:
    data = yaml.load(text, Loader=Loader)
    jsonschema.validate(data, SCHEMA)
    load_settings(data)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_schema_and_loader_refuse(text: str) -> None:
    data = yaml.load(text, Loader=Loader)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA)
    with pytest.raises(ValueError):
        load_settings(data)


def test_every_setting_of_the_core_has_a_key() -> None:
    assert {item.name for item in fields(Endpoint)} == properties_at(("endpoints", 0))
    assert {item.name for item in fields(Profile)} == properties_at(("endpoints", 0, "profile"))
    assert {item.name for item in fields(LogSettings)} == properties_at(("log",))
    assert {item.name.removesuffix("_s") for item in fields(StateSettings)} == properties_at(("state",))
    rules = Rules()
    for section in fields(rules):
        names = {item.name.removesuffix("_s") for item in fields(getattr(rules, section.name))}
        assert names == properties_at((section.name,))


def test_every_key_is_explained_to_the_editor() -> None:
    silent = [
        (name, key)
        for name, definition in [*SCHEMA["$defs"].items(), ("top", SCHEMA)]
        for key, schema in definition.get("properties", {}).items()
        if "description" not in schema and "$ref" not in schema
    ]
    assert silent == []


def test_the_committed_copy_is_current() -> None:
    committed = json.loads((DOCS / "pool.schema.json").read_text(encoding="utf-8"))
    assert committed == SCHEMA, "run: agentsched schema pool > docs/pool.schema.json"


def test_every_key_is_documented() -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    keys = {key for one in [SCHEMA, *SCHEMA["$defs"].values()] for key in one.get("properties", {})}
    assert sorted(key for key in keys if f"`{key}`" not in text) == []
