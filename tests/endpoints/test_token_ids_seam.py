"""The seam against the detokenizer that vLLM uses: a first server says a part, a second goes on from the ids."""

import itertools

import numpy as np
import pytest

from agentsched.endpoints.token_ids import TokenIds

tokenizers = pytest.importorskip("tokenizers", reason="the package is not a dependency")

PROMPT = [1, 2, 1, 2]
TOKENS = [
    b" ",
    b"a",
    b"b",
    b"\n",
    b" ab",
    b"\xe2",
    b"\x80",
    b"\x9c",
    b"\xc3",
    b"\xa9",
    b"\xf0",
    b"\x9f",
    b"\x8e",
    b"\x89",
]
TOKENS += [b" \xe2", b"\x80\x9c", b"\xc3\xa9", b"a\xc3", b"\xa9b", b"\xf0\x9f", b"\x8e\x89", b"\xe2\x80\x9c"]
"""Whole and torn characters, some torn in two places."""


def characters():
    """How byte-level vocabularies write bytes."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    return {byte: chr(byte) for byte in printed} | {byte: chr(256 + k) for k, byte in enumerate(others)}


@pytest.fixture(scope="module")
def tokenizer():
    written = characters()
    vocabulary = {"".join(written[byte] for byte in token): k for k, token in enumerate(TOKENS)}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    made.decoder = tokenizers.decoders.ByteLevel()
    return made


def served(tokenizer, prompt, output, sizes):
    """Events of so many tokens each, as vLLM makes them: (text, ids)."""
    stream, left = tokenizers.decoders.DecodeStream(ids=prompt, skip_special_tokens=True), iter(output)
    for size in sizes:
        ids = list(itertools.islice(left, size))
        yield "".join(filter(None, (stream.step(tokenizer, token) for token in ids))), ids


def text_of(events):
    return "".join(text for text, _ in events)


def went_on(tokenizer, output, sizes, cut, whole):
    """The text of both servers, that of the unbroken answer, and that of a second server with every id there was; None:
    nobody goes on from there."""
    ids, had = TokenIds(PROMPT, whole=whole), list(itertools.islice(served(tokenizer, PROMPT, output, sizes), cut))
    for text, told in had:
        ids.taken({"choices": [{"text": text, "token_ids": told}]}, told_prompt=False)
    if not text_of(had) or not ids.exact:
        return None
    single = [1] * len(output)
    rest = served(tokenizer, ids.so_far, output[len(ids.so_far) - len(PROMPT) :], single)
    hasty = served(tokenizer, [*PROMPT, *ids.output], output[len(ids.output) :], single)
    unbroken = text_of(served(tokenizer, PROMPT, output, single))
    return text_of(had) + text_of(rest), unbroken, text_of(had) + text_of(hasty)


@pytest.mark.parametrize("several", [0.0, 0.5], ids=["one token an event", "often several"])
def test_nothing_is_lost_or_said_twice_whatever_the_model_says(tokenizer, several):
    rng, whole, outcomes = np.random.default_rng(1), set(), []
    for _ in range(1500):
        count = int(rng.integers(1, 14))
        output = rng.integers(0, len(TOKENS), count).tolist()
        sizes = np.where(rng.random(count) < several, rng.integers(2, 4, count), 1).tolist()
        outcomes.append(went_on(tokenizer, output, sizes, int(rng.integers(1, count + 1)), whole))
    gone_on = [outcome for outcome in outcomes if outcome is not None]
    assert [spliced for spliced, unbroken, _ in gone_on if spliced != unbroken] == []
    assert len(gone_on) > 0.5 * len(outcomes)
    assert any(hasty != unbroken for _, unbroken, hasty in gone_on), "all ids would not do"
