import pytest

from agentsched.core.endpoint import CAPABILITIES, Endpoint, Group, Pool, Price, Profile
from agentsched.errors import ConfigError

GOOD = {"name": "a", "base_url": "http://h.test:8000/v1", "model": "m"}


def made(**fields):
    return Endpoint(**(GOOD | fields))


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("base_url", "h.test/v1", "http(s)://host"),
        ("base_url", "ftp://h.test", "http(s)://host"),
        ("base_url", "http://", "http(s)://host"),
        ("base_url", "http://[oops/v1", "http(s)://host"),
        ("base_url", "http://h.test:99999/v1", "http(s)://host"),
        ("base_url", "http://h.test:port/v1", "http(s)://host"),
        ("base_url", "", "a non-empty text"),
        ("base_url", None, "a non-empty text"),
        ("model", " ", "a non-empty text"),
        ("kind", 5, "a non-empty text"),
        ("max_concurrency", 0, "a positive whole number"),
        ("max_concurrency", 2.5, "a positive whole number"),
        ("max_concurrency", True, "a positive whole number"),
        ("rpm", -1, "a positive number"),
        ("rpm", float("nan"), "a positive number"),
        ("tpm", "many", "a positive number"),
        ("context_tokens", 0, "a positive whole number"),
        ("quality", 1.5, "from 0 to 1"),
        ("quality", float("nan"), "from 0 to 1"),
        ("capabilities", frozenset({"magic"}), ", ".join(sorted(CAPABILITIES))),
        ("capabilities", ["tools"], "a frozenset of"),
    ],
)
def test_bad_values_are_refused_by_name(field, value, allowed):
    with pytest.raises(ConfigError) as error:
        made(**{field: value})
    assert error.value.field == f"endpoint 'a'.{field}"
    assert error.value.given == value or value != value
    assert allowed in str(error.value)


@pytest.mark.parametrize(
    "url", ["http://me:secret@h.test/v1", "http://h.test/v1?key=secret", "http://h.test/v1#secret"]
)
def test_an_address_holds_no_secret_and_none_is_shown(url):
    with pytest.raises(ConfigError) as error:
        made(base_url=url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("key", ["sk-secret\n", "sk secret", "Bearer\tsecret", "sk-secrét", "secret\x7f"])
def test_a_key_that_no_header_may_hold_is_refused_unseen(key):
    """A line break at the end of a key read from a file would otherwise break every request."""
    with pytest.raises(ConfigError) as error:
        made(api_key=key)
    assert error.value.field == "endpoint 'a'.api_key"
    assert "secr" not in str(error.value)


def test_the_key_is_not_shown():
    assert "secret" not in repr(made(api_key="sk-secret"))
    assert "secret" not in repr(Pool([made(api_key="sk-secret")]))


def test_capabilities():
    plain = made()
    assert plain.can(frozenset({"tools", "stream", "json_schema"}))
    assert not plain.can(frozenset({"vision"}))
    assert not plain.can(frozenset({"responses"}))
    assert made(capabilities=frozenset({"vision"})).can(frozenset({"vision"}))
    assert not made(capabilities=frozenset({"vision"})).can(frozenset({"vision", "tools"}))
    assert made(capabilities=frozenset()).can(frozenset())


@pytest.mark.parametrize(
    ("fields", "takes"),
    [
        ({}, False),
        ({"kind": "sglang"}, False),
        ({"kind": "vllm"}, True),
        ({"kind": "vllm", "continuation": "none"}, False),
        ({"kind": "vllm", "capabilities": frozenset({"completions"})}, False),
        ({"kind": "sglang", "capabilities": frozenset({"completions", "token_ids"})}, True),
    ],
)
def test_who_is_asked_for_token_ids(fields, takes):
    assert made(**fields).takes_token_ids is takes


@pytest.mark.parametrize(
    ("field", "value"),
    [("tpot_s", 0.0), ("prefill_tokens_per_s", 0), ("ttft_s", -1), ("tpot_per_batch_s", float("nan")), ("tpot_s", "x")],
)
def test_a_bad_profile_is_refused_by_name(field, value):
    with pytest.raises(ConfigError) as error:
        Profile(**{field: value})
    assert error.value.field == f"profile.{field}"


def test_a_profile_may_be_free_of_some_times():
    Profile(ttft_s=0.0, tpot_per_batch_s=0.0)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True])
def test_a_bad_price_is_refused_by_name(value):
    with pytest.raises(ConfigError) as error:
        Price(output=value)
    assert error.value.field == "price.output"


def test_prices_are_per_million_tokens():
    assert Price(2.0, 10.0).cost_usd(500_000, 100_000) == pytest.approx(2.0)


def test_values_are_hashable():
    assert len({made(), made(), made(name="b")}) == 2


# -- pools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoints", "groups", "field", "text"),
    [
        ([], {}, "endpoints", "at least one"),
        ([made(), made()], {}, "endpoints.name", "given: 'a'"),
        ([made()], {"g": ["b"]}, "groups['g']", "given: 'b'"),
        ([made()], {"g": []}, "groups['g']", "names no endpoint"),
    ],
)
def test_bad_pools_are_refused_by_name(endpoints, groups, field, text):
    with pytest.raises(ConfigError) as error:
        Pool(endpoints, groups)
    assert error.value.field == field
    assert text in str(error.value)


def test_who_serves():
    pool = Pool(
        [made(), made(name="b", model="n", quality=0.3), made(name="c", model="n", quality=0.9)],
        {"good": Group(("a", "b", "c"), min_quality=0.5), "n": ["b"], "*": ["c"]},
    )
    assert pool.serving("m") == (0,)
    assert pool.serving("good") == (0, 2)
    assert pool.serving("n") == (1,)
    assert pool.serving("what else") == (2,)
    assert Pool([made()]).serving("what else") == ()


def test_a_group_is_nobody_if_all_are_too_bad():
    assert Pool([made(quality=0.1)], {"m": Group(("a",), 0.5)}).serving("m") == ()
