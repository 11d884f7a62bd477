"""The append-only record of state changes: who, what, old, new, when, from where."""

from django.db import models


class AuditRecord(models.Model):
    """One state change. The database refuses to change or delete a row."""

    organization = models.ForeignKey("tenancy.Organization", on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    actor_kind = models.CharField(max_length=12, help_text="member, api_key, system or operator")
    actor_id = models.BigIntegerField(null=True)
    actor_label = models.CharField(max_length=200)
    action = models.CharField(max_length=60, help_text="<thing>.<what happened>, such as budget.created")
    target_kind = models.CharField(max_length=40)
    target_id = models.CharField(max_length=200)
    old = models.JSONField(null=True)
    new = models.JSONField(null=True)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        db_table = "audit_record"
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["organization", "-at"], name="audit_recent"),
            models.Index(fields=["organization", "target_kind", "target_id"], name="audit_target"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_kind} {self.target_id}"
