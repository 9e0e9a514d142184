"""The cosine softmax of the study of scales: the same points and the same start for every scale."""

from __future__ import annotations

import json

import kexue
from kexue.progress import NullProgress


def test_scales_differ_in_nothing_else(tmp_path):
    """After a single step accuracy hardly depends on the scale: points and the start are the same."""
    run = kexue.studies.run(
        "attention-scale",
        out=tmp_path,
        rows=10,
        lengths=(8, 16, 32),
        classes=20,
        steps=1,
        batch=32,
        scales=(1.0, 100.0),
        contexts=1,
        progress=NullProgress(),
    )
    accuracy = [metric["value"] for metric in run.metrics if metric["name"].startswith("accuracy/")]
    assert len(accuracy) == 3
    assert max(accuracy) - min(accuracy) < 0.1
    lines = (run.directory / "models" / "scale-1-s1" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line)["name"] for line in lines)
