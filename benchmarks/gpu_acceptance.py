"""Everything of this project that a GPU decides, looked at on one card in under eight minutes.

    python benchmarks/gpu_acceptance.py --json gpu.json                 all sections, on cuda:0
    python benchmarks/gpu_acceptance.py memory lanes_equal              some of them
    python benchmarks/gpu_acceptance.py --device cpu                    what needs no GPU, small

It needs what `trainables` needs (torch, numpy, pydantic, PyYAML, scikit-learn, pytorch_optimizer); one
section uses Ray if it is there. One table is printed, a row as soon as it is known; `--json` gets the same.
Exit code 1 if a row fails. docs/gpu.md says what has been run on which card.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before the first use of a GPU
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gpu_sections  # noqa: E402 - the path first
import gpu_speed  # noqa: E402
import torch  # noqa: E402
from gpu_sections import Bench, Row  # noqa: E402

from trainables.device import settle_process  # noqa: E402

SECTIONS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    each.__name__: each
    for each in (
        gpu_sections.facts,
        gpu_sections.memory,
        gpu_sections.sticky_error,
        gpu_sections.settings,
        gpu_sections.repeatable,
        gpu_speed.precision,
        gpu_speed.lanes_equal,
        gpu_speed.streaming,
        gpu_speed.costs,
        gpu_speed.steps,
        gpu_speed.lanes_speed,
        gpu_speed.together,
        gpu_speed.project_tests,
    )
}


def rows_of(name: str, bench: Bench) -> Iterator[Row]:
    """The rows of a section; what it raises is a row that fails."""
    try:
        yield from SECTIONS[name](bench)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        yield Row("raised", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", "fails")
    if bench.gpu:
        torch.cuda.empty_cache()


def shown(found: Any) -> str:
    return str(found).replace("|", "\\|").replace("\n", " ")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all of them"
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--budget", type=float, default=440.0, help="seconds in which sections may begin")
    parser.add_argument("--json", type=Path, help="where the table goes too")
    args = parser.parse_args()
    unknown = [name for name in args.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} sees no GPU; --device cpu runs what needs none")
    settle_process()
    warnings.simplefilter("ignore")
    bench = Bench(torch.device("cuda:0" if args.device == "cuda" else "cpu"))
    began, rows = time.monotonic(), []
    print("| section | what | found | |\n|---|---|---|---|")
    for name in args.sections or SECTIONS:
        late = time.monotonic() - began > args.budget
        found = [Row("not begun: no time left", "", "not here")] if late else rows_of(name, bench)
        for row in found:
            at = round(time.monotonic() - began, 1)
            rows.append(
                {"section": name, "what": row.what, "found": row.found, "verdict": row.verdict, "at_s": at}
            )
            print(f"| {name} | {row.what} | {shown(row.found)} | {row.verdict} |", flush=True)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1, default=str) + "\n", encoding="utf-8")
    failed = sum(row["verdict"] == "fails" for row in rows)
    print(f"\n{len(rows)} rows, {failed} fail, {time.monotonic() - began:.0f} s", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
