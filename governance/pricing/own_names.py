"""What an organization means by names of models that price lists do not know: its mappings, in memory and in the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from governance.audit.services import audit_record
from governance.errors import Conflict, Invalid, NotFound
from governance.periods import is_kept
from governance.pricing.book import Book
from governance.pricing.models import Model, NameMapping
from governance.tenancy.access import Actor, Right, require, scoped
from governance.tenancy.services import organization_touch

Span = tuple[datetime, datetime | None, str, str]


@dataclass(frozen=True, slots=True)
class OwnNames:
    """One version of an organization's mappings: (provider, name), in lower case, → spans with the catalogue's provider and model."""

    spans: Mapping[tuple[str, str], Sequence[Span]] = field(default_factory=dict)

    def meant(self, book: Book, *, provider: str, model: str, at: datetime) -> tuple[str, str]:
        """The names to rate a call by: those of the model that the organization means, else those that were reported.

        The biller stays the one that was reported where it sells the model.
        """
        name = model.strip().lower()
        for key in ((provider.strip().lower(), name), ("", name)):
            for begins, ends, seller, slug in self.spans.get(key, ()):
                if begins <= at and (ends is None or at < ends):
                    found = book.entry(provider, slug) if provider else None
                    return (provider if found is not None and found.slug == slug else seller), slug
        return provider, model


NONE = OwnNames()


def own_names_load(organization_id: int) -> OwnNames:
    """The organization's mappings, as the present transaction sees them."""
    spans: dict[tuple[str, str], list[Span]] = {}
    rows = NameMapping.objects.filter(organization=organization_id).select_related("model__provider").order_by("id")
    for row in rows:
        spans.setdefault((row.provider, row.name), []).append((row.valid_from, row.valid_to, row.model.provider.slug, row.model.slug))
    return OwnNames(spans) if spans else NONE


def name_mappings(actor: Actor, *, search: str = "") -> QuerySet[NameMapping]:
    """The organization's mappings, ended ones too, by name."""
    rows = scoped(actor, NameMapping.objects.select_related("model__provider").order_by("name", "provider", "valid_from", "id"))
    return rows.filter(Q(name__icontains=search) | Q(model__slug__icontains=search)) if search else rows


def name_mapping_get(actor: Actor, mapping_id: int) -> NameMapping:
    """One mapping of the organization. Raises NotFound."""
    found = name_mappings(actor).filter(pk=mapping_id).first()
    if found is None:
        raise NotFound("There is no such mapping.")
    return found


@transaction.atomic
def name_mapping_add(*, actor: Actor, name: str, provider: str = "", model: Model, valid_from: datetime) -> NameMapping:
    """Says what the organization means by a name from `valid_from` on; the mapping of the name that was open ends then.

    Returns the one that stands when it says the same. Raises Conflict when a mapping of the name begins then or later.
    """
    require(actor, Right.MANAGE_PRICES)
    name, provider = name.strip().lower(), provider.strip().lower()
    _check(name, provider, valid_from)
    organization_touch(actor.organization)
    same = scoped(actor, NameMapping.objects.filter(provider=provider, name=name))
    standing = same.filter(valid_to=None).first()
    if standing is not None and standing.model_id == model.pk and standing.valid_from <= valid_from:
        return standing
    if same.filter(Q(valid_from__gte=valid_from) | Q(valid_to__gt=valid_from)).exists():
        raise Conflict("This name is mapped then or later already. End that mapping first, or begin after it.", field="valid_from")
    if standing is not None:
        _end(standing, valid_from)
    row = NameMapping.objects.create(
        organization=actor.organization, provider=provider, name=name, model=model, valid_from=valid_from, made_by=actor.member, maker_label=actor.label
    )
    old = None if standing is None else {"model": standing.model.slug, "provider": standing.model.provider.slug}
    new = {"name": name, "reported_provider": provider, "model": model.slug, "provider": model.provider.slug, "valid_from": valid_from}
    audit_record(actor=actor, action="model_name.mapped", target=("name_mapping", row.pk), old=old, new=new)
    return row


@transaction.atomic
def name_mapping_end(*, actor: Actor, mapping: NameMapping, valid_to: datetime) -> NameMapping:
    """Ends a mapping at an instant; calls from then on mean by the name what everybody does. Nothing happens to one that has ended.

    One that ends before it begins never held, and is taken away.
    """
    require(actor, Right.MANAGE_PRICES)
    organization_touch(actor.organization)
    row = scoped(actor, NameMapping.objects.filter(pk=mapping.pk)).select_related("model__provider").select_for_update(of=("self",)).first()
    if row is None:
        raise NotFound("There is no such mapping.")
    if row.valid_to is not None:
        return row
    old, key = {"name": row.name, "model": row.model.slug, "valid_from": row.valid_from, "valid_to": None}, row.pk
    if valid_to <= row.valid_from:
        row.delete()
    else:
        _end(row, valid_to)
    audit_record(actor=actor, action="model_name.ended", target=("name_mapping", key), old=old, new={"name": row.name, "valid_to": valid_to})
    return row


def _check(name: str, provider: str, valid_from: datetime) -> None:
    if not name or len(name) > 200:
        raise Invalid("A name has 1 to 200 characters.", field="name")
    if len(provider) > 80:
        raise Invalid("A provider has at most 80 characters.", field="provider")
    if valid_from.tzinfo is None:
        raise Invalid("Say in which time zone the mapping begins.", field="valid_from")
    if not is_kept(valid_from):
        raise Invalid("This day lies too far away.", field="valid_from")


def _end(row: NameMapping, at: datetime) -> None:
    row.valid_to = at
    row.save(update_fields=["valid_to"])
