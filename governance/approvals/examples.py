"""What OpenAPI shows of requests: one that waits, and what deciding, overriding and reviewing make of it."""

from typing import Any

EXAMPLE_REQUEST: dict[str, Any] = {
    "id": "019a9f3c-5d51-7c35-9d0a-3f2b1c8e7a10",
    "state": "pending",
    "amount": "50",
    "currency": "USD",
    "reason": "The migration is two thirds done; stopping now loses the context.",
    "ends_at": None,
    "created_at": "2026-11-21T10:05:00Z",
    "ended_at": None,
    "session": "0b6f1c1e-7a51",
    "requester": {"id": 17, "name": "Robin", "email": "robin@example.com"},
    "budget": {"id": 4, "name": "Platform session"},
    "budget_period": {"id": 911, "starts_at": "1970-01-01T00:00:00Z", "ends_at": None},
    "decision": None,
    "chain": {
        "policy_version": None,
        "in_parallel": False,
        "steps": [
            {
                "text": "one approver of Platform or owner or admin",
                "who": ["approvers", "admins"],
                "needed": 1,
                "given": 0,
                "state": "open",
                "is_escalated": False,
            }
        ],
        "votes": [],
        "turn": "the approvers of Platform, owners and admins",
        "missing": "It needs one more decision; the next is for the approvers of Platform, owners and admins.",
        "escalates_at": None,
        "expires_at": None,
    },
    "review": None,
    "evidence": {
        "of": "session",
        "models": [{"provider": "anthropic", "model": "claude-sonnet-4-5", "calls": 412, "tokens": 61200340, "cost": "100.25"}],
        "last_calls": [
            {
                "at": "2026-11-21T10:04:31Z",
                "provider": "anthropic",
                "model": "claude-sonnet-4-5",
                "status": "ok",
                "input_tokens": 1200,
                "output_tokens": 830,
                "cost": "0.21",
            }
        ],
        "burn_per_minute": "1.1",
        "lasts_minutes": ["38", "60"],
        "overrun": "0.25",
        "buys": "49.75",
        "usable": "49.75",
        "warning": "",
        "budgets": [
            {
                "budget": 4,
                "name": "Session 0b6f1c1e-7a51",
                "is_asked": True,
                "is_hard": True,
                "is_frozen": True,
                "spent": "100.25",
                "held": "0",
                "limit": "100",
                "limit_after": "150",
                "left_after": "49.75",
                "consequence": "resumes",
                "exhausted_at": None,
                "binds": False,
            }
        ],
    },
    "deciders": [{"id": 3, "name": "Kim", "email": "kim@example.com"}],
    "may_decide": False,
    "link": "https://weighhouse.example.com/o/acme/approvals/019a9f3c-5d51-7c35-9d0a-3f2b1c8e7a10",
}


EXAMPLE_ITEM = {
    key: value for key, value in EXAMPLE_REQUEST.items() if key not in ("deciders", "may_decide", "chain", "review", "evidence")
}
EXAMPLE_EVIDENCE: dict[str, Any] = EXAMPLE_REQUEST["evidence"]
EXAMPLE_EFFECT: dict[str, Any] = EXAMPLE_EVIDENCE["budgets"][0]
EXAMPLE_CHAIN: dict[str, Any] = EXAMPLE_REQUEST["chain"]
EXAMPLE_STEP: dict[str, Any] = EXAMPLE_CHAIN["steps"][0]
EXAMPLE_DECISION: dict[str, Any] = {
    "kind": "votes",
    "grant": True,
    "amount": "25",
    "note": "",
    "ends_at": "2026-11-22T18:00:00Z",
    "decider": {"id": 3, "name": "Kim", "email": "kim@example.com"},
    "at": "2026-11-21T10:20:00Z",
}


def _evidence(*, limit: str, left: str) -> dict[str, Any]:
    """The evidence once what was granted is in the limit: nothing more is asked for."""
    asked = EXAMPLE_EFFECT | {"is_frozen": False, "limit": limit, "limit_after": limit, "left_after": left, "consequence": "has room"}
    return EXAMPLE_EVIDENCE | {"overrun": "0", "buys": "0", "usable": "0", "budgets": [asked]}


def _chain(*, given: int, votes: list[dict[str, Any]]) -> dict[str, Any]:
    """The chain once nobody's turn it is."""
    step = EXAMPLE_STEP | {"given": given, "state": "done" if given else "open"}
    return EXAMPLE_CHAIN | {"steps": [step], "votes": votes, "turn": "", "missing": ""}


OVER: dict[str, Any] = {"state": "approved", "ended_at": "2026-11-21T10:20:00Z", "deciders": [], "may_decide": False}
VOTE = {
    "decider": EXAMPLE_DECISION["decider"], "in_stead_of": None, "grant": True, "amount": "25", "ends_at": "2026-11-22T18:00:00Z", "session_only": False,
    "note": "", "at": "2026-11-21T10:20:00Z", "counts": True,
}  # fmt: skip
DECIDED = EXAMPLE_REQUEST | OVER | {
    "decision": EXAMPLE_DECISION, "chain": _chain(given=1, votes=[VOTE]), "evidence": _evidence(limit="125", left="24.75"),
}  # fmt: skip
OVERRIDDEN = EXAMPLE_REQUEST | OVER | {
    "decision": EXAMPLE_DECISION | {"kind": "override", "amount": "50", "note": "The release is blocked.", "ends_at": None},
    "chain": _chain(given=0, votes=[]),
    "evidence": _evidence(limit="150", left="49.75"),
    "review": {"due_at": "2026-11-24T10:20:00Z", "reviewed_at": None, "reviewer": None, "upheld": None, "note": ""},
}  # fmt: skip
REVIEWED = OVERRIDDEN | {
    "review": {
        "due_at": "2026-11-24T10:20:00Z",
        "reviewed_at": "2026-11-21T15:02:00Z",
        "reviewer": {"id": 5, "name": "Sam", "email": "sam@example.com"},
        "upheld": True,
        "note": "The release could not wait.",
    },
}
