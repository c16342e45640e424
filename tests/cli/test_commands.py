"""`aisys explain`, `diff`, `validate`, `run` and `show`, as a user types them, bad input included."""

import csv
import json
import os
from xml.etree import ElementTree

import pytest

SMALL = ("plan", "llama-3.1-8b", "--on", "dgx-h100", "--tokens", "1024", "--batch", "16")
GEMM = "# table: gemm\n# kind: measured\n# source: ours\ndevice,dtype,m,n,k,us\n"


def test_explain_puts_numbers_into_the_formulas_of_the_model(aisys):
    ended = aisys("explain", "matmul", "m=4096", "n=4096", "k=4096", "--on", "h100-sxm")
    assert ended.code == 0
    assert "2 * 4,096 * 4,096 * 4,096" in ended.out.replace("2 * 1 *", "2 *")
    assert "137 Gflop / 989 Tflop/s" in ended.out
    assert "fitted" in ended.out or "assumed" in ended.out


def test_explain_and_op_say_the_same_time(aisys):
    words = ("attention", "q_len=1", "kv_len=4096", "q_heads=32", "kv_heads=8", "--on", "b200", "--json")
    explained, priced = (json.loads(aisys(command, *words).out) for command in ("explain", "op"))
    assert explained["time_s"] == priced["time_s"]
    limit = {step["name"]: step["value"] for step in explained["limit"]}
    assert limit["limit_s"] == pytest.approx(priced["limit_s"])
    assert explained["model"]


@pytest.mark.parametrize("kind", ["matmul", "grouped_matmul", "attention", "norm", "stream"])
@pytest.mark.parametrize("device", ["h100-sxm", "b200", "xeon-2s", "systolic-32x32"])
def test_whatever_can_be_priced_can_be_explained(aisys, kind, device):
    (row,) = (row for row in json.loads(aisys("list", "ops", "--json").out)["ops"] if row["name"] == kind)
    words = (*row["example"].split()[2:], "--on", device, "--json")
    priced = aisys("op", *words)
    assert aisys("explain", *words).code == priced.code


def test_explain_of_a_run_sets_every_op_beside_its_limit(aisys, tmp_path):
    aisys(*SMALL, "--out", str(tmp_path))
    found = json.loads(aisys("explain", str(tmp_path), "--json").out)
    products = [op for op in found["ops"] if op["kind"] in ("matmul", "attention")]
    assert all(op["over_limit"] >= 1 for op in products)  # a stream may be under: its bytes can stay in the cache
    assert sum(op["share"] for op in found["ops"]) == pytest.approx(1)
    assert aisys("explain", str(tmp_path)).code == 0


def test_diff_names_what_makes_the_difference(aisys, tmp_path):
    aisys(*SMALL, "--out", str(tmp_path / "a"))
    aisys(*SMALL, "--out", str(tmp_path / "b"), "--hold", "tensor=8")
    ended = aisys("diff", str(tmp_path / "a"), str(tmp_path / "b"))
    assert "tensor-parallel links" in ended.out
    found = json.loads(aisys("diff", str(tmp_path / "a"), str(tmp_path / "b"), "--json").out)
    gap = found["b"]["time_s"] - found["a"]["time_s"]
    assert sum(change["b_minus_a_s"] for change in found["parts"]) == pytest.approx(gap, rel=1e-3)
    assert {change["sort"] for change in found["parts"]} <= {"op", "link", "wait"}


def test_validate_reads_a_table_of_ones_own(aisys, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text(GEMM + "h100-sxm,bf16,4096,4096,4096,190\nh100-sxm,bf16,8192,4096,4096,365\n")
    ended = aisys("validate", str(table), "--json", "--rows", str(tmp_path / "rows.csv"))
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert {"table", "kind", "tier", "rows", "exact", "skipped", "mape", "median_ape", "p90_ape", "bias",
            "interval_coverage", "interval_width", "per_group"} <= set(found)  # fmt: skip
    assert (found["table"], found["kind"], found["tier"], found["rows"]) == ("gemm", "measured", "analytic", 2)
    rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
    errors = [abs(float(row["predicted"]) - float(row["us"])) / float(row["us"]) for row in rows]
    assert found["mape"] == pytest.approx(sum(errors) / 2)
    assert "largest errors" in aisys("validate", str(table)).out


@pytest.mark.skipif("AISYS_TABLES" not in os.environ, reason="needs AISYS_TABLES, the folder of measurement tables")
def test_a_table_of_the_folder_is_found_by_name(aisys):
    found = json.loads(aisys("validate", "gpu_attention", "--json").out)
    assert found["table"] == "attention"


STUDY = 'workload = "llama-3.1-8b"\nmachine = "dgx-h100"\nbatch = 16\n[sweep]\ntokens = [512, 1024]\n'


def test_a_study_plans_every_combination(aisys, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(STUDY + 'machine = ["dgx-h100", "dgx-a100"]\n')
    found = json.loads(aisys("run", str(file), "--json").out)
    assert [tuple(point["settings"].values()) for point in found["points"]] == [
        (512, "dgx-h100"), (512, "dgx-a100"), (1024, "dgx-h100"), (1024, "dgx-a100"),
    ]  # fmt: skip
    ended = aisys("run", str(file), "--out", str(tmp_path / "out"))
    assert ended.code == 0
    assert len(list(csv.DictReader((tmp_path / "out" / "points.csv").open()))) == 4


def test_a_study_where_some_points_do_not_fit_says_so_and_goes_on(aisys, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'workload = "llama-3.1-8b"\nmachine = "x"\nbatch = 8\n[sweep]\nmachine = ["h100-sxm", "dgx-h100"]\n'
    )
    ended = aisys("run", str(file), "--json")
    first, second = json.loads(ended.out)["points"]
    assert ended.code == 0
    assert first["plans"] == []
    assert "does not fit" in first["binding_constraint"]
    assert second["plans"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "workload is missing"),
        ("workload = ", "is not a TOML file"),
        ('workload = "gpt2"\n', "machine is missing"),
        (STUDY + "tokns = [1]\n", "unknown field in study.toml 'tokns'; nearest known: tokens"),
        (STUDY + "top = 3\n", "[sweep] needs lists"),
        (STUDY + "top = []\n", "[sweep] needs lists"),
        (STUDY.replace("16", '"many"'), "batch is 'many'; it must be a whole number"),
        (STUDY + f"top = {list(range(1, 6000))}\n", "a sweep of more than 10,000 points"),
        (STUDY.replace("8b", "8c"), "unknown workload"),
    ],
)
def test_a_study_that_cannot_be_is_one_sentence(aisys, tmp_path, text, sentence):
    file = tmp_path / "study.toml"
    file.write_text(text)
    ended = aisys("run", str(file), "--json")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert sentence in ended.err


