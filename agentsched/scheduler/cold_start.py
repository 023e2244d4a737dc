"""Speeds of endpoints of which nobody said and nothing was seen: what the rest of the pool shows, not one guess.

A hardware profile goes before; where there is none, an endpoint starts from the geometric mean of those that are known:
told in the configuration, or heard of since. Without it, whoever answers first is compared with a guess: a pool whose
endpoints are all faster than the guess would stay with the one that was tried.
"""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from agentsched.core.endpoint import Endpoint, Profile

__all__ = ["first_profiles", "mean_profile", "peers", "untold"]

_UNTOLD = Profile()
_LEAST = 1e-6


def untold(endpoints: Sequence[Endpoint]) -> list[int]:
    """Those whose configuration says nothing of their speed."""
    return [i for i, endpoint in enumerate(endpoints) if endpoint.profile == _UNTOLD]


def peers(endpoints: Sequence[Endpoint], i: int, known: Sequence[int]) -> list[int]:
    """Of the ``known`` ones those that endpoint ``i`` may be like: of the same model, else all."""
    return [k for k in known if endpoints[k].model == endpoints[i].model] or list(known)


def first_profiles(endpoints: Sequence[Endpoint]) -> list[Profile]:
    """What is believed of each endpoint's speed before anything was seen."""
    strangers = untold(endpoints)
    known = [i for i in range(len(endpoints)) if i not in strangers]
    profiles = [endpoint.profile for endpoint in endpoints]
    for i in strangers if known else ():
        profiles[i] = mean_profile([endpoints[k].profile for k in peers(endpoints, i, known)])
    return profiles


def mean_profile(profiles: Sequence[Profile]) -> Profile:
    """The geometric mean of each figure; there is one profile at least."""
    figures = [[max(_LEAST, getattr(profile, field.name)) for field in fields(Profile)] for profile in profiles]
    return Profile(*np.exp(np.log(figures).mean(axis=0)).tolist())
