"""What the tables of budgets share."""

from typing import Any

from django.db import models

ORGANIZATION = "tenancy.Organization"


def money_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """An amount as every money column stores it: numeric(28,15)."""
    return models.DecimalField(max_digits=28, decimal_places=15, **options)
