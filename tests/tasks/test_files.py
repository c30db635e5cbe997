"""Problem files of any kind: what is read, and what is refused in one line that names file and place."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from treereason.core import UserError, given_file
from treereason.core.given_file import check_regular
from treereason.tasks import files
from treereason.tasks.few_shot import FewShot
from treereason.tasks.files import csv_rows, json_objects
from treereason.tasks.sorting import Sorting


def test_a_cell_of_any_length_is_read_and_the_limit_of_others_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("name,text\r\na," + "x" * 200_000 + "\r\nb,y\r\n")
    before = csv.field_size_limit()
    rows = [row for _, row in csv_rows(path, ("name", "text"))]
    assert [len(row["text"]) for row in rows] == [200_000, 1]
    assert csv.field_size_limit() == before
    path.write_text('ID,Unsorted,Sorted\n1,"' + str([3] * 100_000) + '","' + str([3] * 100_000) + '"\n')
    assert len(Sorting(path=str(path)).problems(0)[0].input) == 100_000


@pytest.mark.parametrize("task", [Sorting, FewShot])
def test_only_regular_files_of_a_bounded_size_are_read(
    task: type[Sorting] | type[FewShot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo, linked, large = tmp_path / "fifo", tmp_path / "linked", tmp_path / "large"
    os.mkfifo(fifo)
    linked.symlink_to("/dev/zero")
    large.write_bytes(b"x" * 101)
    monkeypatch.setattr(files, "LARGEST_FILE_BYTES", 100)
    for path, reason in [
        ("/dev/zero", "it is not a regular file"),
        (linked, "it is not a regular file"),
        (fifo, "it is not a regular file"),
        (tmp_path, "it is a folder"),
        (large, "it has 101 bytes, and at most 100 are read"),
        (large / "below", "no such file"),
        (tmp_path / ("x" * 256), "File name too long"),
        ("a\0b", "cannot read 'a\\x00b': embedded null byte"),
    ]:
        with pytest.raises(UserError) as raised:
            task(path=str(path)).problems(0)
        assert reason in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # tests may run as root, who may read everything
    with pytest.raises(UserError, match=r"cannot read .*: Permission denied"):
        Sorting(path=str(path)).problems(0)


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b'{"question": "1", "answer": 1}\n' + b"[" * 100_000, 2, "nested more than 100 deep"),
        (b"[" * 500 + b"]" * 500, 1, "nested more than 100 deep"),
        (b'{"question": "1", "answer": ' + b"[" * 500 + b"]" * 500 + b"}", 1, "nested more than 100 deep"),
        (b'{"question": "1", "answer": 1, "answer": 2}', 1, "the key 'answer' occurs twice"),
        (b'\n{"question": "1", "answer": NaN}', 2, "NaN is not a value of JSON"),
        (b'{"question": "1", "answer": -Infinity}', 1, "-Infinity is not a value of JSON"),
        (b'{"question": "1", "answer": ' + b"9" * 20_000 + b"}", 1, "a number of 20,000 digits"),
        (b'{"question": "1", "answer": 1e-99999999999999999999}', 1, "is no number that can be computed with"),
        (b'{"question": "1", "answer": 0e99999999999999999999}', 1, "is no number that can be computed with"),
        (b'{"question": "1"}', 1, "no key 'answer'"),
        (b'{"\\u001b[31m": "1"}', 1, "the keys are ␛[31m"),
        (b"\n\n\0", 3, "it holds a NUL byte"),
        (b"\r\n\xff\r\n", 2, "not UTF-8 text"),
        ('{"question": "1", "answer": 1}'.encode("utf-16"), 1, "not UTF-8 text"),
    ],
)
def test_a_bad_line_of_json_is_named(content: bytes, line: int, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        list(json_objects(path, ("question", "answer")))
    assert str(raised.value).startswith(f"{path}:{line}: ")
    assert reason in str(raised.value)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        ("a,b,a\n1,2,3\n", ":1: ", "the column 'a' occurs twice"),
        ("a,b\n1\n", ":2: ", "1 cells in a table of 2 columns"),
        ("a,b\n1,\0\n", ":2: ", "it holds a NUL byte"),
        ("x" * 200_000, ":1: ", "no column 'a'"),
        ("\x1b]0;t\x07,b\n", ":1: ", "the columns are ␛]0;t␇, b"),
        ("\n\n", " is ", "is empty"),
    ],
)
def test_a_bad_row_of_a_table_is_named(content: str, place: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(UserError) as raised:
        list(csv_rows(path, ("a", "b")))
    assert str(raised.value).startswith(f"{path}{place}")
    assert reason in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_name_that_cannot_be_printed_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "a\n\x1b]0;b"
    path.write_text(json.dumps([]))
    with pytest.raises(UserError) as raised:
        list(json_objects(path, ()))
    assert str(raised.value).isprintable()


def test_a_file_that_takes_anothers_place_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    os.mkfifo(path)
    monkeypatch.setattr("treereason.core.given_file.check_regular", lambda *_: 1)  # it was one when it was checked
    with pytest.raises(UserError, match="is empty"):
        Sorting(path=str(path)).problems(0)


@pytest.mark.skipif(not os.access("/proc/kmsg", os.R_OK), reason="the kernel's messages are not for everyone")
def test_a_regular_file_that_would_make_a_reader_wait_is_refused() -> None:
    with pytest.raises(UserError, match="a read would wait"):
        check_regular(Path("/proc/kmsg"))


def test_a_text_of_more_values_than_are_read_is_refused_before_it_fills_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_file, "MOST_VALUES", 100)
    for text in (
        "[" + "[]," * 100 + "1]",
        '["' + '","' * 101 + '"]',
        b"[" + b"1," * 101 + b"1]",
        '["' + "a,[" * 50_000,
    ):
        with pytest.raises(ValueError, match=r"more than 100 values|Unterminated"):
            given_file.parse_json(text)
    prose = r"so, then [1] {2} \" and, " * 50
    assert given_file.parse_json(json.dumps([prose, "\\"])) == [prose, "\\"]


def test_a_whole_number_of_too_many_digits_is_refused_in_our_words() -> None:
    with pytest.raises(ValueError, match=r"^a number of 5,000 digits; at most 4,300 are read$"):
        given_file.parse_json("9" * 5000)


@pytest.mark.parametrize(
    ("content", "task"),
    [
        ("ID,Unsorted,Sorted\n" + "".join(f"{i},[1],[1]\n" for i in range(6)), Sorting),
        ('{"question": "1", "answer": 1}\n' * 6, FewShot),
    ],
)
def test_a_file_of_more_problems_than_memory_holds_is_refused(
    content: str, task: type[Sorting] | type[FewShot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text(content)
    monkeypatch.setattr(files, "MOST_ROWS", 6)
    fields: dict[str, Any] = {"examples": 0} if task is FewShot else {}
    assert len(task(path=str(path), **fields).problems(0)) == 6
    monkeypatch.setattr(files, "MOST_ROWS", 5)
    with pytest.raises(UserError, match="more than 5 problems: give them in several files"):
        task(path=str(path), **fields).problems(0)


def test_problems_that_memory_cannot_hold_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Sorting, "read", full)
    with pytest.raises(UserError, match="need more memory than there is"):
        Sorting(path=str(tmp_path / "a.csv")).problems(0)


@pytest.mark.parametrize(("answer", "target"), [("0e999999", 0), ("-0.0", 0), ("7" * 10_000, "7" * 10_000)])
def test_a_number_of_any_length_is_a_target_in_its_digits(answer: str, target: object, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"question": "1", "answer": {answer}}}\n')
    assert FewShot(path=str(path), examples=0).problems(0)[0].target == target
