"""The endpoints and groups of the configuration file, version 1. The descriptions are what an editor shows."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from agentsched.core.endpoint import CAPABILITIES, Endpoint, Group, Price, Profile, Tls
from agentsched.errors import ConfigError
from agentsched.settings.fields import Count, Flag, Number, NumberOrZero, Seconds, SecondsOrZero, Share, Text, Url
from agentsched.settings.paths import anchored
from agentsched.settings.problems import shown
from agentsched.settings.profiles import profile_names, profile_prior
from agentsched.settings.section import Section

__all__ = ["KINDS", "EndpointFile", "GroupFile", "PriceFile"]

Kind = Literal["openai", "azure", "vllm", "sglang", "llama_cpp", "llm-d", "dynamo", "tensorrt_llm", "aibrix", "envoy"]
KINDS: tuple[str, ...] = get_args(Kind)
Continuation = Literal["auto", "none", "continue_final_message", "assistant", "prefix", "partial"]

_PROFILE = Profile()


class ProfileFile(Section):
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


class PriceFile(Section):
    """USD per million tokens."""

    input: NumberOrZero = 0.0
    """USD per million prompt tokens."""
    output: NumberOrZero = 0.0
    """USD per million output tokens."""

    def core(self) -> Price:
        """As the rest of agentsched knows it."""
        return Price(self.input, self.output)


class TlsFile(Section):
    """Certificates, where base_url is https. Paths of PEM files, relative to this file."""

    ca: Text | None = None
    """Those who may vouch for the endpoint, in place of the system's."""
    cert: Text | None = None
    """The certificate of this client, where the endpoint asks for one."""
    key: Text | None = None
    """Its private key, without a password; left out: it is in the file of cert."""
    verify: Flag = True
    """false believes anybody who answers."""

    def core(self, folder: Path | None) -> Tls:
        """As the rest of agentsched knows it; relative paths start at ``folder``, where there is one."""
        ca, cert, key = (None if one is None else str(anchored(one, folder)) for one in (self.ca, self.cert, self.key))
        return Tls(ca, cert, key, self.verify)


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


class EndpointFile(Section):
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
    """What requests may ask of it; everything but vision and responses when left out. token_ids: it tells the ids of a
    text completion's tokens and goes on from ids, which only kind vllm does when left out."""
    api_version: str | None = None
    """Azure's query parameter."""
    priority: Flag = False
    """Whether its server orders calls by a priority that they carry (`agentsched probe` finds out); other servers
    refuse such calls."""
    continuation: Continuation = "auto"
    """How it is asked to go on with an unfinished answer; auto: as its kind does; none: it cannot, nor from ids."""
    tls: TlsFile = TlsFile()
    """Certificates, where base_url is https."""

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        self.core(None)  # what it has to say against a key, or against certificates, is then told with its place
        return self

    def core(self, folder: Path | None) -> Endpoint:
        """As the rest of agentsched knows it; relative paths start at ``folder``, where there is one."""
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
            tls=self.tls.core(folder),
        )


class GroupFile(Section):
    """Which endpoints may answer for a requested model name."""

    endpoints: Annotated[list[Text], Field(min_length=1)]
    """Names of endpoints."""
    min_quality: Share = 0.0
    """Endpoints of the group whose quality is below this are not used."""

    def core(self) -> Group:
        """As the rest of agentsched knows it."""
        return Group(tuple(self.endpoints), self.min_quality)
