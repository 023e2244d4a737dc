import numpy as np
import pytest

from agentsched.forecast.features import WORD_BUCKETS, packed_features, word_buckets, word_rows, words_score


def buckets(text):
    return set(word_buckets(packed_features(text)).tolist())


def test_words_count_whatever_stands_between_them():
    assert buckets("Book the flight") == buckets("flight, (the) BOOK!") == buckets("book") | buckets("the flight")
    assert len(buckets("book")) == 1
    assert buckets("###STOP###") != buckets("stop")


def test_the_place_of_a_letter_counts():
    assert len({tuple(buckets(word)) for word in ("abc", "acb", "bac", "cab", "bca", "cba")}) > 3


@pytest.mark.parametrize("text", ["", " ", "...!?", "\n"])
def test_no_words(text):
    assert packed_features(text) == b""
    assert words_score(b"", np.ones(WORD_BUCKETS)) == 0.0


def test_any_text_can_be_read():
    for text in ("\ud800 broken", "日本語 テキスト", "x" * 100_000, "\x00\x01", "ñandú"):
        found = word_buckets(packed_features(text))
        assert (np.diff(found.astype(int)) > 0).all()
        assert found.size == 0 or found.max() < WORD_BUCKETS


def test_of_a_long_text_both_ends_are_read():
    middle = " ".join(f"w{k}" for k in range(5000))
    assert buckets(f"alpha {middle} omega") >= buckets("alpha") | buckets("omega")
    assert buckets(f"alpha {middle} omega") == buckets(f"alpha {middle} {middle} omega")


def test_a_hash_is_the_same_in_every_process():
    assert word_buckets(packed_features("book a flight")).tolist() == [124, 185, 246]


def test_rows_are_what_the_score_weighs():
    weights = np.random.default_rng(2).normal(size=WORD_BUCKETS)
    texts = ["one two three", "", "four"]
    packed = [packed_features(text) for text in texts]
    assert (word_rows(packed) @ weights).tolist() == pytest.approx([words_score(one, weights) for one in packed])
    assert words_score(packed[0], np.zeros(0)) == 0.0
