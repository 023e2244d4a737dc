"""The scope of a run: who is running, until when, in which step, and how that travels through threads and the wire."""
