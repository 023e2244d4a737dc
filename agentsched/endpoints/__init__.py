"""OpenAI-compatible servers over HTTP: requests, streams, limits, health."""
