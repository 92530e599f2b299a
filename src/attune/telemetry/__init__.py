"""Tell and listen: OpenTelemetry out, and back as evidence."""
