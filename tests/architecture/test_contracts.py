"""The contracts' own lint: names, comments and field numbers that are never used twice."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

ROOT = Path(__file__).resolve().parents[2]
BASELINE = Path(__file__).with_name("contract_baseline.json")
UNITLESS_TIME = re.compile(r"(^|_)(timestamp|millis|usec|secs)$")
UNSIGNED = {
    FieldDescriptorProto.TYPE_UINT32,
    FieldDescriptorProto.TYPE_UINT64,
    FieldDescriptorProto.TYPE_FIXED32,
    FieldDescriptorProto.TYPE_FIXED64,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[FileDescriptorProto]:
    target = tmp_path_factory.mktemp("contracts") / "set.bin"
    subprocess.run(
        [sys.executable, str(ROOT / "protos" / "generate.py"), "--describe", str(target)],
        check=True,
        timeout=55,
    )
    return list(FileDescriptorSet.FromString(target.read_bytes()).file)


def messages(files: list[FileDescriptorProto]) -> Iterator[DescriptorProto]:
    for file in files:
        yield from file.message_type


def enums(files: list[FileDescriptorProto]) -> Iterator[EnumDescriptorProto]:
    for file in files:
        yield from file.enum_type


def test_folder_package_and_version_agree(files: list[FileDescriptorProto]) -> None:
    assert {file.package for file in files} == {"colossus.v1"}
    assert {Path(file.name).parent.as_posix() for file in files} == {"colossus_protos/v1"}


def test_names_follow_the_conventions(files: list[FileDescriptorProto]) -> None:
    wrong = []
    for message in messages(files):
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", message.name):
            wrong.append(message.name)
        wrong += [
            f"{message.name}.{field.name}"
            for field in message.field
            if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", field.name)
            or UNITLESS_TIME.search(field.name)
            or field.type in UNSIGNED
        ]
    for enum in enums(files):
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
        wrong += [value.name for value in enum.value if not value.name.startswith(prefix)]
        if enum.value[0].name != prefix + "UNSPECIFIED":
            wrong.append(f"{enum.name}: zero is not {prefix}UNSPECIFIED")
    for file in files:
        for service in file.service:
            for method in service.method:
                request = method.input_type.rpartition(".")[2]
                response = method.output_type.rpartition(".")[2]
                if (request, response) != (f"{method.name}Request", f"{method.name}Response"):
                    wrong.append(f"{service.name}.{method.name}")

    assert wrong == []


def test_everything_is_documented(files: list[FileDescriptorProto]) -> None:
    kinds = {4: "message_type", 5: "enum_type", 6: "service"}
    inner = {4: {2: "field"}, 5: {2: "value"}, 6: {2: "method"}}
    silent = []
    for file in files:
        documented = {
            tuple(location.path)
            for location in file.source_code_info.location
            if location.leading_comments.strip()
        }
        for number, kind in kinds.items():
            for index, thing in enumerate(getattr(file, kind)):
                if (number, index) not in documented:
                    silent.append(thing.name)
                for child_number, child_kind in inner[number].items():
                    silent += [
                        f"{thing.name}.{child.name}"
                        for position, child in enumerate(getattr(thing, child_kind))
                        if (number, index, child_number, position) not in documented
                    ]

    assert silent == []


def numbers(files: list[FileDescriptorProto]) -> dict[str, dict[str, str]]:
    """Every field and enum value by number, as the baseline keeps them."""
    table = {
        message.name: {
            str(field.number): f"{field.name}:{field.type}:{field.label}:{field.type_name}"
            for field in message.field
        }
        for message in messages(files)
    }
    for enum in enums(files):
        table[enum.name] = {str(value.number): value.name for value in enum.value}
    return table


def test_no_number_changes_its_meaning(
    files: list[FileDescriptorProto], request: pytest.FixtureRequest
) -> None:
    now = numbers(files)
    if request.config.getoption("--accept-contracts"):
        BASELINE.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    before: dict[str, dict[str, str]] = json.loads(BASELINE.read_text())
    broken = [
        f"{name}.{number}: was {meaning}, is {now.get(name, {}).get(number, 'gone')}"
        for name, meanings in before.items()
        for number, meaning in meanings.items()
        if now.get(name, {}).get(number) != meaning
    ]
    unknown = [
        f"{name}.{number}: {meaning} is not in the baseline; run pytest --accept-contracts"
        for name, meanings in now.items()
        for number, meaning in meanings.items()
        if number not in before.get(name, {})
    ]

    assert broken + unknown == []
