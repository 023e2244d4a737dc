"""Clients and endpoints on one timeline, and the runs that are made on it, wherever all of them come from."""

from collections import Counter
from collections.abc import Mapping, Sequence

from agentsched.errors import InvariantViolated
from agentsched.sim.agent import Agent, Manners
from agentsched.sim.client import Client
from agentsched.sim.knowledge import Book
from agentsched.sim.outcome import Outcome, RunResult
from agentsched.sim.plan import RunPlan
from agentsched.sim.server import Server
from agentsched.sim.timeline import Timeline

__all__ = ["Course"]


class Course:
    """Endpoints and clients on one timeline, ready to run any runs.

    Args:
        timeline: virtual time.
        servers: the endpoints, by name.
        clients: the client processes; a run's plan names its own by number.
        book: which plan stands behind a call; clients' predictors may look into it.
        manners: of the agents.
    """

    def __init__(
        self,
        timeline: Timeline,
        servers: Mapping[str, Server],
        clients: Sequence[Client],
        book: Book,
        manners: Manners,
    ) -> None:
        self.timeline, self.servers, self.clients = timeline, servers, clients
        self.results: list[RunResult] = []
        self._book, self._manners = book, manners

    def run(self, runs: Sequence[RunPlan]) -> None:
        """Run these to their end.

        Raises:
            InvariantViolated: a run did not end, or something is left over.
        """
        for plan in runs:
            client = self.clients[plan.client]
            self._book.expect(f"r{plan.index}", plan)
            agent = Agent(plan, self._manners, client, self.timeline, self._book, self.results.append)
            self.timeline.at(plan.arrival_s, agent.begin)
        self.timeline.run()
        self.results.sort(key=lambda result: result.index)
        self._check([plan.index for plan in runs])

    def _check(self, expected: list[int]) -> None:
        ended = [result.index for result in self.results]
        if ended != sorted(expected):
            raise InvariantViolated(f"{len(expected)} runs began, {len(set(ended))} ended, {len(ended)} ends in all")
        for server in self.servers.values():
            if not server.empty:
                raise InvariantViolated(f"something is left at the end: {server!r}")
        for client in self.clients:
            client.scheduler.check_invariants()
            if not client.idle:
                raise InvariantViolated(f"something is left at the end: {client.scheduler!r}")

    def outcome(self, counted_from_s: float, counted_until_s: float) -> Outcome:
        """What came of it; runs that arrived in this interval count."""
        attempts: dict[str, Counter[str]] = {name: Counter() for name in self.servers}
        for client in self.clients:
            for name, whys in client.attempts_by.items():
                attempts[name].update(whys)
        return Outcome(
            runs=tuple(self.results),
            counted_from_s=counted_from_s,
            counted_until_s=counted_until_s,
            ended_s=self.timeline.now,
            attempts={name: dict(whys) for name, whys in attempts.items()},
            loads={name: server.model.load() for name, server in self.servers.items()},
            events=self.timeline.happened,
        )
