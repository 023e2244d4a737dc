"""Scenario files: the shipped ones say what the study says, mistakes are told at their place."""

import json
import re
from dataclasses import MISSING, fields
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from agentsched.engine.profile import DisaggregatedProfile, HardwareProfile, HostedProfile
from agentsched.errors import ConfigError
from agentsched.settings import SettingsError
from agentsched.settings.document import Loader
from agentsched.sim.scenario import Scenario
from agentsched.sim.scenario_files import load_scenario, scenario_schema, shipped_scenarios

DOCS = Path(__file__).parents[2] / "docs"
SHIPPED = shipped_scenarios()

# (a, b, c, prompt tokens/s, slots, KV tokens, USD per 1,000 output tokens) by endpoint, as the study gives them.
STUDY = {
    "s1": {
        "v100": (2, (0.025, 0.00035, 0.24e-6, 3000, 64, 98_000, 0.30)),
        "a40": (2, (0.028, 0.00030, 0.31e-6, 5000, 128, 206_000, 0.28)),
        "a800": (2, (0.010, 0.00012, 0.11e-6, 12000, 256, 427_000, 0.40)),
        "h800": (2, (0.0065, 0.00007, 0.065e-6, 25000, 256, 427_000, 0.60)),
    },
    "s2": {
        "a100": (3, (0.020, 0.00015, 0.14e-6, 7000, 256, 224_000, 0.5)),
        "h100": (2, (0.012, 0.00009, 0.084e-6, 16000, 256, 224_000, 0.8)),
        "h200": (2, (0.0083, 0.000085, 0.058e-6, 16500, 256, 505_000, 1.0)),
    },
    "s3": {
        "a30-3b": (5, (0.009, 0.00012, 0.06e-6, 14000, 64, 250_000, 0.05)),
        "a30-7b": (4, (0.022, 0.00025, 0.10e-6, 7000, 64, 60_000, 0.10)),
        "a100-14b": (3, (0.020, 0.00015, 0.14e-6, 7000, 128, 224_000, 0.30)),
        "4xh100-72b": (1, (0.018, 0.00018, 0.06e-6, 9000, 256, 500_000, 1.2)),
    },
    "s4": {
        "a40": (2, (0.028, 0.00030, 0.31e-6, 5000, 128, 206_000, 0.20)),
        "a800": (2, (0.010, 0.00012, 0.11e-6, 12000, 256, 427_000, 0.30)),
    },
}
KNEES = {"s1": 3.0, "s2": 2.5, "s3": 4.5, "s4": 8.0}
MIXES = {name: (0.35, 0.25, 0.15, 0.15, 0.10) for name in ("s1", "s3", "s4")} | {"s2": (0.10, 0.30, 0.05, 0.50, 0.05)}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_scenarios_are_valid_and_fit_the_schema(name: str):
    assert load_scenario(name).name == name
    text = files("agentsched.sim.scenarios").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    jsonschema.validate(yaml.load(text, Loader), scenario_schema())


@pytest.mark.parametrize("name", STUDY)
def test_pools_are_those_of_the_study(name: str):
    scenario = load_scenario(name)
    found = {
        group.name: (
            group.count,
            (
                group.engine.step_base_s,
                group.engine.step_per_sequence_s,
                group.engine.step_per_kv_token_s,
                group.engine.prefill_tokens_per_s,
                group.engine.max_slots,
                group.engine.kv_tokens,
                pytest.approx(group.price.output / 1000),
            ),
        )
        for group in scenario.endpoints
        if not group.hosted
    }
    assert found == STUDY[name]
    for group in scenario.endpoints:
        assert group.price.input == pytest.approx(group.price.output / 6)
        assert group.network == (0.04 if group.hosted else None)
        assert group.faults is not group.hosted
        if not group.hosted:
            assert (group.engine.prefix_cache_share, group.engine.prefill_chunk_tokens) == (0.4, 2048)


