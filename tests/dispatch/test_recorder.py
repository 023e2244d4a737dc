"""The recorder of events: what it cannot write is said, and does not end it."""

import logging

import numpy as np

from agentsched.core.forecast import QuantileForecast
from agentsched.dispatch.recorder import EventRecorder
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.scheduler.events import ForecastsReplaced, ReviewDue
from agentsched.scheduler.recording import read_lines


class OwnLengths:
    """A predictor that a user wrote."""

    def predict(self, call, history):
        return QuantileForecast.constant(np.e)


def test_a_predictor_that_no_file_can_hold_is_said_once_and_the_rest_is_written(tmp_path, caplog):
    recorder = EventRecorder(tmp_path / "events.jsonl")
    own = ForecastsReplaced(OwnLengths(), EmpiricalRemainders())
    with caplog.at_level(logging.WARNING, "agentsched"):
        for event in (ReviewDue("a"), own, own, ReviewDue("b")):
            recorder.take(event, 1.0, [])
        recorder.close()
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [event for event, _, _ in read_lines(lines)] == [ReviewDue("a"), ReviewDue("b")]
    (said,) = caplog.messages
    assert "cannot be replayed from here on" in said
