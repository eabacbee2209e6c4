"""The console script `mufin`: the library's verbs, and what needs the orchestrator (each import lazy)."""

from __future__ import annotations

from mufin_model.cli import app

if __name__ == "__main__":
    app()
