"""What a flow says of itself, with the crews in its methods."""

import asyncio

import pytest

pytest.importorskip("crewai")

import crewai
from crewai.flow.flow import Flow, and_, listen, or_, router, start

import agentsched as ags
from agentsched.core.structure import WorkflowStructure
from agentsched_crewai.flows import flow_structure

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.filterwarnings("ignore")]


class Research(Flow):
    @start()
    def plan(self):
        pass

    @start()
    def read(self):
        pass

    @listen(and_(plan, read))
    def search(self):
        pass

    @router(search, emit=["again", "done"])
    def judge(self):
        pass

    @listen("again")
    def more(self):
        pass

    @listen(or_("done", more))
    def write(self):
        pass


def edges(structure: WorkflowStructure) -> dict[tuple[str, str], str]:
    return {(edge.source, edge.target): edge.kind.value for edge in structure.edges}


def test_who_listens_to_whom():
    structure = flow_structure(Research)
    assert edges(structure) == {
        ("plan", "search"): "plain",
        ("read", "search"): "plain",
        ("search", "judge"): "plain",
        ("judge", "more"): "conditional",
        ("judge", "write"): "conditional",
        ("more", "write"): "plain",
    }
    assert (structure.entry, structure.joins) == (("plan", "read"), ("search",))
    assert structure.ends == ("judge", "write")
    assert structure.calls == {}  # how many calls a method makes, only its author knows


class Loop(Flow):
    @start("again")
    def draft(self):
        pass

    @router(draft)
    def judge(self):
        return str(self.state)


def test_a_router_that_declares_nothing_may_say_anything():
    structure = flow_structure(Loop)
    assert edges(structure) == {("draft", "judge"): "plain", ("judge", "draft"): "conditional"}
    assert (structure.entry, structure.ends) == (("draft",), ("judge",))


def test_a_flow_without_methods_says_nothing():
    class Empty(Flow):
        pass

    assert flow_structure(Empty) is None


@pytest.mark.usefixtures("adapter")
@pytest.mark.parametrize("way", ["kickoff", "kickoff_async", "akickoff"])
def test_a_run_tells_the_flow_and_its_crew_in_the_methods_place(
    known_model_runtime, make_agent, make_task, steps_of, way
):
    class Program(Flow):
        @start()
        def first(self):
            return make_agent("Solo").llm.call("hi")

        @listen(first)
        def second(self):
            agent = make_agent("Writer")
            return crewai.Crew(agents=[agent], tasks=[make_task(agent, "a")]).kickoff()

    @ags.workflow(slo="30s", name=f"flow by {way}")
    def run():
        going = getattr(Program(), way)()
        if way != "kickoff":
            asyncio.run(_wait(going))
        return steps_of(ags.current())

    assert run() == {"first": 1, "second/a/Writer": 1}
    flow, opened = known_model_runtime.structures[f"flow by {way}"]
    assert (flow.nodes, opened.nodes) == (("first", "second"), ("first", "second/a/Writer"))
    assert edges(opened) == {("first", "second/a/Writer"): "plain"}
    assert opened.ends == ("second/a/Writer",)


async def _wait(going):
    return await going


@pytest.mark.usefixtures("adapter")
def test_a_crew_outside_a_flow_is_told_as_it_is(known_model_runtime, make_agent, make_task):
    class Program(Flow):
        @start()
        def only(self):
            return "nothing"

    agent = make_agent("Writer")
    crew = crewai.Crew(agents=[agent], tasks=[make_task(agent, "a")])

    @ags.workflow(slo="30s", name="flow, then crew")
    def run():
        Program().kickoff()
        crew.kickoff()

    run()
    assert known_model_runtime.structures["flow, then crew"][-1].nodes == ("a/Writer",)