@pytest.mark.parametrize("name", STUDY)
def test_the_rest_is_that_of_the_study(name: str):
    scenario = load_scenario(name)
    assert (scenario.load, scenario.duration, scenario.warm_up, scenario.network) == (KNEES[name], 300.0, 0.12, 0.01)
    slowdown, failure = scenario.faults.slowdown, scenario.faults.failure
    rare, rarer = (240, 900) if name == "s4" else (400, 2000)
    assert (slowdown.factor, slowdown.duration, slowdown.every) == (2.5, 20, rare)
    assert (failure.duration, failure.every) == (30, rarer)
    assert [flow.name for flow in scenario.workflows] == ["rag", "react", "research", "code", "single"]
    assert tuple(flow.share for flow in scenario.workflows) == MIXES[name]
    deadlines = scenario.deadlines
    assert [(one.times, one.share) for one in deadlines.multiples] == [(2, 0.3), (3, 0.4), (6, 0.3)]
    assert (deadlines.plus, deadlines.of, deadlines.on_late) == (0.5, "run", "ignore")
    assert (scenario.knowledge.profile_error, scenario.knowledge.length_error) == (0.1, 0.6)


def test_the_hosted_apis_are_those_of_the_study():
    apis = {group.name: group for group in load_scenario("s4").endpoints if group.hosted}
    assert {
        name: (
            api.engine.ttft_median_s,
            api.engine.ttft_sigma,
            api.engine.stall_probability,
            api.engine.stall_mean_s,
            api.engine.tpot_median_s,
            api.engine.tpot_sigma,
            api.engine.requests_per_minute,
            api.price.output / 1000,
            api.quality,
        )
        for name, api in apis.items()
    } == {
        "api-fast": (0.35, 0.5, 0.02, 6, 0.006, 0.25, 600, 1.2, 0.45),
        "api-mid": (0.5, 0.6, 0.03, 8, 0.012, 0.35, 1200, 0.6, 0.42),
        "api-cheap": (0.9, 0.9, 0.06, 12, 0.022, 0.5, 2400, 0.25, 0.40),
    }


def test_templates_are_those_of_the_study():
    def stage(one) -> tuple:
        tool = None if one.tool is None else (one.tool.median, one.tool.sigma)
        return (one.prompt, one.prompt_growth, one.output.median, one.output.sigma, tool)

    flows = {flow.name: flow.stages for flow in load_scenario("s1").workflows}
    assert {name: [stage(one) for one in stages] for name, stages in flows.items()} == {
        "rag": [(400, 0, 40, 0.5, (0.3, 0.6)), (1400, 0, 250, 0.75, (0.1, 0.3)), (500, 0, 60, 0.6, None)],
        "react": [(900, 250, 120, 0.85, (0.8, 1.0))],
        "research": [(600, 0, 200, 0.6, (0.2, 0.5)), (1600, 0, 350, 0.85, (0.3, 0.5)), (2600, 0, 700, 0.65, None)],
        "code": [(1200, 0, 300, 0.6, (0.1, 0.3)), (1500, 600, 450, 0.95, (2.0, 0.8))],
        "single": [(300, 0, 900, 1.0, None)],
    }
    assert (flows["react"][0].loop.mean, flows["react"][0].loop.most) == (6, 25)
    assert (flows["code"][1].loop.mean, flows["code"][1].loop.most) == (4, 15)
    assert (flows["research"][1].width.least, flows["research"][1].width.most) == (3, 8)
    assert [one.shared_prefix for one in (*flows["react"], *flows["code"])] == [True, False, True]


