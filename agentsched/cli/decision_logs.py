"""Which decision logs the commands read that look back."""

from pathlib import Path

from agentsched.cli.output import DEFAULT_FILE
from agentsched.errors import ConfigError
from agentsched.settings import from_environment, load_settings

__all__ = ["decision_logs"]


def decision_logs(named: tuple[str, ...]) -> tuple[str, ...]:
    """The logs named on the command line, else the one that the configuration names.

    The configuration is the file that ``AGENTSCHED_CONFIG`` names, else ``pool.yaml`` here.

    Raises:
        ConfigError: none was named, and there is no configuration, it is wrong, or it names no log.
    """
    if named:
        return named
    settings = from_environment() or (load_settings(DEFAULT_FILE) if DEFAULT_FILE.exists() else None)
    path: Path | None = None if settings is None else settings.log.path
    if path is None:
        raise ConfigError(
            "no decision log was named, and no configuration names one",
            field="LOG",
            allowed="a log file or a directory of them; or log.path in pool.yaml",
        )
    return (str(path),)
