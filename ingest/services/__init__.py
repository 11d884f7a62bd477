"""Writes of the way in."""

from ingest.services.store import events_store

__all__ = ["events_store"]
