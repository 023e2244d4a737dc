"""The tests, and the command that runs them: see ``python -m tests --help``."""
