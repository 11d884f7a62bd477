"""Tables of attribution: the rules that say whose a call is, and what it was for, where the call does not."""

from django.db import models
from django.db.models import F, Q

from governance.tenancy.models import Member, Organization, Project, Team


class AttributionRule(models.Model):
    """One rule: of calls made in [starts_at, ends_at) that meet every condition it sets what is named here.

    `conditions` are [{"field", "op", "values"}]. Rules are asked in the order of `position`; a retired one stays, because calls name it.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="attribution_rules")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=120)
    conditions = models.JSONField(default=list)
    is_overriding = models.BooleanField(default=False, help_text="whether it holds where the call or its key says otherwise")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    role = models.CharField(max_length=40, default="", blank=True)
    task_class = models.CharField(max_length=40, default="", blank=True)
    environment = models.CharField(max_length=80, default="", blank=True)
    billing_mode = models.CharField(max_length=12, default="", blank=True)
    starts_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    is_active = models.BooleanField(default=True)
    retired_at = models.DateTimeField(null=True)
    made_by = models.ForeignKey(Member, on_delete=models.SET_NULL, null=True, related_name="+")
    maker_label = models.CharField(max_length=200)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "attribution_rule"
        ordering = ["position", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(starts_at=None) | Q(ends_at=None) | Q(starts_at__lt=F("ends_at")), name="attribution_rule_range"
            ),
            models.UniqueConstraint(fields=["organization", "name"], condition=Q(retired_at=None), name="attribution_rule_name"),
        ]

    def __str__(self) -> str:
        return self.name
