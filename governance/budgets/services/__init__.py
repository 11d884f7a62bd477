"""Writes about budgets: one function for each state change."""

from governance.budgets.services.asking import AuthorizationIn
from governance.budgets.services.budgets import budget_change, budget_create, budget_retire
from governance.budgets.services.carry import periods_close
from governance.budgets.services.charge import Spend, charge_follow, charge_send, period_totals, totals_send
from governance.budgets.services.checking import session_check
from governance.budgets.services.counting import refusals_fold
from governance.budgets.services.endings import (
    CLOCK_SKEW,
    LARGEST_HOLD,
    AuthorizedCall,
    authorization_settle,
    authorization_void,
    holds_expire,
    holds_settle,
    holds_settle_counted,
    lease_end,
)
from governance.budgets.services.extending import ExtensionIn, authorization_extend
from governance.budgets.services.forecasts import forecasts_look
from governance.budgets.services.freezes import ended_period_freezes_end, period_topup, periods_review, topup_end
from governance.budgets.services.freezing import freeze_start, freeze_stop, scope_of, session_freeze, session_resume
from governance.budgets.services.holds import Held, authorization_hold
from governance.budgets.services.links import links_forget
from governance.budgets.services.periods import STORED_AT_ONCE, at_once_parameters, note_seen, periods_move_at_once
from governance.budgets.services.queueing import authorization_hold_queued
from governance.budgets.services.revoking import key_revoke
from governance.budgets.services.rolling import periods_slide
from governance.budgets.services.together import authorizations_hold
from governance.budgets.services.transfers import Transfer, budget_transfer

__all__ = [
    "CLOCK_SKEW",
    "LARGEST_HOLD",
    "STORED_AT_ONCE",
    "AuthorizationIn",
    "AuthorizedCall",
    "ExtensionIn",
    "Held",
    "Spend",
    "Transfer",
    "at_once_parameters",
    "authorization_extend",
    "authorization_hold",
    "authorization_hold_queued",
    "authorization_settle",
    "authorization_void",
    "authorizations_hold",
    "budget_change",
    "budget_create",
    "budget_retire",
    "budget_transfer",
    "charge_follow",
    "charge_send",
    "ended_period_freezes_end",
    "forecasts_look",
    "freeze_start",
    "freeze_stop",
    "holds_expire",
    "holds_settle",
    "holds_settle_counted",
    "key_revoke",
    "lease_end",
    "links_forget",
    "note_seen",
    "period_topup",
    "period_totals",
    "periods_close",
    "periods_move_at_once",
    "periods_review",
    "periods_slide",
    "refusals_fold",
    "scope_of",
    "session_check",
    "session_freeze",
    "session_resume",
    "topup_end",
    "totals_send",
]
