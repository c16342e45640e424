"""`aisys plan`, as a user types it, bad input included."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("plan", "llama-3.1-8b", "--on", "dgx-h100", "--tokens", "1024", "--batch", "16")
PLAN_FIELDS = {
    "plan", "time_s", "throughput_per_s", "energy_joule", "peak_memory_bytes", "usd_per_million", "quality", "error",
    "bound", "assumptions",
}  # fmt: skip


def test_json_has_the_promised_shape_and_nothing_else_is_printed(aisys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = aisys(*SMALL, "--for", "train", "--top", "3", "--json")
    found = json.loads(ended.out)
    assert ended.code == 0
    assert ended.err == ""
    assert set(found) == {"workload", "machine", "goal", "plans", "binding_constraint"}
    assert (found["workload"], found["machine"], found["goal"]) == ("llama-3.1-8b", "dgx-h100", "train")
    assert len(found["plans"]) == 3
    assert all(set(plan) >= PLAN_FIELDS for plan in found["plans"])
    times = [plan["time_s"] for plan in found["plans"]]
    assert times == sorted(times)
    low, high = found["plans"][0]["error"]
    assert low <= times[0] <= high
    assert found["binding_constraint"]
    assert list(tmp_path.iterdir()) == []  # --json without --out writes no files


def test_a_person_gets_a_table_a_sentence_and_the_files(aisys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = aisys(*SMALL, "--for", "train", "--top", "3")
    assert ended.code == 0
    assert re.search(r"Best of \d+ plans: .* takes .* per step \(90 %: .*tokens/s", ended.out)
    assert "Binding constraint:" in ended.out
    folder = tmp_path / "aisys-out" / "llama-3.1-8b-dgx-h100-train"
    names = {path.name for path in folder.iterdir()}
    assert {"page.html", "trace.json", "run.json", "plans.csv", "plans.tex", "sources.bib"} <= names
    assert not [name for name in names if name.endswith((".partial", ".sqlite"))]
    json.loads((folder / "trace.json").read_text())


def test_serving_is_planned_at_a_batch_and_a_context(aisys):
    words = ("plan", "llama-3.1-8b", "--on", "dgx-h100", "--for", "infer", "--batch", "8", "--context", "4096")
    found = json.loads(aisys(*words, "--json").out)
    assert found["goal"] == "infer"
    assert {"ttft_s", "tpot_s"} <= set(found["plans"][0]["metrics"])


def test_a_served_plan_says_the_formats_that_were_asked_for(aisys):
    words = ("plan", "gpt2", "--on", "dgx-h100", "--for", "infer", "--json", "--precision")
    served = {name: json.loads(aisys(*words, name).out)["plans"][0] for name in ("bf16", "fp8", "int4")}
    assert {name: plan["plan"]["precision"] for name, plan in served.items()} == {
        "bf16": "bf16", "fp8": "fp8", "int4": "bf16",
    }  # fmt: skip
    assert "keep their weights in bf16, int4" in served["int4"]["assumptions"][0]


def test_a_limit_is_kept_with_the_fewest_devices(aisys):
    words = (
        "plan",
        "llama-3.1-8b",
        "--on",
        "dgx-h100",
        "--for",
        "infer",
        "--batch",
        "8",
        "--context",
        "4096",
        "--json",
    )
    loose = json.loads(aisys(*words, "--at-most", "tpot=50ms").out)["plans"][0]
    tight = json.loads(aisys(*words, "--at-most", "tpot=5ms").out)["plans"][0]
    assert tight["metrics"]["tpot_s"] <= 5e-3

    def devices(plan):
        return plan["plan"]["tensor"] * plan["plan"]["pipeline"] * plan["plan"]["data"]

    assert devices(loose) < devices(tight)


def test_where_nothing_fits_the_answer_is_no_with_exit_1(aisys):
    ended = aisys("plan", "llama-3.1-405b", "--on", "h100-sxm", "--tokens", "512", "--batch", "1", "--json")
    found = json.loads(ended.out)
    assert ended.code == 1
    assert found["plans"] == []
    assert "does not fit" in found["binding_constraint"]
    assert "GB more" in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("plan", "lama-3.1-8b", "--on", "dgx-h100"), "unknown workload 'lama-3.1-8b'; nearest known: llama-3.1-8b"),
        (("plan", "gpt2", "--on", "dgx-h10"), "unknown machine 'dgx-h10'; nearest known: "),
        (("plan", "gpt2", "--on", "dgx-h100", "--for", "trian"), "unknown goal 'trian'; nearest known: train"),
        (("plan", "gpt2", "--on", "dgx-h100", "--precision", "fp7"), "unknown precision 'fp7'"),
        (("plan", "gpt2", "--on", "dgx-h100", "--tier", "exact"), "unknown tier 'exact'"),
        (("plan", "gpt2", "--on", "dgx-h100", "--batch", "0"), "--batch is 0; give a whole number from 1"),
        (("plan", "gpt2", "--on", "dgx-h100", "--batch", "1000000"), "from 1 to 131,072"),
        (("plan", "vit-b-16", "--on", "dgx-h100", "--for", "infer"), "is an encoder, which has no decode step"),
        (("plan", "gpt2", "--on", "dgx-h100", "--context", "5"), "--context is for serving"),
        (("plan", "gpt2", "--on", "dgx-h100", "--framework", "megatorn"), "nearest known: megatron"),
        (("plan", "gpt2", "--on", "dgx-h100", "--hold", "tensr=2"), "unknown decision of a plan 'tensr'"),
        (("plan", "gpt2", "--on", "dgx-h100", "--hold", "tensor=two"), "tensor='two' is not a whole number"),
        (("plan", "gpt2", "--on", "dgx-h100", "--hold", "recompute=ful"), "nearest known: full"),
        (("plan", "gpt2", "--on", "dgx-h100", "--technique", "recompte"), "nearest known: recompute"),
        (("plan", "gpt2", "--on", "dgx-h100", "--technique", "recompute:mod=full"), "nearest known: mode"),
        (("plan", "gpt2", "--on", "dgx-h100", "--at-most", "tpot=30ms"), "says nothing about --for train"),
        (("plan", "gpt2", "--on", "dgx-h100", "--for", "infer", "--at-most", "tpot=x"), "is not a time"),
        (("plan", "gpt2", "--on", "dgx-h100", "--for", "infer", "--at-most", "tpt=3ms"), "nearest known: "),
        (("plan", "gpt2", "--on", "dgx-h100", "--from", "--lr 3"), "no argument of Megatron-LM or torchtitan"),
        (("plan", "gpt2", "--on", "dgx-h100", "--devices", "9999"), "devices"),
        (("plan", "no-such-folder/config.json", "--on", "dgx-h100"), "no-such-folder/config.json"),
    ],
)
def test_bad_input_is_answered_with_one_sentence_and_exit_2(aisys, words, sentence):
    ended = aisys(*words, "--json")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("aisys: ")
    assert ended.err.count("\n") == 1
    assert sentence in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        "--tensor-model-parallel-size 8 --micro-batch-size 1 --sequence-parallel --use-distributed-optimizer",
        "--parallelism.tensor_parallel_degree=8 --training.local_batch_size=1 --activation_checkpoint.mode=full",
    ],
)
def test_an_existing_configuration_is_told_what_to_change(aisys, arguments):
    ended = aisys(*SMALL, "--no-page", "--from", arguments)
    assert ended.code == 0
    assert "The given configuration takes" in ended.out
    assert "Arguments of the best plan:" in ended.out
    found = json.loads(aisys(*SMALL, "--from", arguments, "--json").out)
    assert found["from"]["now"]["plan"]["tensor"] == 8
    assert found["from"]["best"]["time_s"] <= found["from"]["now"]["time_s"]


def test_launch_arguments_are_read_from_a_script_and_from_a_toml_file(aisys, tmp_path):
    script = tmp_path / "launch.sh"
    script.write_text("# run\ntorchrun train.py \\\n  --tensor-model-parallel-size 4 \\\n  --micro-batch-size 2\n")
    toml = tmp_path / "train.toml"
    toml.write_text("[parallelism]\ntensor_parallel_degree = 4\n[training]\nlocal_batch_size = 2\n")
    for file in (script, toml):
        found = json.loads(aisys(*SMALL, "--from", str(file), "--json").out)
        assert found["from"]["now"]["plan"]["tensor"] == 4
        assert found["from"]["now"]["plan"]["micro_batch"] == 2


def test_a_held_decision_is_kept(aisys):
    found = json.loads(aisys(*SMALL, "--hold", "pipeline=2", "--hold", "recompute=full", "--json").out)
    assert {(plan["plan"]["pipeline"], plan["plan"]["recompute"]) for plan in found["plans"]} == {(2, "full")}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_sentence(aisys, tmp_path):
    tmp_path.chmod(0o500)
    ended = aisys(*SMALL, "--out", str(tmp_path / "out"))
    assert ended.code == 2
    assert "cannot" in ended.err


def test_an_output_folder_that_is_a_file_is_one_sentence(aisys, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    ended = aisys(*SMALL, "--out", str(taken))
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert taken.read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    code = (
        "import builtins, errno, pathlib, sys\n"
        "def full(*_, **__): raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "pathlib.Path.write_bytes = full\n"
        f"sys.argv = ['aisys', *{SMALL!r}, '--out', {str(tmp_path / 'out')!r}]\n"
        "from aisys.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out" / "page.html").exists()


def test_a_stopped_search_resumes_with_the_same_answer(aisys, tmp_path, monkeypatch):
    from aisys.search import search as search_module  # noqa: F401  # the room is a function too

    whole = json.loads(aisys(*SMALL, "--json").out)
    calls = []

    def stop_after_first(question, plans, steps, put=None):
        calls.append(len(plans))
        raise KeyboardInterrupt

    from aisys.search.store import Store

    kept = Store.put

    def put_then_stop(self, *arguments):
        kept(self, *arguments)
        stop_after_first(*arguments)

    monkeypatch.setattr(Store, "put", put_then_stop)
    ended = aisys(*SMALL, "--out", str(tmp_path), "--resume")
    assert ended.code == 130
    assert "--resume" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["search.sqlite"]
    monkeypatch.setattr(Store, "put", kept)
    resumed = json.loads(aisys(*SMALL, "--out", str(tmp_path), "--resume", "--json").out)
    assert resumed == whole
    assert not (tmp_path / "search.sqlite").exists()


def test_images_are_planned_in_their_own_words(aisys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = aisys("plan", "digits", "--on", "zcu104", "--for", "infer", "--batch", "360")
    assert ended.code == 0
    said = " ".join(ended.out.split())
    assert re.search(r"Best of \d+ plans: .*a stage of hardware per layer takes .* per batch \(never validated\)", said)
    assert re.search(r"images/s .* energy/Mimage USD/Mimage", said)
    assert "token" not in said
    folder = tmp_path / "aisys-out" / "digits-zcu104-infer"
    page = (folder / "page.html").read_text()
    assert "images/s" in page
    assert "tokens/s" not in page
    assert "never validated" in page
    again = json.loads(aisys("plan", "digits", "--on", "zcu104", "--for", "infer", "--batch", "360", "--json").out)
    best = again["plans"][0]
    assert (best["unit"], best["plan"]["hardware"], best["plan"]["precision"]) == ("image", "staged", "int8")
    assert best["throughput_per_s"] == pytest.approx(360 / best["time_s"])
    assert best["metrics"]["latency_s"] < best["time_s"]
    compared = aisys("diff", str(folder), f"{folder}:2")
    assert "per batch" in compared.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("resnet18", "--on", "zcu104"), 2, "quantize the op to int8, or a network by technique integer_only"),
        (("resnet18", "--on", "zcu104", "--for", "train"), 2, "resnet18 takes images, whose training is not planned"),
        (("digits", "--on", "zcu104", "--precision", "fp8"), 2, "image networks run in bf16, fp16 or int8"),
        (("digits", "--on", "zcu104", "--tokens", "4"), 2, "digits takes images; leave out --tokens"),
        (("digits", "--on", "zcu104", "--at-most", "latency=1ns"), 1, "keeps latency_s at most 1e-09 s"),
        (("digits", "--on", "zcu104", "--at-most", "ttft=1s"), 2, "unknown limit of image networks 'ttft_s'"),
        (("digits", "--on", "zcu104", "--framework", "vllm"), 2, "for which no framework was measured"),
        (("digits", "--on", "zcu104", "--precision", "bf16"), 2, "digits multiplies int8"),
        (("resnet18", "--on", "zcu104", "--precision", "int8", "--hold", "hardware=staged"), 1, "5,811 block memories"),
    ],
)
def test_image_plans_that_cannot_be_are_one_sentence(aisys, words, code, said):
    goal = () if "--for" in words else ("--for", "infer")
    ended = aisys("plan", *words, *goal, "--no-page")
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
