import logging
import re
from email.message import Message
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.core.slo import SLO
from agentsched.workflow import wire
from agentsched.workflow.frame import Frame, enter_frame, leave_frame
from agentsched.workflow.inner import InnerScope
from agentsched.workflow.scope import Run
from agentsched.workflow.wire import (
    MAX_BAGGAGE_BYTES,
    MAX_MEMBERS,
    MAX_NAME_CHARS,
    MIN_REMAINING_S,
    Arrival,
    environment_arrival,
    propagated_env,
    propagated_headers,
    read_headers,
)

Clock = Any  # tests/conftest.py: VirtualClock

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
names = st.text(min_size=1, max_size=200)


def cleaned(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name[:MAX_NAME_CHARS])


class TestRoundTrip:
    @given(
        workflow=names,
        step=st.none() | names.filter(str.strip),
        tenant=names,
        priority=st.integers(-8, 8),
        deadline_s=st.none() | st.floats(0.01, 1e6),
        elapsed_s=st.floats(0.0, 1e4),
    )
    def test_what_is_sent_arrives(
        self,
        workflow: str,
        step: str | None,
        tenant: str,
        priority: int,
        deadline_s: float | None,
        elapsed_s: float,
    ) -> None:
        now = [0.0]
        run = Run(workflow, SLO(deadline_s, priority=priority, tenant=tenant), clock=lambda: now[0])
        now[0] = elapsed_s
        token = enter_frame(Frame(run=run, step=step))
        headers = propagated_headers(run)
        leave_frame(token)
        assert headers["baggage"].isascii()
        assert len(headers["baggage"]) <= MAX_BAGGAGE_BYTES
        arrival = read_headers(headers)
        assert arrival is not None
        assert arrival.remaining_s == (
            None if deadline_s is None else pytest.approx(max(deadline_s - elapsed_s, MIN_REMAINING_S), abs=6e-4)
        )
        assert arrival.run_id == run.run_id
        assert (arrival.workflow, arrival.step) == (cleaned(workflow), cleaned(step) if step else None)
        assert (arrival.tenant, arrival.priority) == (cleaned(tenant), priority or None)
        assert arrival.trace_id == run.trace_id != ""

    def test_the_tightest_scope_counts(self, clock: Clock) -> None:
        run = Run("answer", SLO("20s"))
        token = enter_frame(Frame(run=run, inner=InnerScope(run, 5.0)))
        clock.advance(1.0)
        headers = propagated_headers(run)
        leave_frame(token)
        assert "agentsched.remaining_s=4.000" in headers["baggage"]


class TestSending:
    def test_outside_a_run_nothing_is_added(self) -> None:
        headers = {"accept": "*/*"}
        made = propagated_headers(None, headers)
        assert made == headers
        assert made is not headers
        assert propagated_headers(None) == {}

    def test_entries_of_others_stay_and_ours_are_replaced(self, clock: Clock) -> None:
        run = Run("answer", SLO("20s"))
        before = {"Baggage": "user=ann;ttl=3, agentsched.run=old ,agentsched.remaining_s=99,flag", "X": "1"}
        made = propagated_headers(run, before)
        assert set(made) == {"Baggage", "X", "traceparent"}
        assert made["Baggage"].startswith("user=ann;ttl=3,flag,agentsched.remaining_s=20.000,")
        assert made["Baggage"].count("agentsched.run=") == 1
        assert before["X"] == "1"
        assert "old" in before["Baggage"]

    def test_a_trace_is_begun_in_the_right_format_and_kept_for_the_whole_run(self) -> None:
        parent = Run("answer", SLO())
        child = Run("tool", SLO(), parent=parent)
        made = [
            propagated_headers(run)["traceparent"] for run in (child, child, parent, Run("b", SLO(), parent=parent))
        ]
        assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", each) for each in made)
        assert len({each.split("-")[1] for each in made}) == 1
        assert len({each.split("-")[2] for each in made}) == 4

    def test_a_trace_that_is_there_stays(self) -> None:
        made = propagated_headers(Run("answer", SLO()), {"TraceParent": TRACEPARENT})
        assert made["TraceParent"] == TRACEPARENT
        assert "traceparent" not in made

    @pytest.mark.parametrize(
        "others", [[f"k{i}=v" for i in range(100)], [f"k{i}={'v' * 1000}" for i in range(20)]], ids=["many", "long"]
    )
    def test_a_header_that_would_be_too_large_loses_the_last_entries_of_others(self, others: list[str]) -> None:
        run = Run("답" * 500, SLO("20s", tenant="답" * 500))
        made = propagated_headers(run, {"baggage": ",".join(others)})["baggage"]
        kept = [member for member in made.split(",") if not member.startswith("agentsched.")]
        assert len(made.split(",")) <= MAX_MEMBERS
        assert len(made) <= MAX_BAGGAGE_BYTES
        assert kept == others[: len(kept)] != []
        arrival = read_headers({"baggage": made})
        assert arrival is not None
        assert arrival.workflow == "답" * MAX_NAME_CHARS

    def test_a_budget_that_is_spent_is_sent_as_zero(self, clock: Clock) -> None:
        run = Run("answer", SLO("2s"))
        clock.advance(3.0)
        made = propagated_headers(run)
        assert "agentsched.remaining_s=0.000" in made["baggage"]
        arrival = read_headers(made)
        assert arrival is not None
        assert arrival.remaining_s == MIN_REMAINING_S


