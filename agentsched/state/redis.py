"""The store of processes on several hosts: one Redis hash, one field per client, aged by the server's clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from agentsched.core.shared import Posting
from agentsched.errors import StateUnavailable

__all__ = ["RedisStore"]

_TIMEOUT_S = 1.0
"""For a connection, and for an answer, seconds."""

_KEY = "agentsched:postings:1"

# A field holds "<posted at> <expires at> <content>". The server's clock dates everything: hosts' clocks differ. What it
# cannot have dated like that was written by nobody of us, or before it was set back (no comparison holds of a NaN).
_EXCHANGE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local ttl = tonumber(ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.6f %.6f ', now, now + ttl) .. ARGV[2])
local fields, others = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #fields, 2 do
  local client, value = fields[i], fields[i + 1]
  if client ~= ARGV[1] then
    local first = string.find(value, ' ', 1, true)
    local second = first and string.find(value, ' ', first + 1, true)
    local posted = second and tonumber(string.sub(value, 1, first - 1))
    local expires = second and tonumber(string.sub(value, first + 1, second - 1))
    if not (posted and expires and posted <= now + 1 and expires > now and expires < now + 3600) then
      redis.call('HDEL', KEYS[1], client)
    else
      table.insert(others, {client, string.format('%.6f', now - posted), string.sub(value, second + 1)})
    end
  end
end
local left = redis.call('PTTL', KEYS[1])
redis.call('PEXPIRE', KEYS[1], math.max(left, math.ceil(ttl * 1000)))
return others
"""


class RedisStore:
    """Postings in a Redis server (5 or later, or what speaks its protocol and runs its scripts).

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, as redis-py takes it; never shown.

    Raises:
        ValueError: the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        # Waiting and trying again is its caller's business, so that a close never waits for more than one timeout.
        try:
            self._client: Any = redis.Redis.from_url(
                url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
            )
            # A URL may ask for text (?decode_responses=true), for a program's other uses of it: postings are bytes.
            pool = self._client.connection_pool
            pool.connection_kwargs["decode_responses"] = False
            pool.connection_class(**pool.connection_kwargs)  # connects to nothing, but knows its options
            self._exchange = self._client.register_script(_EXCHANGE)
        except (redis.RedisError, TypeError, LookupError) as error:
            raise ValueError(str(error)) from error

    def exchange(self, own: Posting, ttl_s: float) -> list[Posting]:
        """See `StateStore.exchange`."""
        with _translated():
            rows = self._exchange(keys=[_KEY], args=[own.client, own.content, ttl_s])
            return [Posting(client.decode(errors="replace"), content, float(age)) for client, age, content in rows]

    def withdraw(self, client: str) -> None:
        """See `StateStore.withdraw`."""
        with _translated():
            self._client.hdel(_KEY, client)

    def close(self) -> None:
        """See `StateStore.close`."""
        self._client.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # what answers may be no Redis: redis-py then fails in ways that are no RedisError
        raise StateUnavailable(f"redis: {type(error).__name__}: {error}") from error
