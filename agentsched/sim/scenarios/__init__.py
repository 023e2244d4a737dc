"""The scenarios that are shipped, as YAML."""
