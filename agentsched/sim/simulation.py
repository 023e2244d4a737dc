"""One simulation: a scenario, a policy and a seed, from the first arrival to the last answer."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agentsched.core.endpoint import Pool
from agentsched.core.protocols import Policy
from agentsched.core.rules import AdmissionRules, HedgeRules, RetryRules, Rules, SkipRules
from agentsched.engine.profile import HostedProfile
from agentsched.errors import ConfigError
from agentsched.scheduler.scheduler import Scheduler
from agentsched.sim.agent import Manners
from agentsched.sim.averages import Averages, averages_of
from agentsched.sim.client import Client, Watcher
from agentsched.sim.course import Course
from agentsched.sim.knowledge import Book, Knowledge, predictors
from agentsched.sim.learning import learner_of
from agentsched.sim.migrating import Migration, Mover
from agentsched.sim.outcome import Outcome
from agentsched.sim.pool import client_pool, serving_models
from agentsched.sim.pool_format import Endpoints
from agentsched.sim.scenario import Scenario
from agentsched.sim.server import Server
from agentsched.sim.sharing import Exchange, Sharing
from agentsched.sim.streams import Stream, stream
from agentsched.sim.timeline import Timeline
from agentsched.sim.workload import draw_runs

__all__ = ["FIRST_CHOICE_ONLY", "MOST_CLIENTS", "Setup", "Simulation", "simulate"]

MOST_CLIENTS = 32

_SHORTEST_SHARE_S = 0.001

_SELDOM = 1.0 / 6.0
"""Tokens that nobody looks at are told of this often, in idle timeouts: often enough for that clock."""

FIRST_CHOICE_ONLY = Rules(
    retry=RetryRules(max_attempts=1), hedge=HedgeRules(max_extra=0.0, reserve=0.0, max_moves=0.0, max_waste=0.0)
)
"""A call is sent once and waits for what comes, as by a router that does not look back."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is varied beside the policy.

    Attributes:
        seed: of all chance; the same seed gives all policies the same runs and the same faults.
        load: runs per second; None: the scenario's.
        clients: independent client processes, from 1 to 32.
        knowledge: where forecasts come from.
        rests: where forecasts of what follows a call come from; None: as ``knowledge`` says.
        duration_s: for how long runs arrive; None: the scenario's.
        share: what clients know of each other.
        share_every_s: how often they tell or read it, seconds.
        share_delay_s: how old it is when they hear it, seconds.
        migration: by which published rule running answers are taken elsewhere; None: by the scheduler's own alone.
        rules: by which schedulers retry, hedge and move; `FIRST_CHOICE_ONLY` leaves nothing but the first choice.

    Raises:
        ConfigError: a value is out of range.
    """

    seed: int = 1
    load: float | None = None
    clients: int = 1
    knowledge: Knowledge = Knowledge.STUDY
    rests: Knowledge | None = None
    duration_s: float | None = None
    share: Sharing = Sharing.NONE
    share_every_s: float = 0.5
    share_delay_s: float = 0.05
    migration: Migration | None = None
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        if not 1 <= self.clients <= MOST_CLIENTS:
            raise ConfigError("out of range", field="clients", given=self.clients, allowed=f"from 1 to {MOST_CLIENTS}")
        if self.seed < 0:
            raise ConfigError("out of range", field="seed", given=self.seed, allowed="0 or more")
        for name in ("load", "duration_s", "share_every_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e9:
                raise ConfigError("out of range", field=name, given=value, allowed="more than 0 and less than 1e9")
        if self.share_every_s < _SHORTEST_SHARE_S:
            allowed = f"{_SHORTEST_SHARE_S:g} s or more"
            raise ConfigError("out of range", field="share_every_s", given=self.share_every_s, allowed=allowed)
        if not 0 <= self.share_delay_s < 1e9:
            raise ConfigError("out of range", field="share_delay_s", given=self.share_delay_s, allowed="0 or more")


def simulate(scenario: Scenario, make_policy: Callable[[], Policy], setup: Setup | None = None) -> Outcome:
    """Simulate a scenario.

    Args:
        scenario: the pool, the workload, what goes wrong.
        make_policy: makes the policy of one client.
        setup: what else is varied.

    Raises:
        InvariantViolated: books contradict themselves: a bug in agentsched.
    """
    setup = setup or Setup()
    averages = averages_of(scenario)
    duration_s = setup.duration_s or scenario.duration
    runs = draw_runs(
        scenario,
        setup.seed,
        load=setup.load,
        duration_s=duration_s,
        clients=setup.clients,
        mean_ideals_s=averages.ideal_s,
    )
    simulation = Simulation(scenario, make_policy, setup, averages)
    simulation.run(runs)
    return simulation.outcome(scenario.warm_up * duration_s, duration_s)


class Simulation(Course):
    """A scenario's endpoints and clients, ready to run any runs.

    Args:
        scenario: the pool and its faults, the agents' manners.
        make_policy: makes the policy of one client.
        setup: seed, number of clients, knowledge.
        averages: of the scenario.
        watch: is shown all events and actions of all clients.
    """

    def __init__(
        self,
        scenario: Scenario,
        make_policy: Callable[[], Policy],
        setup: Setup,
        averages: Averages,
        watch: Watcher | None = None,
    ) -> None:
        timeline, book = Timeline(), Book()
        policies = [make_policy() for _ in range(setup.clients)]
        pool = client_pool(scenario, setup.seed, mean_context_tokens=averages.context_tokens)
        shed = AdmissionRules(scenario.admission.floor, scenario.admission.give_up)
        rules = replace(setup.rules, admission=shed) if shed != AdmissionRules() else setup.rules
        skip = SkipRules(scenario.skip.min_gain)
        rules = replace(rules, skip=skip) if skip != SkipRules() else rules
        read = watch is not None or any(_reads_paces(policy, rules, scenario, setup, pool) for policy in policies)
        progress_s = scenario.progress if read else max(scenario.progress, _SELDOM * rules.stream.idle_timeout)
        servers = _servers(scenario, setup.seed, timeline, progress_s)
        given = [predictors(setup.knowledge, book, scenario, averages, setup.rests) for _ in range(setup.clients)]
        clients = [
            Client(
                Scheduler(pool, policy, *known, rules, setup.clients),
                servers,
                timeline,
                learner=learner_of(setup.knowledge, setup.rests, known),
                mover=None if setup.migration is None else Mover(setup.migration),
                watch=watch,
            )
            for policy, known in zip(policies, given, strict=True)
        ]
        Exchange(
            setup.share,
            clients,
            servers,
            timeline,
            every_s=setup.share_every_s,
            delay_s=setup.share_delay_s,
        )
        cut_late = scenario.deadlines is not None and scenario.deadlines.on_late == "raise"
        quality = {endpoint.name: endpoint.quality for endpoint in pool.endpoints}
        manners = Manners(scenario.stream, cut_late, scenario.call_retries, quality, scenario.continuation)
        super().__init__(timeline, servers, clients, book, manners)


def _reads_paces(policy: Policy, rules: Rules, scenario: Scenario, setup: Setup, pool: Pool) -> bool:
    """Whether the outcome may depend on how many tokens there are of an answer that is still being written.

    Policies may look at the paces that follow from them; so do second thoughts, admission and what becomes of optional
    steps; a call that is cut costs what it has written; limits of tokens count those of answers that broke off; and
    whole answers are asked for as streams by how long they are expected to take. Where none of this is so, only the
    cost of answers that a server breaks off is less exact, and the idle clock of those that stand still.
    """
    cut = scenario.deadlines is not None and scenario.deadlines.on_late == "raise"
    optional = scenario.workload is not None or any(
        stage.optional for one in scenario.workflows for stage in one.stages
    )
    thinks = rules.retry.max_attempts > 1 or rules.admission != AdmissionRules() or setup.migration is not None
    counts = any(endpoint.tpm is not None for endpoint in pool.endpoints)
    return getattr(policy, "reads_speeds", True) or thinks or cut or optional or counts or scenario.continuation


def _servers(scenario: Scenario, seed: int, timeline: Timeline, progress_s: float) -> dict[str, Server]:
    models = serving_models(scenario, seed)
    groups: list[Endpoints] = [group for group in scenario.endpoints for _ in group.names]
    servers: dict[str, Server] = {}
    for number, ((name, model), group) in enumerate(zip(models.items(), groups, strict=True)):
        profile = group.engine
        server = servers[name] = Server(
            name,
            model,
            timeline,
            network_s=scenario.network if group.network is None else group.network,
            progress_s=progress_s,
            block_tokens=None if isinstance(profile, HostedProfile) else profile.block_tokens,
        )
        if group.faults:
            slow_rng = stream(seed, Stream.FAULTS, 2 * number)
            server.befall(scenario.faults, slow_rng, stream(seed, Stream.FAULTS, 2 * number + 1))
        for fault in scenario.faults.planned:
            if name in fault.endpoints or group.name in fault.endpoints:
                server.plan_fault(fault.at, fault.at + fault.duration, fault.factor)
    return servers
