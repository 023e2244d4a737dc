"""How many prompt tokens a text is, without a tokenizer."""

__all__ = ["estimate_tokens"]

_PER_CHARACTER, _PER_SPACE, _PER_MARK, _PER_EXTRA_BYTE = 0.19, -0.14, 0.54, 0.42
_EXACT_UP_TO = 24_000
_SLICE = 8_000
_NO_MARKS = b" " + bytes(i for i in range(128) if chr(i).isalnum()) + bytes(range(128, 256))


def estimate_tokens(text: str) -> int:
    """Estimated tokens of ``text``, in time that stays bounded however long it is (three slices beyond 24,000 chars).

    Least squares against cl100k_base over 1,034 pieces of 4,000 characters, one half to fit, the other to measure the
    mean (and 95th percentile) relative error: English prose .09 (.22), markdown .09 (.27), Python .09 (.21), JSON
    .08 (.13), other languages in Latin letters .19 (.32), in other scripts .15 (.33). A quarter of the length, for
    comparison: .08, .14, .15, .09, .27, .52. Other tokenizers differ by as much again; learning corrects the rest.
    """
    length = len(text)
    if length <= _EXACT_UP_TO:
        return round(_weight(text))
    middle = (length - _SLICE) // 2
    sample = text[:_SLICE] + text[middle : middle + _SLICE] + text[-_SLICE:]
    return round(_weight(sample) * length / len(sample))


def _weight(text: str) -> float:
    data = text.encode("utf-8", "surrogatepass")
    marks = len(data.translate(None, _NO_MARKS))
    return max(
        0.0,
        _PER_CHARACTER * len(text)
        + _PER_SPACE * text.count(" ")
        + _PER_MARK * marks
        + _PER_EXTRA_BYTE * (len(data) - len(text)),
    )
