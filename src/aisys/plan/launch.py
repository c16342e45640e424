"""Launch arguments of training programs, read into a plan and written from one."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from aisys.errors import BadInput, CannotApply, unknown_name
from aisys.frozen import FrozenMap
from aisys.plan.space import PlanSpace
from aisys.plan.types import Plan

_MEGATRON = {
    "tensor-model-parallel-size": "tensor", "pipeline-model-parallel-size": "pipeline",
    "context-parallel-size": "context", "expert-model-parallel-size": "expert", "micro-batch-size": "micro_batch",
    "num-virtual-stages-per-pipeline-rank": "interleave",
}  # fmt: skip
_MEGATRON_SHAPE = {
    "num-layers": "num_layers", "hidden-size": "hidden", "num-attention-heads": "heads", "seq-length": "tokens",
    "ffn-hidden-size": "ffn", "num-query-groups": "kv_heads", "global-batch-size": "global_batch",
    "num-experts": "experts",
    "num-layers-per-virtual-pipeline-stage": "layers_per_chunk", "world-size": "num_devices",
    "data-parallel-size": "data",
}  # fmt: skip
_TORCHTITAN = {
    "parallelism.tensor_parallel_degree": "tensor", "parallelism.pipeline_parallel_degree": "pipeline",
    "parallelism.context_parallel_degree": "context", "parallelism.expert_parallel_degree": "expert",
    "training.local_batch_size": "local_batch", "training.batch_size": "local_batch", "training.seq_len": "tokens",
    "training.global_batch_size": "global_batch", "parallelism.data_parallel_shard_degree": "shard",
    "parallelism.pipeline_parallel_microbatch_size": "micro_batch",
}  # fmt: skip
_TORCHTITAN_WORDS: Mapping[str, Mapping[str, Any]] = {
    "activation_checkpoint.mode": {"selective": "op", "none": "none", "full": "full"},
    "parallelism.pipeline_parallel_schedule": {
        "1f1b": {"schedule": "1f1b"}, "gpipe": {"schedule": "gpipe"},
        "interleaved1f1b": {"schedule": "1f1b", "interleave": 2},
    },
    "parallelism.fsdp_reshard_after_forward": {"default": "", "always": "zero3", "never": "zero2"},
}  # fmt: skip
"""Words that an argument takes, its default first, in small letters."""
_FSDP = {"no_shard": "none", "optim": "zero1", "optim_grads": "zero2", "optim_grads_params": "zero3"}
_PROGRAMS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "megatron": {
        "recompute": ("none", "selective", "full"), "schedule": ("1f1b",), "precision": ("bf16", "fp16", "fp8"),
        "hardware": ("shared",),
    },
    "torchtitan": {
        "recompute": ("none", "op", "full"), "schedule": ("1f1b", "gpipe"), "sharding": ("none", "zero2", "zero3"),
        "precision": ("bf16", "fp8"), "interleave": (1, 2), "offload_optimizer": (False,), "hardware": ("shared",),
    },
}  # fmt: skip
"""The decisions that a program does not leave free, and what it can be told. torchtitan cuts two chunks per device
where nothing is said about layers.

