"""Generate the Python modules of the contracts with pinned tools in an isolated environment.

`python protos/generate.py` writes them; `--check` fails when the checked-in ones differ.
The generator is older than the runtime on purpose: its code runs with protobuf 6 and 7 alike.
"""

from __future__ import annotations

import argparse
import filecmp
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TOOLS = ("grpcio-tools==1.76.0", "mypy-protobuf==5.1.0", "setuptools==80.9.0")
ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "colossus_protos" / "v1"
ENVIRONMENT = ROOT.parent / "build" / "protoc"


def generator_python() -> Path:
    """Return the interpreter of the generator's environment, making it when it is missing."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "tools.txt"
    wanted = "\n".join(TOOLS)
    if not (stamp.exists() and stamp.read_text() == wanted):
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *TOOLS], check=True)
        stamp.write_text(wanted)
    return python


def generate(target: Path) -> None:
    """Write all generated modules, and the descriptor set for the lint tests, below `target`."""
    python = generator_python()
    sources = sorted(str(path.relative_to(ROOT)) for path in PACKAGE.glob("*.proto"))
    plugins = ENVIRONMENT / "bin"
    subprocess.run(
        [
            python,
            "-m",
            "grpc_tools.protoc",
            f"--proto_path={ROOT}",
            f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
            f"--python_out={target}",
            f"--mypy_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_grpc_out=only_async:{target}",
            *sources,
        ],
        cwd=ROOT,
        check=True,
    )
    for path in target.rglob("*_pb2_grpc.py*"):
        if "class " not in path.read_text():  # no service in that file: an empty stub
            path.unlink()


def describe(target: Path) -> None:
    """Write the descriptor set with source comments, for the contract lint."""
    sources = sorted(str(path.relative_to(ROOT)) for path in PACKAGE.glob("*.proto"))
    subprocess.run(
        [
            generator_python(),
            "-m",
            "grpc_tools.protoc",
            f"--proto_path={ROOT}",
            "--include_source_info",
            f"--descriptor_set_out={target}",
            *sources,
        ],
        cwd=ROOT,
        check=True,
    )


def differing(fresh: Path) -> list[str]:
    """Return the names of generated files that differ from the checked-in ones."""
    made = {path.name: path for path in fresh.rglob("*_pb2*")}
    kept = {path.name: path for path in PACKAGE.glob("*_pb2*")}
    return sorted(
        name
        for name in made.keys() | kept.keys()
        if name not in made
        or name not in kept
        or not filecmp.cmp(made[name], kept[name], shallow=False)
    )


def main() -> int:
    """Generate, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    parser.add_argument("--describe", type=Path, metavar="FILE", help="write the descriptor set")
    arguments = parser.parse_args()
    if arguments.describe:
        describe(arguments.describe)
        return 0
    if not arguments.check:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        names = differing(Path(folder))
    for name in names:
        sys.stderr.write(f"{name} is not what the .proto files generate; run generate.py\n")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
