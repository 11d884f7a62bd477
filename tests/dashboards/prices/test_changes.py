"""The page of changes: what waits is judged there, sources are read, switched and ordered, and a reading shows what it does to the bill."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from governance.pricing.book import current_book
from governance.pricing.models import PriceFinding, PriceRun, RatingProposal, SourceSetting, SourceTrust
from governance.pricing.sync.services import list_upload
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization
from ingest.price_changes.telling import changes_tell
from ingest.rerating.services import run_create, run_start_at_once
from ingest.rerating.working import run_work
from tests.dashboards.usage_made import NOW, call, use

pytestmark = pytest.mark.usefixtures("prices", "at_now")
PAGE = "/o/acme/prices/changes"


@pytest.fixture
def visitor(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def upload(amounts: str, *, day: str = "") -> PriceRun:
    return list_upload(actor=None, provider="anthropic", body=f"model,valid_from,input,output\nclaude-sonnet-4-5,{day},{amounts}\n".encode(), now=timezone.now())


@pytest.fixture
def used(organization: Organization) -> None:
    """Last month's bill: 0.30 USD, a hundred thousand tokens in."""
    use(organization, [call(occurred_at=NOW - timedelta(days=30), input_tokens=100_000, output_tokens=0)])


def test_reading_shows_what_it_found_and_what_it_does_to_the_bill(visitor: Client, used: None) -> None:
    run = upload("4,20")
    page = visitor.get(f"{PAGE}/{run.pk}")

    (effect,) = page.context["felt"]
    assert (effect.before, effect.after) == (Decimal("0.3"), Decimal("0.4"))
    assert b"+33.3 %" in page.content
    assert b"October 2026" in page.content
    assert visitor.get(f"{PAGE}/{run.pk}?format=csv").status_code == 200


def test_what_waits_is_shown_with_its_doubts_and_accepted(visitor: Client, used: None) -> None:
    upload("3000,15000")
    finding = PriceFinding.objects.get(state="waiting")
    page = visitor.get(PAGE)
    assert b"The unit may be mistaken" in page.content or b"the unit may be mistaken" in page.content
    assert b"it would have been" in page.content

    answer = visitor.post(PAGE, {"action": "accept", "finding": finding.pk, "note": "really"}, follow=True)
    finding.refresh_from_db()
    assert (finding.state, finding.note) == ("accepted", "really")
    assert b"is in the book at this price" in answer.content
    assert visitor.post(PAGE, {"action": "reject", "finding": finding.pk}).status_code == 422


def test_rejected_price_is_gone_from_the_queue(visitor: Client) -> None:
    upload("3000,15000")
    visitor.post(PAGE, {"action": "reject", "finding": PriceFinding.objects.get(state="waiting").pk})
    assert visitor.get(PAGE).context["waiting"] == []


def test_finance_decides_and_an_approver_only_looks(client: Client, organization: Organization, lead: Member) -> None:
    upload("3000,15000")
    client.force_login(lead.user)
    assert b'value="accept"' not in client.get(PAGE).content
    assert client.post(PAGE, {"action": "accept", "finding": PriceFinding.objects.get(state="waiting").pk}).status_code == 403


def test_who_sees_some_teams_only_sees_what_these_would_feel(client: Client, organization: Organization, lead: Member, used: None) -> None:
    run = upload("4,20")
    client.force_login(lead.user)
    assert client.get(f"{PAGE}/{run.pk}").context["felt"] == []
    own = [call(occurred_at=NOW - timedelta(days=30), input_tokens=200_000, output_tokens=0, team=lead.team.slug)]
    use(organization, own)
    ((effect, teams),) = client.get(f"{PAGE}/{run.pk}").context["felt_by"]
    assert (effect.before, effect.budgets, teams) == (Decimal("0.6"), (), [(lead.team.name, Decimal("0.2"))])


def test_list_is_uploaded_and_a_broken_one_is_refused_with_its_line(visitor: Client) -> None:
    good = SimpleUploadedFile("own.csv", b"model,input,output\nclaude-sonnet-4-5,4,20\n")
    assert visitor.post(PAGE, {"action": "upload", "provider": "anthropic", "file": good}).status_code == 302
    bad = SimpleUploadedFile("own.csv", b"model,input\nclaude-sonnet-4-5,dear\n")
    refused = visitor.post(PAGE, {"action": "upload", "provider": "anthropic", "file": bad})
    assert (refused.status_code, b"Line 2" in refused.content) == (422, True)
    assert visitor.post(PAGE, {"action": "upload", "provider": "anthropic"}).status_code == 422


def test_sources_are_switched_and_ordered(visitor: Client) -> None:
    visitor.post(PAGE, {"action": "switch", "source": "litellm", "is_on": "0"})
    assert SourceSetting.objects.get().is_on is False
    visitor.post(PAGE, {"action": "trust", "provider": "anthropic", "sources": ["litellm", "", "manual", "", ""]})
    assert SourceTrust.objects.get().sources == ["litellm", "manual"]
    assert b"<strong>anthropic</strong>: LiteLLM, then Typed by an admin" in visitor.get(PAGE).content
    assert visitor.post(PAGE, {"action": "trust", "provider": "", "sources": ["litellm", "litellm"]}).status_code == 422
    assert visitor.post(PAGE, {"action": "read", "source": "litellm"}).status_code == 302
    assert visitor.post(PAGE, {"action": "read", "source": "nobody"}).status_code == 422


def test_calls_whose_price_was_found_late_are_rated_again_from_here(visitor: Client, organization: Organization) -> None:
    current_book(refresh=True)
    use(organization, [call(occurred_at=NOW - timedelta(days=2), input_tokens=1_000_000, output_tokens=0)])
    upload("4,20", day="2026-11-15")
    changes_tell()
    proposal = RatingProposal.objects.get()
    assert b"Calls to rate again" in visitor.get(PAGE).content

    assert visitor.post(PAGE, {"action": "rate", "proposal": proposal.pk}).status_code == 302
    proposal.refresh_from_db()
    assert proposal.state == "taken"


def test_an_offer_is_over_when_another_run_has_rated_its_calls(visitor: Client, organization: Organization, admin: Member) -> None:
    use(organization, [call(occurred_at=NOW - timedelta(days=2), input_tokens=1_000_000, output_tokens=0)])
    upload("4,20", day="2026-11-15")
    changes_tell()
    actor, starts_at, ends_at = member_actor(admin), NOW - timedelta(days=30), NOW + timedelta(days=1)
    for model, state in (("claude-opus-4-8", "open"), ("claude-sonnet-4-5", "taken")):
        run_start_at_once(actor=actor, run=(run := run_create(actor=actor, reason="why", models=[model], starts_at=starts_at, ends_at=ends_at)))
        run_work(run.pk)
        assert RatingProposal.objects.get().state == state


def test_disagreements_stand_side_by_side(visitor: Client) -> None:
    upload("4,20")
    (row,) = visitor.get("/o/acme/prices/disagreements").context["table"].rows
    assert (row.slug, set(row.quotes), row.rated_by) == ("claude-sonnet-4-5", {"genai-prices", "own:anthropic"}, "own:anthropic")
    assert b"4 / 20" in visitor.get("/o/acme/prices/disagreements").content


def test_source_that_failed_says_why(visitor: Client) -> None:
    run = PriceRun.objects.create(source="litellm", state="failed", started_at=NOW, finished_at=NOW, problem="prices.example answered 500.", failures=3)
    page = visitor.get(f"{PAGE}/{run.pk}")
    assert b"answered 500. The book was not changed. It failed 3 times" in page.content
    assert visitor.get(f"{PAGE}/999").status_code == 404
