"""Every committed study has a page that says what a reviewer asks first."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

STUDIES = sorted(path.parent for path in (ROOT / "results").rglob("matrix.json"))


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_a_study_has_question_design_control_verdict_and_limits(study: Path) -> None:
    page = " ".join((study / "README.md").read_text("utf-8").lower().split())
    lacking = [word for word in ("question", "design", "control", "verdict") if word not in page]
    assert not lacking
    assert "may not conclude" in page or "limits" in page