Source of all names: megatron/training/arguments.py of Megatron-LM core 0.13; torchtitan/config/job_config.py 0.2.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a command line says. decided: fields of Plan that it sets. shape: other numbers (tokens, global_batch,
    num_layers, ...). model: a model's name and flavour, where given. ignored: arguments that do not concern a plan.
    """

    program: str
    decided: FrozenMap[str, Any]
    shape: FrozenMap[str, int] = field(default_factory=FrozenMap)
    model: str = ""
    ignored: tuple[str, ...] = ()

    def plan(self, *, num_devices: int, global_batch: int) -> Plan:
        """The plan on `num_devices` with `global_batch` sequences. Raises BadInput where they do not divide."""
        chosen = {f.name: self.decided[f.name] for f in fields(Plan) if f.name in self.decided}
        model_parallel = chosen.get("tensor", 1) * chosen.get("pipeline", 1) * chosen.get("context", 1)
        data, rest = divmod(num_devices, model_parallel)
        if rest or not data:
            raise BadInput(
                f"{num_devices} devices are not a multiple of tensor x pipeline x context = {model_parallel}; "
                "change one of them"
            )
        micro_batch = chosen.get("micro_batch", 1)
        num_microbatches, rest = divmod(global_batch, data * micro_batch)
        if rest or not num_microbatches:
            raise BadInput(
                f"a global batch of {global_batch} is not a multiple of data {data} x micro_batch {micro_batch}; "
                f"use {-(-global_batch // (data * micro_batch)) * data * micro_batch}"
            )
        return Plan(**{**chosen, "data": data, "num_microbatches": num_microbatches})

    def constrain(self, space: PlanSpace) -> PlanSpace:
        """Only plans that the program can be told to run."""
        return space.within(**_PROGRAMS[self.program])


def read_launch(text: str) -> Launch:
    """The plan inside a Megatron-LM or torchtitan command line; everything else on it is listed as ignored.

    Raises BadInput for text that sets no decision, or a value that is not what its argument takes.

    >>> read_launch("--tensor-model-parallel-size 8 --sequence-parallel --micro-batch-size 2").decided["tensor"]
    8
    """
    given, loose = _arguments(text)
    known_titan = any("." in name for name in given)
    launch = _torchtitan(given) if known_titan else _megatron(given)
    if not launch.decided and not launch.shape:
        raise BadInput(
            f"no argument of Megatron-LM or torchtitan in {text[:60]!r}; write for example "
            "'--tensor-model-parallel-size 8 --micro-batch-size 1'"
        )
    return Launch(
        program=launch.program, decided=launch.decided, shape=launch.shape, model=launch.model,
        ignored=(*loose, *launch.ignored),
    )  # fmt: skip


def write_launch(plan: Plan, program: str) -> str:
    """The arguments that make `program` (megatron or torchtitan) run `plan`; `read_launch` gives the plan back.

    Raises UnknownName for another program, CannotApply for a decision that it has no argument for.
    """
    if program not in _PROGRAMS:
        raise unknown_name("program", program, _PROGRAMS)
    for name, allowed in _PROGRAMS[program].items():
        if getattr(plan, name) not in allowed:
            can = " or ".join(str(value) for value in allowed)
            raise CannotApply(f"{program} has no argument for {name} {getattr(plan, name)}; hold {name} to {can}")
    lines = _megatron_lines(plan) if program == "megatron" else _torchtitan_lines(plan)
    return " ".join(lines)


def _arguments(text: str) -> tuple[dict[str, str], list[str]]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"the arguments cannot be split into words: {error}") from error
    given: dict[str, str] = {}
    loose: list[str] = []
    i = 0
    while i < len(words):
        word = words[i]
        i += 1
        if not word.startswith("--"):
            loose.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if not equals and i < len(words) and not words[i].startswith("--"):
            value, i = words[i], i + 1
        given[name if "." in name else name.replace("_", "-")] = value or "true"
    return given, loose


def _number(name: str, value: str) -> int:
    if not value.lstrip("-").isdigit() or len(value) > 12 or int(value) < 1:
        raise BadInput(f"--{name} is {value[:40]!r}; it takes a whole number of at least 1")
    return int(value)


def _megatron(given: Mapping[str, str]) -> Launch:
    decided: dict[str, Any] = {_MEGATRON[n]: _number(n, v) for n, v in given.items() if n in _MEGATRON}
    shape = {_MEGATRON_SHAPE[n]: _number(n, v) for n, v in given.items() if n in _MEGATRON_SHAPE}
    used = {*_MEGATRON, *_MEGATRON_SHAPE} & set(given)
    flags: dict[str, dict[str, Any]] = {
        "sequence-parallel": {"sequence_parallel": True}, "use-distributed-optimizer": {"sharding": "zero1"},
        "fp16": {"precision": "fp16"}, "bf16": {"precision": "bf16"},
        "recompute-activations": {"recompute": "selective"}, "use-torch-fsdp2": {"sharding": "zero3"},
        "optimizer-cpu-offload": {"offload_optimizer": True},
    }  # fmt: skip
    for name, says in flags.items():
        if name in given:
            decided |= says
            used.add(name)
    if {"use-megatron-fsdp", "use-custom-fsdp"} & set(given):
        decided["sharding"] = _word("data-parallel-sharding-strategy", given, _FSDP)
        used |= {"use-megatron-fsdp", "use-custom-fsdp", "data-parallel-sharding-strategy"}
    if "fp8-format" in given:
        decided["precision"] = "fp8"
        used.add("fp8-format")
    if "recompute-granularity" in given:
        decided["recompute"] = _word("recompute-granularity", given, {"full": "full", "selective": "selective"})
        used.add("recompute-granularity")
        whole = {"recompute-method": "uniform", "recompute-num-layers": "1"}
        used |= {name for name, value in whole.items() if given.get(name) == value}
    chunk = shape.pop("layers_per_chunk", 0)
    if chunk and shape.get("num_layers"):
        decided["interleave"] = max(1, shape["num_layers"] // decided.get("pipeline", 1) // chunk)
    ignored = tuple(f"--{name}" for name in given if name not in used)
    return Launch(program="megatron", decided=FrozenMap(decided), shape=FrozenMap(shape), ignored=ignored)


def _torchtitan(given: Mapping[str, str]) -> Launch:
    numbers = {_TORCHTITAN[n]: int(v) if v == "-1" else _number(n, v) for n, v in given.items() if n in _TORCHTITAN}
    recompute, schedule, sharding = (_word(name, given, words) for name, words in _TORCHTITAN_WORDS.items())
    decided: dict[str, Any] = {
        n: numbers.pop(n) for n in ("tensor", "pipeline", "context", "expert", "micro_batch") if n in numbers
    }
    decided |= {"recompute": recompute, **schedule}
    has_pipeline = decided.get("pipeline", 1) > 1
    is_spread = numbers.pop("shard", -1) != 1
    decided["sharding"] = (sharding or ("zero2" if has_pipeline else "zero3")) if is_spread else "none"
    if decided.get("tensor", 1) > 1:
        decided["sequence_parallel"] = True
    if any("float8" in n or "float8" in v for n, v in given.items()):
        decided["precision"] = "fp8"
    local = numbers.pop("local_batch", 0)
    if local and not has_pipeline:
        decided.setdefault("micro_batch", local)
    used = {*_TORCHTITAN, *_TORCHTITAN_WORDS, "model.converters"}
    used |= {name for name, value in _TORCHTITAN_USED.items() if given.get(name) == value or not is_spread}
    model = "-".join(given[n] for n in ("model.name", "model.flavor") if n in given)
    ignored = tuple(f"--{n}" for n in given if n not in used | {"model.name", "model.flavor"})
    return Launch(
        program="torchtitan", decided=FrozenMap(decided), shape=FrozenMap(numbers), model=model, ignored=ignored
    )


_TORCHTITAN_USED = {
    "activation_checkpoint.selective_ac_option": "op",
    "parallelism.data_parallel_replicate_degree": "1",
}
"""Arguments that are understood where they have this value."""


def _word(name: str, given: Mapping[str, str], words: Mapping[str, Any]) -> Any:
    """What the word after an argument means. Without the argument: the first."""
    word = given.get(name, next(iter(words))).lower()
    if word not in words:
        raise unknown_name(f"value of --{name}", word, words)
    return words[word]


def _megatron_lines(plan: Plan) -> list[str]:
    lines = [
        f"--tensor-model-parallel-size {plan.tensor}", f"--pipeline-model-parallel-size {plan.pipeline}",
        f"--context-parallel-size {plan.context}", f"--expert-model-parallel-size {plan.expert}",
        f"--micro-batch-size {plan.micro_batch}", f"--global-batch-size {plan.global_batch}",
    ]  # fmt: skip
    lines += ["--sequence-parallel"] if plan.sequence_parallel else []
    lines += [f"--num-virtual-stages-per-pipeline-rank {plan.interleave}"] if plan.interleave > 1 else []
    lines += ["--use-distributed-optimizer"] if plan.sharding != "none" else []
    if plan.sharding in ("zero2", "zero3"):
        strategy = next(name for name, sharding in _FSDP.items() if sharding == plan.sharding)
        lines += ["--use-megatron-fsdp", f"--data-parallel-sharding-strategy {strategy}"]
    lines += {
        "full": ["--recompute-granularity full --recompute-method uniform --recompute-num-layers 1"],
        "selective": ["--recompute-granularity selective"],
    }.get(plan.recompute, [])
    lines += ["--bf16", "--fp8-format hybrid"] if plan.precision == "fp8" else [f"--{plan.precision}"]
    return [*lines, *(["--optimizer-cpu-offload"] if plan.offload_optimizer else [])]


def _torchtitan_lines(plan: Plan) -> list[str]:
    if plan.sequence_parallel != (plan.tensor > 1):
        raise CannotApply(
            f"torchtitan spreads sequences over every tensor group, and over nothing else; set sequence_parallel to "
            f"{plan.tensor > 1} at tensor {plan.tensor}"
        )
    if plan.schedule == "gpipe" and plan.interleave > 1:
        raise CannotApply("torchtitan's GPipe runs one chunk per device; set interleave to 1 or take schedule 1f1b")
    has_pipeline = plan.pipeline > 1
    schedule = {"gpipe": "GPipe"}.get(plan.schedule, "1F1B" if plan.interleave == 1 else "Interleaved1F1B")
    mode = {"op": "selective --activation_checkpoint.selective_ac_option=op"}.get(plan.recompute, plan.recompute)
    lines = [
        f"--parallelism.tensor_parallel_degree={plan.tensor}",
        f"--parallelism.pipeline_parallel_degree={plan.pipeline}",
        f"--parallelism.context_parallel_degree={plan.context}",
        f"--training.local_batch_size={plan.micro_batch * (plan.num_microbatches if has_pipeline else 1)}",
        f"--training.global_batch_size={plan.global_batch}", f"--activation_checkpoint.mode={mode}",
    ]  # fmt: skip
    if has_pipeline or schedule != "1F1B":
        lines += [
            f"--parallelism.pipeline_parallel_schedule={schedule}",
            f"--parallelism.pipeline_parallel_microbatch_size={plan.micro_batch}",
        ]
    if plan.sharding == "none":
        replicas = f"--parallelism.data_parallel_replicate_degree={plan.data}"
        lines += ["--parallelism.data_parallel_shard_degree=1", replicas]
    else:
        policy = {"zero2": "never", "zero3": "always"}[plan.sharding]
        lines += [f"--parallelism.fsdp_reshard_after_forward={policy}"]
    lines += [f"--parallelism.expert_parallel_degree={plan.expert}"] if plan.expert > 1 else []
    return [*lines, *(["--model.converters=float8"] if plan.precision == "fp8" else [])]
