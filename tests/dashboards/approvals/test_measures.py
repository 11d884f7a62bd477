"""The road of a request on a budget in tokens: asked, told, shown and granted in tokens."""

from decimal import Decimal

import pytest

from governance.approvals.models import ApprovalRequest
from governance.approvals.services import request_create, request_decide
from governance.budgets.models import BudgetPeriod
from governance.notices.models import Notice
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Team
from tests.dashboards.control import address, at, budget, text_of, use

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]


def test_tokens_are_asked_for_and_granted_as_tokens(admin: Member, engineer: Member, team: Team) -> None:
    budget(admin, name="Tokens", limit="100000", measure="tokens")
    use(admin.organization, session="run", calls=2, member=engineer.user.email, team="platform")
    period = BudgetPeriod.objects.get(session_key="run")
    assert period.frozen_at is not None
    form = text_of(at(engineer).get(address(engineer, "approvals/new?session=run")))
    assert "In tokens." in form
    assert "200\u202fk\u00a0tokens of 100\u202fk\u00a0tokens" in form
    request = request_create(actor=member_actor(engineer), period_id=period.pk, amount=Decimal(500_000), reason="Two thirds are done.", session_key="run")
    assert request.currency == "tokens"
    assert Notice.objects.filter(subject__contains="500,000 tokens").exists()
    page = text_of(at(admin).get(address(admin, f"approvals/{request.pk}")))
    assert "500\u202fk\u00a0tokens" in page
    assert "$500,000" not in page
    for path in ("approvals", "", "my-usage", "sessions/run"):
        assert "$500,000" not in text_of(at(admin).get(address(admin, path)))
    request_decide(actor=member_actor(admin), request_id=request.pk, is_grant=True)
    period.refresh_from_db()
    assert (period.topup, period.frozen_at) == (500_000, None)
    assert ApprovalRequest.objects.get().state == "approved"
