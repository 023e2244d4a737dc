"""What the user owns: endpoints, and the pool they form."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from agentsched.errors import ConfigError

__all__ = ["CAPABILITIES", "CONTINUATIONS", "Endpoint", "Group", "Pool", "Price", "Profile", "Tls"]

CAPABILITIES = frozenset(
    {"stream", "tools", "json_schema", "vision", "logprobs", "responses", "completions", "n", "token_ids"}
)
"""What an endpoint can declare; all but ``token_ids`` may be what a request needs of it (`ModelCall.needs`)."""

CONTINUATIONS = frozenset({"auto", "none", "continue_final_message", "assistant", "prefix", "partial"})
"""How an endpoint is asked to go on with an unfinished message (`Endpoint.continuation`)."""

_CONTINUATION_OF_KIND = {
    "vllm": "continue_final_message",
    "sglang": "continue_final_message",
    "llama_cpp": "assistant",
}

_PRINTABLE = re.compile(r"[!-~]*")

_DEFAULT_CAPABILITIES = frozenset({"stream", "tools", "json_schema", "logprobs", "completions", "n"})
_TOKEN_IDS = frozenset({"token_ids"})
_CAPABILITIES_OF_KIND = {"vllm": _DEFAULT_CAPABILITIES | _TOKEN_IDS}


@dataclass(frozen=True, slots=True)
class Profile:
    """What is believed of an endpoint's speed before anything was observed.

    Attributes:
        ttft_s: time to first token of a short prompt on an idle endpoint, seconds, network included.
        tpot_s: time per output token alone on the endpoint, seconds (``a`` in a + b * batch).
        tpot_per_batch_s: what each further call in the batch adds to it, seconds (``b``).
        prefill_tokens_per_s: prompt tokens read per second.
    """

    ttft_s: float = 0.3
    tpot_s: float = 0.02
    tpot_per_batch_s: float = 0.0002
    prefill_tokens_per_s: float = 8000.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            low = 0.0 if name in ("tpot_per_batch_s", "ttft_s") else 1e-9
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < 1e9:
                raise ConfigError("not usable", field=f"profile.{name}", given=value, allowed="a positive number")


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    input: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
                raise ConfigError("not a price", field=f"price.{name}", given=value, allowed="USD per million tokens")

    def cost_usd(self, input_tokens: float, output_tokens: float) -> float:
        """What a call of this size costs, USD."""
        return (self.input * input_tokens + self.output * output_tokens) * 1e-6


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom an https endpoint has to be, and who this client is to it. Paths of PEM files.

    Attributes:
        ca: certificates of those who may vouch for it, in place of the usual ones; None: the usual ones.
        cert: this client's certificate, if it asks for one; with those between it and its authority.
        key: the private key of ``cert``, without a password; None: it is in the file of ``cert``.
        verify: False believes anybody who answers.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        if self.key is not None and self.cert is None:
            raise ConfigError("has no certificate", field="tls.key", given=self.key, allowed="together with tls.cert")
        if self.ca is not None and not self.verify:
            raise ConfigError("is not looked at", field="tls.ca", given=self.ca, allowed="only without verify: false")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One OpenAI-compatible server that can be called.

    Args:
        name: unique within the pool.
        base_url: as the OpenAI SDK takes it, e.g. ``http://10.0.0.5:8000/v1``.
        model: the model name that this server knows.
        api_key: sent to this endpoint only; never shown.
        kind: the server's dialect: openai, azure, vllm, sglang, llama_cpp, ...
        profile: what is believed of its speed at first.
        max_concurrency: calls in flight at most; None: unbounded.
        rpm: requests per minute at most; None: unbounded.
        tpm: tokens (prompt and output) per minute at most; None: unbounded.
        price: USD per million tokens.
        quality: in [0, 1], compared with ``SLO.min_quality``.
        tags: free words, e.g. ``("eu", "gpu")``.
        metrics_url: where its Prometheus text is, if it may be scraped.
        context_tokens: prompt plus output at most; None: unknown, not checked.
        capabilities: subset of `CAPABILITIES`; None: everything but vision and responses, and ``token_ids`` (text
            completions tell the ids of their tokens if asked, and go on from ids) where it is vLLM.
        api_version: Azure's query parameter.
        priority: whether its server orders calls by a priority that they carry, in the way of its kind.
        continuation: how it is asked to go on with an unfinished message: ``continue_final_message`` (vLLM, SGLang), a
            trailing ``assistant`` message (llama.cpp), one marked ``prefix`` (DeepSeek, Mistral) or ``partial`` (Qwen's
            cloud), ``none`` if it cannot (nor from token ids), ``auto``: as its kind does.
        tls: certificates, where ``base_url`` is https.
    """

    name: str
    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    kind: str = "openai"
    profile: Profile = Profile()
    max_concurrency: int | None = None
    rpm: float | None = None
    tpm: float | None = None
    price: Price = Price()
    quality: float = 1.0
    tags: tuple[str, ...] = ()
    metrics_url: str | None = None
    context_tokens: int | None = None
    capabilities: frozenset[str] | None = None
    api_version: str | None = None
    priority: bool = False
    continuation: str = "auto"
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        where = f"endpoint {self.name!r}"
        for name in ("name", "base_url", "model", "kind"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ConfigError("missing", field=f"{where}.{name}", given=value, allowed="a non-empty text")
        _check_url(self.base_url, f"{where}.base_url")
        if self.tls != Tls() and not self.secure:
            raise ConfigError(
                "is for https alone", field=f"{where}.tls", given=self.base_url, allowed="a base_url of https://..."
            )
        if self.api_key is not None and not _PRINTABLE.fullmatch(self.api_key):
            raise ConfigError(  # the key itself is never shown
                "holds a space, a line break or another character that no HTTP header may hold",
                field=f"{where}.api_key",
                allowed="printable ASCII",
            )
        for name in ("rpm", "tpm"):
            _check_limit(getattr(self, name), (int, float), f"{where}.{name}", "a positive number")
        for name in ("max_concurrency", "context_tokens"):
            _check_limit(getattr(self, name), (int,), f"{where}.{name}", "a positive whole number")
        if isinstance(self.quality, bool) or not isinstance(self.quality, (int, float)) or not 0 <= self.quality <= 1:
            raise ConfigError("out of range", field=f"{where}.quality", given=self.quality, allowed="from 0 to 1")
        if self.continuation not in CONTINUATIONS:
            allowed = ", ".join(sorted(CONTINUATIONS))
            raise ConfigError("unknown", field=f"{where}.continuation", given=self.continuation, allowed=allowed)
        known, told = CAPABILITIES, self.capabilities
        if told is not None and not (isinstance(told, frozenset) and told <= known):
            allowed = f"a frozenset of {', '.join(sorted(known))}"
            raise ConfigError("unknown", field=f"{where}.capabilities", given=told, allowed=allowed)

    @property
    def secure(self) -> bool:
        """Whether it has to show a certificate."""
        return self.base_url.lower().startswith("https:")

    @property
    def continues_by(self) -> str:
        """How it is asked to go on with an unfinished message; ``none``: it cannot."""
        return _CONTINUATION_OF_KIND.get(self.kind, "none") if self.continuation == "auto" else self.continuation

    @property
    def takes_token_ids(self) -> bool:
        """Whether it is asked for the ids of a text completion's tokens, and may go on with one from its ids."""
        return self.continuation != "none" and self.can(_TOKEN_IDS)

    def can(self, needs: frozenset[str]) -> bool:
        """Whether this endpoint has every capability in ``needs``."""
        able = self.capabilities
        return needs <= (_CAPABILITIES_OF_KIND.get(self.kind, _DEFAULT_CAPABILITIES) if able is None else able)


def _check_url(text: str, where: str) -> None:
    allowed = "http(s)://host[:port][/v1]"
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError("not a URL", field=where, given=text, allowed=allowed)
    if url.username is not None or url.password is not None:
        raise ConfigError("holds credentials, which logs would show", field=where, allowed="api_key")
    if url.query or url.fragment:
        raise ConfigError("a query or fragment cannot be followed by a path", field=where, allowed=allowed)


def _check_limit(value: object, kinds: tuple[type, ...], where: str, allowed: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:  # type: ignore[operator]
        raise ConfigError("out of range", field=where, given=value, allowed=allowed)


@dataclass(frozen=True, slots=True)
class Group:
    """Which endpoints may serve a requested model name, and how good they must be."""

    endpoints: tuple[str, ...]
    min_quality: float = 0.0


@dataclass(frozen=True, slots=True, init=False)
class Pool:
    """The endpoints a process may use, and which of them may answer for which requested model name.

    Args:
        endpoints: at least one; names are unique.
        groups: requested model name -> `Group` or a list of endpoint names; the key ``"*"`` catches every other name.
            A name without a group is served by the endpoints whose ``model`` equals it.

    Raises:
        ConfigError: no endpoint, a name twice, or a group that names an unknown endpoint.
    """

    endpoints: tuple[Endpoint, ...]
    groups: Mapping[str, Group] = field(hash=False)

    def __init__(
        self, endpoints: Sequence[Endpoint], groups: Mapping[str, Group | Sequence[str]] | None = None
    ) -> None:
        if not endpoints:
            raise ConfigError("a pool needs at least one endpoint", field="endpoints")
        names = [endpoint.name for endpoint in endpoints]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError("used twice", field="endpoints.name", given=name, allowed="a unique name")
        made: dict[str, Group] = {}
        for model, group in (groups or {}).items():
            made[model] = group if isinstance(group, Group) else Group(tuple(group))
            if not made[model].endpoints:
                raise ConfigError("names no endpoint", field=f"groups[{model!r}]", allowed=", ".join(names))
            for name in made[model].endpoints:
                if name not in names:
                    raise ConfigError(
                        "unknown endpoint", field=f"groups[{model!r}]", given=name, allowed=", ".join(names)
                    )
        object.__setattr__(self, "endpoints", tuple(endpoints))
        object.__setattr__(self, "groups", MappingProxyType(made))

    def serving(self, model: str) -> tuple[int, ...]:
        """Indices of the endpoints that may answer a request for ``model``, by group, equal name, or ``"*"``."""
        group = self.groups.get(model)
        if group is None:
            equal = tuple(i for i, endpoint in enumerate(self.endpoints) if endpoint.model == model)
            if equal or "*" not in self.groups:
                return equal
            group = self.groups["*"]
        allowed = set(group.endpoints)
        return tuple(
            i
            for i, endpoint in enumerate(self.endpoints)
            if endpoint.name in allowed and endpoint.quality >= group.min_quality
        )
