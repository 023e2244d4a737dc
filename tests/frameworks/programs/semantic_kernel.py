"""Semantic Kernel: an agent, the kernel by itself, agents side by side in a runtime of their own."""

from semantic_kernel import Kernel
from semantic_kernel.agents import ChatCompletionAgent, ConcurrentOrchestration
from semantic_kernel.agents.runtime import InProcessRuntime
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion

from tests.frameworks.harness import MODEL, Program


def _agent(name: str = "one") -> ChatCompletionAgent:
    return ChatCompletionAgent(service=OpenAIChatCompletion(ai_model_id=MODEL), name=name, instructions="Be brief.")


async def aio(prompt: str) -> object:
    return await _agent().get_response(messages=prompt)


async def aio_stream(prompt: str) -> object:
    return [part async for part in _agent().invoke_stream(messages=prompt)]


async def kernel(prompt: str) -> object:
    made = Kernel()
    made.add_service(OpenAIChatCompletion(ai_model_id=MODEL))
    return await made.invoke_prompt(prompt)


async def concurrent(prompt: str) -> object:
    runtime = InProcessRuntime()
    runtime.start()
    handed_in = await ConcurrentOrchestration(members=[_agent("left"), _agent("right")]).invoke(prompt, runtime)
    answers = await handed_in.get(timeout=20)
    await runtime.stop_when_idle()
    return answers


PROGRAM = Program(
    "Semantic Kernel",
    "semantic-kernel",
    aio=aio,
    aio_stream=aio_stream,
    own={"kernel": kernel, "side by side": concurrent},
    missing={"sync": "the framework is asynchronous", "sync stream": "the framework is asynchronous"},
)
