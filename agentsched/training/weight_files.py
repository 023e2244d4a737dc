"""Trained forecasters in files: numpy's npz, with a version, read without pickle."""

import os
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from agentsched.errors import ConfigError
from agentsched.forecast.quantile_net import ExpertMixture, QuantileNet

__all__ = ["load_weights", "save_weights"]

_VERSION = 1
_KINDS: dict[str, type[QuantileNet] | type[ExpertMixture]] = {one.kind: one for one in (QuantileNet, ExpertMixture)}


def save_weights(path: Path, made: QuantileNet | ExpertMixture) -> None:
    """Write a forecaster; the file is whole or not there.

    Raises:
        ConfigError: it cannot be written.
    """
    arrays: dict[str, Any] = {field.name: getattr(made, field.name) for field in fields(made)}
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as opened:
            np.savez(opened, kind=np.array(made.kind), version=np.array(_VERSION), **arrays)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror or error}", file=str(path)) from error


def load_weights(path: Path) -> QuantileNet | ExpertMixture:
    """Read a forecaster.

    Raises:
        ConfigError: the file cannot be read, is damaged, or is of another version.
    """
    try:
        with path.open("rb") as opened:
            read = np.load(opened, allow_pickle=False)
            held = {name: read[name] for name in read.files}
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError, AttributeError) as error:
        raise ConfigError(f"not a file of weights: {error}", file=str(path)) from error
    version, kind = held.pop("version", None), str(held.pop("kind", ""))
    made = _KINDS.get(kind)
    if made is None or version is None or int(version) != _VERSION or set(held) != {one.name for one in fields(made)}:
        raise ConfigError(
            "weights of another version", file=str(path), given=f"{kind} {version}", allowed=f"version {_VERSION}"
        )
    return made(**held)
