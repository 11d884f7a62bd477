"""Budgets, their periods, holds on them, sessions and freezes."""

from governance.budgets.models.authorizations import Authorization, AuthorizationExtension, BudgetCommand
from governance.budgets.models.budgets import LONGEST_ROLLING_HOURS, Budget, BudgetVersion
from governance.budgets.models.columns import money_field
from governance.budgets.models.freezes import Freeze
from governance.budgets.models.periods import BudgetPeriod, BudgetSlice, ThresholdCrossing, TopUp
from governance.budgets.models.refusals import Refusal
from governance.budgets.models.sessions import Session, SessionLink

__all__ = [
    "LONGEST_ROLLING_HOURS",
    "Authorization",
    "AuthorizationExtension",
    "Budget",
    "BudgetCommand",
    "BudgetPeriod",
    "BudgetSlice",
    "BudgetVersion",
    "Freeze",
    "Refusal",
    "Session",
    "SessionLink",
    "ThresholdCrossing",
    "TopUp",
    "money_field",
]