def test_show_prints_the_graph_and_its_counts(aisys, tmp_path):
    assert "parameters=124,439,808" in aisys("show", "gpt2", "--tokens", "16").out
    found = json.loads(aisys("show", "gpt2", "--tokens", "16", "--technique", "training_step", "--json").out)
    assert found["parameters"] == 124_439_808
    assert {"forward", "input_gradient", "weight_gradient", "optimizer"} <= {
        op["phase"] for block in found["blocks"] for op in block["ops"]
    }
    assert aisys("show", "gpt2", "--save", str(tmp_path / "graph.json")).code == 0
    assert (tmp_path / "graph.json").exists()


def test_share_cuts_an_array_and_sets_the_equal_split_beside_it(aisys):
    words = ("share", "alexnet", "mobilenet-v1", "--on", "systolic-32x32")
    found = json.loads(aisys(*words, "--json").out)
    assert [part["network"] for part in found["best"]["parts"]] == ["alexnet", "mobilenet-v1"]
    assert sum(part["rows"] * part["cols"] for part in found["best"]["parts"]) == 32 * 32
    assert found["best"]["stp"] >= found["equal"]["stp"]
    assert f"ways to cut: {found['best']['num_tried']} first cuts" in aisys(*words).out
    by_antt = json.loads(aisys(*words, "--by", "antt", "--json").out)
    assert by_antt["objective"] == "antt"
    assert by_antt["best"]["antt"] <= found["best"]["antt"]


def test_both_cuts_of_an_array_are_drawn_to_scale(aisys, tmp_path):
    words = ("share", "alexnet", "mobilenet-v1", "vgg16", "--on", "systolic-32x32", "--figure")
    found = json.loads(aisys(*words, str(tmp_path / "cuts.svg"), "--json").out)
    drawn = ElementTree.parse(tmp_path / "cuts.svg").findall("{http://www.w3.org/2000/svg}rect")[1:]
    areas = [(float(box.get("width")) + 1) * (float(box.get("height")) + 1) for box in drawn]
    parts = [part["rows"] * part["cols"] for key in ("best", "equal") for part in found[key]["parts"]]
    assert areas == pytest.approx([part * (208 / 32) ** 2 for part in parts], rel=1e-3)
    ended = aisys(*words, str(tmp_path / "cuts.jpg"))
    assert (ended.code, "figures are written as .svg or .pdf" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("share", *["alexnet"] * 5, "--on", "tpu-like-256"), "5 networks on one array"),
        (("share", "alexnet", "vgg16", "--on", "h100-sxm"), "h100-sxm has no systolic array to share"),
        (("share", "alexnet", "vgg16", "--on", "systolic-32x32", "--by", "sdp"), "unknown objective 'sdp'"),
        (("share", "alexnett", "--on", "systolic-32x32"), "unknown workload 'alexnett'"),
        (("explain", "matmull", "m=1", "--on", "h100"), "unknown op 'matmull'; nearest known: matmul"),
        (("explain", "matmul", "m=1", "n=1", "k=1"), "needs a device; add for example --on h100-sxm"),
        (("diff", "no-such-run", "no-such-run"), "no-such-run: cannot be read"),
        (("validate", "no-such-table.csv", "--tables", "no-such-folder"), "has no folder 'measured'"),
        (("validate", "no/such/table.csv"), "table.csv: cannot be read"),
        (("run", "no-such-study.toml"), "no-such-study.toml: cannot be read"),
        (("show", "gpt22"), "unknown workload 'gpt22'; nearest known: gpt2"),
        (("show", "gpt2", "--technique", "tensor_parallel:degree=2"), "decides plans and changes no graph"),
        (("show", "gpt2", "--technique", "tensor_parallel"), "technique tensor_parallel needs degree"),
        (("show", "gpt2", "--save", "/no/such/folder/graph.json"), "cannot be written"),
    ],
)
def test_bad_input_is_answered_with_one_sentence_and_exit_2(aisys, words, sentence):
    ended = aisys(*words)
    assert ended.code == 2, ended.err
    assert ended.err.startswith("aisys: ")
    assert ended.err.count("\n") == 1
    assert sentence in ended.err
