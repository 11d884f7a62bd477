"""Writes of the way in."""

from ingest.services.counting import events_store, settled_afterwards
from ingest.services.gather import events_store_together

__all__ = ["events_store", "events_store_together", "settled_afterwards"]
