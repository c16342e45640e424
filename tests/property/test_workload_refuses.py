"""Does every bad configuration end in one sentence that names the file, the field, the value and the way out?"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.errors import AisysError, BadInput, UnknownName
from aisys.workload import published, read, read_hf_config

LLAMA = dict(published("llama-3.1-8b").config)


def refusal(source: Any, **run: Any) -> str:
    with pytest.raises(AisysError) as caught:
        read(source, **run)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def changed(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in {**LLAMA, **fields}.items() if value is not ...}


@pytest.mark.parametrize("field", ["model_type", "hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"])
def test_a_missing_field_is_named_with_its_file(field: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(changed(**{field: ...})))
    message = refusal(tmp_path)
    assert repr(field) in message
    assert str(path) in message


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"hidden_size": "4096"}, "field 'hidden_size' is '4096'; it must be a whole number"),
        ({"hidden_size": -1}, "field 'hidden_size' is -1; it must be between 1 and 16777216"),
        ({"hidden_size": 0}, "field 'hidden_size' is 0;"),
        ({"hidden_size": True}, "field 'hidden_size' is True; it must be a whole number"),
        ({"hidden_size": 4096.5}, "field 'hidden_size' is 4096.5; it must be a whole number"),
        ({"hidden_size": float("nan")}, "field 'hidden_size' is nan; it must be a whole number"),
        ({"vocab_size": 10**5000}, "field 'vocab_size' is a number above 10^18"),
        ({"num_hidden_layers": 10**9}, "field 'num_hidden_layers' is 1000000000; it must be between 1 and 10000"),
        ({"num_hidden_layers": [1, 2]}, "field 'num_hidden_layers' is [1, 2]; it must be a whole number"),
        ({"num_key_value_heads": 5}, "num_attention_heads 32 is not a multiple of num_key_value_heads 5"),
        ({"num_attention_heads": 33, "num_key_value_heads": 33}, "hidden_size 4096 is not a multiple of"),
        ({"attention_dropout": float("nan")}, "field 'attention_dropout' is nan; it must be a finite number"),
        ({"attention_dropout": 1.5}, "field 'attention_dropout' is 1.5; it must be between 0.0 and 1.0"),
        ({"attention_bias": "yes"}, "field 'attention_bias' is 'yes'; it must be true or false"),
        ({"tie_word_embeddings": 1}, "field 'tie_word_embeddings' is 1; it must be true or false"),
        ({"torch_dtype": "bfloat17"}, "unknown torch_dtype in the configuration 'bfloat17'; nearest known: bfloat16"),
        ({"hidden_act": "sillu"}, "unknown hidden_act in the configuration 'sillu'; nearest known: silu"),
        ({"model_type": "lama"}, "unknown model_type in the configuration 'lama'; nearest known: llama"),
        ({"model_type": 7}, "field 'model_type' is 7; it must be a string"),
        ({"model_type": "opt", "ffn_dim": 8, "word_embed_proj_dim": 2}, "field 'word_embed_proj_dim' is 2, but only"),
        ({"model_type": "bert", "architectures": ["BertForNothing"]}, "field 'architectures' is ['BertForNothing']"),
        ({"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 5}, "more than the 4 experts"),
        ({"model_type": "gemma2", "sliding_window": 8, "layer_types": ["full_attention"]}, "1 entries for 32 layers"),
    ],
)
def test_an_impossible_field_is_refused_with_its_value(fields: dict[str, Any], says: str) -> None:
    assert says in refusal(changed(**fields))


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ({"batch": 0}, "batch is 0; it must be a whole number between 1 and 16777216"),
        ({"batch": True}, "batch is True"),
        ({"tokens": -5}, "tokens is -5"),
        ({"tokens": 1.5}, "tokens is 1.5"),
        ({"cached_tokens": -1}, "cached_tokens is -1; it must be a whole number between 0"),
        ({"num_layers": 0}, "num_layers is 0; it must be a whole number between 1 and 10000"),
    ],
)
def test_an_impossible_run_is_refused(run: dict[str, Any], says: str) -> None:
    assert says in refusal("llama-3.1-8b", **run)


def test_models_with_learned_positions_say_how_many_they_have() -> None:
    assert "gpt2 has 1024 learned positions, but tokens + cached_tokens is 1025" in refusal(
        "gpt2", tokens=1, cached_tokens=1024
    )
    assert "bert-base is an encoder and keeps no keys" in refusal("bert-base", tokens=1, cached_tokens=8)
    assert "vit-b-16 sees 197 tokens per image, not 100" in refusal("vit-b", tokens=100)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    assert "nearest known: llama-3.1-8b" in refusal("llama-3.1-8c")
    assert "gpt-oss-20b" in refusal("gptoss-20b")


def test_what_is_no_workload_at_all_is_refused() -> None:
    assert "unknown workload" in refusal("x" * 100_000)
    assert "unknown workload" in refusal("a\0b")
    assert "7 is no workload" in refusal(7)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"\xff\xfe\x00", "is not valid JSON"),
        (b"[1, 2]", "holds a list, not an object"),
        (b"[" * 1_000_000, "nests too deeply"),
        (b'{"model_type": ' * 200_000, "nests too deeply"),
        (b'{"hidden_size": ' + b"9" * 100_000 + b"}", "is not valid JSON"),
    ],
)
def test_hostile_json_is_one_sentence(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    message = refusal(path)
    assert says in message
    assert str(path) in message


def test_a_file_of_ten_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(10 * 10**9)
    assert "is longer than 4194304 bytes" in refusal(path)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path / 'config.json'} is not a file" in refusal(tmp_path)


def test_a_folder_is_read_as_its_config_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert read(str(tmp_path)) == read(tmp_path / "config.json") == read("llama-3.1-8b")
    assert read(tmp_path).name == tmp_path.name


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
BASES = ("llama-3.1-8b", "gpt2", "gemma-2-9b", "gpt-oss-20b", "deepseek-v3", "bert-base", "vit-b", "qwen3-30b-a3b")


@settings(max_examples=300, deadline=None)
@given(base=st.sampled_from(BASES), choice=st.integers(0, 99), value=ANYTHING)
def test_any_value_in_any_field_gives_a_graph_or_one_sentence(base: str, choice: int, value: Any) -> None:
    config = dict(published(base).config)
    field = sorted(config)[choice % len(config)]
    message = ""
    try:
        read_hf_config({**config, field: value}, tokens=8 if base != "vit-b" else None)
    except (BadInput, UnknownName) as error:
        message = str(error)
    assert "\n" not in message
