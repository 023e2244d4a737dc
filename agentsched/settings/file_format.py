"""The format of the configuration file, version 1. The descriptions are what an editor shows."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from agentsched.core.endpoint import CAPABILITIES, Endpoint, Group, Pool, Price, Profile
from agentsched.core.rules import AdmissionRules, BreakerRules, HedgeRules, RetryRules, Rules, StreamRules
from agentsched.errors import ConfigError
from agentsched.policy.table import POLICIES, make_policy
from agentsched.settings.fields import (
    Bytes,
    Count,
    Flag,
    Number,
    NumberOrZero,
    Seconds,
    SecondsOrZero,
    Share,
    Text,
    Url,
    WholeOrZero,
)
from agentsched.settings.problems import Unquoted, shown
from agentsched.settings.profiles import profile_names, profile_prior
from agentsched.settings.values import InterceptSettings, LearningSettings, LogSettings, PolicySettings, StateSettings

__all__ = ["KINDS", "PoolFile"]

Kind = Literal["openai", "azure", "vllm", "sglang", "llama_cpp", "llm-d", "dynamo", "tensorrt_llm", "aibrix", "envoy"]
KINDS: tuple[str, ...] = get_args(Kind)
Continuation = Literal["auto", "none", "continue_final_message", "assistant", "prefix", "partial"]

_PROFILE, _RETRY, _BREAKER, _STREAM, _HEDGE = Profile(), RetryRules(), BreakerRules(), StreamRules(), HedgeRules()
_LOG, _STATE, _LEARNING = LogSettings(), StateSettings(), LearningSettings()


class _Section(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class ProfileFile(_Section):
    """Explicit priors of an endpoint's speed; what was observed soon outweighs them."""

    ttft_s: SecondsOrZero = _PROFILE.ttft_s
    """Time to first token of a short prompt on the idle endpoint, network included."""
    tpot_s: Seconds = _PROFILE.tpot_s
    """Time per output token of a call that is alone."""
    tpot_per_batch_s: SecondsOrZero = _PROFILE.tpot_per_batch_s
    """What each further call in the batch adds to the time per output token."""
    prefill_tokens_per_s: Number = _PROFILE.prefill_tokens_per_s
    """Prompt tokens read per second."""

    def core(self) -> Profile:
        """As the rest of agentsched knows it."""
        return Profile(
            ttft_s=self.ttft_s,
            tpot_s=self.tpot_s,
            tpot_per_batch_s=self.tpot_per_batch_s,
            prefill_tokens_per_s=self.prefill_tokens_per_s,
        )


class PriceFile(_Section):
    """USD per million tokens."""

    input: NumberOrZero = 0.0
    """USD per million prompt tokens."""
    output: NumberOrZero = 0.0
    """USD per million output tokens."""

    def core(self) -> Price:
        """As the rest of agentsched knows it."""
        return Price(self.input, self.output)


def _known_profile(value: object) -> object:
    if isinstance(value, str):
        profile_prior(value)
    return value


def _known_capability(value: object) -> object:
    if isinstance(value, str) and value not in CAPABILITIES:
        raise ConfigError("unknown capability", given=shown(value), allowed=", ".join(sorted(CAPABILITIES)))
    return value


def _tag_of_profile(value: object) -> str:
    return "<name>" if isinstance(value, str) else "<values>"  # <...> is left out of the place of an error


ProfileName = Annotated[
    str, BeforeValidator(_known_profile), Field(json_schema_extra=lambda schema: schema.update(enum=[*profile_names()]))
]
Capability = Annotated[
    str, BeforeValidator(_known_capability), Field(json_schema_extra={"enum": [*sorted(CAPABILITIES)]})
]


