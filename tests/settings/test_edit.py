"""Editing a file in place: the new values are there, and everything else is as the user wrote it."""

import difflib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agentsched.core.endpoint import Profile
from agentsched.errors import ConfigError
from agentsched.settings import load_settings
from agentsched.settings.edit import set_values, update_endpoints, write_safely

TEXT = """\
# my pool
version: 1   # the format

endpoints:
  # the first one
  - name: a  # short
    base_url: http://h/v1
    model: m
    profile: study-8b-a40  # guessed
    # a remark at the end of a

  - {name: b, base_url: http://h/v1, model: m}  # in one line
  - name: c
    base_url: http://h/v1
    model: m
    profile:
      ttft_s: 300ms   # measured in May
      tpot_s: 0.02

# what follows
groups:
  x: [a, b]
"""


def changed(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def test_a_name_becomes_a_mapping_in_its_place() -> None:
    edited = set_values(TEXT, {("endpoints", 0, "profile"): {"ttft_s": 0.25, "tpot_s": 0.01}}, file="f")
    assert changed(TEXT, edited) == [
        "-     profile: study-8b-a40  # guessed",
        "+     profile: {ttft_s: 0.25, tpot_s: 0.01}  # guessed",
    ]


def test_a_mapping_is_merged_key_by_key() -> None:
    figures = {"ttft_s": 0.25, "tpot_s": 0.01, "prefill_tokens_per_s": 900.0}
    edited = set_values(TEXT, {("endpoints", 2, "profile"): figures}, file="f")
    assert changed(TEXT, edited) == [
        "-       ttft_s: 300ms   # measured in May",
        "+       ttft_s: 0.25   # measured in May",
        "-       tpot_s: 0.02",
        "+       tpot_s: 0.01",
        "+       prefill_tokens_per_s: 900.0",
    ]


def test_a_new_key_goes_to_the_end_of_its_mapping() -> None:
    changes = {
        ("endpoints", 0, "capabilities"): ["stream", "tools"],
        ("endpoints", 1, "profile"): {"ttft_s": 0.5},
        ("endpoints", 2, "context_tokens"): 4096,
        ("groups", "y"): ["c"],
    }
    assert changed(TEXT, set_values(TEXT, changes, file="f")) == [
        "+     capabilities: [stream, tools]",
        "-   - {name: b, base_url: http://h/v1, model: m}  # in one line",
        "+   - {name: b, base_url: http://h/v1, model: m, profile: {ttft_s: 0.5}}  # in one line",
        "+     context_tokens: 4096",
        "+   y: [c]",
    ]


@pytest.mark.parametrize(
    ("text", "value", "edited"),
    [
        ("a: 1", 2, "a: 2"),
        ("a:", 2, "a: 2"),
        ("a:   # empty\nb: 1\n", 2, "a: 2   # empty\nb: 1\n"),
        ("{a: 1, b: 2,}", 5, "{a: 5, b: 2,}"),
        ("{b: 2, }", 5, "{b: 2, a: 5, }"),
        ("{}", 5, "{a: 5}"),
        ("b: 2", 5, "b: 2\na: 5"),
        ("b: 2\r\nc: 3\r\n", 5, "b: 2\r\nc: 3\r\na: 5\r\n"),
        ("a: 'x'  # y\n", "it's: #1", "a: 'it''s: #1'  # y\n"),
        ("b: |\n  text\n  more\n", 1, "b: |\n  text\n  more\na: 1\n"),
        ("a: [1,\n  2]  # two\nb: 1\n", [3], "a: [3]  # two\nb: 1\n"),
        ("\ufeffa: 1\n", 2, "\ufeffa: 2\n"),
        ("ü: é\na: 1\n", 2, "ü: é\na: 2\n"),
    ],
)
def test_layouts(text: str, value: int | str | list[int], edited: str) -> None:
    assert set_values(text, {("a",): value}, file="f") == edited


def test_an_alias_is_not_touched() -> None:
    text = "base: &p {ttft_s: 1}\na: {profile: *p}\nb: {profile: *p}\n"
    with pytest.raises(ConfigError, match=r"f:1: a\.profile\.ttft_s: is shared through a YAML alias"):
        set_values(text, {("a", "profile"): {"ttft_s": 2}}, file="f")
    with pytest.raises(ConfigError, match=r"a\.profile: is shared"):
        set_values(text, {("a", "profile"): 3}, file="f")


def test_a_merged_key_is_overridden_where_it_is_merged() -> None:
    text = "x: &d {rpm: 1}\na:\n  <<: *d\n  name: a\n"
    assert set_values(text, {("a", "rpm"): 2}, file="f") == "x: &d {rpm: 1}\na:\n  <<: *d\n  name: a\n  rpm: 2\n"


def test_a_place_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"f: endpoints\[9\]\.rpm: is not there"):
        set_values(TEXT, {("endpoints", 9, "rpm"): 1}, file="f")


