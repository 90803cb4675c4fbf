"""Prints progress as Megatron-LM and torchtitan do, in the forms of several of their releases.

The forms follow the format strings of megatron/training/training.py (training_log),
megatron/training.py of the releases up to 3.0, pretrain_gpt2.py of 1.0, Megatron-DeepSpeed, and
torchtitan/components/metrics.py (train.py in its first releases).

    python -m tests.fakes.framework_logs megatron --seconds 0.1 --interval 10
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime

SEQUENCE, BATCH, TARGET = 2048, 16, 1000
RED, GREEN, BLUE, RESET = "\033[31m", "\033[32m", "\033[34m", "\033[39m"


def loss(step: int) -> float:
    """Return a loss that falls."""
    return 2.0 + 8.0 / (1 + step / 10)


def megatron_arguments() -> list[str]:
    """Return a part of the dump of all arguments that rank 0 prints."""
    values = {
        "encoder_seq_length": SEQUENCE,
        "decoder_seq_length": None,
        "global_batch_size": BATCH,
        "seq_length": SEQUENCE,
        "train_iters": TARGET,
    }
    return [
        "------------------------ arguments ------------------------",
        *(f"  {name} {'.' * (48 - len(name))} {value}" for name, value in values.items()),
        "-------------------- end of arguments ---------------------",
    ]


def megatron(step: int, milliseconds: float = 820.7, at: str = "2025-04-13 23:41:20") -> str:
    """Return a line of the releases since 0.6."""
    return (
        f" [{at}] iteration {step:8d}/{TARGET:8d} | consumed samples: {step * BATCH:12d} |"
        f" elapsed time per iteration (ms): {milliseconds:.1f} |"
        f" throughput per GPU (TFLOP/s/GPU): 412.5 | learning rate: 4.000000E-05 |"
        f" global batch size: {BATCH:5d} | lm loss: {loss(step):.6E} | loss scale: 1.0 |"
        f" grad norm: 3.874 | number of skipped iterations:   0 | number of nan iterations:   0 |"
    )


def megatron_2021(step: int) -> str:
    """Return a line of releases 2.x and 3.0."""
    return (
        f" iteration {step:8d}/{TARGET:8d} | consumed samples: {step * BATCH:12d} |"
        f" elapsed time per iteration (ms): 430.0 | learning rate: 1.342E-04 |"
        f" global batch size: {BATCH:5d} | lm loss: {loss(step):.6E} | loss scale: 16384.0 |"
        f" grad norm: 2.918 | number of skipped iterations:   0 | number of nan iterations:   0 |"
    )


def megatron_2019(step: int) -> str:
    """Return a line of the first release, without colons after most names."""
    return (
        f" iteration {step:8d}/{TARGET:8d} | elapsed time per iteration (ms): 512.3 |"
        f" learning rate 1.500E-06 | lm loss {loss(step):.6E} | loss scale 65536.0 |"
    )


def megatron_deepspeed(step: int) -> str:
    """Return a line of Megatron-DeepSpeed, which counts tokens."""
    return (
        f" iteration {step:8d}/{TARGET:8d} | consumed samples: {step * BATCH:12d} |"
        f" consumed tokens: {step * BATCH * SEQUENCE // 2:12d} |"
        f" elapsed time per iteration (ms): 700.0 | learning rate: 1.0E-05 |"
        f" global batch size: {BATCH:5d} | lm loss: {loss(step):.6E} | grad norm: 1.100 |"
    )


def torchtitan_settings(prefix: str = "[rank0]:[titan] 2025-06-20 19:13:25,465 - root - ") -> str:
    """Return what a torchtitan of 2025 says of batch and length."""
    return (
        f"{prefix}INFO - Trainer is initialized with local batch size 2, global batch size {BATCH},"
        f" gradient accumulation steps 1, sequence length {SEQUENCE}, total steps {TARGET}"
        " (warmup 200)."
    )


def torchtitan_mesh(prefix: str = "[rank0]:[titan] 2025-11-25 19:44:55,287 - root - ") -> str:
    """Return the mesh as most releases print it."""
    return f"{prefix}INFO - Building 2-D device mesh with ['dp_shard', 'tp'], [4, 2]"


def torchtitan_degrees(prefix: str = "[rank0]:[titan] 2026-01-11 20:13:44,956 - root - ") -> str:
    """Return the mesh as the releases since 2026 print it; ep is inside the others."""
    degrees = "pp=1, dp_replicate=1, dp_shard=4, cp=1, tp=2, ep=4, etp=1"
    return f"{prefix}INFO - Building device mesh with parallelism: {degrees}"


def torchtitan(step: int, stamp: str = "2025-06-04 08:51:58,557", tps: int = 7034) -> str:
    """Return a line in colours, as rank 0 of torchrun prints it."""
    return (
        f"[rank0]:[titan] {stamp} - root - INFO - {RED}step: {step:2}  "
        f"{GREEN}loss: {loss(step):7.4f}  {BLUE}grad_norm: {1.25:7.4f}  "
        f"{BLUE}memory: {30.99:5.2f}GiB(32.62%)  {BLUE}tps: {tps:,}  "
        f"{BLUE}tflops: 407.35  {BLUE}mfu: 41.19%{RESET}"
    )


def torchtitan_2024(step: int, stamp: str = "2024-04-24 13:16:05,557") -> str:
    """Return a line of the first releases: words for tokens, no gradient norm."""
    return (
        f"[rank0]:{stamp} - root - INFO - {RED}step: {step:2}  {GREEN}loss: {loss(step):7.4f}  "
        f"{BLUE}memory: {33.40:5.2f}GiB(42.20%)  {BLUE}wps: 6,912  {BLUE}mfu: 40.48%{RESET}"
    )


def main() -> None:
    """Print lines over time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("framework", choices=("megatron", "torchtitan"))
    parser.add_argument("--seconds", type=float, default=0.1, help="of one step")
    parser.add_argument("--interval", type=int, default=10, help="steps from line to line")
    parser.add_argument("--steps", type=int, default=TARGET)
    arguments = parser.parse_args()
    settings = (
        megatron_arguments() if arguments.framework == "megatron" else [torchtitan_settings()]
    )
    sys.stdout.write("\n".join([*settings, ""]))
    sys.stdout.flush()
    for step in range(arguments.interval, arguments.steps + 1, arguments.interval):
        time.sleep(arguments.seconds * arguments.interval)
        now = datetime.now()  # noqa: DTZ005  # as they do
        if arguments.framework == "megatron":
            line = megatron(step, arguments.seconds * 1000, f"{now:%Y-%m-%d %H:%M:%S}")
        else:
            line = torchtitan(step, f"{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03d}")
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
