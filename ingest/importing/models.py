"""Tables of imports: the runs, their files in pieces, what each counted and refused, and mappings that are remembered."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from governance.budgets.models import money_field
from ingest.amending.models import ORGANIZATION, AmendmentCause


class ImportRun(models.Model):
    """One file, how it is read, how far its import is and what came of it. `rows_seen` is where it goes on."""

    class State(models.TextChoices):
        READY = "ready", "Waits for a look"
        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        DONE = "done", "Done"
        CANCELLED = "cancelled", "Cancelled"
        UNDOING = "undoing", "Being undone"
        UNDONE = "undone", "Undone"

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=10, choices=State.choices, default=State.READY)
    file_name = models.CharField(max_length=200)
    bytes_sent = models.BigIntegerField(default=0)
    bytes_total = models.BigIntegerField(default=0, help_text="unpacked")
    lines_total = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64)
    encoding = models.CharField(max_length=12)
    is_lines = models.BooleanField(default=False, help_text="one JSON object per line, else a table")
    delimiter = models.CharField(max_length=1, default=",")
    headers = models.JSONField(default=list)
    export = models.CharField(max_length=40, default="", blank=True, help_text="the product whose export it is known as")
    is_remembered = models.BooleanField(default=False, help_text="whether the mapping is that of an import before")
    meaning = models.JSONField(default=dict)
    made_by = models.ForeignKey("tenancy.Member", on_delete=models.SET_NULL, null=True, related_name="+")
    maker_label = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    worked_at = models.DateTimeField(null=True, help_text="when a worker last gave a sign of life")
    rows_seen = models.BigIntegerField(default=0)
    rows_accepted = models.BigIntegerField(default=0)
    rows_duplicate = models.BigIntegerField(default=0)
    rows_rejected = models.BigIntegerField(default=0, help_text="conflicts as well")
    rows_empty = models.BigIntegerField(default=0, help_text="totals of nothing")
    events_accepted = models.BigIntegerField(default=0)
    is_patient = models.BooleanField(default=False, help_text="goes on however many rows are refused")
    why_paused = models.CharField(max_length=300, default="", blank=True)
    cause = models.ForeignKey(AmendmentCause, on_delete=models.PROTECT, null=True, related_name="+")
    events_removed = models.BigIntegerField(default=0)
    events_posted = models.BigIntegerField(
        default=0, help_text="of closed months: they stay, and their cost was taken back in the open one"
    )
    events_kept = models.BigIntegerField(
        default=0, db_default=0, help_text="that another source told of as well: they stay, as that one told them"
    )
    cost_undone = money_field(default=0)

    class Meta:
        db_table = "import_run"
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="import_run_recent"),
            models.Index(fields=["state"], condition=Q(state__in=["running", "undoing"]), name="import_run_working"),
        ]

    def __str__(self) -> str:
        return f"Import {self.pk}: {self.file_name}"

    @property
    def is_at_work(self) -> bool:
        return self.state in (self.State.RUNNING, self.State.UNDOING)

    @property
    def is_paused_before_any(self) -> bool:
        """Whether nothing is counted yet, so that the mapping can still change."""
        return self.state == self.State.PAUSED and self.rows_seen == 0


class ImportPiece(models.Model):
    """A piece of a run's file, compressed. Dropped when the import has ended."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="pieces")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        db_table = "import_piece"
        ordering = ["run", "number"]
        constraints = [models.UniqueConstraint(fields=["organization", "run", "number"], name="import_piece_once")]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.number}"


class ImportPart(models.Model):
    """The events that one transaction of a run stored, and its reports of calls that were counted before: what undoing it takes back."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="parts")
    number = models.BigIntegerField(help_text="the row after its last")
    keys = ArrayField(models.UUIDField())
    instants = ArrayField(models.DateTimeField())
    told = ArrayField(
        models.BigIntegerField(), default=list, db_default=[], help_text="reports (event_sighting) of calls that others told of"
    )
    is_undone = models.BooleanField(default=False)

    class Meta:
        db_table = "import_part"
        ordering = ["run", "number"]
        constraints = [models.UniqueConstraint(fields=["organization", "run", "number"], name="import_part_once")]

    def __str__(self) -> str:
        return f"{self.run_id} up to row {self.number}"


class ImportRefusal(models.Model):
    """A row that was not counted, and why. Nothing of the row is kept but the cell that is to blame."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="refusals")
    row = models.BigIntegerField()
    line = models.BigIntegerField()
    code = models.CharField(max_length=60)
    field = models.CharField(max_length=200, default="", blank=True)
    reason = models.CharField(max_length=300)
    value = models.CharField(max_length=80, default="", blank=True)

    class Meta:
        db_table = "import_refusal"
        ordering = ["run", "row"]
        constraints = [models.UniqueConstraint(fields=["organization", "run", "row"], name="import_refusal_once")]

    def __str__(self) -> str:
        return f"row {self.row}: {self.reason}"


class ImportMeaning(models.Model):
    """The mapping with which files of these headers were imported last."""

    organization = models.ForeignKey(ORGANIZATION, on_delete=models.CASCADE, related_name="+")
    headers_hash = models.UUIDField()
    meaning = models.JSONField()
    used_at = models.DateTimeField()

    class Meta:
        db_table = "import_meaning"
        ordering = ["-used_at"]
        constraints = [models.UniqueConstraint(fields=["organization", "headers_hash"], name="import_meaning_once")]

    def __str__(self) -> str:
        return str(self.headers_hash)
