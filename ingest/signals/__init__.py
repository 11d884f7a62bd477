"""What one OpenTelemetry request has to know of those before it: which spans were calls, and how far metrics had counted."""
