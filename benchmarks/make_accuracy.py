"""Write docs/accuracy.md: every figure computed now, from the tables, by the sections of benchmarks/accuracy/.

Run: AISYS_TABLES=DIR python benchmarks/make_accuracy.py          (about a minute)
"""

import os
import sys
import time
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECTIONS = ROOT / "benchmarks" / "accuracy"
TARGET = ROOT / "docs" / "accuracy.md"
HEAD = """# Accuracy

Written by `python benchmarks/make_accuracy.py` from measured tables; do not edit. The folder of tables comes from
`AISYS_TABLES`. Each section says which rows its fits have not seen. Only figures against *measured* rows stand here
unless a line says analytic or simulated. A figure that misses its target stays, with its reason.

MAPE: mean of |predicted - measured| / measured. Coverage: share of rows inside the 90 % interval. Width: mean of
(high - low) / predicted. `must` and `aim` are the targets set before the work.

"""


def sections() -> Iterator[tuple[str, str]]:
    """Each topic with its markdown, in the order of the file names."""
    for path in sorted(SECTIONS.glob("[!_]*.py")):
        spec = spec_from_file_location(f"accuracy_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        start = time.process_time()
        text = str(module.section()).strip()
        sys.stderr.write(f"{path.stem}: {time.process_time() - start:.1f} s\n")
        yield path.stem, text


def page() -> str:
    """The whole page."""
    return HEAD + "\n\n".join(text for _, text in sections()) + "\n"


def main() -> int:
    """Write the page; 2 where there are no tables."""
    if not os.environ.get("AISYS_TABLES"):
        sys.stderr.write("set AISYS_TABLES to the folder that holds measured/\n")
        return 2
    TARGET.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
