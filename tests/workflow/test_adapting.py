"""Methods of modules that come later, of modules that are other than expected, and of modules that are there."""

import asyncio
import inspect
import logging
import sys
from contextvars import ContextVar

import pytest

from agentsched.workflow.adapting import NamedPlaces, replace_on_import
from agentsched.workflow.replacing import ReplacedMethod

MODULE = "a_framework_of_the_tests"
SOURCE = """
class Agent:
    name = "agent"
    def run(self): return seen()
    async def arun(self): return seen()
    async def stream(self):
        yield seen()
        yield seen()
"""


@pytest.fixture
def places():
    return NamedPlaces(ContextVar("test", default=None))


@pytest.fixture
def framework(tmp_path, monkeypatch, places):
    """Imports the module of the tests, whose methods tell the place they are in."""
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)

    def load():
        module = __import__(MODULE)
        module.seen = places.current
        return module

    yield load
    sys.modules.pop(MODULE, None)


def methods(places, *names, name_of=lambda outer, agent: f"{outer}/{agent.name}" if outer else agent.name):
    def of(module):
        return [ReplacedMethod(module.Agent, name, places.around(name_of)) for name in names]

    return {MODULE: of}


@pytest.mark.parametrize("loaded", ["before", "after"])
def test_a_place_has_a_name_while_its_method_runs(framework, places, loaded):
    if loaded == "before":
        framework()
    undo = replace_on_import(methods(places, "run", "arun", "stream"))
    agent = framework().Agent()

    async def stream():
        found = []
        async for item in agent.stream():
            found += [item, places.current()]  # its consumer is not in it
        return found

    assert agent.run() == "agent"
    assert asyncio.run(agent.arun()) == "agent"
    assert asyncio.run(stream()) == ["agent", None, "agent", None]
    assert inspect.iscoroutinefunction(agent.arun)
    assert inspect.isasyncgenfunction(agent.stream)
    assert places.current() is None
    undo()
    assert agent.run() is None
    undo()


def test_undone_before_it_comes_it_is_left_alone(framework, places):
    before = list(sys.meta_path)
    replace_on_import(methods(places, "run"))()
    assert sys.meta_path == before
    assert framework().Agent().run() is None


def test_places_lie_in_each_other_and_none_keeps_the_name_around(framework, places):
    undo = replace_on_import(methods(places, "run", "arun"))
    module = framework()
    outer, inner, nameless = module.Agent(), module.Agent(), module.Agent()
    outer.name, inner.name, nameless.name = "outer", "inner", ""
    tell = module.seen
    module.seen = lambda: [tell(), module.Agent.run(inner) if tell() == "outer" else None]
    assert asyncio.run(outer.arun()) == ["outer", ["outer/inner", None]]
    assert nameless.run() == [None, None]
    undo()


def test_another_version_is_left_as_it_is_with_one_warning(framework, places, caplog):
    with caplog.at_level(logging.WARNING, "agentsched"):
        undo = replace_on_import(methods(places, "run", "no_such_method"))
        agent = framework().Agent()
    assert [record.getMessage().split(" is of")[0] for record in caplog.records] == [MODULE]
    assert agent.run() == "agent"  # what was found is in
    undo()
    assert agent.run() is None
