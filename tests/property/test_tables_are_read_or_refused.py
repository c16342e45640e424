"""A measurement table is read as it stands, or refused in one sentence that says where it is wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisys.errors import AisysError, BadInput, UnknownName
from aisys.validate import read_table
from aisys.validate.table import MAX_BYTES

HEADER = "# table: gemm\n# kind: measured\n# source: a run, 2025\n# units: us\n"
GOOD = HEADER + 'device,m,us\nh100,16,2.5\n"a100, 80GB",32,4e0\n'


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(AisysError) as caught:
        read_table(written(folder, content))
    return str(caught.value)


def test_a_table_holds_its_header_and_its_cells(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, GOOD))
    assert (table.kind, table.evidence, len(table)) == ("gemm", "measured", 2)
    assert table.header == {"source": "a run, 2025", "units": "us"}
    assert list(table.texts("device")) == ["h100", "a100, 80GB"]
    assert list(table.counts("m")) == [16, 32]
    assert list(table.numbers("us", above=0.0)) == [2.5, 4.0]


def test_header_words_in_capitals_and_comments_without_a_field_are_read(tmp_path: Path) -> None:
    text = "# table: cxl\n# kind: measured\n# Source: a log\n# from memory, unverified\n\ndevice,m\na,1\n"
    assert read_table(written(tmp_path, text)).header == {"source": "a log", "note": "from memory, unverified"}


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain = read_table(written(tmp_path, GOOD))
    other = read_table(written(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()))
    assert other.columns == plain.columns
    assert other.header == plain.header


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no '# table:' line"),
        ("# table: gemm\nm,us\n1,2\n", "no '# kind:' line"),
        ("# table: gemm\n# kind: guessed\nm,us\n1,2\n", "unknown kind of table 'guessed'"),
        ("# table: gemm\n# table: moe\n# kind: measured\nm,us\n1,2\n", "two '# table:' lines"),
        (HEADER, "no line of column names"),
        (HEADER + "m,us\n", "has no rows"),
        (HEADER + "m,m\n1,2\n", "column 2 is named 'm'"),
        (HEADER + "m,\n1,2\n", "column 2 is named ''"),
        (HEADER + "m,us\n1,2\n3\n", "row 2 has 1 cells; it needs 2"),
        (HEADER + "m,us\n1,2,3\n", "row 1 has 3 cells; it needs 2"),
        (HEADER + 'm,us\n"1,2\n', "is not a CSV table"),
        (b"\x93NUMPY\x01\x00v\x00", "byte 0 is not UTF-8 text"),
        (GOOD.encode() + b"\0", "has a zero byte"),
    ],
)
def test_a_malformed_table_is_refused_in_one_sentence(tmp_path: Path, content: str | bytes, said: str) -> None:
    message = refusal(tmp_path, content)
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("fast", "row 2, column 'us' is 'fast'; give a number above 0"),
        ("nan", "row 2, column 'us' is 'nan'; give a finite number above 0"),
        ("inf", "row 2, column 'us' is 'inf'; give a finite number above 0"),
        ("1e999", "row 2, column 'us' is '1e999'; give a finite number above 0"),
        ("-3", "row 2, column 'us' is '-3'; give a finite number above 0"),
        ("0", "row 2, column 'us' is '0'; give a finite number above 0"),
        ("", "row 2, column 'us' is empty; give a number above 0"),
    ],
)
def test_a_cell_that_is_no_number_is_named_by_file_row_and_column(tmp_path: Path, cell: str, said: str) -> None:
    table = read_table(written(tmp_path, HEADER + f'us,m\n1,1\n"{cell}",1\n'))
    with pytest.raises(BadInput) as caught:
        table.numbers("us", above=0.0)
    assert str(caught.value) == f"table.csv: {said}"


@pytest.mark.parametrize("cell", ["1.5", "0", "-4", "1e300", "9" * 5000, "nan"])
def test_a_cell_that_is_no_count_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(BadInput, match=r"row 1, column 'm'"):
        read_table(written(tmp_path, HEADER + f"m\n{cell}\n")).counts("m")


def test_an_empty_cell_takes_the_value_that_the_reader_names(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, HEADER + "m,us\n1,\n,2\n"))
    assert list(table.counts("m", empty=7)) == [1, 7]
    assert np.isnan(table.numbers("us", empty=np.nan)[0])


def test_a_missing_column_is_named_beside_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"table.csv: column 'watt' is missing; it has device, m, us"):
        read_table(written(tmp_path, GOOD)).numbers("watt")


def test_a_table_of_ten_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    os.truncate(path, 10 * 10**9)
    with pytest.raises(BadInput, match=f"10,000,000,000 bytes; a table has at most {MAX_BYTES:,}"):
        read_table(path)


def test_a_folder_a_device_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero"), tmp_path / "absent.csv", Path("a\0b")):
        with pytest.raises(BadInput, match="give a CSV table"):
            read_table(path)


def test_an_unknown_kind_of_table_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    from aisys.validate import run

    for kind in ("no_such_kind", "table", "run", "__init__", "../run", "os"):
        with pytest.raises(UnknownName, match="unknown kind of table"):
            run(written(tmp_path, f"# table: {kind}\n# kind: measured\nm\n1\n"))


def test_some_rows_of_a_table_keep_their_numbers_in_the_file(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, GOOD)).take([1])
    assert table.rows == (2,)
    assert list(table.texts("m")) == ["32"]
    assert read_table(written(tmp_path, GOOD)).take(np.array([False, True])).rows == (2,)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = written(tmp_path_factory.getbasetemp(), GOOD.encode() + content)
    message = ""
    try:
        read_table(path)
    except AisysError as error:
        message = str(error)
    assert "\n" not in message
