"""The command line: ``agentsched``."""
