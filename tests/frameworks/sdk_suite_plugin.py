"""A pytest plugin for `sdk_suite.py`: somebody else's tests with agentsched switched on, and a line for each outcome.

``AGENTSCHED_SUITE`` says how: ``plain`` (not at all), ``instrumented``, or ``run`` (each test is also executed as a
decorated run, bounded but without a pool).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MODE = os.environ["AGENTSCHED_SUITE"]
DEADLINE = "600s"

if MODE != "plain":
    import agentsched as ags
    from agentsched.intercept import is_instrumented


def pytest_configure(config: pytest.Config) -> None:
    if MODE != "plain":
        ags.instrument()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if MODE == "run":
        for item in items:
            if isinstance(item, pytest.Function):
                item.obj = ags.workflow(slo=DEADLINE)(item.obj)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    if report.when == "call" or report.outcome != "passed":
        with Path(os.environ["AGENTSCHED_SUITE_OUTCOMES"]).open("a") as outcomes:
            outcomes.write(f"{report.outcome}\t{report.when}\t{item.nodeid}\n")
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    if MODE != "plain":
        assert is_instrumented(), "a test has switched agentsched off"
