"""Whatever a file holds, it is settings or a list of mistakes, never another exception."""

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agentsched.settings import Settings, SettingsError, load_settings
from agentsched.settings.document import Loader
from agentsched.settings.load import parse_settings

OURS: Any = yaml.load(
    """
    version: 1
    endpoints:
      - {name: a, base_url: "http://h/v1", model: m, api_key: k, kind: vllm, profile: study-8b-a40, rpm: 5, tags: [x],
         price: {input: 1, output: 1}, capabilities: [stream], context_tokens: 10}
      - {name: b, base_url: "http://h/v1", model: m, profile: {ttft_s: 1s}}
    groups: {g: {endpoints: [a], min_quality: 0.1}, h: [b]}
    policy: {name: shortest_expected_completion}
    retry: {backoff: 1s}
    log: {path: x, max_bytes: 1 MiB}
    """,
    Loader=Loader,
)
LITELLM: Any = yaml.load(
    """
    model_list:
      - model_name: a
        litellm_params: {model: azure/m, api_base: "http://h", api_key: k, rpm: 5, input_cost_per_token: 1, tags: [x]}
        model_info: {id: x, mode: chat}
    router_settings: {num_retries: 1, timeout: 2, model_group_alias: {b: a}, cooldown_time: 1}
    litellm_settings: {request_timeout: 3}
    """,
    Loader=Loader,
)


def places(data: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in nested data."""
    inner = list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    return [at] * bool(at) + [place for key, value in inner for place in places(value, (*at, key))]


keys = st.text(max_size=4) | st.integers() | st.booleans() | st.floats() | st.dates() | st.none()
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
)
anything = st.recursive(
    scalars | st.sampled_from(["${", "${X}", "os.environ/X", "1s", "http://[", "http://h:99999999", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("sound", [OURS, LITELLM], ids=["ours", "litellm"])
@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_value_in_any_place(sound: Any, data: st.DataObject) -> None:
    broken = copy.deepcopy(sound)
    *way, last = data.draw(st.sampled_from(places(sound)))
    inside = broken
    for part in way:
        inside = inside[part]
    if isinstance(inside, dict) and data.draw(st.booleans()):
        inside[data.draw(keys)] = data.draw(anything)
    else:
        inside[last] = data.draw(anything)
    with suppress(SettingsError):
        assert isinstance(load_settings(broken), Settings)


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(st.sampled_from("abc:-{}[]&*!|>'\"#%@`,? \n\t0.~<")) | st.text())
def test_any_text(text: str) -> None:
    with suppress(SettingsError):
        parse_settings(text, path=Path("pool.yaml"))
