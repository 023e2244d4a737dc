"""Live dispatch: one scheduler, one lock, one lane per event loop, one portal thread for callers without a loop."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from agentsched import clock
from agentsched.core.call import ModelCall
from agentsched.core.records import CallEnded, Recordable
from agentsched.dispatch.body import Stream
from agentsched.dispatch.lane import Lane, Pending
from agentsched.dispatch.portal import Portal
from agentsched.dispatch.trust import credentials_of
from agentsched.endpoints.exchange import Exchange, Reply
from agentsched.errors import AgentschedError, CallFailed
from agentsched.forking import ProcessLock
from agentsched.scheduler.actions import Action, Record
from agentsched.scheduler.events import CallArrived, CallCancelled, Event, ReviewDue
from agentsched.scheduler.scheduler import Scheduler

__all__ = ["Dispatcher"]

_log = logging.getLogger("agentsched")

T = TypeVar("T")


class Dispatcher:
    """Feeds the scheduler what happens and has its actions done.

    `Scheduler.handle` runs in whatever thread has news, under one lock that is held for nothing else; a call's actions
    go to the loop that owns the call, in order.

    Args:
        scheduler: decides.
        emit: takes records; never blocks.
        recorder: takes every (event, now, actions), for replay; None: nothing is recorded.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        emit: Callable[[Recordable], None],
        recorder: Callable[[Event, float, list[Action]], None] | None = None,
    ) -> None:
        self.scheduler = scheduler
        self._emit = emit
        self._recorder = recorder
        self._lock = threading.Lock()
        self._lanes: dict[asyncio.AbstractEventLoop, Lane] = {}
        self._clamped = 0
        self._retired = False
        self._pending: dict[str, Pending] = {}
        self._endpoints = {endpoint.name: endpoint for endpoint in scheduler.pool.endpoints}
        self._credentials = credentials_of(self._endpoints.values())
        self._portal = Portal()
        self._portal_lock = ProcessLock()

    # -- callers -----------------------------------------------------------------------------------------------------

    async def send(self, call: ModelCall, exchange: Exchange) -> Reply:
        """Have the call answered, in the caller's event loop. Cancelling it cancels the upstream request.

        Raises:
            AgentschedError: one of its classes says why there is no answer; see `agentsched.dispatch.failing`.
        """
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None or lane.dead:
            lane = await self._open_lane(loop)
        future: asyncio.Future[Reply] = loop.create_future()
        self._arrive(Pending(call, exchange, lane, future, sync=False))
        try:
            return await future
        except asyncio.CancelledError:
            self.post(CallCancelled(call.call_id))
            raise

    def send_blocking(self, call: ModelCall, exchange: Exchange) -> Reply:
        """Have the call answered for a caller without an event loop; the portal's loop does the work.

        Raises:
            AgentschedError: as `send`.
        """
        with self._portal_lock:
            lane = self._portal.lane
            if lane is None or lane.dead:
                lane = self._portal.run(self._open_lane(self._portal.loop()))
                self._portal.lane = lane
        future: Future[Reply] = Future()
        try:
            self._arrive(Pending(call, exchange, lane, future, sync=True))
            return future.result()
        except AgentschedError:
            raise
        except BaseException:
            # Not from here: an interrupt, or whatever a signal's handler raises to end a job (Celery, RQ).
            self.post(CallCancelled(call.call_id))
            self._forget(call.call_id)  # its end may have been told to nobody, or it may not have arrived
            raise

    def _arrive(self, pending: Pending) -> None:
        self.sweep()
        self._pending[pending.call.call_id] = pending
        self.post(CallArrived(pending.call))
        if self._retired and pending.lane.dead:  # closed a moment ago: nobody else would tell this caller
            self._abandon(pending.lane)

    async def _open_lane(self, loop: asyncio.AbstractEventLoop) -> Lane:
        lane = Lane(loop, self._endpoints, self.post, self._credentials)
        await lane.open()
        self._lanes[loop] = lane
        return lane

    # -- events in, actions out --------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Tell the scheduler what happened and have its answer performed. Callable from any thread."""
        if isinstance(event, ReviewDue):
            self.sweep()
        records: list[Recordable] = []
        lanes: list[Lane] = []
        with self._lock:
            now = clock.monotonic()
            actions = self.scheduler.handle(event, now=now)
            if self._recorder is not None:
                self._recorder(event, now, actions)
            for action in actions:
                if isinstance(action, Record):
                    records.append(action.record)
                    continue
                pending = self._pending.get(action.call_id)
                if pending is not None:
                    pending.lane.push(pending, action)
                    if pending.lane not in lanes:
                        lanes.append(pending.lane)
        if lanes:
            here = _running_loop()
            for lane in lanes:
                lane.wake(here)
        for record in records:
            if isinstance(record, CallEnded):
                self._forget(record.call.call_id)
            self._emit(record)

    def look(self, read: Callable[[Scheduler, float], T]) -> T:
        """What ``read`` reads of the scheduler, and now; it is called under the lock, and changes nothing."""
        with self._lock:
            return read(self.scheduler, clock.monotonic())

    def _forget(self, call_id: str) -> None:
        pending = self._pending.pop(call_id, None)
        if pending is not None:
            pending.lane.retire(pending, _running_loop())
            if self._retired:
                self._close_idle(pending.lane)

    def _close_idle(self, lane: Lane) -> None:
        """Close the lane of a caller's loop once no call is open in it: nobody may ever ask this dispatcher again."""
        if lane is not self._portal.lane:
            lane.close_soon(lambda: all(pending.lane is not lane for pending in tuple(self._pending.values())))

    def sweep(self, *, at_exit: bool = False) -> None:
        """Fail the calls of loops that were closed under them, and so free their slots."""
        for loop, lane in tuple(self._lanes.items()):
            if lane.dead and self._lanes.pop(loop, None) is lane:
                self._clamped += lane.clamped
                self._abandon(lane, at_exit=at_exit)

    def _abandon(self, lane: Lane, *, at_exit: bool = False) -> None:
        orphans = [pending for pending in tuple(self._pending.values()) if pending.lane is lane]
        if orphans and lane is not self._portal.lane:  # the portal's is closed on purpose: the process ends
            _log.warning("an event loop was closed with %d model calls open; they are cancelled", len(orphans))
        for pending in orphans:
            if pending.sync:  # its caller is in a thread that still waits
                error = CallFailed("its runtime was closed while the call was open")
                if not at_exit:
                    pending.answer(error)
                if pending.stream is not None:
                    end = pending.stream.halt if at_exit and isinstance(pending.stream, Stream) else pending.stream.end
                    end(error)
            self.post(CallCancelled(pending.call.call_id, loop_closed=True))

    # -- life --------------------------------------------------------------------------------------------------------

    @property
    def clamped(self) -> int:
        """How often the per-endpoint safety clamp had to wait: 0 when the scheduler's books are right."""
        return self._clamped + sum(lane.clamped for lane in tuple(self._lanes.values()))

    @property
    def open_calls(self) -> int:
        """Calls somebody still waits for or reads."""
        return len(self._pending)

    def abandon(self) -> None:
        """In a forked child: what the parent's portal reads comes there alone; who reads on here is told so."""
        for pending in tuple(self._pending.values()):
            if isinstance(pending.stream, Stream):
                pending.stream.end(
                    CallFailed("its process was forked while the answer was read: the parent has the rest")
                )

    def close(self, *, at_exit: bool = False) -> None:
        """End the portal thread, whose open calls fail; loops of callers close their connections after theirs.

        At the end of the process only daemon threads can still wait: they are not told, for they would complain.
        """
        self._retired = not at_exit
        with self._portal_lock:  # nobody is about to ask a loop that stops for a lane, and would wait for ever
            self._portal.close()
        self.sweep(at_exit=at_exit)
        for lane in tuple(self._lanes.values()) if self._retired else ():
            self._close_idle(lane)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
