"""Random schedules of faults on virtual time: a pool with random rules and limits, a performer that misbehaves."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from agentsched.core.call import Failure, FailureKind, Handed, Usage, Way
from agentsched.core.endpoint import Endpoint, Price, Profile
from agentsched.core.forecast import QuantileForecast
from agentsched.core.protocols import Policy
from agentsched.core.rules import BreakerRules, HedgeRules, RetryRules, Rules, StreamRules
from agentsched.forecast.length import EmpiricalLengths
from agentsched.forecast.remainder import EmpiricalRemainders
from agentsched.policy.table import POLICIES
from agentsched.scheduler.actions import Start
from agentsched.scheduler.events import (
    AttemptFailed,
    AttemptFinished,
    EndpointLimited,
    Event,
    ForecastsReplaced,
    ReviewDue,
    TokensProgressed,
)
from tests.scheduler.bench import Bench, Seen, endpoint

__all__ = ["Schedule"]

_FAILURES = [
    FailureKind.CONNECT,
    FailureKind.RESET,
    FailureKind.STALE,
    FailureKind.MALFORMED,
    FailureKind.IN_BAND,
    FailureKind.RATE_LIMITED,
    FailureKind.SERVER,
    FailureKind.CLIENT,
    FailureKind.DIVERGED,
]

_NO_DRAFT_TAKEN = frozenset({"client", "unstreamed", "malformed", "in_band", "diverged"})


class Schedule:
    """One seeded schedule; `run` plays it to its end and checks what must hold for every one."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.steps = np.random.default_rng([seed, 1])  # of what is optional: the rest of a schedule is as without
        self.rules = Rules(
            retry=RetryRules(
                max_attempts=int(rng.integers(1, 6)),
                budget=float(rng.choice([0.0, 0.2, 1.0])),
                reserve=float(rng.choice([0.0, 3.0, 20.0])),
                backoff_s=float(rng.uniform(0.01, 1.0)),
                max_wait_s=float(rng.uniform(1.0, 60.0)),
            ),
            breaker=BreakerRules(failures=int(rng.integers(1, 6)), cooldown_s=float(rng.uniform(0.1, 5.0))),
            stream=StreamRules(
                first_token_timeout=float(rng.uniform(0.2, 5.0)) if rng.random() < 0.3 else None,
                idle_timeout=float(rng.uniform(0.5, 10.0)),
                upgrade=bool(rng.random() < 0.8),
                upgrade_from_s=0.0,
                continuation=bool(rng.random() < 0.8),
            ),
            hedge=HedgeRules(
                max_extra=float(rng.choice([0.0, 0.05, 1.0])),
                reserve=float(rng.choice([0.0, 2.0, 50.0])),
                max_moves=float(rng.choice([0.0, 0.01, 1.0])),
                max_waste=float(rng.choice([0.0, 0.1, 1.0])),
            ),
        )
        policy: Policy = POLICIES[str(rng.choice(sorted(POLICIES)))]()
        self.fault_share = float(rng.choice([0.0, 0.1, 0.5, 0.9]))
        self.cap_usd = float(rng.uniform(0.001, 0.1)) if rng.random() < 0.3 else None
        self.bench = Bench(
            *(self._endpoint(f"e{k}") for k in range(rng.integers(1, 6))),
            rules=self.rules,
            policy=policy,
            lengths=EmpiricalLengths(),
            world=self._world,
            late_s=lambda: float(rng.choice([0.0, 0.0, 0.01, 0.5])),
        )

    def _endpoint(self, name: str) -> Endpoint:
        rng = self.rng

        def sometimes(value: float) -> float | None:
            return value if rng.random() < 0.3 else None

        slots = sometimes(int(rng.integers(1, 5)))
        return endpoint(
            name,
            profile=Profile(ttft_s=float(rng.uniform(0.05, 1.0)), tpot_s=float(rng.uniform(0.005, 0.05))),
            max_concurrency=None if slots is None else int(slots),
            rpm=sometimes(float(rng.integers(2, 60))),
            tpm=sometimes(float(rng.integers(500, 50_000))),
            price=Price(0.5, 20.0),
            quality=float(rng.choice([0.5, 1.0])),
            context_tokens=5000 if rng.random() < 0.2 else None,
            kind=str(rng.choice(["openai", "vllm"])),
            capabilities=frozenset({"completions"}) if rng.random() < 0.1 else None,
        )

    # -- the world -----------------------------------------------------------------------------------------------------

    def _world(self, start: Start) -> Iterator[tuple[float, Event]]:
        """The life of one attempt: silence, an answer, a failure before or in the middle of it."""
        rng, attempt_id = self.rng, start.attempt_id
        stream = start.stream
        slow = 10.0 if rng.random() < 0.2 else 1.0
        at, faulty = float(rng.exponential(0.4)), rng.random() < self.fault_share
        if faulty and rng.random() < 0.3:
            return
        if rng.random() < 0.1:
            left = float(rng.choice([0.0, 5.0]))
            yield at, EndpointLimited(start.endpoint, left, float(rng.uniform(0.0, 20.0)))
        tokens = int(rng.integers(0, 60))
        told = range(1, tokens + 1, 7) if stream else ()
        cut = rng.integers(0, len(told) + 1) if faulty else len(told) + 1
        paused = False
        for k, count in enumerate(told):
            if k >= cut:
                break
            paused = bool(rng.random() < 0.1) and self.bench.calls[start.call_id].call.stream
            repeats = start.way is not None and k < 2 and rng.random() < 0.3
            handed = Handed.NOTHING if repeats else Handed(rng.choice(["nothing", "text", "other"], p=[0.1, 0.7, 0.2]))
            yield at, TokensProgressed(attempt_id, count, paused, handed, 0.0 if paused else float(rng.uniform(0, 0.1)))
            at += float(rng.exponential(2.0 if paused else 0.2 * slow))
        if not faulty:
            output = None if rng.random() < 0.2 else tokens
            yield at, AttemptFinished(attempt_id, Usage(None if output is None else 100, output))
        elif stream and cut == 0 and not self.bench.calls[start.call_id].call.stream and rng.random() < 0.3:
            yield at, AttemptFailed(attempt_id, Failure(FailureKind.UNSTREAMED, "by chance", 422))
        elif rng.random() < 0.8:
            yield at, AttemptFailed(attempt_id, self._failure())

    def _failure(self) -> Failure:
        rng = self.rng
        kind = _FAILURES[rng.integers(len(_FAILURES))]
        retry_after = float(rng.choice([0.0, 0.5, 5.0, 100.0])) if rng.random() < 0.5 else None
        limits = kind in (FailureKind.RATE_LIMITED, FailureKind.SERVER)
        status = int(rng.choice([400, 401, 422])) if kind is FailureKind.CLIENT else None
        return Failure(kind, "by chance", status, retry_after if limits else None)

    # -- the play ------------------------------------------------------------------------------------------------------

    def run(self, calls: int = 25) -> None:
        """Play it, then check the whole."""
        rng, bench = self.rng, self.bench
        for run_id in ("r0", "r1"):
            deadline_s = float(self.steps.uniform(1.0, 20.0)) if self.steps.random() < 0.5 else None
            bench.run(run_id, max_cost_usd=self.cap_usd, deadline_s=deadline_s)
        for k in range(calls):
            bench.advance(float(rng.exponential(0.3)))
            self._arrive(f"r{k % 2}")
            if rng.random() < 0.2:
                self._interfere()
        bench.end_run("r0", str(rng.choice(["ok", "cancelled"])))
        bench.advance(200.0)
        for seen in bench.calls.values():
            if seen.ended is None:
                assert seen.call.deadline_at is None, "a deadline was not kept"
                bench.cancel(seen)
        bench.end_run("r1", "late")
        self._check()

    def _arrive(self, run_id: str) -> Seen:
        rng = self.rng
        names = [e.name for e in self.bench.scheduler.pool.endpoints]
        return self.bench.call(
            float(rng.choice([0.0, 0.3, 2.0, 10.0, 60.0])) if rng.random() < 0.8 else None,
            run_id=run_id,
            stream=bool(rng.random() < 0.5),
            input_tokens=int(rng.integers(1, 6000)),
            max_tokens=int(rng.integers(1, 500)) if rng.random() < 0.5 else None,
            repeatable=bool(rng.random() < 0.9),
            pinned=str(rng.choice(names)) if rng.random() < 0.1 else None,
            patience_s=float(rng.uniform(0.1, 20.0)) if rng.random() < 0.2 else None,
            min_quality=0.8 if rng.random() < 0.1 else 0.0,
            prefix=int(rng.integers(0, 3)),
            upgradable=bool(rng.random() < 0.7),
            continuable=frozenset(way for way in Way if rng.random() < 0.5),
            **self._optional(),
        )

    def _optional(self) -> dict[str, Any]:
        """Some calls belong to one of a few visits of optional steps, or to one inside another."""
        rng = self.steps
        if rng.random() < 0.5:
            return {}
        outer = f"outer#{rng.integers(4)}"
        visits = (outer,) if rng.random() < 0.5 else (outer, f"inner#{rng.integers(8)}")
        return {"optional": visits, "remaining_calls": None if rng.random() < 0.3 else float(rng.integers(3))}

    def _interfere(self) -> None:
        """A caller goes away, new forecasts come, a review or an event comes that crossed an action."""
        rng, bench = self.rng, self.bench
        seen = list(bench.calls.values())[rng.integers(len(bench.calls))]
        what = rng.integers(4)
        if what == 0 and seen.ended is None:
            bench.cancel(seen)
        elif what == 1:
            lengths = EmpiricalLengths({("", "", ""): QuantileForecast.lognormal(float(rng.uniform(5, 300)), 0.5)})
            remainders = EmpiricalRemainders({("w", "s"): QuantileForecast.lognormal(float(rng.uniform(0.1, 5)), 0.5)})
            bench.feed(ForecastsReplaced(lengths, remainders))
        elif what == 2:
            bench.feed(ReviewDue(seen.call.call_id))
        elif what == 3 and seen.starts and seen.starts[-1].attempt_id not in seen.running:
            bench.feed(AttemptFinished(seen.starts[-1].attempt_id, Usage(1, 1)))

    def _check(self) -> None:
        bench, retry, hedge = self.bench, self.rules.retry, self.rules.hedge
        table, calls = bench.scheduler.ledger.table, bench.calls.values()
        assert bench.scheduler.idle
        assert bench.scheduler.ledger.runs == {}
        assert table.rows.in_flight.sum() == 0
        assert table.gates.waiting.sum() == 0
        assert table.rows.prefill_tokens.sum() == 0
        for seen in calls:
            self._check_call(seen)
        self._check_spending()
        self._check_optional()
        assert len(bench.observations) == sum(len(seen.starts) for seen in calls) == len(bench.decisions)
        retries = sum(d.why in ("retry", "left", "migrate", "degrade") for d in bench.decisions)
        hedges = sum(d.why == "hedge" for d in bench.decisions)
        free = sum(o.status in ("limited", "stale") for o in bench.observations) + sum(map(self._asked_anew, calls))
        assert hedges <= hedge.max_extra * len(calls) + hedge.reserve
        assert retries - free <= retry.budget * len(calls) + retry.reserve
        assert {closed.run.run_id for closed in bench.closed_runs} == {"r0", "r1"}
        assert sum(closed.attempts for closed in bench.closed_runs) == len(bench.observations)
        speeds = (table.speeds.pace_scale, table.rows.ttft_idle_s, table.rows.tpot_s, table.gates.service_s)
        for name, learned in zip(("pace_scale", "ttft_idle_s", "tpot_s", "service_s"), speeds, strict=True):
            values = np.asarray(learned)
            assert np.isfinite(values).all(), name
            assert (values > 0).all(), name

    def _check_optional(self) -> None:
        """A visit of an optional step is done, or left out as a whole: nothing of it is sent then."""
        skipped = [
            seen for seen in self.bench.calls.values() if seen.ended is not None and seen.ended.status == "skipped"
        ]
        told = {run.run.run_id: run.skipped for run in self.bench.closed_runs}
        for seen in skipped:
            assert seen.failed is not None
            visit = seen.failed.skipped
            assert visit in seen.call.optional
            assert visit.partition("#")[0] in told[seen.call.run_id]
            same = [one for one in self.bench.calls.values() if one.call.run_id == seen.call.run_id]
            assert not any(one.starts for one in same if visit in one.call.optional), f"{visit} was begun and left out"

    def _asked_anew(self, seen: Seen) -> int:
        """How often a server refused to stream a whole answer, or to go on with one, so that it was asked once more."""
        observed = [o for o in self.bench.observations if o.call_id == seen.call.call_id]
        goes_on = (
            {start.attempt_id for start in seen.starts if start.way is not None} if not seen.call.stream else set()
        )
        refused = sum(o.status in _NO_DRAFT_TAKEN for o in observed if o.attempt_id in goes_on)
        return refused + any(o.status == "unstreamed" for o in observed if o.attempt_id not in goes_on)

    def _check_spending(self) -> None:
        """What was sent twice on purpose stays within the caps, in calls and in tokens."""
        bench, hedge = self.bench, self.rules.hedge
        rescue, sizes = bench.scheduler._rescue, [seen.call.input_tokens + 200.0 for seen in bench.calls.values()]
        moves = sum(o.status == "slow" for o in bench.observations)
        assert moves <= (hedge.max_moves * len(sizes) + hedge.reserve if hedge.max_moves else 0)
        assert moves == rescue.moves.spent
        if not hedge.max_waste:
            assert rescue.waste.spent == 0.0
        assert rescue.waste.spent <= hedge.max_waste * 2.0 * sum(sizes) + hedge.reserve * 2.0 * max(sizes)

    def _check_call(self, seen: Seen) -> None:
        call, ended, retry = seen.call, seen.ended, self.rules.retry
        assert ended is not None, f"{call.call_id} never ended"
        assert not seen.running
        assert (ended.status == "ok") <= (seen.delivered is not None)
        assert ended.attempts == len(seen.starts)
        observed = [o for o in self.bench.observations if o.call_id == call.call_id]
        free = sum(o.status in ("limited", "stale") for o in observed) + self._asked_anew(seen)
        assert len(seen.starts) - free <= retry.max_attempts
        if not call.repeatable:
            assert all(o.status in ("connect", "limited") for o in observed[:-1])
        if not self.rules.stream.continuation or not call.repeatable or not (call.stream or call.upgradable):
            assert all(start.way is None for start in seen.starts)
        if not self.rules.stream.upgrade or not call.upgradable:
            assert all(start.stream is call.stream for start in seen.starts)
        if call.pinned is not None:
            assert set(seen.places) <= {call.pinned}
        if call.deadline_at is not None and ended.status != "ok":
            assert ended.ended_at <= call.deadline_at + 0.5, "no later than the latest review"
