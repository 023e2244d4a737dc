"""What happens to a request that is sent inside a run: it is left alone, passes through bounded, or is scheduled."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, cast

from agentsched.core.call import ModelCall
from agentsched.endpoints.continuation import ways_of
from agentsched.endpoints.exchange import Exchange, Reply
from agentsched.endpoints.upgrade import may_upgrade
from agentsched.errors import AgentschedError, DeadlineExceeded, StepSkipped
from agentsched.forecast.features import packed_features
from agentsched.intercept.answering import Watcher, respond
from agentsched.intercept.callers import reader_of
from agentsched.intercept.describing import Description, describe, step_name
from agentsched.intercept.family import Family
from agentsched.intercept.homes import homes_of
from agentsched.intercept.passthrough import Bounded, Options, pass_through, pass_through_blocking
from agentsched.intercept.reading import api_of, model_of, patience_s, read_exchange
from agentsched.intercept.site import Site
from agentsched.intercept.transports import is_custom_transport
from agentsched.intercept.wrapping_up import tokens_in, wrapped_up
from agentsched.workflow.frame import current_frame
from agentsched.workflow.lineage import lineage_of
from agentsched.workflow.optional import leave_out, left_visit, open_visits, settle_visits
from agentsched.workflow.scope import Run, abandoned_run, current_run, effective_deadline
from agentsched.workflow.shortage import short_of_time
from agentsched.workflow.steps import current_step

if TYPE_CHECKING:
    import httpx2

    from agentsched.runtime import Runtime

__all__ = ["send", "send_blocking"]

_log = logging.getLogger("agentsched")

_PROMPT_HEAD = 500
_ACTS_BEFORE = ("degrade", "wrap_up")
"""What of ``on_late`` acts before the deadline."""

_RESPONSES = frozenset({"responses"})
_MAX_REPORTS = 256

_reported: set[str] = set()


class Scheduled(NamedTuple):
    """A call for the dispatcher, and where it was caught."""

    site: Site
    runtime: "Runtime"
    call: ModelCall
    exchange: Exchange


class _Place(NamedTuple):
    """Where a call stands in its run: number, step, instant of arrival, instant by which it must be answered,
    whether by now a lesser answer in time is preferred to a better one that is late, and the optional steps around."""

    number: int
    step: str
    now: float
    deadline_at: float | None
    degraded: bool
    visits: tuple[str, ...]


async def send(
    family: Family,
    client: "httpx2.AsyncClient",
    request: "httpx2.Request",
    original: Callable[..., Awaitable["httpx2.Response"]],
    options: Options,
) -> "httpx2.Response":
    """``AsyncClient.send``.

    Args:
        family: the library of ``client``.
        client: the client that was asked.
        request: what it was to send.
        original: its ``send`` without interception.
        options: the keyword arguments of ``send``.
    """
    run = current_run() or abandoned_run()
    if run is None or not _in_asyncio():
        return await original(client, request, **options)
    plan = _plan(Site(family, client, request, run))
    if plan is None:
        return await original(client, request, **options)
    if isinstance(plan, Bounded):
        return await pass_through(plan, original, options)
    if not isinstance(plan, Scheduled):
        return plan
    watcher = _watcher(plan)
    reply: Reply | AgentschedError
    try:
        for hook in client.event_hooks["request"]:
            await hook(request)
        reply = await plan.runtime.dispatcher.send(plan.call, plan.exchange)
    except AgentschedError as error:
        reply = error
    except BaseException:
        watcher.ended(False)
        raise
    response = _respond(plan, reply, watcher, options)
    try:
        for hook in client.event_hooks["response"]:
            await hook(response)
        if not options.get("stream"):
            await response.aread()
    except BaseException:
        await response.aclose()
        raise
    return response


def send_blocking(
    family: Family,
    client: "httpx2.Client",
    request: "httpx2.Request",
    original: Callable[..., "httpx2.Response"],
    options: Options,
) -> "httpx2.Response":
    """``Client.send``; see `send`."""
    run = current_run() or abandoned_run()
    if run is None:
        return original(client, request, **options)
    plan = _plan(Site(family, client, request, run))
    if plan is None:
        return original(client, request, **options)
    if isinstance(plan, Bounded):
        return pass_through_blocking(plan, original, options)
    if not isinstance(plan, Scheduled):
        return plan
    watcher = _watcher(plan)
    reply: Reply | AgentschedError
    try:
        for hook in client.event_hooks["request"]:
            hook(request)
        reply = plan.runtime.dispatcher.send_blocking(plan.call, plan.exchange)
    except AgentschedError as error:
        reply = error
    except BaseException:
        watcher.ended(False)
        raise
    response = _respond(plan, reply, watcher, options)
    try:
        for hook in client.event_hooks["response"]:
            hook(response)
        if not options.get("stream"):
            response.read()
    except BaseException:
        response.close()
        raise
    return response


def _in_asyncio() -> bool:
    """Whether asyncio drives the caller; under another event loop a call can neither be scheduled nor cut."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        _report("asyncio does not drive this program: asynchronous model calls are neither scheduled nor bounded")
        return False
    return True


def _report(text: str) -> None:
    """Warn, once per text."""
    if text not in _reported and len(_reported) < _MAX_REPORTS:
        _reported.add(text)
        _log.warning(text)


