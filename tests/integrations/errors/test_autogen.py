"""AutoGen: one agent alone, and a team of two, which wraps every error in a RuntimeError of its own."""

from typing import Any

import pytest

from tests.integrations.errors.scene import Scene
from tests.integrations.errors.table import ROWS, each, raised
from tests.integrations.errors.upstream import MODEL

agents = pytest.importorskip("autogen_agentchat.agents")
models = pytest.importorskip("autogen_ext.models.openai")

from autogen_agentchat.conditions import MaxMessageTermination  # noqa: E402  # only where it is installed
from autogen_agentchat.teams import RoundRobinGroupChat  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def agent(name: str = "one", *, stream: bool = False) -> Any:
    client = models.OpenAIChatCompletionClient(model=MODEL)
    return agents.AssistantAgent(name, model_client=client, model_client_stream=stream)


def team(*, stream: bool = False) -> Any:
    members = [agent("one", stream=stream), agent("two", stream=stream)]
    return RoundRobinGroupChat(members, termination_condition=MaxMessageTermination(5))


async def ask_agent(stream: bool) -> None:
    await agent(stream=stream).run(task="hi")


async def ask_team(stream: bool) -> None:
    await team(stream=stream).run(task="hi")


EACH_ROW = pytest.mark.parametrize(("row", "stream"), each([False, True], [True]))
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def play(make_scene, ask, row: str, stream: bool) -> Scene:
    scene: Scene = make_scene(ROWS[row], 0.6 if row == "deadline passed" else 5.0)
    return scene.play(lambda: ask(stream))


@EACH_ROW
def test_an_agent_shows_the_sdks_error_after_one_try(make_scene, row, stream):
    scene = play(make_scene, ask_agent, row, stream)
    scene.check(row, "AutoGen agent", framework="AutoGen")
    scene.check_alone(row)


@EACH_ROW
def test_a_team_quotes_it(make_scene, row, stream):
    scene = play(make_scene, ask_team, row, stream)
    scene.check(row, "AutoGen team", framework="AutoGen")
    assert type(scene.seen) is RuntimeError
    assert str(scene.seen).split(":")[0] in raised(row, "AutoGen agent")
    assert (scene.seen.__cause__, scene.seen.__context__) == (None, None)


@STREAM
@pytest.mark.parametrize("ask", [ask_agent, ask_team], ids=lambda ask: ask.__name__)
async def test_a_coroutine_is_cut(make_scene, ask, stream):
    scene: Scene = await make_scene("silent", 0.6).aplay(lambda: ask(stream))
    scene.check_tries("deadline passed", "AutoGen")
    scene.check_late()


def test_what_a_team_makes_of_ours_says_what_it_was(make_scene):
    """Only a deadline error is translated on the way out; of any other the text is all that AutoGen keeps."""
    scene: Scene = make_scene(ROWS["all endpoints down"]).play(lambda: ask_team(False))
    assert scene.raised is scene.seen
    assert str(scene.raised).startswith("EndpointsUnavailable: no endpoint could answer the call [a: server 500")
