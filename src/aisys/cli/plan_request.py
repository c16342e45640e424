"""What `aisys plan` was asked, and the search that answers it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aisys.cli.limits import NAMES, OF_GOAL
from aisys.errors import BadInput, unknown_name
from aisys.ir import Graph
from aisys.machine import machine
from aisys.plan.launch import Launch
from aisys.plan.space import workload_shape
from aisys.report import Frontier
from aisys.search import ForwardPass, Method, Serving, Watch, search
from aisys.search.advise import Advice, advise
from aisys.search.fewest import fewest_devices
from aisys.workload import read

GOALS = ("train", "infer")
PRECISIONS = ("bf16", "fp16", "fp8", "int8", "int4", "nvfp4", "mxfp4")
WEIGHTS_ONLY = ("int4", "mxfp4")
SIXTEEN_BIT = ("bf16", "fp16")
SEQUENCES_PER_DEVICE, MOST_SEQUENCES = 16, 1024
"""The global batch of a training step where none is given: so many sequences per device, up to a total."""

IMAGES_PER_DEVICE = 64
"""Images classified together where no batch is given."""

LEAST_SERVED = 8
"""Sequences served together where no batch is given: one per device, and at least so many."""

MOST = {"batch": 2**17, "tokens": 2**24, "context": 2**24, "devices": 2**24, "top": 1000}
"""The largest values that are planned; a step of more sequences has more tasks than a timeline can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of `aisys plan` that decide the answer; None and "" take the usual value.

    batch: sequences of one training step, or sequences or images served together. tokens: of a training sequence, or
    of a prompt. context: tokens kept when a decode step runs. limits: results and what they may be at most.
    """

    workload: str
    machine: str
    goal: str = "train"
    batch: int | None = None
    tokens: int | None = None
    context: int | None = None
    devices: int | None = None
    precision: str = ""
    techniques: tuple[Any, ...] = ()
    limits: Mapping[str, float]
    method: Method
    top: int = 10

    def __post_init__(self) -> None:
        if self.goal not in GOALS:
            raise unknown_name("goal", self.goal, GOALS)
        if self.precision and self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        for name, most in MOST.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise BadInput(f"--{name} is {value}; give a whole number from 1 to {most:,}")
        if self.context is not None and self.goal == "train":
            raise BadInput("--context is for serving; a training sequence has --tokens")
        for result in self.limits:
            if result not in OF_GOAL[self.goal]:
                known = ", ".join(name for name, other in NAMES.items() if other in OF_GOAL[self.goal])
                raise BadInput(f"--at-most {result} says nothing about --for {self.goal}; limit one of {known}")


def answer(request: Request, watch: Watch) -> Frontier:
    """The plans that answer `request`; with limits and no number of devices, on as few devices as keep them.

    Raises DoesNotFit where none does.
    """
    whole = machine(request.machine, num_devices=request.devices)
    work = workload(request, whole.num_devices)
    done = techniques(request, work)
    if request.limits and request.devices is None:
        return fewest_devices(
            work, request.machine, request.limits, techniques=done, top=request.top, method=request.method
        )
    return search(
        work, whole, techniques=done, at_most=request.limits, top=request.top, method=request.method, watch=watch
    )


def advice(request: Request, launch: Launch) -> Advice:
    """The training that `launch` describes, beside the best plan of `request`. Raises BadInput where it cannot be."""
    on = machine(request.machine, num_devices=request.devices or launch.shape.get("num_devices"))
    work = workload(request, on.num_devices)
    if request.goal != "train" or not isinstance(work, Graph):
        raise BadInput("--from reads the arguments of a training; use it with --for train")
    plan = launch.plan(num_devices=on.num_devices, global_batch=workload_shape(work).batch)
    return advise(work, on, plan, techniques=techniques(request, work), method=request.method)


def with_launch(request: Request, launch: Launch) -> Request:
    """The request with what the arguments of an existing training say, where the options do not, on its program."""
    framework = request.method.framework or ("torchtitan" if launch.program == "torchtitan" else "")
    return replace(
        request, batch=request.batch or launch.shape.get("global_batch"),
        tokens=request.tokens or launch.shape.get("tokens"), precision=request.precision or launch.decided.get(
            "precision", ""), method=replace(request.method, framework=framework),
        devices=request.devices or launch.shape.get("num_devices"), techniques=(*request.techniques, launch),
    )  # fmt: skip


def workload(request: Request, num_devices: int) -> Graph | Serving | ForwardPass:
    """The graph of the global batch, that of the prompts with that of one decode step, or that of a batch of images."""
    if _has_images(request.workload):
        if request.goal == "train":
            raise BadInput(f"{request.workload} takes images, whose training is not planned; use --for infer")
        if request.tokens or request.context:
            raise BadInput(f"{request.workload} takes images; leave out --tokens and --context")
        return ForwardPass(read(request.workload, batch=request.batch or IMAGES_PER_DEVICE * num_devices))
    if request.goal == "train":
        per_device = max(1, min(SEQUENCES_PER_DEVICE, MOST_SEQUENCES // num_devices))
        return read(request.workload, batch=request.batch or num_devices * per_device, tokens=request.tokens)
    batch = request.batch or max(LEAST_SERVED, num_devices)
    prompt = read(request.workload, batch=batch, tokens=request.tokens or request.context)
    kinds = [op for block in prompt.blocks for op in block.ops if op.kind == "attention"]
    if kinds and not any(op.options.get("is_causal", True) for op in kinds):
        raise BadInput(f"{request.workload} is an encoder, which has no decode step to serve; plan it --for train")
    kept = request.context or workload_shape(prompt).tokens
    return Serving(prompt, read(request.workload, batch=batch, tokens=1, cached_tokens=kept - 1))


def _has_images(workload: str) -> bool:
    """Whether the workload takes images and no tokens."""
    blocks = read(workload).blocks
    return not any("token" in tensor.axes for block in blocks for tensor in block.tensors.values())


def techniques(request: Request, work: Graph | Serving | ForwardPass) -> tuple[Any, ...]:
    """What is done to the workload, in order: the user's own techniques, then training and number formats."""
    if request.goal == "train":
        from aisys.technique.number_format import NumberFormat
        from aisys.technique.training_step import TrainingStep

        formats = (NumberFormat(precision=request.precision),) if request.precision else ()
        return (*request.techniques, TrainingStep(), *formats)
    if isinstance(work, ForwardPass):
        return (*request.techniques, *_image_formats(request.precision))
    return (*request.techniques, *_serving_formats(request.precision))


def _image_formats(precision: str) -> tuple[Any, ...]:
    """Every layer in int8, or 16-bit tensors in another 16-bit format."""
    from aisys.technique.integer_only import IntegerOnly
    from aisys.technique.number_format import NumberFormat

    if precision not in ("", "int8", *SIXTEEN_BIT):
        raise BadInput(f"--precision {precision} is for language models; image networks run in bf16, fp16 or int8")
    if precision == "int8":
        return (IntegerOnly(),)
    return (NumberFormat(precision=precision),) if precision else ()


def _serving_formats(precision: str) -> tuple[Any, ...]:
    """Both operands of layer matmuls in an 8- or 4-bit format, or the weights alone."""
    from aisys.technique.serving_format import ServingFormat

    if precision in ("", *SIXTEEN_BIT):
        return ()
    return (ServingFormat(weights=precision, activations="" if precision in WEIGHTS_ONLY else precision),)
