"""Studies: what an article claims, measured again; one module each, read top to bottom like the article."""

from __future__ import annotations

from kexue.studies.runner import VERDICTS, StudyError, StudyRun, built, load_study, run

__all__ = ["VERDICTS", "StudyError", "StudyRun", "built", "load_study", "run"]
