"""Settings to text and back."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agentsched.core.endpoint import CAPABILITIES, Endpoint, Group, Pool, Price, Profile, Tls
from agentsched.core.rules import BreakerRules, HedgeRules, RetryRules, Rules, StreamRules
from agentsched.settings import (
    InterceptSettings,
    LearningSettings,
    LogSettings,
    PolicySettings,
    Settings,
    StateSettings,
    dump_settings,
    load_settings,
)
from agentsched.settings.dump import STATE_URL_VARIABLE, key_variable, variable_for
from agentsched.settings.endpoint_format import KINDS
from agentsched.settings.load import parse_settings

texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12).filter(str.strip)
names = texts.filter(lambda text: not text.startswith("os.environ/"))
positive = st.floats(1e-6, 1e6)
hosts = st.from_regex(r"https?://[a-z]{1,5}(:[1-9][0-9]{0,3})?(/[a-z1-9]{1,3}){0,2}", fullmatch=True)
profiles = st.builds(Profile, st.floats(0, 1e3), positive, st.floats(0, 1e3), positive)
prices = st.builds(Price, st.floats(0, 1e4), st.floats(0, 1e4))
some = st.none() | st.integers(1, 10**6)
pem = st.sampled_from(["/etc/a.pem", "/a b/${ü}.pem"])
certificates = st.builds(Tls, ca=st.none() | pem, cert=pem, key=st.none() | pem) | st.just(Tls(verify=False))


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    chosen = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    urls = {name: draw(hosts) for name in chosen}
    endpoints = [
        Endpoint(
            name=name,
            base_url=urls[name],
            model=draw(names),
            api_key=draw(st.none() | st.just("canary")),
            kind=draw(st.sampled_from(KINDS)),
            profile=draw(profiles),
            max_concurrency=draw(some),
            rpm=draw(st.none() | positive),
            tpm=draw(some),
            price=draw(prices),
            quality=draw(st.floats(0, 1)),
            tags=tuple(draw(st.lists(names, max_size=2))),
            metrics_url=draw(st.none() | hosts),
            context_tokens=draw(some),
            capabilities=draw(st.none() | st.frozensets(st.sampled_from(sorted(CAPABILITIES)), max_size=3)),
            api_version=draw(st.none() | names),
            tls=draw(certificates) if urls[name].startswith("https") else Tls(),
        )
        for name in chosen
    ]
    members = st.lists(st.sampled_from(chosen), min_size=1, max_size=3).map(tuple)
    return Pool(endpoints, draw(st.dictionaries(names, st.builds(Group, members, st.floats(0, 1)), max_size=2)))


all_rules = st.builds(
    Rules,
    retry=st.builds(RetryRules, st.integers(1, 9), st.floats(0, 9), st.floats(0, 9), positive, positive, positive),
    breaker=st.builds(BreakerRules, st.integers(1, 9), positive, positive),
    stream=st.builds(StreamRules, positive, st.none() | positive, positive),
    hedge=st.builds(HedgeRules, st.floats(0, 1), st.floats(0, 9), st.floats(0, 1), positive),
)
logs = st.builds(
    LogSettings,
    path=st.none() | st.sampled_from([Path("/var/runs.jsonl"), Path("/a b/ü:1.jsonl")]),
    max_bytes=st.integers(1, 10**12),
    backups=st.integers(0, 99),
    prompts=st.booleans(),
    record_events=st.none() | st.just(Path("/tmp/e.jsonl")),
)
all_settings = st.builds(
    Settings,
    pool=pools(),
    policy=st.sampled_from([PolicySettings(), PolicySettings("weighted_least_outstanding")]),
    rules=all_rules,
    log=logs,
    learning=st.sampled_from([LearningSettings(), LearningSettings("network"), LearningSettings("experts", 7.5)]),
    intercept=st.builds(InterceptSettings, st.booleans()),
    state=st.sampled_from(
        [
            StateSettings(),
            StateSettings("sqlite", "/var/lib/${x}.db", 0.25),
            StateSettings("redis", "redis://h/1"),
            StateSettings("redis", "redis://u:canary@h/1", 2.0),
        ]
    ),
)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=all_settings)
def test_what_is_dumped_is_loaded(made: Settings) -> None:
    text = dump_settings(made)
    assert "canary" not in text
    with pytest.MonkeyPatch.context() as monkeypatch:
        for endpoint in made.pool.endpoints:
            if endpoint.api_key:
                monkeypatch.setenv(key_variable(made, endpoint.name), endpoint.api_key)
        monkeypatch.setenv(STATE_URL_VARIABLE, made.state.url or "")
        assert parse_settings(text, path=Path("/etc/pool.yaml")) == made


def test_the_text_is_what_a_person_would_write() -> None:
    pool = Pool(
        [Endpoint("gpu-a", "http://h/v1", "m", api_key="s", rpm=60, profile=Profile(0.25), tags=("eu",))],
        {"gpt": ["gpu-a"]},
    )
    settings = Settings(
        pool, rules=Rules(stream=StreamRules(first_token_timeout=2.5)), log=LogSettings(Path("a.jsonl"))
    )
    assert dump_settings(settings) == (
        "version: 1\n"
        "endpoints:\n"
        "- name: gpu-a\n"
        "  base_url: http://h/v1\n"
        "  model: m\n"
        "  api_key: ${GPU_A_API_KEY}\n"
        "  profile:\n"
        "    ttft_s: 0.25\n"
        "    tpot_s: 0.02\n"
        "    tpot_per_batch_s: 0.0002\n"
        "    prefill_tokens_per_s: 8000.0\n"
        "  rpm: 60\n"
        "  tags:\n"
        "  - eu\n"
        "groups:\n"
        "  gpt:\n"
        "    endpoints:\n"
        "    - gpu-a\n"
        "    min_quality: 0.0\n"
        "stream:\n"
        "  first_token_timeout: 2.5s\n"
        "log:\n"
        "  path: a.jsonl\n"
    )


def test_a_key_goes_back_to_the_variable_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "canary")
    endpoint = {"name": "a", "base_url": "http://h", "model": "m", "api_key": "${MY_KEY:-x}"}
    text = dump_settings(load_settings({"version": 1, "endpoints": [endpoint]}))
    assert "api_key: ${MY_KEY}\n" in text


def test_a_literal_key_becomes_a_variable() -> None:
    endpoint = {"name": "a", "base_url": "http://h", "model": "m", "api_key": "prefix-${MY_KEY:-canary}"}
    settings = load_settings({"version": 1, "endpoints": [endpoint]})
    assert settings.pool.endpoints[0].api_key == "prefix-canary"
    assert "api_key: ${A_API_KEY}\n" in dump_settings(settings)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("gpu-a", "GPU_A_API_KEY"),
        ("gpt-4.1", "GPT_4_1_API_KEY"),
        ("4o", "ENDPOINT_4O_API_KEY"),
        ("--", "ENDPOINT_API_KEY"),
    ],
)
def test_variables_are_made_from_names(name: str, variable: str) -> None:
    assert variable_for(name) == variable
