"""What every store has to do (`agentsched.testing.check_state_store`), asked of each."""

from agentsched.core.shared import Posting
from agentsched.testing import check_state_store
from tests.state.conftest import Backend


def test_it_keeps_every_promise(backend: Backend) -> None:
    check_state_store(backend.open, backend.wait)


def test_what_is_told_is_there_for_who_opens_later(backend: Backend) -> None:
    first = backend.open()
    first.exchange(Posting("one", b"1"), 60.0)
    first.close()
    assert [heard.client for heard in backend.open().exchange(Posting("two", b""), 60.0)] == ["one"]