class TestReading:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            [],
            {"baggage": ""},
            {"baggage": "user=ann"},
            {"traceparent": TRACEPARENT},
            {"baggage": ",,;=,= ,agentsched"},
        ],
    )
    def test_headers_that_say_nothing_are_no_run(self, headers: Any, caplog: pytest.LogCaptureFixture) -> None:
        assert read_headers(headers) is None
        assert caplog.text == ""

    def test_names_in_any_case_pairs_of_bytes_and_several_headers(self) -> None:
        pairs = [
            (b"BAGGAGE", b"agentsched.remaining_s = 4.5 ;p=1 , user=ann"),
            (b"host", b"x"),
            (b"Baggage", b"agentsched.step=write%20up"),
            (b"TRACEPARENT", TRACEPARENT.encode()),
        ]
        assert read_headers(pairs) == Arrival(remaining_s=4.5, step="write up", trace_id=TRACE)

    def test_headers_of_the_standard_library(self) -> None:
        message = Message()
        message["Baggage"] = "agentsched.run=r1"
        assert read_headers(message) == Arrival(run_id="r1")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("text", "remaining_s"),
        [("-3", MIN_REMAINING_S), ("0", MIN_REMAINING_S), ("-0.0", MIN_REMAINING_S), ("1e3", 1000.0)],
    )
    def test_an_odd_number_of_seconds_is_made_the_best_of(
        self, text: str, remaining_s: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert read_headers({"baggage": f"agentsched.remaining_s={text}"}) == Arrival(remaining_s=remaining_s)
        assert caplog.text == ""

    @pytest.mark.parametrize(
        "member",
        [
            "agentsched.remaining_s=nan",
            "agentsched.remaining_s=inf",
            "agentsched.remaining_s=-inf",
            "agentsched.remaining_s=1e300",
            "agentsched.remaining_s=",
            "agentsched.remaining_s=5s",
            "agentsched.remaining_s",
            "agentsched.priority=9",
            "agentsched.priority=1.5",
            "agentsched.priority=%D9%A1",
            "agentsched.run=a%20b",
            "agentsched.run=" + "a" * 129,
        ],
    )
    def test_what_cannot_be_used_is_left_out_with_one_warning(
        self, member: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "agentsched"):
            assert read_headers({"baggage": f"agentsched.workflow=answer,{member}"}) == Arrival(workflow="answer")
        (record,) = caplog.records
        assert member.partition("=")[0].removeprefix("agentsched.") in record.getMessage()
        assert len(record.getMessage()) < 200

    @pytest.mark.parametrize(
        "traceparent",
        [
            "00-" + "0" * 32 + "-b7ad6b7169203331-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"ff-{TRACE}-b7ad6b7169203331-01",
            f"00-{TRACE.upper()}-b7ad6b7169203331-01",
            f"00-{TRACE}-b7ad6b7169203331",
            "nonsense",
        ],
    )
    def test_a_malformed_trace_is_left_out(self, traceparent: str, caplog: pytest.LogCaptureFixture) -> None:
        headers = {"baggage": "agentsched.run=r1", "traceparent": traceparent}
        assert read_headers(headers) == Arrival(run_id="r1")
        assert "traceparent" in caplog.text

    def test_names_are_made_fit_for_logs(self) -> None:
        arrival = read_headers({"baggage": "agentsched.workflow=a%0Ab%1B,agentsched.tenant=" + "t" * 500})
        assert arrival == Arrival(workflow="a?b?", tenant="t" * MAX_NAME_CHARS)

    @given(baggage=st.text(), traceparent=st.text())
    def test_nothing_raises(self, baggage: str, traceparent: str) -> None:
        read_headers({"baggage": baggage, "traceparent": traceparent})
        read_headers({"baggage": f"agentsched.{baggage}", "traceparent": traceparent})

    @given(value=st.binary(), name=st.sampled_from(["remaining_s", "run", "priority", "step", "tenant", "workflow"]))
    def test_no_value_raises(self, value: bytes, name: str) -> None:
        arrival = read_headers([(b"baggage", b"agentsched." + name.encode() + b"=" + value)])
        assert arrival is None or arrival.remaining_s is None or arrival.remaining_s > 0


class TestEnvironment:
    def test_a_subprocess_is_told_in_its_environment(self, clock: Clock) -> None:
        run = Run("answer", SLO("20s", tenant="acme"))
        made = propagated_env(run, {"PATH": "/bin"})
        assert set(made) == {"PATH", "AGENTSCHED_BAGGAGE", "TRACEPARENT"}
        assert made["TRACEPARENT"].split("-")[1] == run.trace_id
        assert propagated_env(None, {"PATH": "/bin"}) == {"PATH": "/bin"}
        assert "PATH" in propagated_env(run)

    def test_it_counts_from_its_arrival(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENTSCHED_BAGGAGE", "agentsched.remaining_s=20,agentsched.run=r1")
        monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
        monkeypatch.setattr(wire, "_ARRIVED_AT", 100.0)
        assert environment_arrival(105.0) == Arrival(remaining_s=15.0, run_id="r1", trace_id=TRACE)
        late = environment_arrival(205.0)
        assert late is not None
        assert late.remaining_s == MIN_REMAINING_S

    @pytest.mark.parametrize("value", [None, "", "user=ann"])
    def test_an_environment_without_entries_says_nothing(
        self, monkeypatch: pytest.MonkeyPatch, value: str | None
    ) -> None:
        monkeypatch.delenv("AGENTSCHED_BAGGAGE", raising=False)
        if value is not None:
            monkeypatch.setenv("AGENTSCHED_BAGGAGE", value)
        assert environment_arrival(0.0) is None

    def test_it_warns_once_however_many_runs_look(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("AGENTSCHED_BAGGAGE", "agentsched.remaining_s=soon,agentsched.run=r-warn-once")
        for _ in range(3):
            assert environment_arrival(0.0) == Arrival(run_id="r-warn-once")
        assert len(caplog.records) == 1
