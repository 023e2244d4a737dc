"""Measurements that anybody can repeat: what a call costs, and what the user gets when endpoints misbehave."""
