"""Every kind of mistake in a file: which line, which key, what was given, what is allowed."""

import json
import pickle
from collections.abc import Callable

import pytest

from agentsched.errors import ConfigError
from agentsched.settings import Settings, SettingsError, load_settings
from agentsched.settings.document import read_document

Load = Callable[[str], Settings]

GOOD = """\
version: 1
endpoints:
  - name: a
    base_url: http://h/v1
    model: m
"""
SECURE = GOOD.replace("http:", "https:")

TABLE = [
    # name, text, (line, field, words of the message)
    ("no version", GOOD.removeprefix("version: 1\n"), (1, "version", "missing; allowed: 1")),
    ("other version", GOOD.replace("1", "2", 1), (1, "version", "unknown (given: 2); allowed: 1")),
    ("quoted version", GOOD.replace("version: 1", "version: '1'"), (1, "version", "not a number (given: '1')")),
    ("no endpoints", "version: 1\n", (1, "endpoints", "missing; allowed: a list of endpoints")),
    ("empty endpoints", "version: 1\nendpoints: []\n", (2, "endpoints", "empty; allowed: at least one entry")),
    ("endpoints as mapping", "version: 1\nendpoints: {a: b}\n", (2, "endpoints", "not a list (given: a mapping)")),
    ("top is a list", "- 1\n", (1, None, "not a mapping (given: a list)")),
    ("endpoint is text", "version: 1\nendpoints:\n  - a\n", (3, "endpoints[0]", "not a mapping (given: 'a')")),
    ("no model", GOOD.replace("    model: m\n", ""), (3, "endpoints[0].model", "missing")),
    ("key without value", GOOD.replace("model: m", "model:"), (5, "endpoints[0].model", "missing")),
    ("blank name", GOOD.replace("name: a", "name: ' '"), (3, "endpoints[0].name", "empty (given: ' ')")),
    ("number as name", GOOD.replace("name: a", "name: 4"), (3, "endpoints[0].name", "not a text (given: 4)")),
    ("unknown key", GOOD + "    modle: x\n", (6, "endpoints[0].modle", "unknown key; did you mean 'model'?")),
    ("other tool's key", GOOD + "    url: x\n", (6, "endpoints[0].url", "unknown key; did you mean 'base_url'?")),
    ("unknown section", GOOD + "retries: {}\n", (6, "retries", "unknown key; did you mean 'retry'?")),
    ("wildly unknown", GOOD + "zzz: 1\n", (6, "zzz", "unknown key; allowed: admission, breaker, endpoints")),
    ("key is a number", GOOD + "7: 1\n", (6, "[7]", "a key that is no text")),
    ("not a URL", GOOD.replace("http://h/v1", "h:8000"), (4, "endpoints[0].base_url", "not a URL (given: 'h:8000')")),
    ("bad port", GOOD.replace("h/v1", "h:x/v1"), (4, "endpoints[0].base_url", "not a URL")),
    ("no host", GOOD.replace("http://h/v1", "http:///v1"), (4, "endpoints[0].base_url", "not a URL")),
    ("query", GOOD.replace("/v1", "/v1?k=canary"), (4, "endpoints[0].base_url", "a query or fragment")),
    ("password", GOOD.replace("//h", "//u:canary@h"), (4, "endpoints[0].base_url", "holds credentials")),
    (
        "unknown kind",
        GOOD + "    kind: vlm\n",
        (6, "endpoints[0].kind", "unknown; did you mean 'vllm'? (given: 'vlm')"),
    ),
    ("unknown profile", GOOD + "    profile: h1\n", (6, "endpoints[0].profile", "unknown hardware profile")),
    (
        "nearly a profile",
        GOOD + "    profile: study-8b-h80\n",
        (6, "endpoints[0].profile", "did you mean 'study-8b-h800'? (given: 'study-8b-h80'); allowed: study-8b-h800, "),
    ),
    ("profile is a list", GOOD + "    profile: [1]\n", (6, "endpoints[0].profile", "neither a name nor a mapping")),
    ("bad profile", GOOD + "    profile:\n      tpot_s: 0\n", (7, "endpoints[0].profile.tpot_s", "not a usable")),
    ("zero rate", GOOD + "    rpm: 0\n", (6, "endpoints[0].rpm", "out of range (given: 0); allowed: more than 0")),
    ("flag as rate", GOOD + "    rpm: true\n", (6, "endpoints[0].rpm", "not a number (given: True)")),
    ("text as rate", GOOD + "    rpm: many\n", (6, "endpoints[0].rpm", "not a number (given: 'many')")),
    ("not a number", GOOD + "    tpm: .nan\n", (6, "endpoints[0].tpm", "not a number")),
    ("half a call", GOOD + "    max_concurrency: 1.5\n", (6, "endpoints[0].max_concurrency", "not a whole number")),
    (
        "too good",
        GOOD + "    quality: 1.1\n",
        (6, "endpoints[0].quality", "out of range (given: 1.1); allowed: at most 1"),
    ),
    ("negative price", GOOD + "    price: {input: -1}\n", (6, "endpoints[0].price.input", "allowed: at least 0")),
    (
        "key of two lines",
        GOOD + '    api_key: "canary\\ncanary"\n',
        (6, "endpoints[0].api_key", "that no HTTP header may hold; allowed: printable ASCII"),
    ),
    (
        "space in a host",
        GOOD.replace("http://h", "http://h h"),
        (4, "endpoints[0].base_url", "not a URL (given: 'http://h h/v1')"),
    ),
    ("text as tags", GOOD + "    tags: eu\n", (6, "endpoints[0].tags", "not a list (given: 'eu')")),
    (
        "capability",
        GOOD + "    capabilities: [stream, tool]\n",
        (6, "endpoints[0].capabilities[1]", "unknown capability; did you mean 'tools'? (given: 'tool'); allowed: comp"),
    ),
    ("name twice", GOOD + GOOD[GOOD.index("  - ") :], (6, "endpoints[1].name", "used twice, first by endpoints[0]")),
    (
        "unknown member",
        GOOD + "groups:\n  x: [a, b]\n",
        (7, "groups.x[1]", "unknown endpoint (given: 'b'); allowed: a"),
    ),
    (
        "unknown member of a mapping",
        GOOD + "groups:\n  gpt-4.1:\n    endpoints:\n      - A\n",
        (9, 'groups["gpt-4.1"].endpoints[0]', "unknown endpoint"),
    ),
    ("a key alone", SECURE + "    tls: {key: a.key}\n", (6, "endpoints[0].tls.key", "has no certificate")),
    ("a ca for nothing", SECURE + "    tls: {ca: a, verify: false}\n", (6, "endpoints[0].tls.ca", "is not looked at")),
    ("tls over http", GOOD + "    tls: {ca: a.pem}\n", (6, "endpoints[0].tls", "is for https alone")),
    ("tls text", SECURE + "    tls: a.pem\n", (6, "endpoints[0].tls", "not a mapping (given: 'a.pem')")),
    ("empty group", GOOD + "groups: {x: []}\n", (6, "groups.x.endpoints", "empty")),
    ("group is text", GOOD + "groups: {x: a}\n", (6, "groups.x", "not a mapping (given: 'a')")),
    ("unknown policy", GOOD + "policy: {name: best}\n", (6, "policy.name", "unknown policy (given: 'best'); allowed:")),
    ("own policy", GOOD + "policy: {name: best}\n", (6, "policy.name", "schema pool), or my_module.MyPolicy")),
    ("policy option", GOOD + "policy:\n  alpha: 1\n", (7, "policy.alpha", "unknown option")),
    ("policy option by half", GOOD + "policy: {tol: 1}\n", (6, "policy.tol", "unknown option; did you mean 'toll'?")),
    ("policy option's kind", GOOD + "policy:\n  alpha: [1]\n", (7, "policy.alpha", "not an option's value")),
    ("duration", GOOD + "retry:\n  backoff: soon\n", (7, "retry.backoff", "not a usable duration (given: 'soon')")),
    ("zero duration", GOOD + "stream:\n  idle_timeout: 0s\n", (7, "stream.idle_timeout", "not a usable duration")),
    ("duration list", GOOD + "stream:\n  idle_timeout: [1]\n", (7, "stream.idle_timeout", "(given: a list)")),
    ("a core name", GOOD + "breaker: {cooldown_s: 1}\n", (6, "breaker.cooldown_s", "did you mean 'cooldown'?")),
    ("continuation", GOOD + "stream: {continuation: often}\n", (6, "stream.continuation", "often")),
    ("sqlite without a file", GOOD + "state: {backend: sqlite}\n", (6, "state.url", "not the path of a file")),
    ("sqlite and an address", GOOD + "state: {backend: sqlite, url: 'redis://h'}\n", (6, "state.url", "not the path")),
    ("redis without a server", GOOD + "state: {backend: redis}\n", (6, "state.url", "not the address of a Redis")),
    ("redis over http", GOOD + "state: {backend: redis, url: 'http://:canary@h'}\n", (6, "state.url", "redis://")),
    ("redis port", GOOD + "state: {backend: redis, url: 'redis://h:canary'}\n", (6, "state.url", "redis://")),
    ("redis host", GOOD + "state: {backend: redis, url: 'redis:///0'}\n", (6, "state.url", "redis://")),
    ("hectic", GOOD + "state: {interval: 1ms}\n", (6, "state.interval", "out of range (given: '1ms'); allowed: from")),
    ("nobody", GOOD + "state: {clients: 0}\n", (6, "state.clients", "out of range (given: 0); allowed: more than 0")),
    (
        "state's address",
        GOOD + "state: {url: 'redis://:canary@h'}\n",
        (6, "state.url", "the memory backend has no address"),
    ),
    ("no backend", GOOD + "state: {backend: sql}\n", (6, "state.backend", "unknown")),
    ("profiles", GOOD + "state: {profiles: on}\n", (6, "state.profiles", "not a text (given: True)")),
    ("training", GOOD + "learning: {train: torch}\n", (6, "learning.train", "unknown (given: 'torch'); ")),
    ("size", GOOD + "log: {max_bytes: 3 apples}\n", (6, "log.max_bytes", "not a size (given: '3 apples')")),
    ("flag", GOOD + "log: {prompts: 1}\n", (6, "log.prompts", "not a flag (given: 1); allowed: true or false")),
    ("section is a list", GOOD + "hedge: [1]\n", (6, "hedge", "not a mapping (given: a list)")),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_mistake_is_told_with_its_place(load: Load, text: str, expected: tuple[int, str | None, str]) -> None:
    line, field, words = expected
    with pytest.raises(SettingsError) as caught:
        load(text)
    (error,) = caught.value.errors
    assert (error.file, error.line, error.field) == ("pool.yaml", line, field)
    assert str(error).startswith(f"pool.yaml:{line}: {f'{field}: ' if field else ''}")
    assert words in str(error)
    assert "canary" not in str(error)
    assert str(caught.value) == str(error)
    assert caught.value.__cause__ is caught.value.__context__ is None


YAML_MISTAKES = [
    ("nothing", "", None, "the file says nothing"),
    ("only a comment", "# hello\n", None, "the file says nothing"),
    ("brackets", "version: 1\nendpoints: [\n", 3, "not YAML"),
    ("tab", "version: 1\n\tx: 1\n", 2, "not YAML"),
    ("colon", "version: 1\na: b: c\n", 2, "not YAML"),
    ("two documents", "version: 1\n---\nversion: 1\n", 2, "not YAML"),
    ("unknown alias", "version: 1\nx: *canary_key\n", 2, "not YAML"),
    ("a list as key", "version: 1\n? [a]\n: 1\n", 2, "not YAML"),
    ("unknown alias, plainly", "version: 1\nx: *y\n", 2, "not YAML: found undefined alias"),
    ("half a character", 'version: 1\nx: "\\ud83d"\n', 2, "not YAML: half a character"),
    ("control character", "version: \x07\n", None, "not YAML"),
    ("python object", "version: !!python/object:os.system {}\n", 1, "not YAML"),
    ("alias to itself", "version: 1\nx: &x [*x]\n", None, "refers to itself"),
]


@pytest.mark.parametrize(
    ("text", "line", "words"), [row[1:] for row in YAML_MISTAKES], ids=[r[0] for r in YAML_MISTAKES]
)
def test_what_is_no_yaml(load: Load, text: str, line: int | None, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(text)
    assert (caught.value.file, caught.value.line) == ("pool.yaml", line)
    assert words in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_key_that_stands_twice(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load(GOOD + "    model: n\nretry: {budget: 1, budget: 2}\n")
    assert [str(error) for error in caught.value.errors] == [
        "pool.yaml:6: endpoints[0].model: the key stands here twice, first in line 5",
        "pool.yaml:7: retry.budget: the key stands here twice, first in line 7",
    ]


def test_merged_keys_may_be_overridden(load: Load) -> None:
    settings = load("""
        version: 1
        endpoints:
          - &first {name: a, base_url: "http://h", model: m, rpm: 5}
          - <<: *first
            name: b
            rpm: 6
    """)
    assert [(endpoint.name, endpoint.rpm) for endpoint in settings.pool.endpoints] == [("a", 5), ("b", 6)]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load("""
            version: 1
            endpoints:
              - name: a
                base_url: nowhere
                model: m
                api_key: ${POOL_KEY}
              - name: a
                base_url: http://h
                rpm: -1
            groups: {g: [z]}
            retry: {backoff: soon}
        """)
    assert [(error.line, error.field) for error in caught.value.errors] == [
        (5, "endpoints[0].base_url"),
        (7, "endpoints[0].api_key"),
        (8, "endpoints[1].name"),
        (8, "endpoints[1].model"),
        (10, "endpoints[1].rpm"),
        (11, "groups.g[0]"),
        (12, "retry.backoff"),
    ]
    text = str(caught.value)
    assert text.startswith("7 problems in pool.yaml:\n  pool.yaml:5: ")
    assert text.count("\n") == 7
    assert (caught.value.line, caught.value.field) == (5, "endpoints[0].base_url")


def test_mistakes_in_a_mapping_have_a_key_but_no_line() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"version": 1, "endpoints": [{"name": "a", "base_url": "http://h", "model": 3}]})
    assert str(caught.value).startswith("endpoints[0].model: not a text (given: 3)")


def test_it_is_a_config_error_and_can_be_pickled(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load("version: 2\nzzz: 1\n")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert [error.line for error in again.errors] == [1, 1, 2]


def test_characters_written_as_json_writes_them_are_read() -> None:
    assert read_document(json.dumps({"name": "\U0001f600 ü"}), file="x.yaml").data == {"name": "\U0001f600 ü"}
