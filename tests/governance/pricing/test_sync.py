"""Readings of price sources: what is found, what applies, what waits, whom the book believes, and what a broken source changes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from governance.audit.models import AuditRecord
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.pricing.book import current_book
from governance.pricing.models import Model, PriceBook, PriceFinding, PriceRow, PriceRun, Provider, SourceQuote
from governance.pricing.services import price_row_add, prices_load
from governance.pricing.sources.rows import BEGINNING, SourceModel, SourceProvider, SourceRow
from governance.pricing.sync.services import finding_accept, finding_reject, list_upload, source_switch, source_sync, sources_due, trust_set
from governance.pricing.usage import Usage
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization

pytestmark = pytest.mark.django_db
LISTS = Path(__file__).parents[2] / "golden" / "prices"
NOW = datetime(2026, 3, 16, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
Kind, State = PriceFinding.Kind, PriceFinding.State


def rates(amount: str, cache: str | None = None) -> dict[str, dict[str, Any]]:
    found = {meter: {"per": 1_000_000, "base": amount} for meter in ("input_tokens", "output_tokens")}
    return found | ({"cache_read_tokens": {"per": 1_000_000, "base": cache}} if cache else {})


def catalogue(amount: str = "1", slug: str = "glm-5", provider: str = "zai") -> None:
    """Puts a model into the book as the first source has it."""
    rows = [SourceRow(BEGINNING, None, rates(amount))]
    prices_load(
        providers=[SourceProvider(provider, provider, None, {"starts_with": "glm-"}, [], [SourceModel(slug, {"equals": slug}, rows)])],
        now=NOW - 30 * DAY,
    )


def litellm(*models: tuple[str, str], cache: str | None = None, provider: str = "zai") -> bytes:
    """A price map with these models and amounts for a million tokens."""
    entries: dict[str, Any] = {}
    for slug, amount in models:
        entry = {"litellm_provider": provider, "mode": "chat"}
        for key, value in (("input_cost_per_token", amount), ("output_cost_per_token", amount), ("cache_read_input_token_cost", cache)):
            if value is not None:
                entry[key] = float(Decimal(value) / 1_000_000)  # type: ignore[assignment]
        entries[slug] = entry
    return msgspec.json.encode(entries)


def sync(*models: tuple[str, str], now: datetime = NOW, source: str = "litellm", **options: Any) -> PriceRun:
    return source_sync(actor=None, source=source, body=litellm(*models, **options), now=now)


def cost(at: datetime = NOW, model: str = "glm-5", provider: str = "zai") -> Decimal | None:
    return current_book(refresh=True).rate(provider=provider, model=model, at=at, usage=Usage(input_tokens=1_000_000)).cost


def only() -> PriceFinding:
    return PriceFinding.objects.get()


def test_model_that_nobody_knew_comes_into_the_book_with_its_price() -> None:
    catalogue()
    run = sync(("glm-5.5", "2"))

    assert (only().kind, only().state, run.counts) == (Kind.NEW_MODEL, State.APPLIED, {"new_model": 1})
    assert cost(model="glm-5.5") == 2
    assert PriceRow.objects.get(model__slug="glm-5.5").source == "litellm"


def test_provider_that_nobody_knew_comes_with_its_models_and_is_tried_last() -> None:
    catalogue()
    sync(("new-model", "2"), provider="newcloud")

    assert Provider.objects.order_by("position").last().slug == "newcloud"
    assert cost(model="new-model", provider="newcloud") == 2


def test_less_trusted_source_is_kept_as_a_quote_and_rates_nothing() -> None:
    catalogue("1")
    run = sync(("glm-5", "1.5"))

    assert (cost(), run.state, PriceFinding.objects.count()) == (1, PriceRun.State.UNCHANGED, 0)
    quotes = {quote.source: quote.rates["input_tokens"]["base"] for quote in SourceQuote.objects.filter(seen_to=None)}
    assert quotes == {"genai-prices": "1", "litellm": "1.5"}


def test_same_list_again_changes_nothing_and_moves_no_version() -> None:
    catalogue()
    sync(("glm-5.5", "2"))
    version = PriceBook.objects.get().version
    again = sync(("glm-5.5", "2"), now=NOW + DAY)

    assert (again.state, PriceBook.objects.get().version, PriceFinding.objects.count()) == (PriceRun.State.UNCHANGED, version, 1)
    assert SourceQuote.objects.filter(source="litellm").count() == 1


def test_change_holds_from_the_reading_and_says_by_how_much() -> None:
    catalogue()
    sync(("glm-5.5", "2"))
    sync(("glm-5.5", "3"), now=NOW + DAY)
    found = PriceFinding.objects.get(kind=Kind.CHANGED)

    assert (cost(NOW + DAY - timedelta.resolution, "glm-5.5"), cost(NOW + DAY, "glm-5.5")) == (2, 3)
    assert (found.change, found.valid_from, found.is_back_dated) == (Decimal("0.5"), NOW + DAY, False)
    assert [(line["meter"], line["old"], line["new"]) for line in found.steps] == [("input_tokens", "2", "3"), ("output_tokens", "2", "3")]
    quotes = SourceQuote.objects.filter(model__slug="glm-5.5").order_by("seen_from")
    assert [(quote.seen_from, quote.seen_to) for quote in quotes] == [(NOW, NOW + DAY), (NOW + DAY, None)]


def test_model_no_longer_listed_keeps_its_price_and_is_noted() -> None:
    catalogue()
    sync(("glm-5.5", "2"), ("glm-6", "3"))
    sync(("glm-6", "3"), now=NOW + DAY)
    found = PriceFinding.objects.get(kind=Kind.VANISHED)

    assert (found.slug, found.state, cost(NOW + 2 * DAY, "glm-5.5")) == ("glm-5.5", State.NOTED, 2)


@pytest.mark.parametrize(
    ("after", "cache", "doubts"),
    [
        ("21", None, ["tenfold"]),
        ("0.19", None, ["tenfold"]),
        ("2000", None, ["tenfold", "unit"]),
        ("0.002", None, ["tenfold", "unit"]),
        ("2000000", None, ["tenfold", "unit", "size"]),
        ("-2", None, ["negative"]),
        ("2", "2.5", ["cache_dearer"]),
    ],
)
def test_doubtful_change_waits_and_the_book_stays_as_it_is(after: str, cache: str | None, doubts: list[str]) -> None:
    catalogue()
    sync(("glm-5.5", "2"))
    rows = PriceRow.objects.count()
    run = sync(("glm-5.5", after), now=NOW + DAY, cache=cache)
    found = PriceFinding.objects.get(kind=Kind.CHANGED)

    assert (found.state, found.suspicions, run.counts) == (State.WAITING, doubts, {"changed": 1, "waiting": 1})
    assert (PriceRow.objects.count(), cost(NOW + DAY, "glm-5.5")) == (rows, 2)


def test_free_becoming_charged_and_the_reverse_wait() -> None:
    catalogue()
    free, charged = b'"prompt": "0", "completion": "0"', b'"prompt": "0.000001", "completion": "0.000001"'
    both = b'{"data": [{"id": "a", "pricing": {%s}}, {"id": "b", "pricing": {%s}}]}'
    source_sync(actor=None, source="openrouter", body=both % (free, charged), now=NOW)
    source_sync(actor=None, source="openrouter", body=both % (charged, free), now=NOW + DAY)

    waiting = PriceFinding.objects.filter(state=State.WAITING).order_by("slug").values_list("slug", "suspicions")
    assert list(waiting) == [("a", ["became_priced"]), ("b", ["became_free"])]


def test_doubtful_new_model_stays_outside_the_catalogue_until_it_is_accepted() -> None:
    catalogue()
    sync(("glm-5.5", "10000"), ("glm-6", "2"))
    waiting = PriceFinding.objects.get(state=State.WAITING)
    assert (waiting.suspicions, waiting.model, Model.objects.filter(slug="glm-5.5").exists()) == (["size"], None, False)

    finding_accept(actor=None, finding_id=waiting.pk)

    assert cost(model="glm-5.5") == 10_000


@pytest.mark.parametrize(
    ("says", "doubts"),
    [
        ({"input_cost_per_token_above_200k_tokens": -2e-6}, ["negative"]),
        ({"input_cost_per_token_above_200k_tokens": 2.0}, ["size", "steep"]),
        ({"cache_read_input_token_cost": 1e-6, "cache_read_input_token_cost_above_200k_tokens": 9e-6}, ["cache_dearer"]),
        ({"input_cost_per_token_batches": 1e-3, "output_cost_per_token_batches": 1e-3}, ["steep"]),
    ],
)
def test_amounts_of_long_calls_and_of_kinds_of_call_are_doubted_as_the_first_ones_are(says: dict[str, float], doubts: list[str]) -> None:
    catalogue()
    entry = {"litellm_provider": "zai", "mode": "chat", "input_cost_per_token": 2e-6, "output_cost_per_token": 2e-6, **says}
    source_sync(actor=None, source="litellm", body=msgspec.json.encode({"glm-5.5": entry}), now=NOW)

    found = PriceFinding.objects.get(slug="glm-5.5")
    assert (found.state, sorted(found.suspicions)) == (State.WAITING, sorted(doubts))
    assert cost(NOW + DAY, "glm-5.5") is None


def test_same_doubt_is_not_raised_twice_and_another_takes_its_place() -> None:
    catalogue()
    sync(("glm-5.5", "2"))
    for number, amount in enumerate(["200", "200", "300"], 1):
        sync(("glm-5.5", amount), now=NOW + number * DAY)

    assert list(PriceFinding.objects.filter(kind=Kind.CHANGED).order_by("id").values_list("state", flat=True)) == [
        State.OVERTAKEN,
        State.WAITING,
    ]


def test_doubt_ends_when_the_source_takes_its_word_back() -> None:
    catalogue()
    for number, amount in enumerate(["2", "200", "2"]):
        sync(("glm-5.5", amount), now=NOW + number * DAY)

    assert PriceFinding.objects.get(kind=Kind.CHANGED).state == State.OVERTAKEN


def test_accepted_price_holds_from_when_it_was_found_and_leaves_calls_to_be_rated_again(admin: Member) -> None:
    catalogue()
    sync(("glm-5.5", "2"))
    sync(("glm-5.5", "200"), now=NOW + DAY)
    found = finding_accept(
        actor=member_actor(admin), finding_id=PriceFinding.objects.get(state=State.WAITING).pk, note="the vendor says so", now=NOW + 3 * DAY
    )

    assert (cost(NOW + DAY - timedelta.resolution, "glm-5.5"), cost(NOW + DAY, "glm-5.5")) == (2, 200)
    assert (found.state, found.is_back_dated, found.note) == (State.ACCEPTED, True, "the vendor says so")
    record = AuditRecord.objects.get(action="price.accepted")
    assert (record.actor_id, record.new["suspicions"], record.new["note"]) == (admin.pk, ["tenfold"], "the vendor says so")
    with pytest.raises(Conflict):
        finding_accept(actor=None, finding_id=found.pk)


def test_rejected_price_stays_out_and_is_not_asked_again(admin: Member) -> None:
    catalogue()
    sync(("glm-5.5", "2"))
    sync(("glm-5.5", "200"), now=NOW + DAY)
    finding_reject(actor=member_actor(admin), finding_id=PriceFinding.objects.get(state=State.WAITING).pk, note="a slip")
    sync(("glm-5.5", "200"), now=NOW + 2 * DAY)

    assert (cost(NOW + 2 * DAY, "glm-5.5"), PriceFinding.objects.filter(state=State.WAITING).count()) == (2, 0)
    sync(("glm-5.5", "3"), now=NOW + 3 * DAY)
    assert cost(NOW + 3 * DAY, "glm-5.5") == 3


def test_price_below_zero_cannot_be_accepted() -> None:
    catalogue()
    sync(("glm-5.5", "2"))
    sync(("glm-5.5", "-2"), now=NOW + DAY)

    with pytest.raises(Invalid, match="below zero"):
        finding_accept(actor=None, finding_id=PriceFinding.objects.get(state=State.WAITING).pk)


def test_only_those_who_manage_prices_decide(engineer: Member) -> None:
    catalogue()
    sync(("glm-5.5", "2000000"))
    actor = member_actor(engineer)

    for change in (
        lambda: finding_accept(actor=actor, finding_id=only().pk),
        lambda: finding_reject(actor=actor, finding_id=only().pk),
        lambda: source_sync(actor=actor, source="litellm", body=b"{}"),
        lambda: list_upload(actor=actor, provider="zai", body=b""),
        lambda: trust_set(actor=actor, provider="", sources=["manual"]),
        lambda: source_switch(actor=actor, source="litellm", is_on=False),
    ):
        with pytest.raises(Forbidden):
            change()
    assert only().state == State.WAITING


def test_every_organization_hears_of_a_reading(organization: Organization, other_organization: Organization, admin: Member) -> None:
    catalogue()
    source_sync(actor=member_actor(admin), source="litellm", body=litellm(("glm-5.5", "2")), now=NOW)
    records = {record.organization.slug: record for record in AuditRecord.objects.filter(action="prices.synced")}

    assert {slug: record.actor_kind for slug, record in records.items()} == {"acme": "member", "globex": "system"}
    assert records["globex"].new["new_model"] == 1


def test_order_of_trust_decides_which_source_rates() -> None:
    catalogue("1")
    trust_set(actor=None, provider="zai", sources=["litellm", "genai-prices"])
    sync(("glm-5", "1.5"))
    assert (cost(NOW), cost(NOW - DAY)) == (Decimal("1.5"), 1)

    catalogue_again = [
        SourceProvider("zai", "zai", None, None, [], [SourceModel("glm-5", {"equals": "glm-5"}, [SourceRow(BEGINNING, None, rates("4"))])])
    ]
    result = prices_load(providers=catalogue_again, now=NOW + DAY)
    assert (cost(NOW + DAY), result.held) == (Decimal("1.5"), 1)

    trust_set(actor=None, provider="zai", sources=[])
    prices_load(providers=[*catalogue_again, SourceProvider("p", "p", None, None, [], [])], now=NOW + 2 * DAY)
    assert cost(NOW + 2 * DAY) == 4


def test_order_names_known_sources_once_each() -> None:
    for sources in (["nobody"], ["litellm", "litellm"]):
        with pytest.raises(Invalid):
            trust_set(actor=None, provider="", sources=sources)
    with pytest.raises(NotFound):
        trust_set(actor=None, provider="nobody", sources=["litellm"])


def test_price_that_an_admin_typed_outranks_lists_and_yields_to_the_providers_own() -> None:
    catalogue("1")
    price_row_add(actor=None, model=Model.objects.get(), valid_from=NOW, rates={"input_tokens": "5"})
    trust_set(actor=None, provider="zai", sources=["own", "manual", "litellm"])
    sync(("glm-5", "1.5"), now=NOW + DAY)
    assert cost(NOW + DAY) == 5

    list_upload(actor=None, provider="zai", body=b"model,input,output\nglm-5,6,6\n", now=NOW + 2 * DAY)
    assert (cost(NOW + 2 * DAY - timedelta.resolution), cost(NOW + 2 * DAY)) == (5, 6)


def test_own_list_with_dates_announces_and_corrects(organization: Organization) -> None:
    catalogue("1")
    run = list_upload(
        actor=None,
        provider="zai",
        body=b"model,valid_from,announced_at,input,output\nglm-5,,,1,1\nglm-5,2026-03-01,,1.3,1.3\nglm-5,2026-04-18,2026-03-13,1.83,1.83\n",
        now=NOW,
    )
    found = only()

    assert [cost(datetime(2026, month, day, tzinfo=UTC)) for month, day in ((2, 28), (3, 1), (4, 18))] == [
        1,
        Decimal("1.3"),
        Decimal("1.83"),
    ]
    assert (found.kind, found.is_back_dated, found.valid_from) == (Kind.CHANGED, True, datetime(2026, 3, 1, tzinfo=UTC))
    assert PriceRow.objects.get(announced_at__isnull=False).announced_at == datetime(2026, 3, 13, tzinfo=UTC)
    assert run.source == "own:zai"


def test_price_that_begins_later_is_announced() -> None:
    catalogue("1")
    list_upload(actor=None, provider="zai", body=b"model,valid_from,input,output\nglm-5,,1,1\nglm-5,2026-04-18,1.34,1.34\n", now=NOW)

    assert (only().kind, only().change, cost(NOW)) == (Kind.ANNOUNCED, Decimal("0.34"), 1)


def test_own_list_says_all_that_a_price_can_say() -> None:
    catalogue("2")
    lines = [
        "model,kind,region,hours,above,marginal,factor,input,output",
        "glm-5,,,,,,,2,8",
        "glm-5,,,,1000000,yes,,1,4",
        "glm-5,,,22:00-02:00,,,,0.5,2",
        "glm-5,fast,,,,,,6,24",
        "glm-5,,eu,,,,1.1,,",
    ]
    list_upload(actor=None, provider="zai", body="\n".join(lines).encode(), now=NOW)
    assert PriceRow.objects.filter(source="own:zai").count() == 4
    book, usage = current_book(refresh=True), Usage(input_tokens=1_500_000)

    def costs(hour: int, **context: str) -> Decimal | None:
        return book.rate(provider="zai", model="glm-5", at=NOW.replace(hour=hour) + DAY, usage=usage, context=context).cost

    ordinary = Decimal("2.5")
    assert (costs(12), costs(23), costs(1)) == (ordinary, Decimal("0.75"), Decimal("0.75"))
    assert (costs(12, speed="fast"), costs(12, region="eu"), costs(12, speed="fast", region="eu")) == (9, ordinary * 11 / 10, Decimal("9.9"))


def test_own_list_that_names_few_models_ends_nothing() -> None:
    catalogue("1")
    list_upload(actor=None, provider="zai", body=b"model,input,output\nglm-5,2,2\n", now=NOW)
    list_upload(actor=None, provider="zai", body=b"model,input,output\nglm-6,3,3\n", now=NOW + DAY)

    assert not PriceFinding.objects.filter(kind=Kind.VANISHED).exists()
    assert (cost(NOW + DAY), cost(NOW + DAY, "glm-6")) == (2, 3)


def test_name_that_only_resembles_a_model_is_a_quote_and_never_rates_it() -> None:
    rows = [SourceRow(BEGINNING, None, rates("1"))]
    prices_load(providers=[SourceProvider("zai", "zai", None, None, [], [SourceModel("glm-5", {"starts_with": "glm-5"}, rows)])], now=NOW)
    trust_set(actor=None, provider="", sources=["litellm"])
    sync(("glm-5-turbo", "1.5"))

    assert (cost(), SourceQuote.objects.get(source="litellm").is_exact) == (1, False)


HOSTILE = [
    b"<html>sign in</html>",
    b"",
    b"{}",
    b"[" * 10_000,
    b'{"glm-5": {"cost": 1}}',
    b'{"glm-5": {"litellm_provider": "zai", "input_cost_per_token": NaN}}',
]


@pytest.mark.parametrize("body", HOSTILE, ids=["page", "nothing", "empty", "deep", "renamed", "nan"])
def test_broken_source_changes_nothing_and_is_told(body: bytes, organization: Organization) -> None:
    catalogue()
    sync(("glm-5.5", "2"))
    before = (PriceBook.objects.get().version, PriceRow.objects.count(), SourceQuote.objects.filter(seen_to=None).count())
    run = source_sync(actor=None, source="litellm", body=body, now=NOW + DAY)

    assert (run.state, run.problem != "") == (PriceRun.State.FAILED, True)
    assert (PriceBook.objects.get().version, PriceRow.objects.count(), SourceQuote.objects.filter(seen_to=None).count()) == before


def test_half_a_list_ends_nothing() -> None:
    catalogue()
    sync(*((f"glm-x{number}", "2") for number in range(30)))
    run = sync(*((f"glm-x{number}", "2") for number in range(10)), now=NOW + DAY)

    assert (run.state, PriceFinding.objects.filter(kind=Kind.VANISHED).count()) == (PriceRun.State.FAILED, 0)
    assert "names 10 models; the one before named 30" in run.problem


def test_source_that_goes_on_failing_is_one_run() -> None:
    catalogue()
    for number in range(5):
        source_sync(actor=None, source="litellm", body=b"<html>", now=NOW + number * DAY)

    assert PriceRun.objects.get(source="litellm").failures == 5


@override_settings(PRICE_SOURCE_ADDRESSES={"litellm": "https://prices.invalid/list.json"})
def test_source_out_of_reach_is_told_without_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    run = source_sync(actor=None, source="litellm")

    assert (run.state, "no host of the name" in run.problem) == (PriceRun.State.FAILED, True)
    assert [record.levelname for record in caplog.records if record.levelno > 20] == []


def test_source_that_does_not_exist_is_said() -> None:
    with pytest.raises(NotFound, match="genai-prices, openrouter, litellm"):
        source_sync(actor=None, source="nobody")


@override_settings(PRICE_SOURCES=["openrouter", "litellm"])
def test_sources_that_are_switched_off_are_not_read() -> None:
    source_switch(actor=None, source="litellm", is_on=False)
    assert sources_due() == ["openrouter"]

    source_switch(actor=None, source="litellm", is_on=True)
    assert sources_due() == ["openrouter", "litellm"]


def test_bundled_list_does_not_undo_what_was_read_from_its_publisher() -> None:
    prices_load()
    PriceRun.objects.create(source="genai-prices", state="done", started_at=datetime.now(UTC), finished_at=datetime.now(UTC), digest="x")
    PriceBook.objects.update(source_digest="an older release")

    assert not prices_load().is_changed


def command(*words: str) -> str:
    told = StringIO()
    call_command("prices", *words, stdout=told)
    return told.getvalue()


def test_diff_shows_what_would_be_found_and_keeps_nothing(tmp_path: Path) -> None:
    catalogue()
    (tmp_path / "list.json").write_bytes(litellm(("glm-5.5", "2")))
    told = command("diff", "litellm", "--file", str(tmp_path / "list.json"))

    assert "1 models read, 1 new model." in told
    assert "new model        zai / glm-5.5" in told
    assert not PriceFinding.objects.exists()
    assert not Model.objects.filter(slug="glm-5.5").exists()


def test_sync_reads_a_file_and_shows_each_amount(tmp_path: Path) -> None:
    catalogue("0.6")
    (tmp_path / "own.csv").write_bytes(b"model,input,output\nglm-5,0.78,0.6\n")
    told = command("sync", "own", "--file", str(tmp_path / "own.csv"), "--provider", "zai")

    assert "changed          zai / glm-5 +30.0 %" in told
    assert "0.6 -> 0.78 USD per 1,000,000" in told
    assert cost(datetime.now(UTC)) == Decimal("0.78")


def test_sync_ends_with_an_error_when_a_source_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>")
    with pytest.raises(CommandError, match="Nothing was changed"):
        command("sync", "litellm", "--file", str(tmp_path / "page.html"))
    with pytest.raises(CommandError, match="--provider"):
        command("sync", "own", "--file", str(tmp_path / "page.html"))
    assert PriceRun.objects.get().state == PriceRun.State.FAILED


def test_recorded_lists_go_in_over_the_bundled_one() -> None:
    prices_load()
    for source in ("openrouter", "litellm"):
        run = source_sync(actor=None, source=source, body=(LISTS / f"{source}.json").read_bytes(), now=NOW)
        assert run.state != PriceRun.State.FAILED, run.problem
        assert SourceQuote.objects.filter(source=source, seen_to=None).count() > 5
    assert not PriceFinding.objects.filter(state=State.WAITING, kind=Kind.CHANGED).exists()
