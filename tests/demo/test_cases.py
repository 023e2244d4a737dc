"""The workload, and that the agent really makes the calls which the plan counts on."""

from typing import Any

import numpy as np
import pytest
from langchain_openai import ChatOpenAI

from agentsched.demo.cases import Case, draw_workload, warm_up_case
from agentsched.demo.graph import build_agent
from agentsched.demo.pool import FASTEST, MODEL, PROFILES, demo_pool
from agentsched.emulator.config import EmulatorConfig
from agentsched.emulator.pool import Emulator


def test_a_seed_is_a_workload() -> None:
    assert draw_workload(3, 20, 2.0) == draw_workload(3, 20, 2.0)
    assert draw_workload(3, 20, 2.0).cases != draw_workload(4, 20, 2.0).cases


def test_every_seed_arrives_at_the_given_rate() -> None:
    for seed in range(20):
        arrivals = draw_workload(seed, 90, 3.0).arrivals_s
        assert list(arrivals) == sorted(arrivals)
        assert arrivals[-1] == pytest.approx(30.0, rel=0.15)


def test_cases_and_gaps_do_not_depend_on_the_rate() -> None:
    slow, fast = draw_workload(0, 30, 1.0), draw_workload(0, 30, 4.0)
    assert slow.cases == fast.cases
    assert np.allclose(np.array(slow.arrivals_s), 4 * np.array(fast.arrivals_s))
    assert slow.arrivals_s[0] == 0.0


def test_arrivals_are_a_poisson_process() -> None:
    gaps = np.diff(draw_workload(1, 2000, 5.0).arrivals_s)
    assert np.mean(gaps) == pytest.approx(0.2, rel=0.1)
    assert np.std(gaps) == pytest.approx(0.2, rel=0.15)


def test_cases_differ_in_breadth_and_depth() -> None:
    cases = draw_workload(0, 200, 1.0).cases
    assert {len(case.levels[1]) for case in cases} == {2, 3, 4, 5}
    assert {(len(case.levels) - 2) // 2 for case in cases} == {1, 2, 3}


@pytest.fixture
async def requests() -> Any:
    """An agent on an emulated endpoint 200 times as fast as real, and what that endpoint has counted."""
    whole = demo_pool()
    fastest = next(endpoint for endpoint in whole.endpoints if endpoint.name == FASTEST)
    async with Emulator(EmulatorConfig(endpoints=(fastest,), time_scale=200)) as pool:
        client = ChatOpenAI(base_url=pool.url(FASTEST), model=MODEL, api_key="none")  # type: ignore[arg-type]
        made = 0

        def next_model() -> ChatOpenAI:
            nonlocal made
            made += 1
            return client

        agent = build_agent(next_model)

        async def calls_of(case: Case) -> tuple[str, int, int, int]:
            nonlocal made
            made, before = 0, pool.load(FASTEST)
            answer = await agent(case)
            after = pool.load(FASTEST)
            return answer, made, after.prompt_tokens - before.prompt_tokens, after.output_tokens - before.output_tokens

        yield calls_of


async def test_the_agent_makes_the_calls_that_the_case_foresees(requests: Any) -> None:
    deepest = max(draw_workload(0, 40, 1.0).cases, key=lambda case: len(case.levels))
    assert len(deepest.levels) >= 6  # it loops at least twice
    for case in (draw_workload(0, 1, 1.0).cases[0], deepest):
        answer, calls, read, written = await requests(case)
        foreseen = [call for level in case.levels for call in level]
        assert calls == case.calls == len(foreseen)
        assert written == sum(tokens for _, tokens in foreseen)
        assert read == pytest.approx(sum(tokens for tokens, _ in foreseen), rel=0.05)
        assert len(answer) > 50


async def test_the_same_case_gets_the_same_answer(requests: Any) -> None:
    case = draw_workload(0, 1, 1.0).cases[0]
    assert (await requests(case))[0] == (await requests(case))[0]


async def test_the_warm_up_touches_every_endpoint_of_a_round_robin(requests: Any) -> None:
    _, calls, _, written = await requests(warm_up_case())
    assert calls >= len(PROFILES)
    assert written < 60
