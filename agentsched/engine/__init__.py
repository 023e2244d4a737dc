"""The model of one LLM endpoint: what it does with the requests it is given, as a pure state machine over time.

One model for both the simulator (virtual time, jumping) and the embedded pool (real time, step by step).
"""

from agentsched.engine.disaggregated import DisaggregatedPair
from agentsched.engine.hosted import HostedApi
from agentsched.engine.instance import Instance, Scheduling
from agentsched.engine.prefix import PrefixCache, block_chain
from agentsched.engine.profile import DisaggregatedProfile, EngineProfile, HardwareProfile, HostedProfile
from agentsched.engine.profiles import all_profiles, load_profile, profile_from_mapping
from agentsched.engine.ratelimit import RateLimit
from agentsched.engine.request import Emission, Load, Rejection, Request, ServingModel, Span

__all__ = [
    "DisaggregatedPair",
    "DisaggregatedProfile",
    "Emission",
    "EngineProfile",
    "HardwareProfile",
    "HostedApi",
    "HostedProfile",
    "Instance",
    "Load",
    "PrefixCache",
    "RateLimit",
    "Rejection",
    "Request",
    "Scheduling",
    "ServingModel",
    "Span",
    "all_profiles",
    "block_chain",
    "load_profile",
    "profile_from_mapping",
]
