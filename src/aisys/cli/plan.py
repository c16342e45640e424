"""`aisys plan`: the best ways to run a workload on a machine."""

from pathlib import Path
from typing import Annotated

import typer

from aisys.cli.complete import devices as complete_machines
from aisys.cli.complete import tiers, workloads
from aisys.cli.tables import CalibrateWith

Workload = Annotated[
    str,
    typer.Argument(
        metavar="WORKLOAD",
        help="Published name (aisys list workloads), Hugging Face folder or config.json.",
        autocompletion=workloads,
    ),
]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="MACHINE",
        help="Name (aisys list machines), NAME*16 for 16 nodes, or a .toml file of your own.",
        autocompletion=complete_machines,
    ),
]
Goal = Annotated[
    str,
    typer.Option(
        "--for", metavar="GOAL", help="train, or infer: prefill and decode of a served batch, or a batch of images."
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        "--global-batch",
        help="Sequences of one training step; default: 16 per device, at most 1024. Sequences served "
        "together; default: one per device, at least 8. Images: 64 per device.",
    ),
]
Tokens = Annotated[
    int | None,
    typer.Option(
        "--tokens",
        "--seq",
        help="Tokens per training sequence or prompt; default: 2048, or what the model has positions for.",
    ),
]
Context = Annotated[
    int | None, typer.Option("--context", help="Tokens in the KV cache when a decode step runs; default: the prompt's.")
]
Devices = Annotated[
    int | None, typer.Option("--devices", help="Use exactly so many devices; default: all of the machine.")
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision", help="bf16, fp16, fp8; to serve also int8, int4, nvfp4, mxfp4. Default: the model's own."
    ),
]
Hold = Annotated[
    list[str] | None,
    typer.Option(
        "--hold",
        metavar="DECISION=VALUE",
        help="Keep a decision at these values: tensor=8 or recompute=none,full. Repeatable.",
    ),
]
Technique = Annotated[
    list[str] | None,
    typer.Option(
        "--technique",
        metavar="NAME[:OPTION=VALUE,...]",
        help="Apply a technique (aisys list techniques) before planning. Repeatable.",
    ),
]
AtMost = Annotated[
    list[str] | None,
    typer.Option(
        "--at-most",
        metavar="NAME=VALUE",
        help="Use the fewest devices that keep tpot=30ms, ttft=1s or latency=5ms (of images) to infer, or step=3s to "
        "train. Repeatable.",
    ),
]
From = Annotated[
    str,
    typer.Option(
        "--from", metavar="ARGUMENTS", help="Arguments of a Megatron or torchtitan run, in quotes: say what to change."
    ),
]
Framework = Annotated[
    str,
    typer.Option(
        "--framework",
        help="Whose overheads to count: megatron-core, torchtitan, vllm, ...; default: the machine's usual one.",
    ),
]
TierOption = Annotated[
    str,
    typer.Option(
        "--tier",
        help="Cost models: limit (data sheet), analytic, or calibrated (with measured residuals).",
        autocompletion=tiers,
    ),
]
Top = Annotated[int, typer.Option("--top", help="How many plans to show.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Folder for page, trace and run; default: aisys-out/WORKLOAD-MACHINE-GOAL."
    ),
]
NoPage = Annotated[bool, typer.Option("--no-page", help="Write no files.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a search that was stopped; give the same options.")]
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
    `aisys-out/`. With `--json`, files are written only where `--out` says so.

    Exits with 0 (done), 1 (nothing fits or keeps the limit), 2 (bad input) or 130 (stopped; `--resume` goes on).

    **Examples**

    - `aisys plan llama-3.1-8b --on dgx-h100 --for train`
    - `aisys plan llama-3.1-70b --on "dgx-h100*8" --for train --tokens 8192 --hold pipeline=4 --hold recompute=none`
    - `aisys plan llama-3.1-70b --on dgx-h100 --for infer --batch 16 --context 8192 --at-most tpot=30ms`
    - `aisys plan llama-3.1-8b --on dgx-h100 --for train --calibrate-with my-matmuls.csv`
    - `aisys plan ./my-model/config.json --on my-machine.toml --for train --precision fp8 --json`
    - `aisys plan mobilenet-v1 --on u280 --for infer --precision int8`
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
