"""GoodServe's migration: what a move costs, and what moving gains with and without asking whether it does."""

from collections.abc import Mapping
from math import inf

from agentsched.core.rules import HedgeRules, RetryRules, Rules
from agentsched.engine.hardware import MODELS
from agentsched.engine.profile import HardwareProfile
from agentsched.engine.profiles import load_profile
from agentsched.sim.ideal import unloaded_s
from agentsched.sim.knowledge import Knowledge
from agentsched.sim.migrating import Migration
from agentsched.sim.papers.experiment import Arm, Claim, Key, Lab, Measured, Paper, policy
from agentsched.sim.papers.goodserve import SOURCE, coding_requests, one_of_each
from agentsched.sim.simulation import FIRST_CHOICE_ONLY
from agentsched.sim.streams import Stream, stream

__all__ = ["MIGRATION", "kv_transfer_s", "reading_s", "writing_s"]

_RATES = (2.0, 4.0)
_DEADLINE_S = 15.0
_OURS, _THEIRS = policy("deadline_aware"), policy("just_enough")
_AWARE = policy("just_enough", load_aware=True)

_NO_HEDGES = HedgeRules(max_extra=0.0, reserve=0.0, max_moves=0.0, max_waste=0.0)
_AS_OFTEN_AS_IT_LIKES = Rules(retry=RetryRules(max_attempts=11, budget=11.0, reserve=1e6), hedge=_NO_HEDGES)
_OWN_RULES = Rules(retry=RetryRules(max_attempts=4), hedge=HedgeRules(max_extra=0.0))

_STAYS, _ALWAYS, _GAIN, _OWN = "never", "always (as released)", "where it is in time", "our rectifier"
_MOVING: Mapping[str, tuple[Rules, Migration | None]] = {
    _STAYS: (FIRST_CHOICE_ONLY, None),
    _ALWAYS: (_AS_OFTEN_AS_IT_LIKES, Migration()),
    _GAIN: (_AS_OFTEN_AS_IT_LIKES, Migration(gain_tested=True)),
    _OWN: (_OWN_RULES, None),
}
_ARMS = (
    (_THEIRS, (_STAYS, _ALWAYS, _GAIN)),
    (_AWARE, (_STAYS, _ALWAYS, _GAIN)),
    (_OURS, (_STAYS, _ALWAYS, _GAIN, _OWN)),
)
_FORECASTS = {"err by 60 %": Knowledge.STUDY, "are exact": Knowledge.ORACLE}


def _arms(lab: Lab) -> list[Arm]:
    trace = lab.trace("goodserve-migration", coding_requests(stream(0, Stream.SHAPES), 2000, _DEADLINE_S))
    scenario = {
        "name": "goodserve-migration",
        "load": _RATES[0],
        "duration": 200.0 * lab.scale,
        "endpoints": [{**one, "count": 2} for one in one_of_each()],
        "workload": {"trace": trace},
        "continuation": True,
        "progress": 0.25,
    }
    return [
        lab.arm(
            (choice.label, moves, forecasts, f"{rate:g}/s"),
            scenario,
            choice,
            knowledge=knowledge,
            load=rate,
            rules=_MOVING[moves][0],
            migration=_MOVING[moves][1],
        )
        for rate in _RATES
        for forecasts, knowledge in _FORECASTS.items()
        for choice, moved in _ARMS
        for moves in moved
    ]


# -- what one move costs ---------------------------------------------------------------------------------------------

_GBIT_S = 25.0
_READ, _WRITTEN = 2000, 1000
_BYTES_PER_ID = 4


def reading_s(profile: HardwareProfile, tokens: int) -> float:
    """Seconds until an idle instance has read so many tokens and gives the next one: a move by token ids."""
    return unloaded_s(profile, tokens, 1)


def writing_s(profile: HardwareProfile, prompt_tokens: int, tokens: int) -> float:
    """Seconds in which an idle instance reads the prompt and writes what had been written: a restart."""
    return unloaded_s(profile, prompt_tokens, tokens)


