"""Device profiles and telemetry."""
