"""References to environment variables."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.settings import Settings, SettingsError
from agentsched.settings.environment import MissingVariable, Resolved, escaped, resolve

Load = Callable[[str], Settings]
ENVIRON = {"HOST": "h.example", "EMPTY": "", "N": "12"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain $HOST {HOST}", "plain $HOST {HOST}"),
        ("http://${HOST}:${PORT:-80}/v1", "http://h.example:80/v1"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${NONE:-}", ""),
        ("${NONE:-a:b-c}", "a:b-c"),
        ("os.environ/HOST", "h.example"),
        ("see os.environ/HOST", "see os.environ/HOST"),
        ("$${HOST}", "${HOST}"),
    ],
)
def test_references(text: str, value: str) -> None:
    assert resolve({"k": [text]}, ENVIRON) == ({"k": [value]}, [])


def test_a_resolved_text_knows_where_it_came_from() -> None:
    texts, _ = resolve(["${HOST}", "os.environ/HOST", "${N}x", "plain"], ENVIRON)
    assert isinstance(texts, list)
    origins = [(text.reference, text.variable) for text in texts if isinstance(text, Resolved)]
    assert origins == [("${HOST}", "HOST"), ("os.environ/HOST", "HOST"), ("${N}x", None)]


def test_missing_variables_are_all_told() -> None:
    data, missing = resolve({"a": ["${X}/${Y}"], "b": "os.environ/Z"}, ENVIRON)
    assert data == {"a": ["${X}/${Y}"], "b": "os.environ/Z"}
    assert missing == [MissingVariable(("a", 0), "X"), MissingVariable(("a", 0), "Y"), MissingVariable(("b",), "Z")]


@given(st.text(alphabet="${}:-AB_x"))
def test_what_is_escaped_comes_back(text: str) -> None:
    assert resolve(escaped(text), {}) == (text, [])


def test_numbers_flags_and_names_may_come_from_the_environment(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"RPM": "60", "SLOTS": "4", "PROMPTS": "TRUE", "KIND": "vllm", "IDLE": "2s", "Q": "0.5", "SIZE": "1024"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load("""
        version: 1
        endpoints:
          - {name: a, base_url: "http://h", model: m, kind: "${KIND}", rpm: "${RPM}", max_concurrency: "${SLOTS}",
             quality: "${Q}", profile: {ttft_s: "${Q}"}}
        stream: {idle_timeout: "${IDLE}"}
        log: {prompts: "${PROMPTS}", max_bytes: "${SIZE}"}
    """)
    endpoint = settings.pool.endpoints[0]
    assert (endpoint.kind, endpoint.rpm, endpoint.max_concurrency, endpoint.quality) == ("vllm", 60.0, 4, 0.5)
    assert (endpoint.profile.ttft_s, settings.rules.stream.idle_timeout) == (0.5, 2.0)
    assert (settings.log.prompts, settings.log.max_bytes) == (True, 1024)


def test_a_missing_variable_is_named_with_its_place(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load("""
            version: 1
            endpoints:
              - name: a
                base_url: http://${POOL_HOST}/v1
                model: m
                api_key: os.environ/POOL_KEY
                rpm: ${POOL_RPM}
        """)
    assert [str(error) for error in caught.value.errors] == [
        "pool.yaml:5: endpoints[0].base_url: the environment variable POOL_HOST is not set; "
        "allowed: a variable that is set, or a default: ${POOL_HOST:-...}",
        "pool.yaml:7: endpoints[0].api_key: the environment variable POOL_KEY is not set; "
        "allowed: a variable that is set, or a default: ${POOL_KEY:-...}",
        "pool.yaml:8: endpoints[0].rpm: the environment variable POOL_RPM is not set; "
        "allowed: a variable that is set, or a default: ${POOL_RPM:-...}",
    ]


def test_a_wrong_value_of_a_variable_is_not_shown(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPM", "hunter2")
    with pytest.raises(SettingsError) as caught:
        load("""
            version: 1
            endpoints: [{name: a, base_url: "http://h", model: m, rpm: "${RPM}"}]
        """)
    assert str(caught.value) == (
        "pool.yaml:3: endpoints[0].rpm: not a number (the value of the environment variable) (given: '${RPM}'); "
        "allowed: a number"
    )


def test_an_empty_key_is_no_key(load: Load, tmp_path: Path) -> None:
    settings = load("""
        version: 1
        endpoints: [{name: a, base_url: "http://h", model: m, api_key: "${POOL_KEY:-}"}]
    """)
    assert settings.pool.endpoints[0].api_key is None
