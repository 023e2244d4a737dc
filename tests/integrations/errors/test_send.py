"""Plain HTTP code: what the patched ``send`` of either library raises or returns."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import httpx2
import pytest

from tests.integrations.errors.scene import ASK, Scene
from tests.integrations.errors.table import BREAKS_OFF, OURS, ROWS
from tests.integrations.errors.upstream import KINDS

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
EACH_ROW = pytest.mark.parametrize("row", [row for row in OURS if row != BREAKS_OFF])
REFUSED = pytest.mark.parametrize("status", [400, 401, 404, 422])

URL = "/chat/completions"


def asking(library: Any, scene: Scene, *, stream: bool = False) -> Callable[[], Any]:
    """What a program does that calls a model without an SDK."""

    def ask() -> Any:
        with library.Client(base_url=scene.case.url("sdk")) as client:
            if not stream:
                return client.post(URL, json=ASK)
            with client.stream("POST", URL, json={**ASK, "stream": True}) as response:
                return list(response.iter_bytes())

    return ask


def asking_async(library: Any, scene: Scene) -> Callable[[], Awaitable[Any]]:
    async def ask() -> Any:
        async with library.AsyncClient(base_url=scene.case.url("sdk")) as client:
            return await client.post(URL, json=ASK)

    return ask


@LIBRARIES
@EACH_ROW
@pytest.mark.parametrize("way", ["sync", "async", "stream"])
def test_an_error_of_ours_is_the_librarys_own(make_scene, library, row, way):
    scene = make_scene(ROWS[row], 0.3 if row == "deadline passed" else 5.0)
    ask = asking_async(library, scene) if way == "async" else asking(library, scene, stream=way == "stream")
    scene.play(ask)
    scene.check(row, "plain HTTP", framework="openai SDK")
    scene.check_alone(row)
    assert scene.seen.request.url.path.endswith(URL)


@LIBRARIES
def test_an_answer_that_breaks_off(make_scene, library):
    scene = make_scene("cut")
    scene.play(asking(library, scene, stream=True))
    scene.check_seen(BREAKS_OFF, "plain HTTP")
    scene.check_alone(BREAKS_OFF)
    assert (scene.sends, scene.requests) == (1, 1)


@LIBRARIES
@REFUSED
def test_a_refusal_comes_back_byte_by_byte(make_scene, library, status):
    scene = make_scene(status)
    got = []

    def ask() -> None:
        got.append(asking(library, scene)())
        raise LookupError("the scene must fail")

    scene.play(ask)
    (response,) = got
    kind, code, message = KINDS[status]
    assert response.status_code == status
    assert response.json() == {"error": {"message": message, "type": kind, "param": None, "code": code}}
    assert response.content == json.dumps(response.json()).encode()
    assert response.headers["x-should-retry"] == "false"
    assert (scene.sends, scene.requests) == (1, 1)
