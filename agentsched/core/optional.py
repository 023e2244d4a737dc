"""Optional steps: how one visit of such a step is told from the others of its run."""

__all__ = ["step_of_visit", "visit_of"]


def visit_of(step: str, number: int) -> str:
    """What names visit ``number``, from 0, of the optional steps of a run; ``step`` is the step's name."""
    return f"{step}#{number}"


def step_of_visit(visit: str) -> str:
    """The name of the step that is visited; see `visit_of`. Logs made elsewhere may have nothing but that name."""
    return visit.rpartition("#")[0] or visit
