"""The formulas: from synthetic answers back to the figures they were made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsched.cli.probe_fit import Figures, Sample, fit

SHORT, LONG = 40, 2000


def answer(
    ttft_s: float, tpot_s: float, *, prompt: int, tokens: int = 32, packed: int = 1, sent_at: float = 7.0
) -> Sample:
    """An answer as an ideal endpoint gives it, ``packed`` tokens in each piece."""
    pieces = tokens // packed
    times = tuple(sent_at + ttft_s + index * packed * tpot_s for index in range(pieces))
    return Sample(sent_at, times, pieces * packed, prompt, 0)


def sampled(a: float, b: float, prefill: float, idle_s: float, *, together: int = 4, packed: int = 1) -> Figures:
    def ttft(tokens: int) -> float:
        return idle_s + tokens / prefill

    short = [answer(ttft(SHORT), a + b, prompt=SHORT, packed=packed) for _ in range(3)]
    many = [answer(ttft(SHORT), a + b * together, prompt=SHORT, packed=packed) for _ in range(together)]
    long = [answer(ttft(LONG), a + b, prompt=LONG, tokens=8) for _ in range(2)]
    return fit(short, many, long, short_tokens=SHORT, long_tokens=LONG)


@given(
    a=st.floats(1e-3, 0.1),
    b_share=st.floats(0.0, 1.0),
    prefill=st.floats(100, 1e5),
    idle_s=st.floats(0.0, 2.0),
    packed=st.sampled_from([1, 2, 4]),
)
def test_an_ideal_endpoint_is_found_exactly(
    a: float, b_share: float, prefill: float, idle_s: float, packed: int
) -> None:
    figures = sampled(a, a * b_share, prefill, idle_s, packed=packed)
    assert figures.tpot_s == pytest.approx(a, rel=1e-6)
    assert figures.tpot_per_batch_s == pytest.approx(a * b_share, rel=1e-6, abs=1e-9)
    assert figures.prefill_tokens_per_s == pytest.approx(prefill, rel=1e-6)
    assert figures.ttft_s == pytest.approx(max(idle_s, figures.tpot_alone_s), abs=1e-6)


def test_a_first_token_takes_at_least_a_step_of_the_model() -> None:
    figures = sampled(0.02, 0.0, 1000.0, 0.0)
    assert figures.ttft_s == pytest.approx(0.02)


def test_one_stalled_answer_changes_nothing() -> None:
    short = [answer(0.1, 0.01, prompt=SHORT)] * 2 + [answer(9.0, 0.5, prompt=SHORT)]
    figures = fit(short, [], [], short_tokens=SHORT, long_tokens=LONG)
    assert (figures.ttft_s, figures.tpot_s) == (pytest.approx(0.1), pytest.approx(0.01))


def test_a_prefill_that_drowns_in_noise_is_not_told() -> None:
    short = [answer(ttft, 0.01, prompt=SHORT) for ttft in (0.10, 0.15, 0.30)]
    long = [answer(0.32, 0.01, prompt=LONG)] * 2
    figures = fit(short, [], long, short_tokens=SHORT, long_tokens=LONG)
    assert figures.prefill_tokens_per_s is None
    assert figures.ttft_s == pytest.approx(0.15)
    assert set(figures.profile()) == {"ttft_s", "tpot_s"}


def test_answers_that_never_ran_at_once_say_nothing_of_batches() -> None:
    short = [answer(0.1, 0.01, prompt=SHORT)] * 3
    queued = [answer(0.1, 0.01, prompt=SHORT, sent_at=7.0 + index) for index in range(4)]
    figures = fit(short, queued, [], short_tokens=SHORT, long_tokens=LONG)
    assert (figures.tpot_per_batch_s, figures.tpot_together_s) == (None, None)
    assert figures.tpot_s == pytest.approx(0.01)


def test_only_the_time_in_which_all_ran_counts() -> None:
    late = [answer(0.1, 0.02, prompt=SHORT, sent_at=7.0 + 0.1 * index) for index in range(4)]
    early = Sample(7.0, (7.05, 7.051, 7.052, *late[0].token_at), 35, SHORT, 0)  # alone at first, and faster
    figures = fit([answer(0.1, 0.01, prompt=SHORT)] * 3, [early, *late[1:]], [], short_tokens=SHORT, long_tokens=LONG)
    assert figures.tpot_together_s == pytest.approx(0.02, rel=0.1)


def test_figures_stay_in_their_bounds() -> None:
    short = [answer(0.1, 0.01, prompt=SHORT)] * 3
    slower = [answer(0.1, 1.0, prompt=SHORT)] * 4
    faster = [answer(0.1, 0.005, prompt=SHORT)] * 4
    slow = fit(short, slower, [], short_tokens=SHORT, long_tokens=LONG)
    assert (slow.tpot_per_batch_s, slow.tpot_s) == (pytest.approx(0.005), pytest.approx(0.005))
    fast = fit(short, faster, [], short_tokens=SHORT, long_tokens=LONG)
    assert (fast.tpot_per_batch_s, fast.tpot_s) == (0.0, pytest.approx(0.01))


def test_cached_tokens_were_not_read() -> None:
    short = [answer(0.1, 0.01, prompt=SHORT)] * 2
    long = [Sample(7.0, (8.1,), 1, LONG, 1000)] * 2
    figures = fit(short, [], long, short_tokens=SHORT, long_tokens=LONG)
    assert figures.prefill_tokens_per_s == pytest.approx((LONG - 1000 - SHORT) / 1.0)


def test_nothing_in_nothing_out() -> None:
    assert fit([], [], [], short_tokens=SHORT, long_tokens=LONG) == Figures()
    assert Figures().profile() == {}
    assert Sample(0.0, (1.0, 2.0)).tpot_s() is None
    assert Figures(ttft_s=0.123456).profile() == {"ttft_s": 0.1235}
