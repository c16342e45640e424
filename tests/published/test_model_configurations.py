"""Do the catalogued models have the parameters and the flop that others print?

Kind: analytic (counts are exact). Sources: the model cards and papers named beside each figure; every catalogue file
names the source of its own count, and `tests/oracle/test_transformers_agree.py` counts them again.
"""

import pytest

from aisys.ir import Graph, verify
from aisys.workload import GptShape, gpt_like, list_workloads, published, read

PRINTED = {
    "gpt2": 124_439_808,  # safetensors header of openai-community/gpt2, without its causal masks
    "llama-2-7b": 6_738_415_616,  # safetensors header of meta-llama/Llama-2-7b-hf
    "llama-3.1-8b": 8_030_261_248,  # safetensors header of meta-llama/Llama-3.1-8B
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-8b": 8_190_735_360,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "gemma-2-9b": 9_241_705_984,
    "phi-3-mini": 3_821_079_552,
    "smollm2-135m": 134_515_008,
    "bert-base": 109_482_240,  # with its pooler
    "vit-b/16": 86_567_656,  # with 1,000 classes: torchvision prints the same
    "deepseek-v3": 671_026_419_200,  # main model, without the multi-token-prediction module
}
ROUNDED = {
    "opt-66b": (66e9, "Zhang et al. 2022"),
    "gpt3-175b": (175e9, "Brown et al. 2020"),
    "megatron-22b": (22e9, "Korthikanti et al. 2022"),
    "turing-530b": (530e9, "Korthikanti et al. 2022"),
    "megatron-1t": (1e12, "Korthikanti et al. 2022"),
    "gpt-oss-20b": (20.9e9, "OpenAI 2025"),
    "gpt-oss-120b": (116.8e9, "OpenAI 2025"),
    "grok-1": (314e9, "xAI 2024"),
    "deepseek-v2": (236e9, "DeepSeek-AI 2024"),
    "nemotron4-340b": (331.6e9 + 9.4e9, "NVIDIA 2024: non-embedding and embedding"),
    "nemotron4-15b": (12.5e9 + 3.2e9, "Parmar et al. 2024: non-embedding and embedding"),
    "qwen3-235b-a22b": (235e9, "Qwen3 report 2025"),
    "qwen3-30b-a3b": (30.5e9, "Qwen3 report 2025"),
}


def matmul_flop(graph: Graph) -> int:
    """What torch's flop counter counts: matmuls and attention, masked scores included."""
    kinds = ("matmul", "grouped_matmul", "attention")
    return sum(op.flop * s.repeat for s in graph.segments for op in s.block.ops if op.kind in kinds)


@pytest.mark.parametrize("name", list_workloads())
def test_every_configuration_builds_a_valid_graph_with_its_counted_parameters(name: str) -> None:
    graph = verify(read(name))
    assert graph.num_parameters == published(name).num_parameters
    assert graph.name == name


@pytest.mark.parametrize("name", PRINTED)
def test_parameter_counts_are_the_printed_ones(name: str) -> None:
    assert read(name).num_parameters == PRINTED[name]


@pytest.mark.parametrize("name", ROUNDED)
def test_parameter_counts_round_to_the_announced_ones(name: str) -> None:
    announced, _ = ROUNDED[name]
    assert read(name).num_parameters == pytest.approx(announced, rel=0.01)  # announced to two or three digits


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("meta-llama/Meta-Llama-3-8B", "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-70B", "llama-3.1-70b"),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("meta-llama/Llama-2-70b-hf", "llama-2-70b"),
        ("Qwen/Qwen3-32B", "qwen3-32b"),
        ("Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b"),
        ("openai/gpt-oss-120b", "gpt-oss-120b"),
        ("deepseek-ai/DeepSeek-R1", "deepseek-v3"),
        ("gpt3-175B", "gpt3-175b"),
        ("megatron-1T", "megatron-1t"),
        ("vit-l", "vit-l-16"),
    ],
)
def test_names_of_the_tables_are_known(alias: str, name: str) -> None:
    assert read(alias) == read(name)


def test_no_alias_names_two_models() -> None:
    names = [alias.lower() for name in list_workloads() for alias in {*published(name).aliases, name}]
    assert len(names) == len({*names})


def test_llama_forward_flop_is_what_torch_counts() -> None:
    graph = read("llama-3.1-8b", tokens=2048)
    assert round(matmul_flop(graph) / 1e12, 3) == 32.938
    tokens, hidden, layers, norms = 2048, 4096, 32, 65 * 4096
    multiplied = 8_030_261_248 - 128_256 * 4096 - norms
    assert matmul_flop(graph) == 2 * multiplied * tokens + 4 * tokens**2 * hidden * layers


def test_gpt_shapes_have_the_parameters_of_the_megatron_formula() -> None:
    """P = 12 l h^2 (1 + 13 / 12h + (V + s) / 12lh). Source: Narayanan et al. 2021; plus 2h of the final norm."""
    for layers, hidden, heads, seq in ((24, 1024, 16, 1024), (30, 3072, 32, 2048), (48, 8192, 64, 2048)):
        shape = GptShape(
            layers=layers, hidden=hidden, heads=heads, kv_heads=heads, ffn=4 * hidden, vocab=51200, seq=seq
        )
        formula = 12 * layers * hidden**2 + 13 * layers * hidden + (51200 + seq) * hidden
        assert verify(gpt_like(shape)).num_parameters == formula + 2 * hidden


def test_a_table_row_without_a_name_is_the_catalogued_model_of_its_dimensions() -> None:
    shape = GptShape(layers=48, hidden=6144, heads=64, kv_heads=64, ffn=24576, vocab=51200, seq=2048)
    assert gpt_like(shape) == read("megatron-22b")


def test_a_reduced_proxy_keeps_everything_but_its_depth() -> None:
    full, proxy = read("grok-1"), read("grok-1", num_layers=2)
    assert proxy.segments[1].block == full.segments[1].block
    assert len(proxy.layers) == 4
    assert len(read("gpt2", num_layers=5).layers) == 7


def test_the_latent_cache_holds_576_values_per_token_and_layer() -> None:
    """Source: DeepSeek-V2 report 2024, table 1: 4.5 x 128 per layer."""
    graph = read("deepseek-v2", tokens=1, cached_tokens=999)
    assert graph.num_bytes("kv_cache") == 60 * 1000 * 576 * 2


def test_the_grouped_cache_of_llama_holds_128_kib_per_token() -> None:
    graph = read("llama-3.1-8b", batch=4, tokens=1, cached_tokens=1023)
    assert graph.num_bytes("kv_cache") == 4 * 1024 * 128 * 1024


def test_sliding_layers_cache_no_more_than_their_window() -> None:
    graph = read("gemma-2-9b", tokens=1, cached_tokens=9999)
    sliding, full = (next(b for b in graph.blocks if b.name == name) for name in ("sliding_layer", "layer"))
    assert sliding.tensors["k_cache"].axes["key"] == 4096
    assert full.tensors["k_cache"].axes["key"] == 10_000
