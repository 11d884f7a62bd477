"""The sign of life that the worker leaves for /healthz."""

from django.db import models


class Heartbeat(models.Model):
    """When a part of the installation last did its work. One row for each part."""

    name = models.CharField(max_length=20, primary_key=True)
    at = models.DateTimeField()

    class Meta:
        db_table = "heartbeat"

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%Y-%m-%d %H:%M:%S}"
