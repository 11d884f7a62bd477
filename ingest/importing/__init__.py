"""Import of files: a table or lines of JSON are mapped to events, looked at, counted by a worker, and can be undone."""
