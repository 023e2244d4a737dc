"""Files that a configuration has written or read, and that could not be."""

import os
from collections.abc import Iterator
from pathlib import Path

from agentsched.dispatch.trust import credentials_of
from agentsched.errors import ConfigError
from agentsched.settings import Settings
from agentsched.settings.advice import Advice
from agentsched.settings.learned_path import learned_path

__all__ = ["unusable_certificates", "unwritable_files"]


def unwritable_files(settings: Settings) -> Iterator[Advice]:
    """One remark for each file that this process could not write where it is to be; nothing is made or changed."""
    named = {
        "log.path": settings.log.path,
        "log.record_events": settings.log.record_events,
        "state.profiles": learned_path(settings),
    }
    if settings.state.backend == "sqlite" and settings.state.url is not None:
        named["state.url"] = Path(settings.state.url)
    for name, path in named.items():
        lack = None if path is None else _lack(path)
        if lack is not None:
            yield Advice(name, f"{path} cannot be written: {lack}")


def unusable_certificates(settings: Settings) -> Iterator[Advice]:
    """One remark for each endpoint that could not be called for the files that its ``tls`` names."""
    for endpoint in settings.pool.endpoints:
        try:
            credentials_of([endpoint])
        except ConfigError as error:
            yield Advice(f"endpoint {endpoint.name}", str(error))


def _lack(path: Path) -> str | None:
    """Why the file cannot be made or written; None: it can, with those of its folders that are not there yet."""
    if path.is_dir():
        return "it is a folder"
    if path.exists():
        return None if os.access(path, os.W_OK) else "permission denied"
    folder = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if folder is None or not folder.is_dir():
        return f"{folder} is not a folder"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"permission denied in {folder}"
