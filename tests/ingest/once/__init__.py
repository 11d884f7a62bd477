"""Calls that several sources report."""
