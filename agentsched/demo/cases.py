"""The questions that the agent is asked, and when: drawn once from a seed, the same for every arm of the comparison.

The models are emulated, so a case carries what they will answer: directives in its material say how long an answer is
and which words it begins with (see `agentsched.emulator.calls`). The agent does not look at them; it reads the answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from agentsched.emulator.words import count_tokens, identity_of, words

__all__ = ["SYSTEM_PROMPT", "Case", "Workload", "draw_workload", "warm_up_case"]

_TOPICS = ("market", "costs", "risks", "people", "timing", "law")

_FAN_OUT = (2, 3, 4, 5)
_FAN_OUT_SHARE = (0.2, 0.4, 0.25, 0.15)
_REJECTIONS = (0, 1, 2)
_REJECTION_SHARE = (0.7, 0.25, 0.05)

_PROMPT_TOKENS = {"plan": 350, "research": 700, "review": 150, "write": 300}
"""Median tokens of material per step; the system prompt and the answers of earlier steps come on top."""
_ANSWER_TOKENS = {"plan": 30.0, "research": 60.0, "review": 18.0, "write": 90.0}
"""Median tokens per answer."""
_PROMPT_SIGMA, _ANSWER_SIGMA, _RUN_SIGMA = 0.25, 0.4, 0.25
"""Lognormal spreads: of material, of answers, and of a factor that all answers of one run share."""

SYSTEM_PROMPT = "You are one step of a research desk. " + "".join(words(identity_of("system prompt"), 240))
"""What every call begins with, so that prefix caches have something to find."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question.

    Attributes:
        number: its place in the workload.
        question: what is asked.
        material: what each step works on, by ``plan``, ``research/<topic>/<round>``, ``review/<round>``, ``write``.
        levels: the (prompt tokens, answer tokens) of the calls that the agent will make: calls of one level side by
            side, the levels one after the other.
    """

    number: int
    question: str
    material: Mapping[str, str]
    levels: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def calls(self) -> int:
        """Model calls that the agent will make."""
        return sum(len(level) for level in self.levels)


@dataclass(frozen=True, slots=True)
class Workload:
    """Cases and the seconds at which they arrive, counted from the start; sorted."""

    cases: tuple[Case, ...]
    arrivals_s: tuple[float, ...]


def draw_workload(seed: int, count: int, rate_per_s: float) -> Workload:
    """Draw cases and a Poisson process of arrivals; cases do not depend on the rate.

    Args:
        seed: of everything.
        count: workflows.
        rate_per_s: mean workflows per second.
    """
    of_cases, of_arrivals = (np.random.default_rng((seed, part)) for part in (1, 2))
    cases = tuple(_draw_case(of_cases, seed, number) for number in range(count))
    # Given their number, the arrivals of a Poisson process are uniform: so every seed asks for the load it is said to.
    arrivals = np.sort(of_arrivals.uniform(0.0, count / rate_per_s, count))
    return Workload(cases, tuple(float(at) for at in arrivals - arrivals[0]))


def warm_up_case() -> Case:
    """A case of five short calls, one of them a stream: makes a process import and connect what it needs."""
    material = {
        "plan": "[[out=12]] [[say=TOPICS: costs, risks.]]",
        "research/costs/0": "[[out=4]]",
        "research/risks/0": "[[out=4]]",
        "review/0": "[[out=4]] [[say=ACCEPT.]]",
        "write": "[[out=8]]",
    }
    return Case(-1, "Warm-up", material, ())


def _draw_case(rng: Generator, seed: int, number: int) -> Case:
    maker = _Maker(rng, f"{seed}/{number}", float(np.exp(_RUN_SIGMA * rng.standard_normal())))
    topics = [str(topic) for topic in rng.permutation(_TOPICS)[: rng.choice(_FAN_OUT, p=_FAN_OUT_SHARE)]]
    rejections = int(rng.choice(_REJECTIONS, p=_REJECTION_SHARE))
    levels: list[tuple[tuple[int, int], ...]] = [
        (maker.call("plan", "plan", say="TOPICS: " + ", ".join(topics) + "."),)
    ]
    noted, asked = 0, topics
    for turn in range(rejections + 1):
        research = tuple(maker.call("research", f"research/{topic}/{turn}") for topic in asked)
        noted += sum(answer for _, answer in research)
        asked = [str(topic) for topic in rng.permutation(topics)[: rng.integers(1, 3)]]
        verdict = "ACCEPT." if turn == rejections else "REVISE: " + ", ".join(asked) + "."
        levels += [research, (maker.call("review", f"review/{turn}", say=verdict, on_top=noted),)]
    levels.append((maker.call("write", "write", on_top=noted),))
    return Case(number, f"Question {seed}-{number}", maker.material, tuple(levels))


class _Maker:
    """Draws a case's calls and keeps their material."""

    def __init__(self, rng: Generator, name: str, factor: float) -> None:
        self._rng, self._name, self._factor = rng, name, factor
        self.material: dict[str, str] = {}

    def call(self, step: str, key: str, *, say: str = "", on_top: int = 0) -> tuple[int, int]:
        """Draw one call's material; answers its (prompt tokens, answer tokens).

        Args:
            step: the kind of step.
            key: where the material goes.
            say: how the answer begins.
            on_top: tokens of earlier answers that the agent adds to the prompt.
        """
        around, after = self._rng.standard_normal(2)
        material = max(16, round(_PROMPT_TOKENS[step] * float(np.exp(_PROMPT_SIGMA * around))))
        answer = max(
            count_tokens(say) + 1, round(_ANSWER_TOKENS[step] * self._factor * float(np.exp(_ANSWER_SIGMA * after)))
        )
        text = "".join(words(identity_of("material", self._name, key), material))
        self.material[key] = f"{text} [[out={answer}]]" + (f" [[say={say}]]" if say else "")
        return count_tokens(SYSTEM_PROMPT) + material + on_top, answer
