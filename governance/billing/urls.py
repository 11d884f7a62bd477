"""Addresses of the API in governance/billing."""

from django.urls import path

from governance.billing import api, api_agreements, api_currency, api_fleets

urlpatterns = [
    path("plans", api.Plans.as_view(), name="api-plans"),
    path("plans/<int:plan_id>", api.OnePlan.as_view(), name="api-plan"),
    path("plans/<int:plan_id>/end", api.PlanEnd.as_view(), name="api-plan-end"),
    path("seats", api.Seats.as_view(), name="api-seats"),
    path("seats/<int:seat_id>/end", api.SeatEnd.as_view(), name="api-seat-end"),
    path("fleets", api_fleets.Fleets.as_view(), name="api-fleets"),
    path("fleets/<int:fleet_id>", api_fleets.OneFleet.as_view(), name="api-fleet"),
    path("fleets/<int:fleet_id>/end", api_fleets.FleetEnd.as_view(), name="api-fleet-end"),
    path("fleets/<int:fleet_id>/hours", api_fleets.FleetHoursEntered.as_view(), name="api-fleet-hours"),
    path("prices/terms", api_agreements.Terms.as_view(), name="api-price-terms"),
    path("prices/terms/<int:term_id>/end", api_agreements.TermEnd.as_view(), name="api-price-term-end"),
    path("prices/balances", api_agreements.Balances.as_view(), name="api-price-balances"),
    path("prices/balances/<int:balance_id>/end", api_agreements.BalanceEnd.as_view(), name="api-price-balance-end"),
    path("prices/markups", api_agreements.Markups.as_view(), name="api-price-markups"),
    path("exchange-rates", api_agreements.ExchangeRates.as_view(), name="api-exchange-rates"),
    path("exchange-rates/file", api_agreements.ExchangeRatesFile.as_view(), name="api-exchange-rates-file"),
    path("exchange-rates/rules", api_currency.ExchangeRules.as_view(), name="api-exchange-rules"),
    path("organization/currency", api_currency.ReportingCurrency.as_view(), name="api-organization-currency"),
]
