"""`aisys show`: a workload as text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aisys.cli.complete import workloads

if TYPE_CHECKING:
    from aisys.ir import Graph

Workload = Annotated[
    str,
    typer.Argument(metavar="WORKLOAD", help="Name, Hugging Face folder, config.json.", autocompletion=workloads),
]
Batch = Annotated[int, typer.Option("--batch", help="Sequences.")]
Tokens = Annotated[int | None, typer.Option("--tokens", "--seq", help="New tokens of each sequence.")]
Context = Annotated[int, typer.Option("--context", help="Tokens whose keys and values are kept already.")]
Technique = Annotated[
    list[str] | None, typer.Option("--technique", metavar="NAME[:OPTION=VALUE,...]", help="Apply a technique.")
]
Save = Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Save the graph as well.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def show(
    workload: Workload, *, batch: Batch = 1, tokens: Tokens = None, context: Context = 0, technique: Technique = None,
    save: Save = None, json: Json = False,
) -> None:  # fmt: skip
    """Print the graph of a workload: parameters, flop, and every op of each distinct block.

    **Examples**

    - `aisys show llama-3.1-8b --tokens 2048`
    - `aisys show llama-3.1-8b --batch 16 --tokens 1 --context 8191 --technique serving_format:weights=int4`
    - `aisys show gpt2 --technique training_step --json`
    """
    from aisys.cli.output import emit_json
    from aisys.cli.plan_words import read_technique
    from aisys.errors import BadInput
    from aisys.workload import read

    graph = read(workload, batch=batch, tokens=tokens, cached_tokens=context)
    for word in technique or ():
        found = read_technique(word)
        if not hasattr(found, "apply"):
            raise BadInput(f"technique {word.partition(':')[0]} decides plans and changes no graph; show needs others")
        graph = found.apply(graph)
    if save:
        _save(graph, save)
    if json:
        emit_json(_document(graph))
    else:
        typer.echo(str(graph))


def _save(graph: "Graph", file: Path) -> None:
    from aisys.errors import BadInput
    from aisys.ir import save

    try:
        save(graph, file)
    except OSError as error:
        raise BadInput(f"{file}: cannot be written ({error.strerror}); give another file with --save") from None


def _document(graph: "Graph") -> dict[str, Any]:
    return {
        "name": graph.name, "parameters": graph.num_parameters, "flop": graph.flop, "digest": graph.digest,
        "segments": [{"block": s.block.name, "repeat": s.repeat} for s in graph.segments],
        "blocks": [
            {
                "name": block.name, "flop": block.flop,
                "ops": [
                    {
                        "name": op.name, "kind": op.kind, "phase": op.phase, "space": dict(op.space),
                        "reads": list(op.reads), "writes": list(op.writes), "flop": op.flop,
                    }
                    for op in block.ops
                ],
            }
            for block in graph.blocks
        ],
    }  # fmt: skip
