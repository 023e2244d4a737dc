"""What was recorded is read back as it was, to the last bit; what cannot be read is refused by name and line."""

import json
import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.call import Failure, FailureKind, ModelCall, Usage
from agentsched.core.forecast import QuantileForecast
from agentsched.errors import ConfigError
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.policy.shortest_completion import ShortestExpectedCompletion
from agentsched.scheduler.events import AttemptFailed, CallArrived, ForecastsReplaced, ReviewDue
from agentsched.scheduler.recording import decode, encode, encode_line, first_difference, read_lines
from agentsched.scheduler.scheduler import Scheduler
from tests.scheduler.bench import Bench, pool_of


def again(value):
    """Through text and back."""
    return decode(json.loads(json.dumps(encode(value))))


def fresh(*names: str) -> Scheduler:
    return Scheduler(pool_of(*names), ShortestExpectedCompletion(), EmpiricalLengths(), EmpiricalRemainders())


@given(st.floats(allow_nan=False), st.text(), st.frozensets(st.sampled_from(["tools", "vision", "n"])))
def test_a_call_survives(seconds, text, needs):
    call = ModelCall(
        "c", "r", text, text, 3, "m", needs=needs, deadline_at=seconds, tool_s=seconds, parents=("a", text)
    )
    assert again(CallArrived(call)) == CallArrived(call)


def test_enumerations_survive():
    event = AttemptFailed("c.1", Failure(FailureKind.SERVER, "why", 503, 1.5))
    assert again(event) == event
    assert again(event).failure.kind is FailureKind.SERVER


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=50))
def test_forecasts_survive_to_the_last_bit(samples):
    made = QuantileForecast.from_samples(samples)
    event = ForecastsReplaced(
        EmpiricalLengths({("", "", ""): made, ("w", "s", "m"): made.scale(1 / 3)}),
        EmpiricalRemainders({("w", "s"): made.shift(math.pi)}),
    )
    read = again(event)
    for old, new in ((event.lengths, read.lengths), (event.remainders, read.remainders)):
        assert list(old.groups) == list(new.groups)
        for key in old.groups:
            np.testing.assert_array_equal(old.groups[key].values, new.groups[key].values)


def test_no_remembered_value_is_recorded():
    made = QuantileForecast.constant(3.0)
    assert made.mean == 3.0
    assert set(encode(made)) == {"!", "values"}
    assert [f.name for f in fields(made) if f.init] == ["values"]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"!": "Subprocess", "args": "rm"}, "unknown class in a recording .given: 'Subprocess'"),
        ({"!": ["list"]}, "unknown class"),
        ({"!complex": "00"}, "unknown tag in a recording .given: '!complex'"),
        ({}, "unknown tag"),
        ({"!enum": ["Colour", "red"]}, "unknown class in a recording .given: 'Colour'"),
        ({"!": "ReviewDue", "call": "c"}, "another ReviewDue in a recording"),
    ],
)
def test_what_is_unknown_is_refused(value, what):
    with pytest.raises(ConfigError, match=what):
        decode(value)


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", '{"now": 1, "event": {"!": "Nobody"}, "actions": []}'])
def test_a_line_that_cannot_be_read_is_named(line):
    good = encode_line(ReviewDue("c"), 1.0, [])
    with pytest.raises(ConfigError, match=r"line 3"):
        list(read_lines([good, good, line]))


def test_what_has_no_recorded_form_is_refused():
    with pytest.raises(TypeError, match="object has no recorded form"):
        encode(object())


def test_the_first_difference_is_told():
    bench = Bench("a", "b", lengths=EmpiricalLengths())
    bench.finish(bench.call(10.0), 30)
    bench.call(10.0)
    lines = [encode_line(*entry) for entry in bench.history]
    assert first_difference(lines, fresh("a", "b")) is None
    said = first_difference(lines, fresh("a", "c", "b"))
    assert said is not None
    assert said.startswith("line 1: CallArrived at 1000.0: ")


def test_an_unmeasurably_small_difference_is_a_difference():
    bench = Bench("a", lengths=EmpiricalLengths())
    bench.call(10.0)
    event, now, actions = bench.history[0]
    other = CallArrived(event.call)
    line = encode_line(other, np.nextafter(now, 0.0).item(), actions)
    assert first_difference([line], fresh("a")) is not None


def test_usage_without_counts_survives():
    assert again(Usage()) == Usage()
