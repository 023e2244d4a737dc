"""The packages that are compared: loaded when they are measured, and allowed to be missing."""

import importlib
import os
from typing import Any

__all__ = ["Missing", "load_litellm", "load_package"]


class Missing(Exception):
    """A package that is not installed; the text says which."""


def load_package(name: str) -> Any:
    """Import a package.

    Raises:
        Missing: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"{name} is not installed") from error


def load_litellm() -> Any:
    """Import litellm, silent and without its fetching a price list from the internet.

    Raises:
        Missing: it is not installed.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = load_package("litellm")
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    return litellm