def _plan(site: Site) -> "Scheduled | Bounded | httpx2.Response | None":
    """What to do with the request; None: leave it alone; a response: the deadline has passed (see `Site.fail`)."""
    api = api_of(site.request)
    if api is None or site.client.is_closed:
        return None
    exchange = read_exchange(site.request, api, site.family)
    if exchange is None:
        return None
    run = site.run
    if run.ended_early:
        return site.refuse_abandoned()
    left = left_visit()
    if left is not None:
        return site.fail(left)
    now = run.clock()
    about = describe(exchange)
    step = current_step(run) or step_name(about)
    deadline_at = effective_deadline(run, step, now)
    visits, late = open_visits(run), deadline_at is not None and deadline_at <= now
    if late and not (visits and (run.limit_at is None or now < run.limit_at)):
        return site.fail(site.late())
    runtime = cast("Runtime | None", run.runtime)
    model = model_of(site.request, exchange.body)
    short = run.slo.on_late in _ACTS_BEFORE and short_of_time(run, now)
    place = _Place(run.next_call_index(), step, now, deadline_at, short and run.slo.on_late == "degrade", visits)
    run.open_call(place.number, step, now)
    home = homes_of(runtime).find(about.continues) if runtime is not None and about.continues else None
    if runtime is None or model is None or not _may_schedule(site, runtime, model, about, home):
        if late:
            run.close_call(place.number)
            return site.fail(site.late())
        settle_visits()
        return Bounded(site, deadline_at, step, place.number)
    settle_visits(scheduled=run)
    if short and run.slo.on_late == "wrap_up" and deadline_at is not None:
        exchange = wrapped_up(exchange, tokens_in(deadline_at - now, *runtime.fastest(model)))
        about = describe(exchange)
    return Scheduled(site, runtime, _call(site, runtime, exchange, about, place, model, home), exchange)


def _may_schedule(site: Site, runtime: "Runtime", model: str, about: Description, home: str | None) -> bool:
    if about.owned or (about.continues and home is None):
        # What it goes on from is where the caller's own client made it, under the caller's own credentials.
        return False
    settings = runtime.settings
    if not settings.intercept.custom_transports and is_custom_transport(site.client, site.request):
        return False
    serving = settings.pool.serving(model)
    if serving and "responses" in about.needs:
        if any(settings.pool.endpoints[i].can(_RESPONSES) for i in serving):
            return True
        _report(f"no endpoint that serves {model!r} declares `responses`: its calls of that API pass through, bounded")
        return False
    if serving:
        return True
    _report(f"no endpoint of the pool serves model {model!r}: its calls pass through, bounded in time only")
    return False


def _call(
    site: Site,
    runtime: "Runtime",
    exchange: Exchange,
    about: Description,
    place: _Place,
    model: str,
    home: str | None,
) -> ModelCall:
    run, hints = site.run, current_frame().hints
    call_id = f"{run.run_id}-{place.number}"
    parents, tool_s = lineage_of(run).begin(call_id, place.step, place.now)
    return ModelCall(
        call_id=call_id,
        run_id=run.run_id,
        workflow=run.workflow,
        step=place.step,
        call_index=place.number,
        model=model,
        api=exchange.api,
        stream=exchange.stream,
        input_tokens=about.input_tokens,
        max_tokens=about.max_tokens,
        needs=about.needs,
        repeatable=about.repeatable if hints.repeatable is None else hints.repeatable,
        pinned=home,
        prefix=about.prefix,
        deadline_at=place.deadline_at,
        due_at=_due_at(run, place),
        patience_s=patience_s(site.request, site.client),
        min_quality=0.0 if place.degraded else run.slo.min_quality,
        priority=run.slo.priority,
        tenant=run.slo.tenant,
        parents=parents,
        tool_s=tool_s,
        hinted_output_tokens=hints.output_tokens,
        remaining_calls=hints.remaining_calls(place.number),
        prompt_head=about.last_text[:_PROMPT_HEAD] if runtime.settings.log.prompts else "",
        features=packed_features(about.last_text),
        upgradable=may_upgrade(exchange),
        continuable=ways_of(exchange),
        optional=place.visits,
    )


def _due_at(run: Run, place: _Place) -> float | None:
    """When the call should be answered where nothing cuts it then: what ``on_late="ignore"`` leaves of a deadline."""
    if run.due_at is None or run.limit_at is not None:
        return None
    due_at = run.due_at - run.reserved_s(place.step)
    return due_at if place.deadline_at is None else min(due_at, place.deadline_at)


def _watcher(plan: Scheduled) -> Watcher:
    run, call = plan.site.run, plan.call

    def ended(any_read: bool) -> None:
        lineage_of(run).end(call.call_id, run.clock(), answered=any_read)
        run.close_call(call.call_index)

    return Watcher(translate=plan.site.break_off, ended=ended)


def _respond(plan: Scheduled, reply: Reply | AgentschedError, watcher: Watcher, options: Options) -> "httpx2.Response":
    """The response, or the error; called outside any handler, so that the error has no context."""
    if isinstance(reply, DeadlineExceeded):
        run = plan.site.run
        reply = run.remember_error(run.clock(), reply.given_up) if reply.given_up else plan.site.late()
    if isinstance(reply, StepSkipped):
        leave_out(reply, plan.site.run)
    if isinstance(reply, AgentschedError):
        watcher.ended(False)
        return plan.site.fail(reply)
    site = plan.site
    if plan.call.api == "responses" and 200 <= reply.status < 300:
        watcher.read = homes_of(plan.runtime).reader(reply.endpoint)
    if reply.content is None:
        reader = reader_of(site.request, in_loop=hasattr(reply.stream, "aclose"))
        watcher.translate = functools.partial(site.break_off, reader=reader)
        _hold(site.run, watcher)
    return respond(site.family, site.client, site.request, reply, watcher, stream=bool(options.get("stream")))


def _hold(run: Run, watcher: Watcher) -> None:
    """Keep the run open until the stream has been read, even if the workflow's function returns it unread."""
    ended = watcher.ended
    run.hold()

    def release(any_read: bool) -> None:
        ended(any_read)
        run.release()

    watcher.ended = release
