"""Which decision logs the commands read that look back."""

import os
from pathlib import Path

from agentsched.errors import ConfigError
from agentsched.settings import CONFIG_VARIABLE, DEFAULT_FILE
from agentsched.settings.load import parse_settings, text_of

__all__ = ["decision_logs"]


def decision_logs(named: tuple[str, ...]) -> tuple[str, ...]:
    """The logs named on the command line, else the one that the configuration names.

    The configuration is the file that ``AGENTSCHED_CONFIG`` names, else ``pool.yaml`` here.

    Raises:
        ConfigError: none was named, and there is no configuration, it is wrong, or it names no log.
    """
    if named:
        return named
    path = _configured_log()
    if path is None:
        raise ConfigError(
            "no decision log was named, and no configuration names one",
            field="LOG",
            allowed="a log file or a directory of them; or log.path in pool.yaml",
        )
    return (str(path),)


def _configured_log() -> Path | None:
    """The log of the configuration, of which no key need be set: nothing is called."""
    name = os.environ.get(CONFIG_VARIABLE)
    file = Path(name).expanduser() if name else DEFAULT_FILE
    if not name and not file.exists():
        return None
    text = text_of(file, named_by=CONFIG_VARIABLE if name else None)
    return parse_settings(text, path=file, unset_ok=True).log.path