def test_the_published_schema_is_current():
    assert json.loads((DOCS / "scenario.schema.json").read_text(encoding="utf-8")) == scenario_schema()


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base: s1\nload: -1", "mine.yaml:2: load: out of range (given: -1); allowed: more than 0"),
        ("base: s1\nlaod: 2", "mine.yaml:2: laod: unknown key; did you mean 'load'?"),
        ("base: s1\n\narrivals: {kind: gamma}", "mine.yaml:3: arrivals.cv: gamma arrivals need it"),
        ("base: s1\narrivals: {cv: 2}", "mine.yaml:2: arrivals.cv: does not belong to poisson arrivals"),
        ("base: s1\narrivals: {kind: gama, cv: 2}", "mine.yaml:2: arrivals.kind: unknown; did you mean 'gamma'?"),
        (
            "base: s1\narrivals:\n  {kind: square_wave, period: 60, high_share: 0.5,\n   high: 3}",
            "mine.yaml:4: arrivals.high: out of range",
        ),
        (
            "base: s1\nendpoints:\n  - name: a\n    profile: study-8b-a40\n  - name: b\n    profile: study-8b-a4",
            "mine.yaml:6: endpoints[1].profile: unknown hardware profile; did you mean 'study-8b-a40'?",
        ),
        (
            "base: s1\nendpoints:\n  - {name: a, profile: {max_slots: 3}}",
            "mine.yaml:3: endpoints[0].profile: incomplete profile: missing step_base_s, step_per_sequence_s",
        ),
        (
            "base: s1\nendpoints:\n  - name: a\n    profile:\n"
            "      {ttft_median_s: x, ttft_sigma: 0, tpot_median_s: 1, tpot_sigma: 0}",
            "mine.yaml:5: endpoints[0].profile.ttft_median_s: not a number (given: 'x'); allowed: a number (no unit)",
        ),
        (
            "base: s1\nendpoints:\n  - {name: a, profile: study-8b-a40}\n  - {name: a, profile: study-8b-a40}",
            "mine.yaml:4: endpoints[1].name: the name a is used twice, first by endpoints[0] (given: 'a')",
        ),
        (
            "base: s1\nendpoints:\n  - {name: a, count: 2, profile: study-8b-a40}\n"
            "  - {name: a, profile: study-8b-a40}",
            "mine.yaml:4: endpoints[1].name: the name a is used twice, first by endpoints[0] (given: 'a')",
        ),
        (
            "base: s1\nendpoints:\n  - name: a\n    profile:\n"
            "      prefill: {step_base: 1}\n      decode: study-8b-a40",
            "mine.yaml:5: endpoints[0].profile.prefill.step_base: unknown key; did you mean 'step_base_s'?",
        ),
        (
            "base: s1\nfaults:\n  planned:\n    - {endpoints: [v100, a4], at: 0, duration: 1}",
            "mine.yaml:4: faults.planned[0].endpoints[1]: unknown endpoint; did you mean 'a40'? (given: 'a4')",
        ),
        (
            "base: s1\nfaults: {failure: {duration: 1, every: 1e-9}}",
            "mine.yaml:2: faults.failure.every: out of range (given: 1e-09); allowed: 1ms or more",
        ),
        (
            "base: s1\nfaults: {planned: [{endpoints: [v100], at: 40, duration: 1e-16, factor: 2}]}",
            "mine.yaml:2: faults.planned[0].duration: out of range (given: 1e-16); allowed: 1ms or more",
        ),
        (
            "base: s1\nworkflows:\n  - name: w\n    share: 1\n    stages:\n"
            "      - {step: a, prompt: 9, output: {median: 9, sigma: 0}, loop: {mean: 3, most: 2000}}\n"
            "      - {step: b, prompt: 9, output: {median: 9, sigma: 0}, width: {least: 3, most: 2097}}",
            "mine.yaml:7: workflows[0].stages[1].width.most: more calls than a run may make (given: 2097)",
        ),
        (
            "base: s1\nendpoints: [{name: a, profile: {ttft_median_s: 1, ttft_sigma: 0, tpot_median_s: 1e-300, "
            "tpot_sigma: 0}}]",
            "mine.yaml:2: endpoints[0].profile: clients cannot reckon with the tpot_s that follows from it",
        ),
        ("base: s1\nprogress: 1e-6", "mine.yaml:2: progress: out of range (given: 1e-06); allowed: 1ms or more"),
        (
            "base: s1\nendpoints: [{name: a, profile: study-8b-a40, models: [x]}]",
            "mine.yaml:2: endpoints[0].models: the calls of workflows ask for no model by name",
        ),
        (
            "base: s1\nendpoints:\n  - {name: a, profile: study-8b-a40, models: [x]}\n"
            "  - {name: b, profile: study-8b-a40, quality: 0.5}\ndemands: [{min_quality: 0.6, share: 1}]",
            "mine.yaml:5: demands[0].min_quality: no endpoint is as good (given: 0.6)",
        ),
        (
            "base: s1\nprompts: {most: 1000}",
            "workflows[0].stages[1].prompt: longer than any prompt may be (given: 1400); allowed: up to 1000",
        ),
        (
            "base: s1\noutputs: {most: 600}",
            "workflows[2].stages[2].output.median: longer than any answer may be (given: 700); allowed: up to 600",
        ),
        ("base: s1\nprompts: {most: 98000}", "prompts.most: a call may need 102096 tokens, but v100 holds 98000"),
        (
            "base: s3\ndemands: [{min_quality: 0.5, share: 1}]",
            "mine.yaml:2: demands[0].min_quality: no endpoint is as good (given: 0.5); allowed: a min_quality up to",
        ),
        ("base: s1\ndemands: [{min_quality: 0.5, share: 0}]", "demands: all shares are 0"),
        (
            "base: s1\nprompts: {sigma: 1000}",
            "mine.yaml:2: prompts.sigma: out of range (given: 1000); allowed: at most 10",
        ),
        ("base: s1\narrivals: {kind: gamma, cv: 1000}", "arrivals.cv: out of range (given: 1000); allowed: at most 30"),
        (
            "base: s1\nfaults: {slowdown: {factor: 1.0e+9, duration: 1, every: 1}}",
            "faults.slowdown.factor: out of range (given: 1000000000.0); allowed: at most 1000",
        ),
        (
            "base: s1\nendpoints: [{name: a, profile: study-8b-a40, count: 100000}]",
            "endpoints: 100000 are too many",
        ),
        ("base: s9", "mine.yaml:1: base: no such scenario (given: 's9')"),
        ("base: mine.yaml", "a scenario cannot be its own base"),
        ("name: x", "version: missing; allowed: 1"),
        ("- 1", "not a mapping"),
        ("load: [", "not YAML"),
    ],
)
def test_mistakes_are_told_with_file_line_and_key(tmp_path: Path, text: str, said: str):
    with pytest.raises(SettingsError) as caught:
        load_scenario(written(tmp_path, text))
    assert said in str(caught.value)


