"""Tests of the data's versions: mufin_dagster/data_*.py, datasets.py and versioning.py on a shop's catalogue."""
