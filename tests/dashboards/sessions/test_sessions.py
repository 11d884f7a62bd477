"""The list of sessions and one session: what they show to whom, how they narrow, and freezing by hand."""

import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from governance.approvals.services import request_create
from governance.budgets.models import BudgetPeriod, Freeze, Session
from governance.budgets.services import period_topup, session_freeze
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, Team
from ingest.models import UsageEvent
from tests.conftest import person
from tests.dashboards.control import MODEL, address, at, budget, frozen, people, queries, text_of, use

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("prices")]


@pytest.fixture
def period(admin: Member, engineer: Member) -> BudgetPeriod:
    return frozen(admin, engineer)


def listed(member: Member, query: str = "state=all") -> set[str]:
    """The keys on the list, as its file has them."""
    rows = text_of(at(member).get(address(member, f"sessions?{query}&format=csv"))).splitlines()
    return {row.partition(",")[0] for row in rows[1:]}


def test_the_list_shows_state_spend_and_limit(admin: Member, period: BudgetPeriod) -> None:
    use(admin.organization, session="free", minutes_ago=30)
    page = text_of(at(admin).get(address(admin, "sessions")))
    assert 'Frozen <span class="faint">1</span>' in page
    assert 'Idle <span class="faint">1</span>' in page
    assert 'title="USD 3"' in page
    assert listed(admin, "state=frozen") == {"run-1"}
    assert listed(admin, "state=idle") == {"free"}


def test_the_list_narrows_by_every_dimension_that_spend_leads_from(admin: Member, engineer: Member, team: Team) -> None:
    organization = admin.organization
    use(
        organization,
        session="own",
        member=engineer.user.email,
        harness="codex",
        provider="openai",
        model="gpt-5",
        role="planner",
        task_class="code",
    )
    use(organization, session="own", member=engineer.user.email, harness="codex", role="worker")
    use(organization, session="other", gateway="litellm", billing_mode="subscription")
    assert listed(admin, f"team={team.pk}") == {"own"}
    assert listed(admin, "team=~") == {"other"}
    assert listed(admin, f"member={engineer.pk}") == listed(admin, "harness=codex") == listed(admin, "provider=openai") == {"own"}
    assert listed(admin, f"model={MODEL}") == listed(admin, "provider=anthropic") == {"own", "other"}
    assert listed(admin, "role=planner&provider=openai") == listed(admin, "task-class=code") == listed(admin, "maker=openai") == {"own"}
    assert listed(admin, "role=planner&provider=anthropic") == set()
    assert listed(admin, "gateway=litellm") == listed(admin, "billing-mode=subscription") == {"other"}
    assert listed(admin, "tier=~&model=gpt-5") | listed(admin, "tier=flagship&tier=standard&tier=economy&model=gpt-5") == {"own"}
    assert listed(admin, "team=99999999999999999999") == listed(admin, "team=abc") == set()
    page = text_of(at(admin).get(address(admin, "sessions?role=planner&state=all")))
    assert "Remove this filter" in page


def test_a_range_keeps_the_sessions_with_a_call_in_it(admin: Member) -> None:
    use(admin.organization, session="now")
    use(admin.organization, session="earlier", minutes_ago=3 * 24 * 60)
    today = timezone.now().astimezone(admin.organization.zone).date()
    assert listed(admin, "range=7d") == {"now", "earlier"}
    assert "earlier" not in listed(admin, f"from={today - timedelta(days=1)}&to={today}")
    page = text_of(at(admin).get(address(admin, "sessions?from=2026-13-01")))
    assert "The dates could not be read" in page


def test_the_list_narrows_to_sessions_on_more_than_one_provider(admin: Member, engineer: Member) -> None:
    organization = admin.organization
    for session, providers in {
        "one": ("openai", "openai"),
        "two": ("openai", "anthropic"),
        "unnamed": ("", "openai"),
        "old": ("openai", "z"),
    }.items():
        for provider in providers:
            use(
                organization,
                session=session,
                provider=provider,
                model="m",
                minutes_ago=1 if session != "old" else 3 * 24 * 60,
                member=engineer.user.email,
            )
    assert listed(admin, "providers=several&state=all") == listed(engineer, "providers=several&range=7d") == {"two", "old"}
    assert listed(admin, "providers=several") == listed(admin, "providers=several&state=all&provider=anthropic") == {"two"}
    assert listed(admin, "providers=other&state=all") == {"one", "two", "unnamed", "old"}
    assert "On more than one provider" in text_of(at(admin).get(address(admin, "sessions?state=all")))
    page = text_of(at(admin).get(address(admin, "sessions?providers=several&state=all")))
    assert "on more than one provider" in page
    assert "On more than one provider" not in page
    assert 'href="/o/acme/sessions?state=all" title="Remove this filter"' in page


