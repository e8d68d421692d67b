"""What others wrote is read within bounds, and refused in one line."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from pathlib import Path

import pytest
import yaml

from takeback.run.errors import TakebackError
from takeback.run.json_text import parse_json, read_json, read_object
from takeback.run.reading import MOST_LEVELS, Missing, Unreadable, own_path, read_bytes, read_text
from takeback.run.yaml_text import parse_yaml, read_yaml, yaml_nodes

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)
MERGES = "\n".join(
    ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
)
JSON = {
    "deep": "[" * 200_000,
    "deep and whole": "[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1),
    "a number of 6,000 digits": "9" * 6000,
    "half a character": '["\\ud800"]',
    "half a character as a name": '{"\\uDFFF": 1}',
    "cut off": '{"a": [1, 2',
    "nothing": "",
    "a mark of byte order": "\ufeff{}",
}
YAML = {
    "deep": "[" * 5000,
    "deep blocks": "- " * 3000 + "x",
    "deep by aliases": "\n".join(["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)]),
    "laughs": LAUGHS,
    "merges": MERGES,
    "an alias of itself": "&a [*a]",
    "an alias of nothing": "*a",
    "many values": "[" + "a," * 150_000 + "]",
    "a bad int": "a: !!int x",
    "a bad float": "a: !!float x",
    "a bad truth": "a: !!bool x",
    "a bad time": "a: !!timestamp x",
    "a bad date": "date: 2026-99-01",
    "a tag that runs code": "!!python/object/apply:os.system [true]",
    "a number of 6,000 digits": "a: " + "9" * 6000,
    "a long number in base 16": "a: 0x" + "f" * 6000,
    "half a character": '"\\ud800"',
    "no character": '"\\UFFFFFFFF"',
    "a list as a name": "{[a]: b}",
    "two documents": "--- a\n--- b",
    "a zero byte": "a: \0",
}


@pytest.mark.parametrize("text", JSON.values(), ids=JSON)
def test_json_that_is_bent_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(Unreadable, match=r"^x can't be read as JSON: ") as told:
        parse_json(text, "x")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


@pytest.mark.slow
@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_yaml_that_is_bent_is_refused_in_one_short_line_and_soon(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unreadable, match=r"^x can't be read as YAML: ") as told:
        parse_yaml(text, "x")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400
    assert time.monotonic() - began < 30


def test_what_is_well_formed_reads_as_by_the_libraries() -> None:
    value = {"a": [1, -2.5, 1e300, True, None, "ä😀"], "b": {"c": [[]] * 5}, "d": 10**99}
    text = json.dumps(value)
    assert parse_json(text, "x") == parse_json(text, "x", strict=True) == json.loads(text) == value
    plain = "base: &b {x: [1, 2], y: 2026-01-31}\nother: {<<: *b, z: *b}\nt: 'a: b'\ni: .inf\no: 0o7\n"
    assert parse_yaml(plain, "x") == yaml.safe_load(plain)
    assert isinstance(yaml_nodes(plain, "x"), yaml.MappingNode)
    assert yaml_nodes("", "x") is parse_yaml("", "x") is None


def test_the_line_of_a_mistake_is_told() -> None:
    with pytest.raises(Unreadable) as told:
        parse_yaml("a: 1\nb: [1\nc: !!int x\n", "x")
    assert told.value.line == 3


def test_strict_json_has_no_number_that_is_none() -> None:
    assert math.isnan(parse_json("NaN", "x"))
    for text in ("NaN", "-Infinity", "1e999"):
        with pytest.raises(Unreadable):
            parse_json(text, "x", strict=True)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe, folder, hidden, place = (tmp_path / name for name in ("pipe", "folder", "hidden", "socket"))
    os.mkfifo(pipe)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.path.relpath(place))
        for path in (pipe, folder, place, Path("/dev/zero"), tmp_path / ("x" * 300)):
            for read in (read_bytes, read_text, read_json, read_yaml):
                with pytest.raises(Unreadable):
                    read(path)
    with pytest.raises(Missing, match="no plan"):
        read_yaml(hidden, "no plan")
    with pytest.raises(Unreadable, match="it is a named pipe, no regular file"):
        read_json(pipe)


def test_files_are_bounded_and_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'["a",\r\n"\xff"]')
    with pytest.raises(Unreadable, match=r"no UTF-8 \(byte 9, line 2\)"):
        read_json(path)
    path.write_bytes(b"{}\r\n\r{}")
    assert read_text(path) == path.read_text(encoding="utf-8")
    assert read_text(path, as_it_is=True) == "{}\r\n\r{}"
    with pytest.raises(Unreadable, match="more than 3 bytes"):
        read_text(path, most=3)
    path.write_text("[]")
    with pytest.raises(Unreadable, match="a list where an object"):
        read_object(path)


def test_paths_that_no_file_can_have_are_refused() -> None:
    for text in ("~nobody-of-this-name/x", "x" * 300, "a\0b"):
        with pytest.raises(TakebackError):
            own_path(text)
    assert own_path("~") == Path.home()
    assert own_path("not/there") == Path("not/there")
