"""No key appears anywhere but in the attribute that holds it."""

import logging
import traceback
from collections.abc import Callable

import pytest

from agentsched.settings import Settings, SettingsError, dump_settings
from agentsched.settings.problems import dotted, shown

Load = Callable[[str], Settings]
CANARY = "sk-canary0123456789abcdef"

LEAKY = [
    f"version: 1\nendpoints: {{name: a, api_key: {CANARY}}}\n",
    f"version: 1\nendpoints: [{{name: a, base_url: 'http://h', model: [{CANARY}], api_key: [{CANARY}]}}]\n",
    f"version: 1\nendpoints: [{{name: a, base_url: {CANARY}, model: m, kind: {CANARY}, rpm: {CANARY}}}]\n",
    f"version: 1\nendpoints: [{{name: a, base_url: 'http://x:{CANARY}@h', model: m}}]\n",
    f"version: 1\nendpoints: [{{name: a, base_url: 'http://h?key={CANARY}', model: m}}]\n",
    f"version: 1\nendpoints: [{{name: a, base_url: 'http://h', model: m, apikey: {CANARY}, {CANARY}: 1}}]\n",
    f"version: 1\nendpoints: [{{name: a, base_url: 'http://h', model: m, profile: {CANARY}}}]\n",
    f"version: 1\nendpoints: [{{name: a, base_url: 'http://h', model: m}}]\ngroups: {{g: [{CANARY}], {CANARY}: x}}\n",
    f"version: 1\nendpoints: [{{name: a, base_url: 'http://h', model: m}}]\nretry: {{backoff: {CANARY}}}\n",
    f"version: 1\nendpoints: [{{name: a, base_url: 'http://h', model: m}}]\npolicy: {{name: {CANARY}}}\n",
    f"version: 1\nkey: *{CANARY}\n",
    f"version: 1\nkey: !{CANARY} 1\n",
    f"version: 1\nkey: {CANARY}\n key: [\n",
    f'version: 1\nkey: "\\q{CANARY}"\n',
]


@pytest.mark.parametrize("text", LEAKY)
def test_no_error_shows_a_key(load: Load, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(text)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    assert "canary" not in told


def test_no_repr_dump_or_log_shows_a_key(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        settings = load(f"version: 1\nendpoints: [{{name: a, base_url: 'http://h', model: m, api_key: {CANARY}}}]\n")
    assert settings.pool.endpoints[0].api_key == CANARY
    assert "canary" not in repr(settings) + str(settings) + dump_settings(settings) + caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "sk-abcdef123456",
        "gsk_abcdef123456",
        "Bearer abc",
        "0123456789abcdef0123456789abcdef",
        "http://u:p@h",
        "//u:p@h",
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str) -> None:
    assert repr(shown(text)) == "not shown, it looks like a secret"


@pytest.mark.parametrize(
    "text", ["gpt-4.1-mini", "meta-llama/Meta-Llama-3.1-405B-Instruct-FP8-dynamic", "http://h:1/v1"]
)
def test_names_are_shown(text: str) -> None:
    assert shown(text) == text


def test_long_texts_are_cut_and_containers_told_by_kind() -> None:
    assert len(str(shown("a b " * 100))) == 80
    assert [repr(shown(value)) for value in ({"a": 1}, [1], 3, True)] == ["a mapping", "a list", "3", "True"]
    assert shown("anything", ("endpoints", 0, "api_key")) is None


def test_places_are_written_as_people_do() -> None:
    assert dotted(("endpoints", 2, "base_url")) == "endpoints[2].base_url"
    assert dotted(("groups", "gpt-4.1", "endpoints", 0)) == 'groups["gpt-4.1"].endpoints[0]'
    assert dotted(("groups", CANARY)) == "groups[...]"
