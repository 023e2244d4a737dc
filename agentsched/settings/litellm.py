"""A LiteLLM ``config.yaml`` as a document of our own format; what has no place in it becomes a warning."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentsched.errors import ConfigError
from agentsched.settings.document import Document
from agentsched.settings.problems import Loc, SettingsError, dotted

__all__ = ["from_litellm", "is_litellm"]


@dataclass(frozen=True, slots=True)
class _Provider:
    """One of LiteLLM's providers that speaks the OpenAI protocol; without a URL the file must give ``api_base``."""

    kind: str = "openai"
    base_url: str | None = None
    key_variable: str | None = None


_PROVIDERS: dict[str, _Provider] = {
    "openai": _Provider("openai", "${OPENAI_BASE_URL:-https://api.openai.com/v1}", "OPENAI_API_KEY"),
    "azure": _Provider("azure"),
    "hosted_vllm": _Provider("vllm"),
    "vllm": _Provider("vllm"),
    "llamafile": _Provider("llama_cpp"),
    "custom_openai": _Provider(),
    "openai_like": _Provider(),
    "litellm_proxy": _Provider(),
    "lm_studio": _Provider(),
    "ollama": _Provider("openai", "http://localhost:11434/v1"),
    "ollama_chat": _Provider("openai", "http://localhost:11434/v1"),
    "cerebras": _Provider("openai", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "deepinfra": _Provider("openai", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "deepseek": _Provider("openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "fireworks_ai": _Provider("openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    "groq": _Provider("openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": _Provider("openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "nvidia_nim": _Provider("openai", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "openrouter": _Provider("openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "perplexity": _Provider("openai", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "sambanova": _Provider("openai", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    "together_ai": _Provider("openai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "xai": _Provider("openai", "https://api.x.ai/v1", "XAI_API_KEY"),
}
_MODES = (None, "chat", "completion", "responses")

_PARAMS = {  # litellm_params key -> endpoint key, for those that are carried over as they are
    "api_key": "api_key",
    "api_version": "api_version",
    "rpm": "rpm",
    "tpm": "tpm",
    "max_parallel_requests": "max_concurrency",
    "tags": "tags",
}
_PRICES = {"input_cost_per_token": "input", "output_cost_per_token": "output"}
_HANDLED = {*_PARAMS, *_PRICES, "model", "api_base", "base_url", "custom_llm_provider"}

_REASONS = {
    "timeout": "clocks are learned per endpoint; a common one goes to stream.first_token_timeout",
    "stream_timeout": "clocks are learned per endpoint; a common one goes to stream.idle_timeout",
    "max_retries": "attempts are counted for the whole pool, see retry.max_attempts",
    "weight": "endpoints are chosen by forecast, not by weight",
    "order": "endpoints are chosen by forecast; give the better ones a higher quality",
    "routing_strategy": "endpoints are chosen by agentsched's own policy, see policy.name",
    "routing_strategy_args": "endpoints are chosen by agentsched's own policy, see policy.name",
    "fallbacks": "put the fallback's endpoints into the group of the model instead",
    "default_fallbacks": 'add a group "*" with the endpoints that may serve any model',
    "context_window_fallbacks": "declare context_tokens: endpoints that are too small are then never chosen",
    "azure_ad_token": "only keys are supported",
    "ssl_verify": "certificates are named per endpoint, see tls",
    "ssl_certificate": "certificates are named per endpoint, see tls",
}


def is_litellm(data: object) -> bool:
    """Whether these are the data of a LiteLLM configuration."""
    return isinstance(data, Mapping) and "model_list" in data and "endpoints" not in data


def from_litellm(document: Document) -> tuple[Document, tuple[str, ...]]:
    """Convert a LiteLLM configuration; references to the environment stay references.

    Args:
        document: for which `is_litellm` holds.

    Returns:
        The same in our format, its origins pointing into the LiteLLM file, and one warning for each thing that
        could not be carried over.

    Raises:
        SettingsError: the model list cannot be read, or nothing in it can be used.
    """
    conversion = _Conversion(document)
    conversion.run()
    if conversion.problems:
        raise SettingsError(conversion.problems)
    converted = Document(conversion.data(), document.file, document.root, conversion.origins)
    return converted, tuple(conversion.warnings)


@dataclass(slots=True)
class _Conversion:
    document: Document
    endpoints: list[dict[str, object]] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    rules: dict[str, dict[str, object]] = field(default_factory=dict)
    origins: dict[Loc, Loc] = field(default_factory=lambda: {("endpoints",): ("model_list",)})
    warnings: list[str] = field(default_factory=list)
    problems: list[ConfigError] = field(default_factory=list)

    def data(self) -> dict[str, object]:
        groups = {model: {"endpoints": names} for model, names in self.groups.items()}
        return {"version": 1, "endpoints": self.endpoints, "groups": groups, **self.rules}

    def run(self) -> None:
        data = self.document.data
        assert isinstance(data, Mapping)
        deployments = data["model_list"]
        if not isinstance(deployments, list):
            self.problems.append(self.document.problem(("model_list",), "not a list", allowed="a list of deployments"))
            return
        for index, deployment in enumerate(deployments):
            self._deployment(deployment, ("model_list", index))
        if not self.endpoints and not self.problems:
            message = "no deployment can be used" + "".join(f"; {warning}" for warning in self.warnings)
            self.problems.append(self.document.problem(("model_list",), message))
        self._router_settings(self._section("router_settings"))
        self._litellm_settings(self._section("litellm_settings"))
        known = ("model_list", "router_settings", "litellm_settings")
        self._left_behind((), (key for key in data if key not in known))

    def _section(self, name: str) -> Mapping[str, object]:
        assert isinstance(self.document.data, Mapping)
        section = self.document.data.get(name, {})
        if isinstance(section, Mapping):
            return section
        self.problems.append(self.document.problem((name,), "not a mapping", allowed="a mapping"))
        return {}

    def _warn(self, loc: Loc, text: str) -> None:
        line = self.document.line(loc)
        self.warnings.append(f"{f'line {line}: ' if line else ''}{dotted(loc)}: {text}")

    def _left_behind(self, loc: Loc, keys: Iterable[str]) -> None:
        for key in keys:
            reason = _REASONS.get(key)
            self._warn((*loc, key), "not carried over" + (f": {reason}" if reason else ""))

    def _deployment(self, deployment: object, loc: Loc) -> None:
        params = deployment.get("litellm_params") if isinstance(deployment, Mapping) else None
        requested = deployment.get("model_name") if isinstance(deployment, Mapping) else None
        model = params.get("model") if isinstance(params, Mapping) else None
        wanted = {
            ("model_name",): requested if isinstance(requested, str) else None,
            ("litellm_params", "model"): model if isinstance(model, str) else None,
        }
        lacking = [part for part, value in wanted.items() if not value]
        for part in lacking:
            self.problems.append(self.document.problem((*loc, *part), "missing", allowed="a text"))
        if lacking:
            return
        assert isinstance(deployment, Mapping)
        assert isinstance(params, Mapping)
        info = deployment.get("model_info")
        info = info if isinstance(info, Mapping) else {}
        provider, own_model = _split(str(model), params.get("custom_llm_provider"))
        unusable = _why_unusable(provider, own_model, str(requested), info)
        if unusable:
            self._warn(loc, f"left out, {unusable}")
            return
        self._endpoint(loc, str(requested), own_model, _PROVIDERS[provider], params, info)
        self._left_behind(loc, (key for key in deployment if key not in ("model_name", "litellm_params", "model_info")))

    def _endpoint(
        self,
        loc: Loc,
        requested: str,
        model: str,
        provider: _Provider,
        params: Mapping[str, object],
        info: Mapping[str, object],
    ) -> None:
        at: Loc = ("endpoints", len(self.endpoints))
        inside: Loc = (*loc, "litellm_params")
        endpoint: dict[str, object] = {"name": self._unique(info.get("id"), requested)}
        self.origins |= {at: loc, (*at, "name"): (*loc, "model_name"), (*at, "model"): (*inside, "model")}
        base_key = "base_url" if "base_url" in params else "api_base"
        base = params.get(base_key)
        if base is None and provider.base_url is not None:
            base = provider.base_url
            if provider.key_variable:  # never to a host that the file names: it is the provider's key
                endpoint["api_key"] = f"${{{provider.key_variable}:-}}"
        azure = provider.kind == "azure"
        if base is not None:
            endpoint["base_url"] = _azure_url(base, model, params) if azure else base
        self.origins[(*at, "base_url")] = (*inside, base_key)
        # Without a version, Azure's address is the one that speaks plain OpenAI.
        kind = "openai" if azure and "api_version" not in params else provider.kind
        endpoint |= {"model": model, "kind": kind}
        for key, ours in _PARAMS.items():
            if key in params:
                endpoint[ours] = params[key]
                self.origins[(*at, ours)] = (*inside, key)
        self._prices(at, loc, endpoint, params, info)
        self.endpoints.append(endpoint)
        self.groups.setdefault(requested, []).append(str(endpoint["name"]))
        self.origins.setdefault(("groups", requested), loc)
        self._left_behind(inside, (key for key in params if key not in _HANDLED))

    def _prices(
        self,
        at: Loc,
        loc: Loc,
        endpoint: dict[str, object],
        params: Mapping[str, object],
        info: Mapping[str, object],
    ) -> None:
        price: dict[str, object] = {}
        for key, ours in _PRICES.items():
            place, value = ("litellm_params", params[key]) if key in params else ("model_info", info.get(key))
            if value is None:
                continue
            origin: Loc = (*loc, place, key)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                self.problems.append(self.document.problem(origin, "not a number", allowed="USD per token"))
                continue
            price[ours] = round(value * 1e6, 9)
            self.origins[(*at, "price", ours)] = origin
        if price:
            endpoint["price"] = price

    def _unique(self, given: object, requested: str) -> str:
        wanted = given if isinstance(given, str) and given else requested
        taken = {endpoint["name"] for endpoint in self.endpoints}
        count, name = 1, wanted
        while name in taken:
            count += 1
            name = f"{wanted}-{count}"
        return name

    def _rule(self, section: str, key: str, value: object, origin: Loc) -> None:
        self.rules.setdefault(section, {}).setdefault(key, value)
        self.origins.setdefault((section, key), origin)

    def _router_settings(self, router: Mapping[str, object]) -> None:
        at: Loc = ("router_settings",)
        handled = {"num_retries", "allowed_fails", "cooldown_time", "retry_after", "model_group_alias"}
        if "num_retries" in router:
            self._rule("retry", "max_attempts", _plus_one(router["num_retries"]), (*at, "num_retries"))
        if "allowed_fails" in router:
            self._rule("breaker", "failures", _plus_one(router["allowed_fails"]), (*at, "allowed_fails"))
        for key, section, ours in (("cooldown_time", "breaker", "cooldown"), ("retry_after", "retry", "backoff")):
            if router.get(key):
                self._rule(section, ours, router[key], (*at, key))
        self._clocks(router, at)
        self._aliases(router.get("model_group_alias"), (*at, "model_group_alias"))
        self._left_behind(at, (key for key in router if key not in handled | {"timeout", "stream_timeout"}))

    def _litellm_settings(self, litellm: Mapping[str, object]) -> None:
        at: Loc = ("litellm_settings",)
        if "num_retries" in litellm:
            self._rule("retry", "max_attempts", _plus_one(litellm["num_retries"]), (*at, "num_retries"))
        if "request_timeout" in litellm:
            self._clocks({"timeout": litellm["request_timeout"]}, at, "request_timeout")
        self._left_behind(at, (key for key in litellm if key not in ("num_retries", "request_timeout")))

    def _clocks(self, source: Mapping[str, object], at: Loc, name: str = "timeout") -> None:
        """LiteLLM's timeouts restart at every byte: they are the clocks of a silent and of a stalled answer."""
        for key, origin in (("stream_timeout", "stream_timeout"), ("timeout", name)):
            if source.get(key) and "stream" in self.rules:
                self._warn((*at, origin), "not carried over: router_settings has a timeout, and that one counts")
                return
            if source.get(key):
                self._rule("stream", "first_token_timeout", source[key], (*at, origin))
                self._rule("stream", "idle_timeout", source[key], (*at, origin))
                text = "carried over as stream.first_token_timeout and stream.idle_timeout; the time of the whole"
                self._warn((*at, origin), f"{text} is bounded by a workflow's deadline, not here")
                return

    def _aliases(self, aliases: object, at: Loc) -> None:
        for alias, target in aliases.items() if isinstance(aliases, Mapping) else ():
            name = target.get("model") if isinstance(target, Mapping) else target
            if isinstance(name, str) and name in self.groups:
                self.groups.setdefault(alias, list(self.groups[name]))
                self.origins.setdefault(("groups", alias), (*at, alias))
            else:
                self._warn((*at, alias), "not carried over: its model is not in the list")


def _split(model: str, provider: object) -> tuple[str, str]:
    if isinstance(provider, str) and provider:
        return provider, model.removeprefix(f"{provider}/")
    prefix, slash, rest = model.partition("/")
    return (prefix, rest) if slash else ("openai", model)


def _why_unusable(provider: str, model: str, requested: str, info: Mapping[str, object]) -> str | None:
    if provider not in _PROVIDERS:
        return f"provider {provider!r} does not speak the OpenAI protocol as far as agentsched knows"
    if "*" in model or ("*" in requested and requested != "*"):
        return "an endpoint serves one model, not a pattern"
    if info.get("mode") not in _MODES:
        return f"mode {info.get('mode')!r} is not scheduled: such calls pass through untouched"
    return None


def _azure_url(base: object, model: str, params: Mapping[str, object]) -> object:
    if not isinstance(base, str) or "/openai" in base:
        return base
    root = f"${{{base.removeprefix('os.environ/')}}}" if base.startswith("os.environ/") else base.rstrip("/")
    return f"{root}/openai/deployments/{model}" if "api_version" in params else f"{root}/openai/v1"


def _plus_one(value: object) -> object:
    return value + 1 if isinstance(value, int) and not isinstance(value, bool) else value
