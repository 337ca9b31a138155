"""`edge-seg profile`: accuracy against latency of artefacts, run-times, batches and threads on this machine."""
