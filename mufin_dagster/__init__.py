"""Orchestration of MUFIN: Dagster assets over DVC-versioned data, checked by Great Expectations."""
