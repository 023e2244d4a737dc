"""For people who write plug-ins: made-up inputs, and the checks that our own implementations have to pass.

Nothing else in agentsched imports this room.
"""

from agentsched.testing.policies import check_policy
from agentsched.testing.situations import random_situations, situation
from agentsched.testing.stores import check_state_store

__all__ = ["check_policy", "check_state_store", "random_situations", "situation"]
