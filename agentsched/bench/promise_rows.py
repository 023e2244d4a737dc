"""Programs whose users set a time limit in their framework or client, and the endpoints on which that goes wrong.

Each program is what a user would write: nothing in it knows of agentsched. Packages are loaded when a program is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

from agentsched.bench.packages import load_litellm, load_package
from agentsched.emulator.config import EmulatedEndpoint
from agentsched.emulator.faults import Fault
from agentsched.engine.profile import HardwareProfile

__all__ = ["KEY", "MODEL", "ROWS", "UPSTREAMS", "Places", "Program", "Row", "Upstream"]

MODEL = "gpt-4o-mini"
"""A name that every framework knows the abilities of."""

KEY = "bench"
_HEALTHY_TOKEN_S = 0.003
_SLOW_TOKEN_S = 0.1
_DRIP_TOKEN_S = 1.0
_DRIP_BYTE_S = 0.025


@dataclass(frozen=True, slots=True)
class Upstream:
    """How an endpoint behaves.

    Attributes:
        token_s: seconds per token of its answer.
        fault: what else is wrong with it.
    """

    token_s: float
    fault: Fault | None = None

    def endpoint(self, name: str) -> EmulatedEndpoint:
        """An endpoint of this kind for an emulated pool."""
        profile = HardwareProfile(name, self.token_s, 0.0, 0.0, 1e6, max_slots=64, kv_tokens=1_000_000)
        faults = () if self.fault is None else (self.fault,)
        return EmulatedEndpoint(name=name, profile=profile, model=MODEL, faults=faults)


UPSTREAMS = {
    "healthy": Upstream(_HEALTHY_TOKEN_S),
    "silent": Upstream(_HEALTHY_TOKEN_S, Fault(kind="silent")),
    "slow": Upstream(_SLOW_TOKEN_S),
    "slow stream": Upstream(_DRIP_TOKEN_S),
    "dripping body": Upstream(_HEALTHY_TOKEN_S, Fault(kind="drip", interval_s=_DRIP_BYTE_S)),
    "SSE comments": Upstream(_HEALTHY_TOKEN_S, Fault(kind="drip_comments", interval_s=1.0)),
}
"""By name. An answer of N tokens takes N tenths of a second where it is slow, N seconds in the slow stream."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a program's calls go, and what it asks.

    Attributes:
        primary: base URL of the endpoint that is asked.
        fallback: base URL of the one that the program's user named as a way out.
        prompt: the question; it says how long its answer is.
    """

    primary: str
    fallback: str | None
    prompt: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """The question as chat messages."""
        return [{"role": "user", "content": self.prompt}]


Program = Callable[[], Any]
"""A function or a coroutine function that gives the answer's text."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        name: for the command line.
        setup: what the user set.
        package: the distribution whose version belongs to it.
        deadline_s: the limit that the user set, and under which the run is decorated, seconds.
        primary: how the endpoint that is asked behaves, a name in `UPSTREAMS`.
        fallback: the same for the way out; None: there is none.
        tokens: length of the answer.
        make: makes the program.
    """

    name: str
    setup: str
    package: str
    deadline_s: float
    primary: str
    fallback: str | None
    tokens: int
    make: Callable[[Places], Program]


def _openai(places: Places, *, stream: bool = False) -> Program:
    openai = load_package("openai")
    client = openai.OpenAI(base_url=places.primary, api_key=KEY, timeout=2, max_retries=2)

    def ask() -> str:
        return _text(client.chat.completions.create(model=MODEL, messages=places.messages, stream=stream))

    return ask


def _litellm(places: Places, *, stream: bool = False) -> Program:
    litellm = load_litellm()

    def ask() -> str:
        answer = litellm.completion(
            model=f"openai/{MODEL}",
            messages=places.messages,
            stream=stream,
            api_base=places.primary,
            api_key=KEY,
            timeout=2,
        )
        return _text(answer)

    return ask


def _text(answer: Any) -> str:
    # A whole answer, being a pydantic model, can be iterated too.
    if hasattr(answer, "__next__"):
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)
    return str(answer.choices[0].message.content)


def _router(places: Places) -> Program:
    router = load_litellm().Router(
        model_list=[
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{MODEL}", "api_base": url, "api_key": KEY},
            }
            for name, url in (("primary", places.primary), ("fallback", places.fallback))
        ],
        timeout=2,
        num_retries=2,
        fallbacks=[{"primary": ["fallback"]}],
    )

    def ask() -> str:
        return _text(router.completion(model="primary", messages=places.messages))

    return ask


def _crewai(places: Places) -> Program:
    crewai = load_package("crewai")
    model = crewai.LLM(model=MODEL, base_url=places.primary, api_key=KEY)
    agent = crewai.Agent(role="Writer", goal="write", backstory="writes", llm=model, max_execution_time=1)
    task = crewai.Task(description=places.prompt, expected_output="text", agent=agent)
    crew = crewai.Crew(agents=[agent], tasks=[task])

    def ask() -> str:
        return str(crew.kickoff())

    return ask


class _State(TypedDict):
    text: str


def _langgraph_step(places: Places) -> Program:
    model = _chat_model(places)

    def write(state: _State) -> _State:
        return {"text": str(model.invoke(state["text"]).content)}

    graph = _graph(write)
    graph.step_timeout = 1

    def ask() -> str:
        return str(graph.invoke({"text": places.prompt})["text"])

    return ask


def _langgraph_node(places: Places) -> Program:
    model = _chat_model(places)

    async def write(state: _State) -> _State:
        return {"text": str((await model.ainvoke(state["text"])).content)}

    retry = load_package("langgraph.types").RetryPolicy(max_attempts=3)
    graph = _graph(write, timeout=1, retry_policy=retry)

    async def ask() -> str:
        return str((await graph.ainvoke({"text": places.prompt}))["text"])

    return ask


def _chat_model(places: Places) -> Any:
    return load_package("langchain_openai").ChatOpenAI(model=MODEL, base_url=places.primary, api_key=KEY)


def _graph(node: Callable[..., Any], **options: Any) -> Any:
    langgraph = load_package("langgraph.graph")
    graph = langgraph.StateGraph(_State)
    graph.add_node("write", node, **options)
    graph.add_edge(langgraph.START, "write")
    return graph.compile()


def _autogen(places: Places) -> Program:
    clients = load_package("autogen_ext.models.openai")
    agents, teams = load_package("autogen_agentchat.agents"), load_package("autogen_agentchat.teams")
    conditions = load_package("autogen_agentchat.conditions")

    async def ask() -> str:
        client = clients.OpenAIChatCompletionClient(model=MODEL, base_url=places.primary, api_key=KEY)
        agent = agents.AssistantAgent("writer", model_client=client)
        team = teams.RoundRobinGroupChat([agent], termination_condition=conditions.TimeoutTermination(1))
        return str((await team.run(task=places.prompt)).messages[-1].content)

    return ask


def _rows() -> tuple[Row, ...]:
    router = "`Router(timeout=2, num_retries=2)`, "
    return (
        Row("router", router + "silent, healthy fallback", "litellm", 2, "silent", "healthy", 10, _router),
        Row("router-silent", router + "both silent", "litellm", 2, "silent", "silent", 10, _router),
        Row("openai", "`timeout=2, max_retries=2`, silent upstream", "openai", 2, "silent", None, 10, _openai),
        Row("openai-body", "`timeout=2`, dripping body", "openai", 2, "dripping body", None, 10, _openai),
        Row(
            "openai-sse", "`timeout=2`, one chunk per second", "openai", 2, "slow stream", None, 10, _streamed(_openai)
        ),
        Row("openai-comments", "`timeout=2`, SSE comments", "openai", 2, "SSE comments", None, 10, _streamed(_openai)),
        Row("litellm-body", "`timeout=2`, dripping body", "litellm", 2, "dripping body", None, 10, _litellm),
        Row(
            "litellm-sse",
            "`timeout=2`, one chunk per second",
            "litellm",
            2,
            "slow stream",
            None,
            10,
            _streamed(_litellm),
        ),
        Row("crewai", "`max_execution_time=1`, call of 6 s", "crewai", 1, "slow", None, 60, _crewai),
        Row(
            "langgraph-step",
            "`step_timeout=1`, sync node of 4 s",
            "langgraph",
            1,
            "slow",
            None,
            40,
            _langgraph_step,
        ),
        Row(
            "langgraph-node",
            "node `timeout=1`, 3 attempts, call of 4 s",
            "langgraph",
            1,
            "slow",
            None,
            40,
            _langgraph_node,
        ),
        Row("autogen", "`TimeoutTermination(1)`, call of 4 s", "autogen-agentchat", 1, "slow", None, 40, _autogen),
    )


def _streamed(make: Callable[..., Program]) -> Callable[[Places], Program]:
    return lambda places: make(places, stream=True)


ROWS = {row.name: row for row in _rows()}
"""By name, in the order of the table."""
