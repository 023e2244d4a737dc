"""CrewAI: a crew of one agent with one task, started in the ways that CrewAI has."""

from typing import Any

import pytest

from tests.integrations.errors.scene import Scene, kinds
from tests.integrations.errors.table import BREAKS_OFF, OURS, ROWS, tries
from tests.integrations.errors.upstream import MODEL

crewai = pytest.importorskip("crewai")

pytestmark = pytest.mark.filterwarnings("ignore")

CREWAI = "CrewAI"


def crew(*, stream: bool = False, **agent: Any) -> Any:
    """A crew that asks its model once."""
    doer = crewai.Agent(role="r", goal="g", backstory="b", llm=crewai.LLM(model=MODEL, stream=stream), **agent)
    task = crewai.Task(description="d", expected_output="e", agent=doer)
    return crewai.Crew(agents=[doer], tasks=[task])


WAYS = {
    "kickoff": lambda made: made.kickoff(),
    "kickoff_async": lambda made: made.kickoff_async(),
    "akickoff": lambda made: made.akickoff(),
}
EACH_WAY = pytest.mark.parametrize("start", WAYS.values(), ids=WAYS)


@pytest.fixture(scope="module", autouse=True)
def _warm(upstream) -> None:
    """The first crew of a process loads half of CrewAI; that time is not the runs'."""
    with pytest.MonkeyPatch.context() as patching:
        patching.setenv("OPENAI_BASE_URL", upstream.open_case("answer").url("sdk"))
        crew().kickoff()


def play(make_scene, row: str, start, **options: Any) -> Scene:
    scene: Scene = make_scene(ROWS[row], 1.0 if row == "deadline passed" else 5.0)
    made = crew(**options)
    return scene.play(lambda: start(made))


@EACH_WAY
@pytest.mark.parametrize("row", [row for row in OURS if row != BREAKS_OFF])
def test_an_error_of_ours_is_not_repeated(make_scene, row, start):
    scene = play(make_scene, row, start)
    scene.check(row, CREWAI, framework=CREWAI)
    scene.check_alone(row)


@pytest.mark.parametrize("row", OURS)
def test_nor_while_streaming(make_scene, row):
    scene = play(make_scene, row, WAYS["kickoff"], stream=True)
    scene.check(row, CREWAI, framework=CREWAI)
    scene.check_alone(row)


def test_nor_is_a_limit_among_other_failures(make_scene):
    """CrewAI repeats nine times what says 429."""
    scene: Scene = make_scene("mixed")
    made = crew()
    scene.play(made.kickoff)
    scene.check_seen("all endpoints down", CREWAI)
    assert scene.sends == 1


@pytest.mark.parametrize("start", [WAYS["kickoff_async"], WAYS["akickoff"]], ids=["kickoff_async", "akickoff"])
async def test_a_coroutine_is_cut(make_scene, start):
    scene: Scene = make_scene("silent", 1.0)
    made = crew()
    await scene.aplay(lambda: start(made))
    scene.check_tries("deadline passed", CREWAI)
    scene.check_late()


@pytest.mark.parametrize("row", [row for row in ROWS if row not in OURS])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_refusal_is_repeated_as_often_as_crewai_likes(make_scene, row, stream):
    scene = play(make_scene, row, WAYS["kickoff"], stream=stream)
    scene.check(row, CREWAI, framework=CREWAI)


def test_which_is_as_often_as_without_us(make_scene):
    scene: Scene = make_scene(400, pool=False)
    with pytest.raises(Exception, match="400") as caught:
        crew().kickoff()
    assert "BadRequestError" in kinds(caught.value)
    assert (scene.sends, len(scene.case.requests)) == tries("upstream 400", CREWAI)


@pytest.mark.parametrize("row", ["upstream 400", "upstream 404"])
def test_and_once_if_the_agent_is_told_so(make_scene, row):
    scene = play(make_scene, row, WAYS["kickoff"], max_retry_limit=0)
    scene.check_seen(row, CREWAI)
    assert (scene.sends, scene.requests) == (1, 1)


@pytest.mark.parametrize("row", ["deadline passed", "all endpoints down"])
def test_with_a_time_limit_of_its_own_crewai_takes_ours_for_it(make_scene, row):
    """It replaces every TimeoutError then, and its text is wrong; ours is the cause, and nothing is repeated."""
    scene = play(make_scene, row, WAYS["kickoff"], max_execution_time=30)
    assert "timed out after 30 seconds" in str(scene.seen)
    assert type(scene.seen) is TimeoutError
    scene.check(row, CREWAI, framework=CREWAI)
