"""Reads of the price book's tables for pages. The book is the same for every organization, so no actor narrows it."""

from django.db.models import Q, QuerySet

from governance.pricing.models import Model, PriceRow


def model_catalogue(*, search: str = "", provider: str = "", maker: str = "") -> QuerySet[Model]:
    """The models, by provider and name; `search` finds a part of the model's, its provider's or its maker's name."""
    rows = Model.objects.select_related("provider").order_by("provider__slug", "slug", "id")
    if provider:
        rows = rows.filter(provider__slug=provider)
    if maker:
        rows = rows.filter(maker=maker)
    for word in search.split():
        rows = rows.filter(Q(slug__icontains=word) | Q(name__icontains=word) | Q(provider__slug__icontains=word) | Q(maker__icontains=word))
    return rows


def price_history(model: Model) -> QuerySet[PriceRow]:
    """All rows of a model, newest first: ordinary ones, those for some hours of the day, those for special calls."""
    return PriceRow.objects.filter(model=model).order_by("-valid_from", "-id")
