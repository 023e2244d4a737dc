from agentsched.scheduler.retry_budget import ShareBudget


def test_the_reserve_is_there_at_once_and_shares_add_up():
    budget = ShareBudget(0.25, 2.0)
    for _ in range(2):
        assert budget.available
        budget.take()
    assert not budget.available
    for _ in range(3):
        budget.deposit()
        assert not budget.available
    budget.deposit()
    assert budget.available
    assert budget.spent == 2


def test_a_long_peace_saves_up_a_hundred_more():
    budget = ShareBudget(1.0, 2.0)
    for _ in range(1000):
        budget.deposit()
    while budget.available:
        budget.take()
    assert budget.spent == 102