class EndpointFile(_Section):
    """One OpenAI-compatible server."""

    name: Text
    """Unique within the pool; what logs, reports and groups call it."""
    base_url: Url
    """As the OpenAI SDK takes it, e.g. http://10.0.0.5:8000/v1."""
    model: Text
    """The model name that this server knows."""
    api_key: str | None = None
    """Sent to this endpoint only, never shown. Write ${NAME} to read it from the environment."""
    kind: Kind = "openai"
    """The server's dialect: decides which priority and deadline hints are sent."""
    profile: Annotated[
        Annotated[ProfileName, Tag("<name>")] | Annotated[ProfileFile, Tag("<values>")], Discriminator(_tag_of_profile)
    ] = ProfileFile()
    """What is believed of its speed at first: the name of a hardware profile, or figures (see `agentsched probe`)."""
    max_concurrency: Count | None = None
    """Calls in flight at most; unbounded when left out."""
    rpm: Number | None = None
    """Requests per minute at most; unbounded when left out."""
    tpm: Number | None = None
    """Tokens, prompt and output, per minute at most; unbounded when left out."""
    price: PriceFile = PriceFile()
    """USD per million tokens."""
    quality: Share = 1.0
    """From 0 to 1, compared with a workflow's min_quality."""
    tags: list[Text] = Field(default_factory=list)
    """Free words, e.g. [eu, gpu]."""
    metrics_url: Url | None = None
    """Where its Prometheus text is, if it may be scraped."""
    context_tokens: Count | None = None
    """Prompt plus output at most; not checked when left out."""
    capabilities: list[Capability] | None = None
    """What requests may ask of it; everything but vision and responses when left out."""
    api_version: str | None = None
    """Azure's query parameter."""
    priority: Flag = False
    """Whether its server orders calls by a priority that they carry (`agentsched probe` finds out); other servers
    refuse such calls."""
    continuation: Continuation = "auto"
    """How it is asked to go on with an unfinished answer; auto: as its kind does."""

    def core(self) -> Endpoint:
        """As the rest of agentsched knows it."""
        profile = profile_prior(self.profile) if isinstance(self.profile, str) else self.profile.core()
        return Endpoint(
            name=self.name,
            base_url=self.base_url,
            model=self.model,
            api_key=self.api_key or None,
            kind=self.kind,
            profile=profile,
            max_concurrency=self.max_concurrency,
            rpm=self.rpm,
            tpm=self.tpm,
            price=self.price.core(),
            quality=self.quality,
            tags=tuple(self.tags),
            metrics_url=self.metrics_url,
            context_tokens=self.context_tokens,
            capabilities=None if self.capabilities is None else frozenset(self.capabilities),
            api_version=self.api_version or None,
            priority=self.priority,
            continuation=self.continuation,
        )


class GroupFile(_Section):
    """Which endpoints may answer for a requested model name."""

    endpoints: Annotated[list[Text], Field(min_length=1)]
    """Names of endpoints."""
    min_quality: Share = 0.0
    """Endpoints of the group whose quality is below this are not used."""

    def core(self) -> Group:
        """As the rest of agentsched knows it."""
        return Group(tuple(self.endpoints), self.min_quality)


def _group_of_list(value: object) -> object:
    return {"endpoints": value} if isinstance(value, list) else value


class RetryFile(_Section):
    """When a failed attempt is followed by another."""

    max_attempts: Count = _RETRY.max_attempts
    """Attempts per call, the first included."""
    budget: NumberOrZero = _RETRY.budget
    """Retries allowed as a share of all calls, so that a retry storm stops."""
    reserve: NumberOrZero = _RETRY.reserve
    """Retries saved up at the start, so that few calls may still retry."""
    backoff: Seconds = _RETRY.backoff_s
    """Wait before the same endpoint is tried again, doubled each time."""
    max_backoff: Seconds = _RETRY.max_backoff_s
    """Longest such wait."""
    max_wait: Seconds = _RETRY.max_wait_s
    """How long a call without a deadline may wait for a limit or a breaker; for a slot as long as it takes."""

    def core(self) -> RetryRules:
        """As the rest of agentsched knows it."""
        return RetryRules(
            max_attempts=self.max_attempts,
            budget=self.budget,
            reserve=self.reserve,
            backoff_s=self.backoff,
            max_backoff_s=self.max_backoff,
            max_wait_s=self.max_wait,
        )


class BreakerFile(_Section):
    """When an endpoint is left alone."""

    failures: Count = _BREAKER.failures
    """Failures in a row that open the breaker."""
    cooldown: Seconds = _BREAKER.cooldown_s
    """Time until one call may try it again; doubled at each failed trial."""
    max_cooldown: Seconds = _BREAKER.max_cooldown_s
    """Longest such time."""

    def core(self) -> BreakerRules:
        """As the rest of agentsched knows it."""
        return BreakerRules(failures=self.failures, cooldown_s=self.cooldown, max_cooldown_s=self.max_cooldown)


def _switch(value: object) -> object:
    """``true`` and ``false`` mean what they say here too."""
    return {True: "auto", False: "never"}.get(value, value) if isinstance(value, bool) else value


Switch = Annotated[
    Literal["auto", "never"],
    BeforeValidator(_switch),
    WithJsonSchema({"enum": ["auto", "never", True, False]}),
]


