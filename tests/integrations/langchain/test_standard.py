"""LangChain's own tests of chat models, on the emulator and inside a run: for ChatOpenAI, which is caught, and for
ChatAgentsched, which needs no catching. The two pass, and skip, the very same ones.

The suite comes with ``langchain-tests``: ``python -m tests langchain``. What only a model that understands its prompt
can do is asked of `reader`; what fetches files from the internet is skipped for both.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

pytest.importorskip("langchain_tests")

from langchain_core.language_models import BaseChatModel  # only where the suite is installed
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

import agentsched as ags
from agentsched_langgraph import ChatAgentsched
from tests.integrations.langchain.reader import MODEL, Reader

pytestmark = pytest.mark.filterwarnings("ignore")


class _Unit(ChatModelUnitTests):
    @property
    def chat_model_params(self) -> dict[str, str]:
        return {"model": "gpt-4o-mini", "api_key": "k"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        environment = {"OPENAI_API_KEY": "api_key", "OPENAI_ORG_ID": "org_id", "OPENAI_API_BASE": "api_base"}
        expected = {"openai_api_key": "api_key", "openai_organization": "org_id", "openai_api_base": "api_base"}
        return environment, {"model": "gpt-4o-mini"}, expected


class TestPlainUnit(_Unit):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI


class TestScheduledUnit(_Unit):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAgentsched


UNDERSTANDING = frozenset(
    {
        "test_tool_calling",
        "test_tool_calling_async",
        "test_agent_loop",
        "test_json_mode",
        "test_unicode_tool_call_integration",
    }
)
"""The tests that look at which values a tool is called with, or at a text's meaning."""


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as started:
        yield started


class _Integration(ChatModelIntegrationTests):
    calls: ClassVar[dict[str, int]]

    @pytest.fixture(autouse=True)
    def _in_a_run(self, known_model_runtime, known_model_pool, reader, monkeypatch, request):
        monkeypatch.setenv("OPENAI_BASE_URL", known_model_pool.url("a"))
        if request.node.originalname in UNDERSTANDING:
            ags.configure(ags.Pool([ags.Endpoint("reader", reader.url, MODEL, api_key="k")]))
        with ags.deadline("60s") as run:
            yield
        assert len(run.decisions) == run.calls
        self.calls[request.node.name] = run.calls

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "gpt-4o-mini", "api_key": "k", "stream_usage": True}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "gpt-4o"


class TestPlain(_Integration):
    calls: ClassVar[dict[str, int]] = {}

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI


class TestScheduled(_Integration):
    calls: ClassVar[dict[str, int]] = {}

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAgentsched


def test_every_call_of_the_suite_was_scheduled_for_both_alike() -> None:
    plain, ours = TestPlain.calls, TestScheduled.calls
    if not plain or not ours:
        pytest.skip("the suite was not executed as a whole")
    assert ours == plain
    assert (ours["test_invoke"], ours["test_ainvoke"], ours["test_abatch"]) == (1, 1, 2)
    assert sum(ours.values()) > 40
