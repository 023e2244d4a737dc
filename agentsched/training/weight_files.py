"""Trained forecasters in files (`agentsched.state.weights`)."""

import os
from pathlib import Path

from agentsched.errors import ConfigError
from agentsched.forecast.quantile_net import ExpertMixture, QuantileNet
from agentsched.state.weights import packed_weights, unpacked_weights

__all__ = ["load_weights", "save_weights"]


def save_weights(path: Path, made: QuantileNet | ExpertMixture) -> None:
    """Write a forecaster; the file is whole or not there.

    Raises:
        ConfigError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(packed_weights(made))
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", file=str(path)) from error


def load_weights(path: Path) -> QuantileNet | ExpertMixture:
    """Read a forecaster.

    Raises:
        ConfigError: the file cannot be read, is damaged, or is of another version.
    """
    try:
        return unpacked_weights(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    except ConfigError as error:
        raise ConfigError(f"not usable: {error}", file=str(path)) from error
    except ValueError as error:
        raise ConfigError(f"not a file of weights: {error}", file=str(path)) from error
