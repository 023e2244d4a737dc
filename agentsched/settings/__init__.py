"""Configuration: files, mappings and pools to `Settings`, and back."""

from agentsched.settings.dump import dump_settings
from agentsched.settings.json_schema import settings_schema
from agentsched.settings.load import CONFIG_VARIABLE, DEFAULT_FILE, from_environment, load_settings
from agentsched.settings.problems import SettingsError
from agentsched.settings.values import (
    InterceptSettings,
    LearningSettings,
    LogSettings,
    OptionValue,
    PolicySettings,
    Settings,
    StateSettings,
)

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_FILE",
    "InterceptSettings",
    "LearningSettings",
    "LogSettings",
    "OptionValue",
    "PolicySettings",
    "Settings",
    "SettingsError",
    "StateSettings",
    "dump_settings",
    "from_environment",
    "load_settings",
    "settings_schema",
]
