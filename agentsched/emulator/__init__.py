"""The embedded pool: OpenAI-compatible HTTP servers over the engine model, for demo, tests and fault benches."""

from agentsched.emulator.config import EmulatedEndpoint, EmulatorConfig, Lengths, PoolPrice, load_config
from agentsched.emulator.faults import Fault
from agentsched.emulator.pool import Emulator

__all__ = ["EmulatedEndpoint", "Emulator", "EmulatorConfig", "Fault", "Lengths", "PoolPrice", "load_config"]