class StreamFile(_Section):
    """The clocks of one attempt; each is also bounded by what is left of the call's budget."""

    connect_timeout: Seconds = _STREAM.connect_timeout
    """Time for a connection."""
    first_token_timeout: Seconds | None = _STREAM.first_token_timeout
    """Time to the first token; when left out, a silent attempt is left when an answer in time is likelier elsewhere."""
    idle_timeout: Seconds = _STREAM.idle_timeout
    """Time without a token once they flow."""
    upgrade: Switch = "auto"
    """Whether whole answers are asked for as streams where nothing is lost by it, so that silence shows sooner."""
    upgrade_from: SecondsOrZero = _STREAM.upgrade_from_s
    """Answers that are expected sooner are asked for as they are: a stream costs CPU for every token."""
    continuation: Switch = "auto"
    """Whether another endpoint may go on with a broken stream, where that can be done without changing what came."""

    def core(self) -> StreamRules:
        """As the rest of agentsched knows it."""
        return StreamRules(
            connect_timeout=self.connect_timeout,
            first_token_timeout=self.first_token_timeout,
            idle_timeout=self.idle_timeout,
            upgrade=self.upgrade == "auto",
            upgrade_from_s=self.upgrade_from,
            continuation=self.continuation == "auto",
        )


class AdmissionFile(_Section):
    """Which runs are given up before their deadline, so that others meet theirs; always whole runs."""

    floor: Share = 0.0
    """A run whose first call finds a lower probability of meeting the deadline is not begun; 0: all are."""
    give_up: Share = 0.0
    """A run is given up when a further call finds a lower probability; 0: none is."""

    def core(self) -> AdmissionRules:
        """As the rest of agentsched knows it."""
        return AdmissionRules(self.floor, self.give_up)


class HedgeFile(_Section):
    """How much may be spent on second tries that are not yet necessary."""

    max_extra: Share = _HEDGE.max_extra
    """Extra attempts as a share of all calls."""
    reserve: NumberOrZero = _HEDGE.reserve
    """Extra attempts saved up at the start, so that few calls may be hedged too."""
    min_gain: Share = _HEDGE.min_gain
    """Gain in the probability of meeting the deadline that leaving a silent endpoint must promise."""
    margin: Seconds = _HEDGE.margin_s
    """Time kept between the fallback's 95th percentile and the deadline."""
    max_moves: Share = _HEDGE.max_moves
    """Streams that crawl and go on elsewhere, as a share of all calls; 0: none."""
    max_waste: Share = _HEDGE.max_waste
    """Tokens that second tries may take, as a share of the tokens of all calls; 0: none."""

    def core(self) -> HedgeRules:
        """As the rest of agentsched knows it."""
        return HedgeRules(
            max_extra=self.max_extra,
            reserve=self.reserve,
            min_gain=self.min_gain,
            margin_s=self.margin,
            max_moves=self.max_moves,
            max_waste=self.max_waste,
        )


class PolicyFile(BaseModel):
    """Which policy places the calls; every further key is an option of it."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, use_attribute_docstrings=True)

    name: Annotated[
        Text,
        Field(
            json_schema_extra={
                "pattern": rf"^({'|'.join(sorted(POLICIES))}|\w+(\.\w+)+)$",
                "examples": [*sorted(POLICIES)],
            }
        ),
    ] = PolicySettings().name
    """The policy's name; or ``my_module.MyPolicy``, a class of one's own."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for option, value in (self.model_extra or {}).items():
            if not isinstance(value, (bool, int, float, str)):
                allowed = "a number, a text, true or false"
                raise ConfigError("not an option's value", field=f"policy.{option}", allowed=allowed)
        make_policy(self.name, self.model_extra)
        return self

    def core(self) -> PolicySettings:
        """As the rest of agentsched knows it."""
        return PolicySettings(self.name, dict(self.model_extra or {}))


_REDIS_SCHEMES = ("redis", "rediss", "unix")
_SHORTEST_INTERVAL_S, _LONGEST_INTERVAL_S = 0.05, 60.0


def _interval(value: float) -> float:
    if not _SHORTEST_INTERVAL_S <= value <= _LONGEST_INTERVAL_S:
        raise ConfigError("out of range", allowed=f"from {_SHORTEST_INTERVAL_S:g} s to {_LONGEST_INTERVAL_S:g} s")
    return value


