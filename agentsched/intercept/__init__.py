"""The one mechanism that catches model calls: ``send`` of every httpx and httpx2 client, inside a run only."""

from agentsched.intercept.patch import instrument, is_instrumented, uninstrument

__all__ = ["instrument", "is_instrumented", "uninstrument"]
