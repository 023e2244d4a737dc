"""What a crew says of itself, and that the steps of its run are those it said."""

import contextlib

import pytest

pytest.importorskip("crewai")

import crewai
from crewai.tasks.conditional_task import ConditionalTask
from pydantic import BaseModel

import agentsched as ags
from agentsched.core.structure import EdgeKind, StructureEdge
from agentsched_crewai.structure import crew_structure

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.filterwarnings("ignore")]


def edges(structure):
    return {(edge.source, edge.target): edge.kind.value for edge in structure.edges}


def test_tasks_follow_each_other(make_agent, make_task):
    one, two = make_agent("One", max_iter=4), make_agent("Two")
    structure = crew_structure(crewai.Crew(agents=[one, two], tasks=[make_task(one, "a"), make_task(two)]))
    assert structure.nodes == ("a/One", "task2/Two")
    assert structure.edges == (StructureEdge("a/One", "task2/Two", EdgeKind.PLAIN),)
    assert (structure.entry, structure.ends, structure.joins) == (("a/One",), ("task2/Two",), ())
    assert structure.bounds == {"a/One": 1, "task2/Two": 1}
    assert structure.calls == {"a/One": 5, "task2/Two": 26}


def test_tasks_side_by_side_are_joined(make_agent, make_task):
    agent = make_agent("X")
    beside = [make_task(agent, f"part{n}", async_execution=True) for n in range(3)]
    tasks = [make_task(agent, "first"), *beside, make_task(agent, "join")]
    structure = crew_structure(crewai.Crew(agents=[agent], tasks=tasks))
    assert edges(structure) == {
        **{("first/X", f"part{n}/X"): "plain" for n in range(3)},
        **{(f"part{n}/X", "join/X"): "plain" for n in range(3)},
    }
    assert structure.joins == ("join/X",)


def test_a_conditional_task_may_be_left_out_and_a_guardrail_repeats(make_agent, make_task):
    agent = make_agent("X")
    maybe = ConditionalTask(
        description="d", expected_output="e", agent=agent, name="maybe", condition=lambda output: False
    )
    checked = make_task(agent, "last", guardrail=lambda output: (True, output), guardrail_max_retries=2)
    structure = crew_structure(crewai.Crew(agents=[agent], tasks=[make_task(agent, "first"), maybe, checked]))
    conditional = "conditional"
    assert edges(structure) == {
        ("first/X", "maybe/X"): conditional,
        ("first/X", "last/X"): conditional,
        ("maybe/X", "last/X"): conditional,
    }
    assert structure.bounds == {"first/X": 1, "maybe/X": 1, "last/X": 3}


class Form(BaseModel):
    text: str


def test_more_calls_are_allowed_for_where_more_are_made(make_agent, make_task):
    agent = make_agent("X", max_iter=2)
    tasks = [make_task(agent, "plain"), make_task(agent, "form", output_pydantic=Form)]
    structure = crew_structure(crewai.Crew(agents=[agent], tasks=tasks))
    assert structure.calls == {"plain/X": 3, "form/X": 6}
    assert structure.bounds == {"plain/X": 1, "form/X": 1}


def test_a_guardrail_that_is_a_text_is_a_step_that_may_go_back(make_agent, make_task):
    agent = make_agent("X", max_iter=2)
    tasks = [make_task(agent, "checked", guardrail="It is polite.", guardrail_max_retries=1), make_task(agent, "last")]
    structure = crew_structure(crewai.Crew(agents=[agent], tasks=tasks))
    assert edges(structure) == {
        ("checked/X", "checked/Guardrail Agent"): "plain",
        ("checked/Guardrail Agent", "checked/X"): "conditional",
        ("checked/Guardrail Agent", "last/X"): "conditional",
    }
    assert (structure.entry, structure.ends) == (("checked/X",), ("last/X",))
    assert structure.bounds == {"checked/X": 2, "last/X": 1}
    assert structure.calls == {"checked/X": 3, "last/X": 3}  # how often a guard asks is unknown


def test_a_manager_may_ask_anybody(make_agent, make_task):
    one = make_agent("One")
    crew = crewai.Crew(
        agents=[one], tasks=[make_task(None, "a")], process=crewai.Process.hierarchical, manager_llm=one.llm
    )
    structure = crew_structure(crew)
    assert structure.nodes == ("a/Crew Manager", "a/One")
    assert edges(structure) == {("a/Crew Manager", "a/One"): "conditional", ("a/One", "a/Crew Manager"): "plain"}
    assert structure.ends == ("a/Crew Manager",)


@pytest.mark.usefixtures("adapter")
@pytest.mark.parametrize("process", ["sequential", "hierarchical"])
def test_a_run_tells_it_and_makes_its_calls_in_those_steps(
    known_model_runtime, make_agent, make_task, steps_of, process
):
    agent = make_agent("Writer")
    crew = crewai.Crew(
        agents=[agent],
        tasks=[make_task(agent, "a"), make_task(agent)],
        process=crewai.Process(process),
        manager_llm=agent.llm,
    )

    @ags.workflow(slo="30s", name="told")
    def run():
        crew.kickoff()
        return steps_of(ags.current())

    steps = run()
    (structure,) = known_model_runtime.structures["told"]
    assert set(steps) <= set(structure.nodes)
    run()
    assert known_model_runtime.structures["told"] == (structure,)


@pytest.mark.usefixtures("adapter")
def test_a_guardrail_asks_in_the_step_that_was_told(known_model_runtime, make_agent, make_task, steps_of):
    agent = make_agent("Writer")
    crew = crewai.Crew(agents=[agent], tasks=[make_task(agent, "a", guardrail="Fine.", guardrail_max_retries=0)])

    @ags.workflow(slo="30s", name="guarded")
    def run():
        with contextlib.suppress(Exception):  # the emulator's answer need not be fine
            crew.kickoff()
        return steps_of(ags.current())

    steps = run()
    (structure,) = known_model_runtime.structures["guarded"]
    assert set(steps) == set(structure.nodes) == {"a/Writer", "a/Guardrail Agent"}


def test_a_crew_without_tasks_has_none(make_agent):
    assert crew_structure(crewai.Crew(agents=[make_agent()], tasks=[])) is None
