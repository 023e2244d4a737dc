"""ChatOpenAI in the node of a LangGraph graph; the node's retry policy is switched on where it is not to act."""

from typing import TypedDict

import pytest

from tests.integrations.errors.scene import Scene
from tests.integrations.errors.table import OURS, ROWS, each
from tests.integrations.errors.upstream import MODEL

pytest.importorskip("langgraph")
chat_models = pytest.importorskip("langchain_openai")

from langgraph.graph import START, StateGraph  # noqa: E402  # only where it is installed
from langgraph.types import RetryPolicy  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


class State(TypedDict):
    text: str


def graph(node, *, patient: bool):
    policy = RetryPolicy(initial_interval=0.01, max_attempts=3) if patient else None
    return StateGraph(State).add_node("node", node, retry_policy=policy).add_edge(START, "node").compile()


def model():
    return chat_models.ChatOpenAI(model=MODEL)


def invoke(patient: bool) -> None:
    graph(lambda state: {"text": model().invoke("hi").content}, patient=patient).invoke({"text": ""})


def stream(patient: bool) -> None:
    graph(lambda state: {"text": str(list(model().stream("hi")))}, patient=patient).invoke({"text": ""})


async def ainvoke(patient: bool) -> None:
    async def node(state):
        return {"text": (await model().ainvoke("hi")).content}

    await graph(node, patient=patient).ainvoke({"text": ""})


async def astream(patient: bool) -> None:
    async def node(state):
        return {"text": str([chunk async for chunk in model().astream("hi")])}

    await graph(node, patient=patient).ainvoke({"text": ""})


WAYS = [invoke, stream, ainvoke, astream]
EACH_WAY = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@pytest.mark.parametrize(("row", "way"), each(WAYS, WAYS[1::2]))
def test_langchains_error_after_one_try(make_scene, way, row):
    scene: Scene = make_scene(ROWS[row], 0.5 if row == "deadline passed" else 5.0)
    scene.play(lambda: way(patient=row in OURS))
    scene.check(row, "LangChain", framework="LangGraph")
    scene.check_alone(row)


@EACH_WAY
def test_a_stalled_answer_is_late_too(make_scene, way):
    """Read asynchronously, LangChain takes every TimeoutError for its own: there it gets none."""
    scene: Scene = make_scene("stall", 0.5).play(lambda: way(patient=True))
    scene.check("deadline passed", "LangChain, async stream" if way is astream else "LangChain", framework="LangGraph")
    scene.check_alone("deadline passed")


@pytest.mark.parametrize("way", [ainvoke, astream], ids=lambda way: way.__name__)
async def test_a_coroutine_is_cut(make_scene, way):
    scene: Scene = await make_scene("silent", 0.5).aplay(lambda: way(patient=True))
    scene.check_tries("deadline passed", "LangGraph")
    scene.check_late()
