"""Tests of mufin_dagster."""
