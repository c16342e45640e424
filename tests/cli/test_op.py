"""`aisys op` and `aisys list`, as a user types them, bad input included."""

import json

import pytest

MATMUL = ("op", "matmul", "m=4096", "n=4096", "k=4096", "dtype=bf16", "--on", "h100-sxm")


def test_a_matmul_is_priced_between_its_limit_and_three_times_that(aisys):
    ended = aisys(*MATMUL, "--json")
    found = json.loads(ended.out)
    assert ended.code == 0
    assert ended.err == ""
    assert found["flop"] == 2 * 4096**3
    assert found["limit_s"] == pytest.approx(2 * 4096**3 / 989.4e12, rel=1e-6)  # compute-bound: the peak alone
    assert found["limit_s"] <= found["time_s"] < 3 * found["limit_s"]
    assert found["numbers"]


def test_a_person_gets_the_time_and_the_bound(aisys):
    ended = aisys(*MATMUL)
    assert "data-sheet limit" in ended.out
    assert "139 µs" in ended.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("op", "matmull", "m=1", "--on", "h100"), "unknown op 'matmull'; nearest known: matmul"),
        (("op", "matmul", "m=1", "n=1", "--on", "h100"), "k is missing"),
        (("op", "matmul", "m=x", "n=1", "k=1", "--on", "h100"), "m='x' is not a whole number"),
        (("op", "matmul", "m=-1", "n=1", "k=1", "--on", "h100"), "outside 1 to"),
        (("op", "matmul", "m=0", "n=1", "k=1", "--on", "h100"), "m=0 is outside 1 to"),
        (("op", "norm", "rows=0", "cols=8", "--on", "h100"), "rows=0 is outside 1 to"),
        (("op", "stream", "read_bytes=nan", "write_bytes=1", "--on", "h100"), "read_bytes=nan is outside 0 to"),
        (("op", "matmul", "m=1", "m=1", "n=1", "k=1", "--on", "h100"), "m is given twice"),
        (("op", "matmul", "m=1", "n=1", "kk=1", "--on", "h100"), "unknown argument of matmul 'kk'; nearest known: k"),
        (("op", "matmul", "4096", "--on", "h100"), "not of the form NAME=VALUE"),
        (("op", "matmul", "m=1", "n=1", "k=1", "dtype=bf61", "--on", "h100"), "unknown dtype 'bf61'"),
        (("op", "matmul", "m=1", "n=1", "k=1", "--on", "h10"), "unknown machine 'h10'; nearest known: "),
        (("op", "matmul", "m=1", "n=1", "k=1", "dtype=nvfp4", "--on", "h100"), "no nvfp4 arithmetic"),
        (("op", "matmul", "m=1", "n=1", "k=1", "--on", "h100", "--tier", "analitic"), "nearest known: analytic"),
        (("list", "machine"), "nearest known: machines"),
    ],
)
def test_bad_input_is_answered_with_one_sentence_and_exit_2(aisys, words, sentence):
    ended = aisys(*words, "--json")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("aisys: ")
    assert ended.err.count("\n") == 1
    assert sentence in ended.err


@pytest.mark.parametrize("what", ["machines", "devices", "links", "workloads", "ops", "techniques", "studies"])
def test_every_list_is_one_json_document(aisys, what):
    ended = aisys("list", what, "--json")
    rows = json.loads(ended.out)[what]
    assert ended.code == 0
    assert all(row["name"] for row in rows)
    assert aisys("list", what).code == 0


def test_examples_of_every_op_run(aisys):
    for row in json.loads(aisys("list", "ops", "--json").out)["ops"]:
        words = row["example"].split()[1:]
        assert aisys(*words, "--on", "h100-sxm", "--json").code == 0, row["example"]


def test_tables_are_listed_with_what_they_are(aisys, tmp_path):
    (tmp_path / "measured").mkdir()
    text = "# table: gemm\n# kind: measured\n# source: us\ndevice,m,n,k,us\nh100-sxm,1,1,1,5\n"
    (tmp_path / "measured" / "mine.csv").write_text(text)
    ended = aisys("list", "tables", "--tables", str(tmp_path), "--json")
    (row,) = json.loads(ended.out)["tables"]
    assert (row["file"], row["table"], row["kind"], row["rows"]) == ("mine.csv", "gemm", "measured", 1)


def test_without_a_folder_of_tables_the_answer_says_how_to_give_one(aisys, monkeypatch):
    monkeypatch.delenv("AISYS_TABLES", raising=False)
    ended = aisys("list", "tables")
    assert ended.code == 2
    assert "give --tables DIR or set AISYS_TABLES" in ended.err


def test_a_table_of_ones_own_moves_ops_and_plans_towards_it(aisys, tmp_path):
    plain = json.loads(aisys(*MATMUL, "--json").out)["time_s"]
    head = "# table: gemm\n# kind: measured\n# source: made up\n# units: us\ndevice,dtype,m,n,k,us\n"
    shapes = [(m, n) for m in (1024, 2048, 4096, 8192) for n in (2048, 4096, 8192)]
    lines = []
    for m, n in shapes:
        words = ("op", "matmul", f"m={m}", f"n={n}", "k=4096", "--on", "h100-sxm", "--json")
        lines.append(f"h100-sxm,bf16,{m},{n},4096,{json.loads(aisys(*words).out)['time_s'] * 1.3e6:.6g}")
    table = tmp_path / "mine.csv"
    table.write_text(head + "\n".join(lines) + "\n")
    learned = json.loads(aisys(*MATMUL, "--calibrate-with", str(table), "--json").out)
    assert learned["tier"] == "calibrated"
    assert 1.15 < learned["time_s"] / plain < 1.31
    assert any("mine.csv" in number["source"] for number in learned["numbers"])
    asked = ("plan", "llama-3.1-8b", "--on", "dgx-h100", "--batch", "16", "--no-page", "--top", "1", "--json")
    before, after = (json.loads(aisys(*asked, *more).out)["plans"][0]["time_s"]
                     for more in ((), ("--calibrate-with", str(table))))  # fmt: skip
    assert 1.05 < after / before < 1.35
    refused = aisys(*MATMUL, "--tier", "limit", "--calibrate-with", str(table))
    assert (refused.code, "leave out --tier limit" in refused.err) == (2, True)
    other = aisys("op", "matmul", "m=1", "n=1", "k=1", "--on", "b200", "--calibrate-with", str(table))
    assert (other.code, "fewer than 8 rows of any op and format of b200" in other.err) == (2, True)
