"""A caller that goes away takes everything along: what a cancelled or cut run left behind asks for nothing more."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import httpx2
import openai
import pytest

import agentsched as ags
from tests.integrations.errors.scene import ASK, Scene, until
from tests.integrations.errors.table import CANCELLED, raised
from tests.integrations.errors.test_sdk import ask_async, ask_async_for_stream
from tests.integrations.errors.test_send import asking_async

pytestmark = pytest.mark.filterwarnings("ignore")


async def cancelled(scene: Scene, ask: Callable[[], Awaitable[Any]]) -> None:
    """Play the scene, cancel it when the provider has been asked, and see that it is left alone."""
    playing = asyncio.create_task(scene.aplay(ask))
    await until(lambda: bool(scene.case.requests))
    playing.cancel()
    await playing
    await until(lambda: scene.case.left == 1)
    assert (scene.sends, len(scene.case.requests)) == (1, 1)
    assert scene.run is not None
    assert scene.run.outcome == "cancelled"
    if scene.run.runtime is not None:
        dispatcher = scene.run.runtime.dispatcher  # type: ignore[attr-defined]
        await until(lambda: dispatcher.scheduler.idle)


def check(scene: Scene, column: str) -> None:
    assert {type(scene.raised).__name__} == raised(CANCELLED, column) == raised(CANCELLED, "decorated function")


@pytest.mark.parametrize("way", [ask_async, ask_async_for_stream], ids=lambda way: way.__name__)
@pytest.mark.parametrize("mode", ["silent", "stall"])
@pytest.mark.parametrize("pool", [True, False], ids=["pool", "no pool"])
async def test_the_sdk(make_scene, way, mode, pool):
    scene = make_scene(mode, pool=pool)
    await cancelled(scene, way)
    check(scene, "openai SDK")


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
async def test_plain_http(make_scene, library):
    scene = make_scene("silent")
    await cancelled(scene, asking_async(library, scene))
    check(scene, "plain HTTP")


@pytest.mark.parametrize("name", ["ainvoke", "astream"])
async def test_langchain_in_a_langgraph_node(make_scene, name):
    pytest.importorskip("langchain_openai")
    from tests.integrations.errors import test_langgraph

    scene = make_scene("silent")
    await cancelled(scene, lambda: getattr(test_langgraph, name)(patient=True))
    check(scene, "LangChain" if name == "ainvoke" else "LangChain, async stream")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_autogen_agent(make_scene, stream):
    pytest.importorskip("autogen_agentchat")
    from tests.integrations.errors import test_autogen

    scene = make_scene("silent")
    await cancelled(scene, lambda: test_autogen.ask_agent(stream))
    check(scene, "AutoGen agent")


async def test_an_autogen_team_by_its_own_token(make_scene):
    pytest.importorskip("autogen_agentchat")
    from autogen_core import CancellationToken

    from tests.integrations.errors import test_autogen

    scene, token = make_scene("silent"), CancellationToken()
    playing = asyncio.create_task(scene.aplay(lambda: test_autogen.team().run(task="hi", cancellation_token=token)))
    await until(lambda: bool(scene.case.requests))
    token.cancel()
    await playing
    check(scene, "AutoGen team")
    await until(lambda: scene.case.left == 1)
    assert (scene.sends, len(scene.case.requests)) == (1, 1)


async def test_an_autogen_team_without_one_ends_at_the_deadline(make_scene):
    """AutoGen waits for its agents before it lets a cancellation pass; the deadline ends that."""
    pytest.importorskip("autogen_agentchat")
    from tests.integrations.errors import test_autogen

    scene = make_scene("silent", 0.8)
    playing = asyncio.create_task(scene.aplay(lambda: test_autogen.ask_team(False)))
    await until(lambda: bool(scene.case.requests))
    playing.cancel()
    await playing
    check(scene, "AutoGen team")
    assert scene.run.elapsed() >= 0.8
    assert scene.sends == 1


@pytest.mark.parametrize("name", ["kickoff_async", "akickoff"])
async def test_crewai(make_scene, name):
    """It does the work in a thread, which no cancellation reaches but ours."""
    pytest.importorskip("crewai")
    from tests.integrations.errors import test_crewai

    scene, made = make_scene("silent", 10.0), test_crewai.crew()
    await cancelled(scene, lambda: test_crewai.WAYS[name](made))
    check(scene, "CrewAI")


@pytest.mark.parametrize("pool", [True, False], ids=["pool", "no pool"])
@pytest.mark.parametrize("end", ["cut", "cancelled"])
@pytest.mark.parametrize("how", ["thread", "thread of a thread"])
async def test_a_thread_that_goes_on(make_scene, pool, end, how):
    """As CrewAI's do: they are in the middle of a tool when the time is up, and ask the model afterwards."""
    scene: Scene = make_scene("answer", 0.3 if end == "cut" else 5.0, pool=pool)
    over, got = threading.Event(), []

    def call() -> None:
        try:
            with openai.OpenAI() as client:
                client.chat.completions.create(**ASK)
        except BaseException as error:  # noqa: BLE001  # also what no framework catches
            got.append(error)

    def work() -> None:
        over.wait(5)
        if how == "thread":
            call()
        else:
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()

    playing = asyncio.create_task(scene.aplay(lambda: asyncio.to_thread(work)))
    if end == "cancelled":
        await until(lambda: scene.run is not None)
        playing.cancel()
    await playing
    over.set()
    await until(lambda: bool(got))
    (error,) = got
    if end == "cut":
        assert isinstance(error, openai.APITimeoutError)
        assert error.run_id == scene.run.run_id
        assert (error.__cause__, error.__context__) == (None, None)
    else:
        assert type(error) is asyncio.CancelledError
    assert (scene.sends, len(scene.case.requests)) == (1, 0)


async def test_a_task_that_goes_on(make_scene):
    scene: Scene = make_scene("answer", 0.2)
    over, tasks = asyncio.Event(), []

    async def work() -> None:
        await over.wait()
        await ask_async()

    async def ask() -> None:
        tasks.append(asyncio.create_task(work()))
        await asyncio.sleep(5)

    await scene.aplay(ask)
    over.set()
    with pytest.raises(openai.APITimeoutError):
        await tasks[0]
    assert (scene.sends, len(scene.case.requests)) == (1, 0)


async def test_what_a_run_left_behind_in_time_is_free(make_scene):
    """A run that ended well has no say over what it started."""
    scene: Scene = make_scene("answer", 5.0, pool=False)
    over, tasks = asyncio.Event(), []

    async def work() -> None:
        await over.wait()
        await ask_async()

    @ags.workflow(slo="5s")
    async def flow() -> None:
        tasks.append(asyncio.create_task(work()))

    await flow()
    over.set()
    await tasks[0]
    assert (scene.sends, scene.case.strays) == (1, 1)
