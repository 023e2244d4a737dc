"""LlamaIndex: a model, an agent, and a workflow with steps side by side."""

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.workflow import Context, Event, StartEvent, StopEvent, Workflow, step
from llama_index.llms.openai import OpenAI

from tests.frameworks.harness import MODEL, Program


def sync(prompt: str) -> object:
    return OpenAI(model=MODEL).complete(prompt)


def sync_stream(prompt: str) -> object:
    return list(OpenAI(model=MODEL).stream_complete(prompt))


async def aio(prompt: str) -> object:
    return await OpenAI(model=MODEL).acomplete(prompt)


async def aio_stream(prompt: str) -> object:
    return [piece async for piece in await OpenAI(model=MODEL).astream_complete(prompt)]


async def agent(prompt: str) -> object:
    def look() -> str:
        """Look it up."""
        return str(OpenAI(model=MODEL).complete(prompt))

    made = FunctionAgent(tools=[look], llm=OpenAI(model=MODEL), system_prompt="Be brief.")
    return await made.run(f"{prompt} [[tool=look]]")


class Part(Event):
    prompt: str


class Done(Event):
    pass


class Parts(Workflow):
    @step
    async def split(self, ctx: Context, start: StartEvent) -> Part | None:
        for _ in range(2):
            ctx.send_event(Part(prompt=start.prompt))

    @step(num_workers=2)
    async def work(self, part: Part) -> Done:
        await OpenAI(model=MODEL).acomplete(part.prompt)
        return Done()

    @step
    async def join(self, ctx: Context, done: Done) -> StopEvent | None:
        return None if ctx.collect_events(done, [Done] * 2) is None else StopEvent()


async def workflow(prompt: str) -> object:
    return await Parts().run(prompt=prompt)


PROGRAM = Program(
    "LlamaIndex",
    "llama-index-core",
    sync=sync,
    sync_stream=sync_stream,
    aio=aio,
    aio_stream=aio_stream,
    own={"agent with a tool": agent, "workflow side by side": workflow},
)
