"""What the user knows about the model calls to come."""

import math
from dataclasses import dataclass, replace

from agentsched.errors import ConfigError

__all__ = ["NO_HINTS", "Hints", "merged_hints"]


@dataclass(frozen=True, slots=True)
class Hints:
    """What the user said; None where nothing was said.

    Attributes:
        expected_calls: model calls still to come in the run, one after the other, counted when it was said.
        said_at_call: how many calls the run had made by then.
        output_tokens: length of each answer.
        repeatable: whether a call may be sent more than once.
    """

    expected_calls: float | None = None
    said_at_call: int = 0
    output_tokens: int | None = None
    repeatable: bool | None = None

    def remaining_calls(self, call_index: int) -> float | None:
        """Calls still to come after the run's call number ``call_index`` (0-based); None: nothing was said."""
        if self.expected_calls is None:
            return None
        return max(0.0, self.expected_calls - (call_index - self.said_at_call) - 1)

    def for_another_run(self) -> "Hints":
        """What of it holds in a run inside this one: not the number of calls, which that run counts for itself."""
        return self if self.expected_calls is None else replace(self, expected_calls=None, said_at_call=0)


NO_HINTS = Hints()


def merged_hints(
    before: Hints,
    *,
    expected_calls: float | None,
    output_tokens: int | None,
    repeatable: bool | None,
    calls_so_far: int,
) -> Hints:
    """The hints in force once the user has added these; what is None stays as it was.

    Raises:
        ConfigError: a value is not usable.
    """
    changes: dict[str, object] = {}
    if expected_calls is not None:
        _check("expected_calls", expected_calls, "a number of calls, zero or more", whole=False, least=0)
        changes |= {"expected_calls": float(expected_calls), "said_at_call": calls_so_far}
    if output_tokens is not None:
        _check("output_tokens", output_tokens, "a whole number of tokens, one or more", whole=True, least=1)
        changes["output_tokens"] = output_tokens
    if repeatable is not None:
        if not isinstance(repeatable, bool):
            raise ConfigError("not a truth value", field="hint.repeatable", given=repeatable, allowed="True or False")
        changes["repeatable"] = repeatable
    return replace(before, **changes)  # type: ignore[arg-type]  # the keys are the three fields checked above


def _check(name: str, value: object, allowed: str, *, whole: bool, least: int) -> None:
    number = isinstance(value, int) if whole else isinstance(value, (int, float))
    if not number or isinstance(value, bool) or not least <= value < math.inf:  # type: ignore[operator]
        raise ConfigError("not usable", field=f"hint.{name}", given=value, allowed=allowed)
