"""The page and its picture."""

import re
from base64 import b64decode

from agentsched.demo.page import comparison_page
from agentsched.demo.plan import Plan
from agentsched.demo.results import ArmResult


def test_the_page_needs_nothing_but_a_browser(arms: list[ArmResult], plan: Plan) -> None:
    page = comparison_page(plan, arms)
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "://" not in page


def test_the_page_says_what_was_found(arms: list[ArmResult], plan: Plan) -> None:
    page = comparison_page(plan, arms)
    assert "<b>agentsched</b>: 4 of 5 in time (80%)" in page
    assert "@agentsched.workflow(slo=SLO(deadline=&quot;10s&quot;), pool=&quot;pool.yaml&quot;)" in page


def test_the_picture_is_inside(arms: list[ArmResult], plan: Plan) -> None:
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', comparison_page(plan, arms))
    assert picture is not None
    assert b64decode(picture.group(1)).startswith(b"\x89PNG")


def test_an_arm_that_was_not_on_time_is_left_out_of_the_picture(arm, arms: list[ArmResult], plan: Plan) -> None:
    arms[0] = arm("one endpoint", latencies=(1.0,), chunks=0)
    page = comparison_page(plan, arms)
    assert "no figures, the emulator did not keep time" in page
    assert "data:image/png" in page
    none = [arm(each.arm, latencies=(1.0,), chunks=0) for each in arms]
    assert "data:image/png" not in comparison_page(plan, none)
