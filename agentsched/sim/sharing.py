"""What client processes let each other know: nothing, what servers tell of themselves, or what they have in flight."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from agentsched.core.load import EndpointLoad, combined_loads
from agentsched.core.shared import EndpointKnowledge, combined_knowledge
from agentsched.engine.hosted import HostedApi
from agentsched.scheduler.events import OthersKnow, OthersSeen
from agentsched.sim.client import Client
from agentsched.sim.server import Server
from agentsched.sim.timeline import Timeline

__all__ = ["Exchange", "Sharing"]


class Sharing(StrEnum):
    """How client processes learn of each other's load."""

    NONE = "none"
    """They do not: all that each knows is how many they are."""
    METRICS = "metrics"
    """Each reads now and again how many requests every server holds, as its ``/metrics`` says; hosted APIs say nothing.
    What these requests have at stake, and how long their prompts are, stays unknown."""
    GOSSIP = "gossip"
    """Each tells the others now and again what it has at every endpoint, stakes included, and what it knows of it:
    rests, breakers, what it spent of limits, the speed that it learned."""


class _Told(NamedTuple):
    """What a client said, and when."""

    at: float
    loads: tuple[EndpointLoad, ...]
    knowledge: tuple[EndpointKnowledge, ...]


class Exchange:
    """Lets the clients of a simulation hear of each other, each at instants of its own.

    Args:
        sharing: how.
        clients: the processes.
        servers: the endpoints, by name.
        timeline: virtual time.
        every_s: each client tells and hears this often, seconds.
        delay_s: news are this old when they are heard, seconds.
    """

    def __init__(
        self,
        sharing: Sharing,
        clients: Sequence[Client],
        servers: Mapping[str, Server],
        timeline: Timeline,
        *,
        every_s: float,
        delay_s: float,
    ) -> None:
        self._clients, self._timeline, self._every_s, self._delay_s = clients, timeline, every_s, delay_s
        self._servers = [server for server in servers.values() if not isinstance(server.model, HostedApi)]
        self._told: dict[int, _Told] = {}
        take = {Sharing.METRICS: self._read_metrics, Sharing.GOSSIP: self._tell}.get(sharing)
        if take is not None and len(clients) > 1:
            for k in range(len(clients)):
                timeline.in_background(every_s * (k + 1) / len(clients), self._tick, take, k)

    def _tick(self, take: Callable[[int], None], k: int) -> None:
        take(k)
        self._timeline.in_background(self._timeline.now + self._every_s, self._tick, take, k)

    def _read_metrics(self, k: int) -> None:
        """What the servers hold beyond this client's own, as of now, is heard of in a while."""
        own = {load.endpoint: load.in_flight for load in self._clients[k].scheduler.loads()}
        loads = []
        for server in self._servers:
            held = server.model.load()
            others = held.running + held.waiting - own.get(server.name, 0.0)
            if others > 0.0:
                loads.append(EndpointLoad(server.name, others))
        now = self._timeline.now
        self._timeline.in_background(now + self._delay_s, self._hear, k, now, tuple(loads))

    def _tell(self, k: int) -> None:
        """The others can know in a while what this client has and knows; it hears what they have told."""
        now, scheduler = self._timeline.now, self._clients[k].scheduler
        told = _Told(now, scheduler.loads(), scheduler.knowledge(now))
        self._timeline.in_background(now + self._delay_s, self._publish, k, told)
        news = [told for other, told in self._told.items() if other != k]
        if news:
            said_at = sum(told.at for told in news) / len(news)
            self._hear(k, said_at, combined_loads(told.loads for told in news), len(news))
            self._clients[k].hear(OthersKnow(combined_knowledge(told.knowledge for told in news), said_at))

    def _publish(self, k: int, told: _Told) -> None:
        self._told[k] = told

    def _hear(self, k: int, at: float, loads: tuple[EndpointLoad, ...], clients: int | None = None) -> None:
        # News are believed until the next ones should be there, with some patience.
        good_s = self._delay_s + 2.0 * self._every_s
        self._clients[k].hear(OthersSeen(loads, at, good_s=good_s, fades_s=4.0 * good_s, clients=clients))
