"""For people who write plug-ins: made-up inputs, and the checks that our own implementations have to pass.

Nothing else in agentsched imports this room.
"""

from agentsched.testing.policies import check_policy
from agentsched.testing.situations import random_situations, situation

__all__ = ["check_policy", "random_situations", "situation"]
