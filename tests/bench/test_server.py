"""The bench's local server speaks what the SDK expects, and counts what it answers."""

import json
import urllib.request
from collections.abc import Iterator

import pytest

from agentsched.bench.server import LocalServer, Plan, answer_text

openai = pytest.importorskip("openai")

PLAN = Plan("bench-model", ports=2, chunks=7, gap_s=0.0)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer(PLAN) as running:
        yield running


def served(server: LocalServer) -> int:
    with urllib.request.urlopen(server.urls[0]) as answer:
        return int(json.load(answer)["served"])


def test_a_whole_answer(server: LocalServer) -> None:
    before = served(server)
    with openai.OpenAI(base_url=server.urls[1], api_key="any", max_retries=0) as client:
        for _ in range(3):
            answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x" * 100_000}])
    assert answer.choices[0].message.content == answer_text(7)
    assert answer.usage.completion_tokens == 7
    assert served(server) == before + 3, "all ports count together, and a look at the counter does not count"


@pytest.mark.parametrize("counted", [False, True])
def test_a_stream_has_one_chunk_per_token(server: LocalServer, counted: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if counted else {}
    with openai.OpenAI(base_url=server.urls[0], api_key="any", max_retries=0) as client:
        chunks = list(client.chat.completions.create(model="m", messages=[], stream=True, **options))
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert [text for text in texts if text] == [f"word{index} " for index in range(7)]
    assert [chunk.usage is not None for chunk in chunks].count(True) == counted


def test_it_ends_with_its_parent() -> None:
    with LocalServer(PLAN) as server:
        process = server._process
        assert process is not None
    assert process.returncode == 0