def test_everybody_sees_what_is_theirs(
    admin: Member, engineer: Member, lead: Member, stranger: Member, team: Team, period: BudgetPeriod
) -> None:
    other = person(engineer.organization, email="other@acme.example", role=Role.ENGINEER, team=team)
    auditor = person(engineer.organization, email="auditor@acme.example", role=Role.AUDITOR)
    path = address(engineer, "sessions/run-1")
    assert listed(engineer) == listed(lead) == listed(auditor) == {"run-1"}
    assert listed(other) == set()
    assert [at(member).get(path).status_code for member in (engineer, lead, auditor, admin, other, stranger)] == [
        200,
        200,
        200,
        200,
        404,
        404,
    ]
    assert at(auditor).post(path, {"action": "freeze", "reason": "to see"}).status_code == 403
    assert at(engineer).post(path, {"action": "resume", "reason": "please"}).status_code == 403
    assert at(stranger).get(address(stranger, "sessions/run-1")).status_code == 404


def test_a_frozen_session_leads_each_to_the_next_step(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    path = address(engineer, "sessions/run-1")
    assert "Ask for more" in text_of(at(engineer).get(path))
    at(engineer).post(address(engineer, "approvals/new"), {"session": "run-1", "period": period.pk, "amount": "5", "reason": "Half done."})
    own, deciders = text_of(at(engineer).get(path)), text_of(at(admin).get(path))
    assert "Watch your request" in own
    assert "Decide on" not in own
    assert "Decide on" in deciders


def test_a_session_that_is_refused_for_two_reasons_tells_both_and_is_resumed_from_its_page(admin: Member, period: BudgetPeriod) -> None:
    browser, path = at(admin), address(admin, "sessions/run-1")
    promise = "the next call passes as soon as somebody grants more"
    assert promise in text_of(browser.get(path))
    session_freeze(actor=member_actor(admin), session_key="run-1", reason="It loops.")
    twice = text_of(browser.get(path))
    assert promise not in twice
    assert "It is refused for this as well: session run-1, frozen by hand" in twice
    assert "Resume…" in twice
    browser.post(path, {"action": "resume", "reason": "Looked at."})
    assert promise in text_of(browser.get(path))


def test_a_session_frozen_by_its_tokens_is_not_told_in_money(admin: Member, engineer: Member) -> None:
    budget(admin, limit="1000", measure="tokens")
    use(admin.organization, session="run-1", member=engineer.user.email)
    page = text_of(at(admin).get(address(admin, "sessions/run-1")))
    assert "It reached the limit of" in page
    assert "$1,000" not in page
    assert "$100,000" not in page


def test_freezing_and_resuming_by_hand_needs_a_reason(admin: Member, organization: Organization) -> None:
    use(organization, session="run")
    browser, path = at(admin), address(admin, "sessions/run")
    silent = browser.post(path, {"action": "freeze", "reason": " "})
    assert (silent.status_code, "Say why: the reason is kept" in text_of(silent)) == (422, True)
    assert browser.post(path, {"action": "freeze", "reason": "x" * 301}).status_code == 422
    assert browser.post(path, {"action": "explode", "reason": "x"}).status_code == 422
    assert "The session is frozen." in text_of(browser.post(path, {"action": "freeze", "reason": "Runs in circles."}, follow=True))
    again = browser.post(path, {"action": "freeze", "reason": "Twice."})
    assert again.status_code in (302, 409, 422)
    assert Freeze.objects.filter(session_key="run", ended_at=None).count() == 1
    assert "Runs in circles." in text_of(browser.get(path))
    assert "The session may go on." in text_of(browser.post(path, {"action": "resume", "reason": "Looked at it."}, follow=True))
    assert not Freeze.objects.filter(session_key="run", ended_at=None).exists()


def test_the_page_tells_the_exact_sum_and_each_call_its_arithmetic(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    page = text_of(at(engineer).get(address(engineer, "sessions/run-1")))
    session = Session.objects.get(key="run-1")
    assert session.cost == sum(call.cost for call in UsageEvent.objects.filter(session="run-1")) == Decimal(3)
    assert 'title="USD 3"' in page
    call = UsageEvent.objects.filter(session="run-1").first()
    detail = text_of(at(engineer).get(address(engineer, f"sessions/run-1?call={call.id}")))
    assert "100,000" in detail
    assert "1.5" in detail
    assert at(engineer).get(address(engineer, "sessions/run-1?call=none")).status_code == 404
    assert at(engineer).get(address(engineer, "sessions/run-1?call=018f0000-0000-7000-8000-000000000000")).status_code == 404


def test_marks_tell_what_happened(admin: Member, engineer: Member, period: BudgetPeriod) -> None:
    period_topup(actor=member_actor(admin), period_id=period.pk, amount=Decimal(2), reason="by hand")
    page = text_of(at(engineer).get(address(engineer, "sessions/run-1")))
    happened = page[page.index("What happened to it") :]
    assert happened.index("granted") < happened.index("Frozen")
    assert "limit reached" in happened


def test_children_are_listed(admin: Member, organization: Organization) -> None:
    use(organization, session="parent")
    use(organization, session="child", parent_session="parent")
    assert "Sessions it started" in text_of(at(admin).get(address(admin, "sessions/parent")))
    assert "sessions/parent" in text_of(at(admin).get(address(admin, "sessions/child")))


def test_a_frozen_organization_shows_on_every_session(admin: Member, organization: Organization) -> None:
    budget(admin, name="All", scope_kind="organization", limit="1")
    use(organization, session="run")
    page = text_of(at(admin).get(address(admin, "sessions")))
    assert "frozen" in page
    assert "a wider budget, is used up" in text_of(at(admin).get(address(admin, "sessions/run")))


def test_what_was_asked_on_a_wider_budget_does_not_stand_in_the_way_of_a_session(admin: Member, engineer: Member, organization: Organization) -> None:
    wide = budget(admin, name="All", scope_kind="organization", limit="100")
    use(organization, session="run-2", member=engineer.user.email)
    period = BudgetPeriod.objects.get(budget=wide)
    request_create(actor=member_actor(engineer), period_id=period.pk, amount=Decimal(5), reason="For later.")
    page = text_of(at(engineer).get(address(engineer, "sessions/run-2")))
    assert "Ask for more" in page
    assert "Watch your request" not in page


def test_an_odd_key_has_a_page(admin: Member, organization: Organization) -> None:
    for key in ("a/b c?d#e", "<script>alert(1)</script>", "ключ-1"):
        use(organization, session=key)
        session = Session.objects.get(key=key)
        page = at(admin).get(address(admin, "sessions"))
        assert "<script>alert" not in page.content.decode()
        href = next(part.partition('"')[0] for part in page.content.decode().split('href="') if part.startswith("/o/acme/sessions/"))
        assert at(admin).get(href).status_code == 200
        Session.objects.filter(organization=organization, key=session.key).delete()


def test_a_session_of_an_odd_key_is_frozen_from_its_page(admin: Member, organization: Organization) -> None:
    use(organization, session="a/b c?d#e")
    browser, path = at(admin), address(admin, "sessions/a/b%20c%3Fd%23e")
    page = text_of(browser.get(path))
    assert set(re.findall(r'<form method="post" action="(/o/[^"]+/sessions/[^"]+)"', page)) == {path}
    assert "The session is frozen." in text_of(browser.post(path, {"action": "freeze", "reason": "Runs in circles."}, follow=True))


def test_an_empty_list_teaches(admin: Member, stranger: Member) -> None:
    assert "A session appears with the first event that names one" in text_of(at(stranger).get(address(stranger, "sessions")))


def test_longer_lists_ask_no_more_queries(admin: Member, engineer: Member, team: Team) -> None:
    several = people(team, engineer, 20)
    budget(admin, limit="3")
    paths = [address(admin, path) for path in ("sessions", "sessions?state=all&provider=anthropic", "sessions/parent")]

    def work(members: Sequence[Member]) -> None:
        for member in members:
            use(admin.organization, session=f"run-{member.pk}", parent_session="parent", calls=2, member=member.user.email)

    use(admin.organization, session="parent", calls=2)
    work(several[:2])
    before = [queries(at(admin), path) for path in paths]
    work(several[2:])
    use(admin.organization, session="parent", calls=18)
    assert [queries(at(admin), path) for path in paths] == before
    assert max(before) < 45
