"""What a run in a shell ends with."""

from __future__ import annotations

from pathlib import Path

from mufin_dagster import run_end
from mufin_model.artefacts import Workspace, write_json

METRICS = {
    "mufin": {"P@1": 0.5, "P@5": 0.25, "R@10": 0.75},
    "siamese": {"P@1": 0.6, "P@5": 0.6, "R@10": 0.6},
    "popularity": {"P@1": 0.1, "P@5": 0.1, "R@10": 0.1},
    "tfidf_knn": {"P@1": 0.4, "P@5": 0.2, "R@10": 0.55},
}


def test_metrics_beside_the_best_baseline_and_failed_checks_by_name(tmp_path: Path):
    workspace = Workspace(tmp_path)
    report = workspace.path("one", "eval_report")
    report.mkdir(parents=True)
    write_json(report / "metrics.json", METRICS)
    (report / "report.html").write_text("")
    failed = [("one/words", "short", "warning"), ("one/words", "empty", "critical")]
    told = run_end.lines(workspace, "one", failed, False)
    assert told[1].split() == ["P@1", "P@5", "R@10"]
    assert told[2].split() == ["mufin", "50.0", "25.0", "75.0"]
    assert told[3].split()[-3:] == ["40.0", "20.0", "55.0"]
    assert told[4:6] == ["  critical: one/words empty", "  warning: one/words short"]
    assert told[6] == f"  report: {report / 'report.html'}"
    assert told[7].endswith("mufin materialize -d one")


def test_the_next_command_is_one_that_works(tmp_path: Path):
    workspace = Workspace(tmp_path)
    assert run_end.lines(workspace, "one", [], True) == ["one", "  next: mufin status -d one"]
    workspace.path("one", "released_model").mkdir(parents=True)
    assert run_end.lines(workspace, "one", [], True) == ["one", "  next: mufin serve -d one"]
