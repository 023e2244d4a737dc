"""An adapter that several put in is in once, and out when the last has left."""

from agentsched.workflow.adapting import put_in_once


def test_the_first_puts_it_in_and_the_last_takes_it_out():
    done: list[str] = []

    @put_in_once
    def install():
        done.append("in")
        return lambda: done.append("out")

    first, second = install(), install()
    first()
    first()
    assert done == ["in"]
    second()
    assert done == ["in", "out"]
    install()()
    assert done == ["in", "out"] * 2
