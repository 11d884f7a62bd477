"""The dashboards keep no tables of their own."""