FIGURES = {
    "step_base_s": 0.02,
    "step_per_sequence_s": 0.0002,
    "step_per_kv_token_s": 0.0,
    "prefill_tokens_per_s": 6000,
    "max_slots": 8,
    "kv_tokens": 50000,
}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("step_base_s", float("inf"), "out of range (given: inf)"),
        ("step_base_s", float("nan"), "not a number (given: nan)"),
        ("step_base_s", "20ms", "not a number (given: '20ms'); allowed: a number (no unit)"),
        ("step_base_s", 10**400, "out of range"),
        ("block_tokens", 1.5, "not a whole number (given: 1.5)"),
        ("max_slots", True, "not a whole number (given: True)"),
        ("basis", "guess", "unknown (given: 'guess'); allowed: fitted, assumed, scenario"),
        ("source", 3, "not a text (given: 3)"),
    ],
)
def test_every_figure_of_a_profile_is_checked_by_its_kind(key: str, value: object, said: str):
    endpoints = [{"name": "a", "profile": {**FIGURES, key: value}}]
    with pytest.raises(SettingsError) as caught:
        load_scenario({"base": "s1", "endpoints": endpoints})
    assert f"endpoints[0].profile.{key}: {said}" in str(caught.value)


HOSTED = {"ttft_median_s": 0.4, "ttft_sigma": 0.5, "tpot_median_s": 0.01, "tpot_sigma": 0.3}
PAIR = {"prefill": "study-8b-a800", "decode": FIGURES, "transfer_tokens_per_s": 1e5}


