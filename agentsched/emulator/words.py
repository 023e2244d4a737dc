"""The words an emulated model says: always the same for the same prompt.

A token is four bytes: a three-letter word (or two letters and a full stop) after a blank. So generated text that comes
back in the next prompt counts as many tokens as it did when it was generated, and prefix-cache blocks line up.
"""

from __future__ import annotations

from hashlib import blake2b, shake_128
from math import ceil, exp, log
from statistics import NormalDist

__all__ = ["BYTES_PER_TOKEN", "count_tokens", "draw_length", "identity_of", "words"]

BYTES_PER_TOKEN = 4

_WORDS = (  # 256 words of three characters and a blank each
    "ace act add age ago aid aim air all and ant any ape arc are ark arm art ash ask ate axe bad bag ban bar bat bay "
    "bed bee bet bid big bin bit bow box boy bud bug bun bus but buy cab can cap car cat cow cry cub cue cup cut dad "
    "dam day den dew did dig dim dip dog dot dry due dug ear eat egg end era eve eye fan far fat fee few fig fin fit "
    "fix fly fog for fox fun fur gap gas get gym had ham has hat hay hen her hid him hip his hit hop hot how hub hug "
    "hut ice ill ink inn its ivy jam jar jaw jet job joy key kid kit lab lap law lay led leg let lid lie lip lit log "
    "lot low mad man map mat may men met mix mud mug nap net new nor not now nut oak oar odd off oil old one our out "
    "owl own pad pan pay pea pen pet pie pig pin pit pot put ran rat raw ray red rib rid rim rip rob rod row rub rug "
    "run sad sat saw say sea see set she shy sit six sky son sum sun tap tax tea ten the tie tin tip toe ton too top "
    "toy try two use van vet via war was way web wet who why win wit so. it. us. on. up. in. me. go. he. we. no. do. "
    "be. at. by. if. "
)
_VOCABULARY = [" " + _WORDS[at : at + 3] for at in range(0, len(_WORDS), BYTES_PER_TOKEN)]
_UNIT = NormalDist()


def identity_of(*parts: str) -> bytes:
    """Return the 16 bytes that decide the words: a digest of the model, the prompt and the seed."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()


def words(identity: bytes, count: int, *, start: bool = True) -> list[str]:
    """Return the first tokens of this identity's endless text; a longer text begins with a shorter.

    Args:
        identity: decides the words (see `identity_of`).
        count: how many tokens.
        start: whether the text starts here, with a capital and no blank.
    """
    tokens = [_VOCABULARY[byte] for byte in shake_128(identity).digest(count)]
    if tokens and start:
        tokens[0] = tokens[0].lstrip().capitalize()
    return tokens


def count_tokens(text: str) -> int:
    """Return the length of a text in tokens (at least 1 if there is any)."""
    return ceil(len(text.encode()) / BYTES_PER_TOKEN)


def draw_length(identity: bytes, median_tokens: float, sigma: float, low: int, high: int) -> int:
    """Return the answer's length in tokens: a lognormal quantile at a level that the identity decides."""
    level = (int.from_bytes(blake2b(identity, digest_size=6, person=b"length").digest(), "big") + 0.5) / 2**48
    tokens = exp(log(median_tokens) + sigma * _UNIT.inv_cdf(level))
    return max(low, min(high, round(tokens)))
