"""The generated text: determined, four bytes a token, and the beginning of a longer one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentsched.emulator.words import count_tokens, draw_length, identity_of, words


@given(st.text(max_size=40), st.integers(1, 300), st.integers(0, 300))
def test_longer_texts_begin_with_shorter_ones(prompt: str, count: int, more: int) -> None:
    identity = identity_of("model", prompt)
    assert words(identity, count + more)[:count] == words(identity, count)


@given(st.integers(1, 300))
def test_generated_text_counts_as_many_tokens_as_were_generated(count: int) -> None:
    assert count_tokens("".join(words(identity_of("m", str(count)), count))) == count


def test_every_part_decides_the_words() -> None:
    texts = {"".join(words(identity_of(*parts), 20)) for parts in (("a", "b"), ("a", "c"), ("ab", ""), ("", "ab"))}
    assert len(texts) == 4


def test_lengths_are_lognormal_over_prompts_and_fixed_for_one() -> None:
    drawn = sorted(draw_length(identity_of("m", str(number)), 100, 0.5, 1, 10_000) for number in range(2000))
    assert 92 < drawn[1000] < 108
    assert 0.8 < drawn[1680] / (100 * 1.645) < 1.2  # one sigma above the median: 100 * exp(0.5)
    same = {draw_length(identity_of("m", "p"), 100, 0.5, 1, 10_000) for _ in range(3)}
    assert len(same) == 1


def test_lengths_are_clipped() -> None:
    assert draw_length(identity_of("m", "p"), 100, 0.5, 500, 600) == 500