@pytest.mark.parametrize(
    ("profile", "good"),
    [
        (FIGURES, True),
        ({**FIGURES, "kv_tokens": 1e5, "block_tokens": None, "source": "a table"}, True),
        (HOSTED, True),
        (PAIR, True),
        ({**FIGURES, "block_tokens": 1.5}, False),
        ({**FIGURES, "ttft_median_s": 1}, False),
        ({**FIGURES, "basis": "guess"}, False),
        ({**HOSTED, "rpm": 60}, False),
        ({key: value for key, value in FIGURES.items() if key != "max_slots"}, False),
        ({**PAIR, "decode": "study-hosted-mid"}, False),
        ({**PAIR, "decode": {**FIGURES, "max_slots": "8"}}, False),
    ],
)
def test_schema_and_reader_take_the_same_profiles(profile: dict, good: bool):
    content = {"base": "s1", "endpoints": [{"name": "a", "profile": profile}]}
    assert jsonschema.Draft202012Validator(scenario_schema()).is_valid(content) == good
    if good:
        load_scenario(content)
    else:
        with pytest.raises(SettingsError):
            load_scenario(content)


def test_a_hosted_profile_scatters_within_what_numbers_can_hold():
    figures = {"ttft_median_s": 1, "ttft_sigma": 1000, "tpot_median_s": 0.1, "tpot_sigma": 0}
    with pytest.raises(SettingsError, match=r"endpoints\[0\].profile.ttft_sigma: out of range .*from 0 to 10"):
        load_scenario({"base": "s1", "endpoints": [{"name": "a", "profile": figures}]})


def test_a_whole_number_may_be_written_as_1e6():
    scenario = load_scenario({"base": "s1", "endpoints": [{"name": "a", "profile": {**FIGURES, "kv_tokens": 1e6}}]})
    tokens = scenario.endpoints[0].engine.context_limit_tokens
    assert (tokens, type(tokens)) == (1_000_000, int)


@pytest.mark.parametrize(
    ("row", "kind"),
    [("an instance", HardwareProfile), ("a hosted API", HostedProfile), ("two instances", DisaggregatedProfile)],
)
def test_the_keys_of_a_profile_are_documented(row: str, kind: type):
    (told,) = (line for line in (DOCS / "simulator.md").read_text("utf-8").splitlines() if line.startswith(f"| {row}"))
    keys = {field.name: field.default is MISSING for field in fields(kind)}
    for own in ("name", "basis", "source"):
        del keys[own]
    needed = set(re.findall(r"\*\*`(\w+)`\*\*", told))
    assert needed == {key for key, missing in keys.items() if missing}
    assert set(keys) <= set(re.findall(r"`(\w+)`", told))


def test_all_mistakes_are_told_at_once(tmp_path: Path):
    with pytest.raises(SettingsError) as caught:
        load_scenario(written(tmp_path, "base: s1\nload: 0\nwarm_up: 2\nfaults: {failure: {duration: 3}}"))
    assert [error.field for error in caught.value.errors] == ["load", "warm_up", "faults.failure.every"]


def test_a_base_is_found_by_name_or_beside_the_file(tmp_path: Path):
    (tmp_path / "under.yaml").write_text("base: s1\nname: under\nload: 1.5\n", encoding="utf-8")
    mine = load_scenario(written(tmp_path, "base: under.yaml\nname: mine\nduration: 1m\n"))
    assert (mine.name, mine.load, mine.duration) == ("mine", 1.5, 60.0)
    assert mine.endpoints == load_scenario("s1").endpoints


def test_a_name_that_is_no_scenario_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"no such scenario.*overload"):
        load_scenario("s5")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_scenario_survives_its_own_json(name: str):
    scenario = load_scenario(name)
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario
