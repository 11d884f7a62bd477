"""Writes of the way in."""

from ingest.services.gather import events_store_together
from ingest.services.store import events_store

__all__ = ["events_store", "events_store_together"]
