import pytest

from agentsched.intercept.tokens import estimate_tokens

# Texts of our own with their cl100k_base counts.
COUNTED = {
    "prose": (
        "The scheduler keeps one deadline for the whole workflow. Every model call sees what is left of it, and the "
        "last step keeps the time that was reserved for it. A call that cannot end in time is sent where it ends "
        "soonest.",
        48,
    ),
    "python": (
        'def mean(values: list[float]) -> float:\n    """The arithmetic mean."""\n    if not values:\n'
        '        raise ValueError("no values")\n    return sum(values) / len(values)\n',
        37,
    ),
    "json": (
        '{"name": "search", "arguments": {"query": "deadline aware scheduling", "limit": 10, '
        '"languages": ["en", "de"], "exact": false}}',
        37,
    ),
    "german": (
        "Der Planer hält eine einzige Frist für den ganzen Ablauf. Jeder Aufruf sieht, was davon noch übrig ist, und "
        "der letzte Schritt behält die Zeit, die für ihn zurückgelegt wurde.",
        51,
    ),
    "chinese": (
        "调度器为整个工作流保留一个截止时间。每次模型调用都能看到剩余的时间，最后一步保留为它预留的时间。",
        50,
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_near_the_tokenizers_count(name):
    text, tokens = COUNTED[name]
    assert estimate_tokens(text) == pytest.approx(tokens, rel=0.3)


def test_grows_with_the_text_and_is_nothing_for_nothing():
    assert estimate_tokens("") == 0
    assert estimate_tokens("word " * 200) == pytest.approx(2 * estimate_tokens("word " * 100), abs=1)


def test_long_texts_are_sampled_without_a_jump():
    text = COUNTED["prose"][0] * 400
    short, long = estimate_tokens(text[:24_000]), estimate_tokens(text[:24_001])
    assert long == pytest.approx(short, rel=0.02)
    assert estimate_tokens(text) == pytest.approx(estimate_tokens(text[:24_000]) * len(text) / 24_000, rel=0.02)


def test_takes_what_is_no_valid_unicode():
    assert estimate_tokens("\ud800 lone") > 0
