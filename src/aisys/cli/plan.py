"""`aisys plan`: the best ways to run a workload on a machine."""

from pathlib import Path
from typing import Annotated

import typer

from aisys.cli.complete import devices as complete_machines
from aisys.cli.complete import tiers, workloads
from aisys.cli.tables import CalibrateWith

Workload = Annotated[
    str,
    typer.Argument(metavar="WORKLOAD", help="Name, Hugging Face folder or config.json.", autocompletion=workloads),
]
On = Annotated[
    str, typer.Option("--on", metavar="MACHINE", help="Name, NAME*16 or .toml file.", autocompletion=complete_machines)
]
Goal = Annotated[str, typer.Option("--for", metavar="GOAL", help="train or infer.")]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch", "--global-batch", help="Sequences of one step (16 per device, at most 1024), or served together (8)."
    ),
]
Tokens = Annotated[
    int | None, typer.Option("--tokens", "--seq", help="Tokens per sequence or prompt (2048, or all that fit).")
]
Context = Annotated[int | None, typer.Option("--context", help="Tokens kept when a decode step runs (the prompt's).")]
Devices = Annotated[int | None, typer.Option("--devices", help="Use exactly so many devices of the machine (all).")]
Precision = Annotated[str, typer.Option("--precision", help="bf16, fp16, fp8; to serve also int8, int4, nvfp4.")]
Hold = Annotated[
    list[str] | None, typer.Option("--hold", metavar="DECISION=VALUE", help="tensor=8, recompute=none,full, ...")
]
Technique = Annotated[
    list[str] | None, typer.Option("--technique", metavar="NAME[:OPTION=VALUE,...]", help="Apply a technique.")
]
AtMost = Annotated[
    list[str] | None,
    typer.Option("--at-most", metavar="NAME=VALUE", help="tpot=30ms: the fewest devices that keep it."),
]
From = Annotated[
    str, typer.Option("--from", metavar="ARGUMENTS", help="Megatron or torchtitan arguments: say what to change.")
]
Framework = Annotated[
    str, typer.Option("--framework", help="megatron-core, torchtitan, vllm, ... (the machine's usual one).")
]
TierOption = Annotated[str, typer.Option("--tier", help="limit, analytic or calibrated.", autocompletion=tiers)]
Top = Annotated[int, typer.Option("--top", help="How many plans to show.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder for page, trace and run (aisys-out/...).")
]
NoPage = Annotated[bool, typer.Option("--no-page", help="Write no files.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a search that was stopped.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def plan(
    workload: Workload, *, on: On, goal: Goal = "train", batch: Batch = None, tokens: Tokens = None,
    context: Context = None, devices: Devices = None, precision: Precision = "", hold: Hold = None,
    technique: Technique = None, at_most: AtMost = None, from_: From = "", framework: Framework = "",
    tier: TierOption = "analytic", calibrate_with: CalibrateWith = None, top: Top = 10, out: Out = None,
    no_page: NoPage = False, resume: Resume = False, json: Json = False,
) -> None:  # fmt: skip
    """Find the best plans of a workload on a machine, and name the constraint that rules out the rest.

    Prints the best plans (parallel degrees, sharding, microbatch, recompute, precision) with time and its 90 %
    interval, tokens/s, memory, energy and price, and writes a page, a trace for Perfetto and the run itself to
    `aisys-out/`. With `--json`, files are written only where `--out` says so. Exits with 1 where nothing fits.

    **Examples**

    - `aisys plan llama-3.1-8b --on dgx-h100 --for train`
    - `aisys plan llama-3.1-70b --on "dgx-h100*8" --for train --tokens 8192 --hold pipeline=4 --hold recompute=none`
    - `aisys plan llama-3.1-70b --on dgx-h100 --for infer --batch 16 --context 8192 --at-most tpot=30ms`
    - `aisys plan llama-3.1-8b --on dgx-h100 --for train --calibrate-with my-matmuls.csv`
    - `aisys plan ./my-model/config.json --on my-machine.toml --for train --precision fp8 --json`
    - `aisys plan qwen3-32b --on dgx-h100 --from "--tensor-model-parallel-size 8 --micro-batch-size 1"`
    """
    from aisys.cli.plan_answer import Wanted, give
    from aisys.cli.plan_words import read_method, read_request

    request = read_request(
        {"workload": workload, "machine": on, "goal": goal, "batch": batch, "tokens": tokens, "context": context,
         "devices": devices, "precision": precision, "top": top},
        hold=hold or (), technique=technique or (), at_most=at_most or (),
        method=read_method(tier, framework, calibrate_with),
    )  # fmt: skip
    give(request, Wanted(out=out, has_files=not no_page, is_json=json, can_resume=resume, launch=from_))