numbers = st.floats(1e-4, 1e4) | st.integers(1, 10**6)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    index=st.integers(0, 2),
    figures=st.dictionaries(st.sampled_from(Profile.__slots__), numbers, min_size=1),
    tags=st.none() | st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), max_size=3),
)
def test_any_figures_can_be_written(index: int, figures: dict[str, float], tags: list[str] | None) -> None:
    changes: dict[tuple[str | int, ...], object] = {("endpoints", index, "profile"): figures}
    if tags is not None:
        changes["endpoints", index, "tags"] = tags
    edited = set_values(TEXT, changes, file="f")  # type: ignore[arg-type]  # it checks its own result
    comments = [line.partition("#")[2] for line in TEXT.splitlines() if "#" in line]
    assert all(comment in edited for comment in comments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pool.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_endpoints_are_updated_in_the_file_and_a_copy_is_kept(file: Path) -> None:
    file.chmod(0o640)
    backup = update_endpoints(load_settings(file), {"c": {"profile": {"ttft_s": 0.1}}, "b": {"context_tokens": 512}})
    pool = load_settings(file).pool
    assert (pool.endpoints[2].profile.ttft_s, pool.endpoints[1].context_tokens) == (0.1, 512)
    assert (backup, backup.read_text(encoding="utf-8")) == (file.with_name("pool.yaml.bak"), TEXT)
    assert [path.stat().st_mode & 0o777 for path in (file, backup)] == [0o640, 0o640]
    assert sorted(path.name for path in file.parent.iterdir()) == ["pool.yaml", "pool.yaml.bak"]


def test_a_link_is_followed(file: Path) -> None:
    link = file.with_name("link.yaml")
    link.symlink_to(file)
    update_endpoints(load_settings(link), {"b": {"context_tokens": 512}})
    assert link.is_symlink()
    assert load_settings(file).pool.endpoints[1].context_tokens == 512


def test_endpoints_are_found_by_name_when_the_file_was_changed_meanwhile(file: Path) -> None:
    settings = load_settings(file)
    text = TEXT.replace("  - name: a", "  - {name: z, base_url: http://h, model: m}\n  - name: a")
    file.write_text(text, encoding="utf-8")
    update_endpoints(settings, {"a": {"rpm": 5}})
    assert [endpoint.rpm for endpoint in load_settings(file).pool.endpoints] == [None, 5, None, None]
    with pytest.raises(ConfigError, match="not in the file any more"):
        update_endpoints(settings, {"gone": {"rpm": 5}})


def test_what_would_not_load_is_not_written(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"endpoints\[0\]\.rpm: out of range"):
        update_endpoints(load_settings(file), {"a": {"rpm": -5}})
    assert file.read_text(encoding="utf-8") == TEXT


def test_only_a_file_of_our_own_format_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="came from no file"):
        update_endpoints(
            load_settings({"version": 1, "endpoints": [{"name": "a", "base_url": "http://h", "model": "m"}]}), {}
        )
    path = tmp_path / "config.yaml"
    text = "model_list: [{model_name: a, litellm_params: {model: m, api_base: http://h}}]"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="LiteLLM configuration has no place for figures"):
        update_endpoints(load_settings(path), {"a": {"rpm": 1}})


def test_a_failed_write_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"pool\.yaml: cannot be written: No space left"):
        write_safely(file, "new")
    assert [path.name for path in file.parent.iterdir()] == ["pool.yaml"]
    assert file.read_text(encoding="utf-8") == TEXT
