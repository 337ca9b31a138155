"""From a checkpoint to deployable artefacts."""
