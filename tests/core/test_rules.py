import pytest

from agentsched.core.rules import BreakerRules, HedgeRules, RetryRules, Rules, StreamRules
from agentsched.errors import ConfigError


@pytest.mark.parametrize(
    ("rules", "field", "value"),
    [
        (RetryRules, "retry.max_attempts", 0),
        (RetryRules, "retry.max_attempts", 1.5),
        (RetryRules, "retry.max_attempts", True),
        (RetryRules, "retry.budget", -0.1),
        (RetryRules, "retry.backoff_s", 0),
        (RetryRules, "retry.max_wait_s", float("nan")),
        (BreakerRules, "breaker.failures", 0),
        (BreakerRules, "breaker.failures", 2.5),
        (BreakerRules, "breaker.cooldown_s", "2s"),
        (StreamRules, "stream.connect_timeout", 0),
        (StreamRules, "stream.first_token_timeout", -1),
        (StreamRules, "stream.idle_timeout", float("inf")),
        (HedgeRules, "hedge.margin_s", 0),
        (HedgeRules, "hedge.min_gain", -1),
    ],
)
def test_bad_rules_are_refused_by_name(rules, field, value):
    with pytest.raises(ConfigError) as error:
        rules(**{field.split(".")[1]: value})
    assert error.value.field == field
    assert error.value.given is value


def test_what_may_be_zero():
    RetryRules(budget=0, reserve=0)
    HedgeRules(max_extra=0, reserve=0, min_gain=0)
    StreamRules(first_token_timeout=None)


def test_the_defaults_are_usable():
    assert Rules() == Rules(RetryRules(), BreakerRules(), StreamRules(), HedgeRules())