class StateFile(_Section):
    """Where several processes tell each other what they do at the endpoints."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"backend": {"enum": ["sqlite", "redis"]}}, "required": ["backend"]},
            "then": {"required": ["url"]},
        }
    )

    backend: Literal["memory", "sqlite", "redis"] = _STATE.backend
    """memory: nowhere, every process for itself; sqlite: processes on one machine; redis: processes on several."""
    url: Text | None = None
    """The path of the SQLite file, or the address of the Redis server (redis://, rediss:// or unix://)."""
    interval: Annotated[Seconds, AfterValidator(_interval)] = _STATE.interval_s
    """How often they tell each other."""
    clients: Count = _STATE.clients
    """How many processes use the endpoints: those that do not tell what they do are supposed to do as this one does."""
    profiles: Text | Literal[False] | None = None
    """The file that keeps what is learned for the next process, or off; by default one in the user's cache folder."""

    @model_validator(mode="after")
    def _has_its_address(self) -> Self:
        hidden = Unquoted("not shown")
        if self.backend == "memory" and self.url is not None:
            allowed = "leave it out, or set backend"
            raise ConfigError("the memory backend has no address", field="state.url", given=hidden, allowed=allowed)
        if self.backend == "sqlite" and (self.url is None or "://" in self.url):
            allowed = "the path of a file on a disk of this machine"
            raise ConfigError("not the path of a file", field="state.url", given=hidden, allowed=allowed)
        if self.backend == "redis" and (self.url is None or not self._of_redis(self.url)):
            allowed = "redis://[user:password@]host[:port][/database], rediss://... or unix://path"
            raise ConfigError("not the address of a Redis server", field="state.url", given=hidden, allowed=allowed)
        return self

    @staticmethod
    def _of_redis(url: str) -> bool:
        try:
            parts = urlsplit(url)
            _ = parts.port  # raises ValueError when it is no number
        except ValueError:
            return False
        return parts.scheme in _REDIS_SCHEMES and bool(parts.path if parts.scheme == "unix" else parts.hostname)

    def core(self, folder: Path | None) -> StateSettings:
        """As the rest of agentsched knows it; a relative path starts at ``folder``, where there is one."""
        url = str(_path(self.url, folder)) if self.backend == "sqlite" else self.url
        profiles = self.profiles or (None if self.profiles is None else "off")  # YAML reads off as false
        if profiles not in (None, "off"):
            profiles = str(_path(profiles, folder))
        return StateSettings(self.backend, url, self.interval, profiles, self.clients)


class LogFile(_Section):
    """The decision log (JSONL). Paths are relative to this file."""

    path: str | None = None
    """The log file; no log is written when left out."""
    max_bytes: Bytes = _LOG.max_bytes
    """Size at which it is rotated, e.g. 64 MiB."""
    backups: WholeOrZero = _LOG.backups
    """Rotated files that are kept."""
    prompts: Flag = _LOG.prompts
    """Whether the head of each prompt is logged."""
    record_events: str | None = None
    """A file that takes every event handed to the scheduler, for exact replay."""

    def core(self, folder: Path | None) -> LogSettings:
        """As the rest of agentsched knows it; relative paths start at ``folder``, where there is one."""
        return LogSettings(
            path=_path(self.path, folder),
            max_bytes=self.max_bytes,
            backups=self.backups,
            prompts=self.prompts,
            record_events=_path(self.record_events, folder),
        )


def _path(text: str | None, folder: Path | None) -> Path | None:
    if not text:
        return None
    path = Path(text).expanduser()
    return path if folder is None else folder / path


class LearningFile(_Section):
    """What is learned in the background beyond what is counted."""

    train: Literal["off", "network", "experts"] | Literal[False] = _LEARNING.train
    """A forecaster of output lengths that is trained with torch, which has to be installed, and forecasts where it does
    best."""
    budget: Seconds = _LEARNING.budget_s
    """For how long it is trained at a time."""

    def core(self) -> LearningSettings:
        """As the rest of agentsched knows it."""
        return LearningSettings(self.train or "off", self.budget)  # YAML reads off as false


class InterceptFile(_Section):
    """What is intercepted."""

    custom_transports: Flag = False
    """Whether calls of clients with a transport of the user's own (a mock, a recorder) are scheduled too."""

    def core(self) -> InterceptSettings:
        """As the rest of agentsched knows it."""
        return InterceptSettings(self.custom_transports)


class PoolFile(_Section):
    """The configuration of agentsched: the endpoints, and the rules by which they are used."""

    version: Literal[1]
    """The version of this format: 1."""
    endpoints: Annotated[list[EndpointFile], Field(min_length=1)]
    """The servers that may be called."""
    groups: dict[Text, Annotated[GroupFile, BeforeValidator(_group_of_list)]] = Field(default_factory=dict)
    """Requested model name -> which endpoints may answer; "*" catches every other name. A name without a group is
    served by the endpoints whose model equals it."""
    policy: PolicyFile = PolicyFile()
    retry: RetryFile = RetryFile()
    breaker: BreakerFile = BreakerFile()
    stream: StreamFile = StreamFile()
    hedge: HedgeFile = HedgeFile()
    admission: AdmissionFile = AdmissionFile()
    state: StateFile = StateFile()
    log: LogFile = LogFile()
    learning: LearningFile = LearningFile()
    intercept: InterceptFile = InterceptFile()

    def pool(self) -> Pool:
        """The pool it describes.

        Raises:
            ConfigError: names that are used twice or unknown.
        """
        groups = {model: group.core() for model, group in self.groups.items()}
        return Pool([endpoint.core() for endpoint in self.endpoints], groups)

    def rules(self) -> Rules:
        """The rules it describes."""
        return Rules(
            retry=self.retry.core(),
            breaker=self.breaker.core(),
            stream=self.stream.core(),
            hedge=self.hedge.core(),
            admission=self.admission.core(),
        )