def kv_transfer_s(tokens: int, gbit_s: float) -> float:
    """Seconds in which the keys and values of so many tokens of an 8B model (Llama 3.1) cross a link."""
    return tokens * MODELS["meta-llama/Meta-Llama-3.1-8B"].kv_bytes_per_token * 8.0 / (gbit_s * 1e9)


def _costs() -> list[Claim]:
    tokens, claims = _READ + _WRITTEN, []
    ids_s = tokens * _BYTES_PER_ID * 8.0 / (_GBIT_S * 1e9)
    what = f"a move of {_READ} read and {_WRITTEN} written tokens"
    claims.append(Claim(f"{what}: ids over {_GBIT_S:g} Gbit/s", None, 1e6 * ids_s, "us"))
    claims.append(Claim(f"{what}: keys and values over it", None, kv_transfer_s(tokens, _GBIT_S), "s", "none is read"))
    for gpu in ("a40", "a800", "h800"):
        profile = load_profile(f"llama3-8b-{gpu}")
        assert isinstance(profile, HardwareProfile)
        read_s, write_s = reading_s(profile, tokens), writing_s(profile, _READ, _WRITTEN)
        claims.append(Claim(f"{what}: ids, read again on an idle {gpu.upper()}", None, read_s, "s"))
        claims.append(Claim(f"{what}: begun anew on an idle {gpu.upper()}", None, write_s, "s"))
        claims.append(Claim(f"{what}: anew over ids, {gpu.upper()}", None, write_s / read_s, "x"))
    return claims


def _claims(found: Mapping[Key, Measured]) -> list[Claim]:
    claims = _costs()
    for rate in _RATES:
        for choice, moved in _ARMS:
            stays = found[choice.label, _STAYS, "err by 60 %", f"{rate:g}/s"]
            for moves in moved[1:]:
                one = found[choice.label, moves, "err by 60 %", f"{rate:g}/s"]
                gained = 100.0 * (one.attainment.mean - stays.attainment.mean)
                remark = f"{one.attempts.mean - 1.0:.2f} moves, {_more(one, stays):+.0%} read tokens"
                what = f"{choice.label}, moves {moves}, {rate:g}/s: gained on never moving"
                claims.append(Claim(what, None, gained, "points", remark))
        exact = found[_THEIRS.label, _ALWAYS, "are exact", f"{rate:g}/s"].attainment.mean
        lost = 100.0 * (exact - found[_THEIRS.label, _ALWAYS, "err by 60 %", f"{rate:g}/s"].attainment.mean)
        claims.append(Claim(f"{_THEIRS.label}, as released, {rate:g}/s: exact lengths would add", None, lost, "points"))
    return claims


def _more(one: Measured, other: Measured) -> float:
    return one.read_tokens.mean / other.read_tokens.mean - 1.0 if other.read_tokens.mean else inf


MIGRATION = Paper(
    name="goodserve-migration",
    title="Answers that will be late are moved: never, always, where it helps; and what a move costs",
    source=SOURCE,
    columns=("policy", "moves", "lengths", "rate"),
    assumed=(
        "eight instances, two of each of the four GPUs; three prompt sets mixed, sizes are lognormal guesses, as in "
        f"goodserve-goodput; {_DEADLINE_S:g} s for each request",
        "as released: every 50 tokens the rest is predicted anew (the forecast, given that it is longer than what is "
        "written), and if it does not fit at the instance's smoothed pace the request moves, ten times at most; the "
        "policy says where to",
        "a move by token ids: prompt and answer so far are sent and read again in full; clients hear of tokens every "
        "0.25 s",
        "costs of a move: the fitted 8B profiles, an idle instance, ids of 4 bytes, keys and values in 16 bits",
        "our rectifier moves 1 % of the calls, and a few more at the start, only streams twice as slow as predicted, "
        "and not under overload",
    ),
    arms=_arms,
    claims=_claims,
)
