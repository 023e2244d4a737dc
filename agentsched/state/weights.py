"""Trained forecasters as bytes: numpy's npz, with a version, read without pickle."""

import zipfile
from dataclasses import fields
from io import BytesIO
from typing import Any

import numpy as np

from agentsched.forecast.quantile_net import ExpertMixture, QuantileNet

__all__ = ["packed_weights", "unpacked_weights"]

_VERSION = 1
_KINDS: dict[str, type[QuantileNet] | type[ExpertMixture]] = {one.kind: one for one in (QuantileNet, ExpertMixture)}


def packed_weights(made: QuantileNet | ExpertMixture) -> bytes:
    """A forecaster as bytes."""
    arrays: dict[str, Any] = {field.name: getattr(made, field.name) for field in fields(made)}
    opened = BytesIO()
    np.savez(opened, kind=np.array(made.kind), version=np.array(_VERSION), **arrays)
    return opened.getvalue()


def unpacked_weights(content: bytes) -> QuantileNet | ExpertMixture:
    """What `packed_weights` made.

    Raises:
        ValueError: it is no such thing, is damaged, or is of another version.
    """
    try:
        read = np.load(BytesIO(content), allow_pickle=False)
        held = {name: read[name] for name in read.files}
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError, AttributeError) as error:
        raise ValueError(str(error)) from error
    version, kind = held.pop("version", None), str(held.pop("kind", ""))
    made = _KINDS.get(kind)
    if made is None or version is None or int(version) != _VERSION or set(held) != {one.name for one in fields(made)}:
        raise ValueError(f"weights of another version: {kind} {version}, not version {_VERSION}")
    return made(**held)
