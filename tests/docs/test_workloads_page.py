"""Does the page on workloads say what the readers do?"""

import doctest
from pathlib import Path

from aisys.workload.hf_config import READERS

PAGE = Path(__file__).parents[2] / "docs" / "workloads.md"


def test_every_example_on_the_page_runs() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert (failed, tried > 0) == (0, True)


def test_the_page_names_every_model_type() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [model_type for model_type in READERS if model_type not in text] == []
