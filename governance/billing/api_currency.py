"""API edge of the organization's currency and of the rule that picks the exchange rates of its calls."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from governance.billing import description_currency as description
from governance.billing.api import BillingView
from governance.billing.checks import day_check
from governance.budgets.views import CommandView, body_of
from governance.pricing.exchanging import exchange_rule_set
from governance.pricing.models import ExchangeRule
from governance.tenancy.access import scoped
from governance.tenancy.models import Organization
from governance.tenancy.services import currency_is_fixed, organization_change


class ReportingCurrency(CommandView):
    """GET and PUT /api/v1/organization/currency."""

    @description.currency_get
    def get(self, request: Request) -> Response:
        return Response(currency_out(self.actor.organization))

    @description.currency_set
    def put(self, request: Request) -> Response:
        def act() -> tuple[int, Any]:
            asked = body_of(request, description.ReportingCurrencyIn)
            return 200, currency_out(organization_change(actor=self.actor, currency=asked.currency))

        return self.answer(act)


class ExchangeRules(BillingView):
    """GET and POST /api/v1/exchange-rates/rules."""

    @description.rules_list
    def get(self, request: Request) -> Response:
        return Response({"items": [rule_out(rule) for rule in scoped(self.actor, ExchangeRule.objects.all())]})

    @description.rules_set
    def post(self, request: Request) -> Response:
        def act() -> tuple[int, Any]:
            asked = body_of(request, description.ExchangeRuleIn)
            day = day_check(asked.valid_from, "valid_from")
            return 201, rule_out(exchange_rule_set(actor=self.actor, basis=asked.basis, valid_from=day, days_good_for=asked.days_good_for))

        return self.answer(act)


def currency_out(organization: Organization) -> dict[str, Any]:
    """The currency as the API shows it."""
    return {"currency": organization.currency, "is_fixed": currency_is_fixed(organization)}


def rule_out(rule: ExchangeRule) -> dict[str, Any]:
    """A rule as the API shows it."""
    return {"basis": rule.basis, "valid_from": rule.valid_from.isoformat(), "days_good_for": rule.days_good_for}
