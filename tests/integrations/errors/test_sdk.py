"""The openai SDK, 2.x or 3.x, whichever is installed: four ways to ask, every row of the page."""

import inspect
from collections.abc import Callable
from typing import Any

import openai
import pytest

import agentsched as ags
from tests.integrations.errors.scene import ASK, until
from tests.integrations.errors.table import OURS, ROWS, each
from tests.integrations.errors.upstream import KINDS

SDK = "openai SDK"


def ask() -> None:
    with openai.OpenAI() as client:
        client.chat.completions.create(**ASK)


def ask_for_stream() -> None:
    with openai.OpenAI() as client:
        list(client.chat.completions.create(**ASK, stream=True))


async def ask_async() -> None:
    async with openai.AsyncOpenAI() as client:
        await client.chat.completions.create(**ASK)


async def ask_async_for_stream() -> None:
    async with openai.AsyncOpenAI() as client:
        [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]


WAYS = [ask, ask_for_stream, ask_async, ask_async_for_stream]
EACH_WAY = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@pytest.mark.parametrize(("row", "way"), each(WAYS, WAYS[1::2]))
def test_the_sdks_own_error_after_one_try(make_scene, way, row):
    scene = make_scene(ROWS[row], 0.3 if row == "deadline passed" else 5.0).play(way)
    scene.check(row, SDK, framework=SDK)
    scene.check_alone(row)
    if row not in OURS:
        check_unchanged(scene.seen, ROWS[row])


def check_unchanged(error: openai.APIStatusError, status: int) -> None:
    """It is what the SDK itself makes of the provider's answer, of no class but the SDK's."""
    assert type(error).__module__ == "openai"
    assert error.status_code == status
    assert error.body["code"] == KINDS[status][1]
    assert error.response.headers["content-type"].startswith("application/json")


@EACH_WAY
@pytest.mark.parametrize("mode", ["silent", "stall"])
def test_a_deadline_without_a_pool_is_the_same(make_scene, way, mode):
    """The calls pass through to where the SDK was told to send them, and end all the same."""
    scene = make_scene(mode, 0.3, pool=False).play(way)
    scene.check_seen("deadline passed", SDK)
    scene.check_alone("deadline passed")
    scene.check_late()
    assert (scene.sends, scene.requests) == (1, 1)


@EACH_WAY
def test_a_stalled_answer_is_late_too(make_scene, way):
    scene = make_scene("stall", 0.3).play(way)
    scene.check("deadline passed", SDK, framework=SDK)
    scene.check_alone("deadline passed")


@pytest.mark.parametrize("way", [ask_async, ask_async_for_stream], ids=lambda way: way.__name__)
@pytest.mark.parametrize("pool", [True, False], ids=["pool", "no pool"])
async def test_a_coroutine_is_cut(make_scene, way, pool):
    scene = await make_scene("silent", 0.3, pool=pool).aplay(way)
    scene.check_tries("deadline passed", SDK)
    scene.check_late()
    await until(lambda: scene.case.left == scene.requests)


@pytest.mark.parametrize("pool", [True, False], ids=["pool", "no pool"])
def test_after_the_deadline_nothing_is_asked_for(make_scene, pool):
    """However often the agent's code tries: each try ends at once, with the same run's error."""
    scene, seen = make_scene("silent", 0.3, pool=pool), []

    def stubborn() -> None:
        for attempt in (ask, ask_for_stream, ask, ask):
            seen.append(caught(attempt))
        raise seen[-1]

    scene.play(stubborn)
    assert [type(error).__name__ for error in seen] == ["DeadlineExceeded"] * 4
    assert all(isinstance(error, openai.APITimeoutError) for error in seen)
    assert {error.run_id for error in seen} == {scene.run.run_id}
    assert all((error.__cause__, error.__context__) == (None, None) for error in seen)
    assert scene.sends == 4
    assert scene.requests <= 2
    assert scene.run.calls == 1, "the last three were stopped at the door"
    scene.check_late()


def test_an_inner_deadline_is_told_from_the_runs(make_scene):
    scene = make_scene("silent", 5.0)

    def inner() -> None:
        with ags.deadline("300ms"):
            ask()

    scene.play(inner)
    assert type(scene.raised) is ags.DeadlineExceeded
    assert (scene.raised.deadline_s, scene.raised.run_id) == (0.3, scene.run.run_id)
    assert scene.sends == 1


def test_refused_connections_are_all_down(make_scene, unused_url):
    scene = make_scene(500)
    scene.pool.write_text(scene.pool.read_text().replace(scene.case.url("a"), unused_url))
    scene.pool.write_text(scene.pool.read_text().replace(scene.case.url("b"), unused_url))
    scene.play(ask)
    scene.check_seen("all endpoints down", SDK)
    scene.check_alone("all endpoints down")
    assert (scene.sends, scene.requests) == (1, 0)


@EACH_WAY
@pytest.mark.parametrize("row", OURS[:2])
def test_what_the_agent_was_just_handling_does_not_hang_on_it(make_scene, way, row):
    """A tool failed by a limit of its own; a framework that reads on from our error would find that and try again."""

    def after_failure() -> None:
        try:
            raise ValueError("429, rate limit of some tool")
        except ValueError:
            way()

    async def after_failure_async() -> None:
        try:
            raise ValueError("429, rate limit of some tool")
        except ValueError:
            await way()

    ask_again = after_failure_async if inspect.iscoroutinefunction(way) else after_failure
    scene = make_scene(ROWS[row], 0.3 if row == "deadline passed" else 5.0).play(ask_again)
    scene.check(row, SDK, framework=SDK)
    scene.check_alone(row)


async def test_nor_does_what_the_caller_of_the_workflow_was_handling(make_scene):
    scene = make_scene("silent", 0.3)

    @ags.workflow(slo="300ms", pool=scene.pool)
    async def flow() -> None:
        await ask_async()

    async def after_failure() -> None:
        try:
            raise ValueError("429, rate limit of some tool")
        except ValueError:
            await flow()

    with pytest.raises(ags.DeadlineExceeded) as caught:
        await after_failure()
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_a_limit_among_other_failures_is_not_called_by_its_name(make_scene):
    scene = make_scene("mixed").play(ask)
    scene.check_seen("all endpoints down", SDK)
    assert any("429" in told for told in scene.seen.attempts), "for people who ask the error itself"
    assert scene.sends == 1


@pytest.mark.parametrize("row", OURS[1:3])
def test_a_patient_client_is_not_more_patient(make_scene, row):
    def patient() -> None:
        with openai.OpenAI(max_retries=7) as client:
            client.chat.completions.create(**ASK)

    make_scene(ROWS[row]).play(patient).check(row, SDK, framework=SDK)


def caught(attempt: Callable[[], Any]) -> BaseException:
    try:
        attempt()
    except Exception as error:  # noqa: BLE001  # what an agent does that never gives up
        return error
    raise AssertionError("it was answered")
