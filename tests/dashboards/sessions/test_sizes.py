"""Calls without a cost: those that lack a price and those of unknown size are told apart, on a session's page as on a person's."""

import pytest

from governance.tenancy.models import Member
from tests.dashboards.control import address, at, budget, text_of, use

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]


def test_a_session_tells_them_apart(admin: Member) -> None:
    use(admin.organization, session="run", model="no-such-model", provider="")
    use(admin.organization, session="run", calls=2, output_tokens=None)
    page = text_of(at(admin).get(address(admin, "sessions/run")))
    assert '<span class="num">1</span> without a price</span> · <span class="num">2</span> of unknown size' in page
    assert page.count(">size unknown</span>") == 2
    assert page.count(">no price</span>") == 1
    assert "unpriced" not in page


def test_a_call_of_unknown_size_says_so(admin: Member) -> None:
    use(admin.organization, session="run", output_tokens=None)
    answer = at(admin).get(address(admin, "sessions/run"))
    ((call, _, is_measured),) = answer.context["calls"]
    assert not is_measured
    assert "the size of the call is not known" in text_of(at(admin).get(address(admin, f"sessions/run?call={call.id}")))


def test_a_person_sees_both_counts(admin: Member, engineer: Member) -> None:
    use(admin.organization, session="run", model="no-such-model", provider="", member=engineer.user.email)
    use(admin.organization, session="run", calls=2, output_tokens=None, member=engineer.user.email)
    page = text_of(at(engineer).get(address(engineer, "my-usage")))
    assert '<span class="num">3</span> calls, <span class="num">1</span> without a price, <span class="num">2</span> of unknown size' in page


def test_the_limit_stands_below_what_was_spent(admin: Member) -> None:
    budget(admin, limit="100")
    use(admin.organization, session="run")
    assert "of $100.00" in text_of(at(admin).get(address(admin, "sessions")))
