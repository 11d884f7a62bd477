"""Tables of what was seen in traces and metrics. They are memory, not records: rows are forgotten once nothing can refer to them."""

from django.db import models

ORGANIZATION = "tenancy.Organization"


class SpanSeen(models.Model):
    """One span by what later spans of its trace need to know: a call was counted in it (`is_call`), or beneath it."""

    pk = models.CompositePrimaryKey("organization_id", "key")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    key = models.UUIDField(help_text="hash of trace, span and which of the two it says")
    is_named = models.BooleanField(help_text="whether the vendor's id names the call")
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "span_seen"
        ordering = ["seen_at"]
        indexes = [models.Index(fields=["seen_at"], name="span_seen_at")]

    def __str__(self) -> str:
        return str(self.key)


class MetricStream(models.Model):
    """How far one cumulative stream had counted: its latest time and value. A stream that begins anew is another row."""

    pk = models.CompositePrimaryKey("organization_id", "key")
    organization = models.ForeignKey(ORGANIZATION, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    key = models.UUIDField(help_text="hash of resource, scope, metric, sorted attributes and the time it began")
    time_unix_nano = models.DecimalField(max_digits=20, decimal_places=0)
    value = models.DecimalField(max_digits=38, decimal_places=6)
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "metric_stream"
        ordering = ["seen_at"]
        indexes = [models.Index(fields=["seen_at"], name="metric_stream_at")]

    def __str__(self) -> str:
        return str(self.key)
