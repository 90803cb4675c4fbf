"""Runs without a hook, seen by what they print as Megatron-LM and torchtitan do."""

from __future__ import annotations

import sys

import pytest

from tests.e2e.product import Product
from tests.fakes import framework_logs as logs
from tests.support import until

pytestmark = pytest.mark.e2e

RATE = logs.BATCH * logs.SEQUENCE / 0.05


@pytest.mark.parametrize(
    ("framework", "name"), [("megatron", "Megatron-LM"), ("torchtitan", "torchtitan")]
)
def test_a_run_without_hook_shows_what_it_prints(
    product: Product, framework: str, name: str
) -> None:
    script = ("-m", "tests.fakes.framework_logs", framework, "--seconds", "0.05")
    result = product.cli("run", "--name", "plain", "--", sys.executable, *script)
    assert result.returncode == 0, result.stderr

    product.wait_step("plain", 100)

    run = product.run_of("plain")
    assert (run["state"], run["hooked"]) == ("running", False)
    assert run["step_source"] == f"log ({name})"
    assert run["step"] % 10 == 0
    assert run["loss"] == pytest.approx(logs.loss(run["step"]), abs=1e-4)
    assert run["step_seconds_p50"] == pytest.approx(0.05, rel=0.2)
    assert run["tokens_per_second"] == pytest.approx(RATE, rel=0.25)
    assert run["target_steps"] == logs.TARGET
    shown = product.cli("show", "plain").stdout
    assert f"from its log ({name})" in shown

    refused = product.cli("checkpoint", "plain", "--yes")

    assert refused.returncode == 5
    assert "needs the hook" in refused.stdout + refused.stderr


def test_an_agent_that_begins_anew_goes_on_with_the_log(product: Product) -> None:
    script = ("-m", "tests.fakes.framework_logs", "megatron", "--seconds", "0.05")
    result = product.cli("run", "--name", "plain", "--", sys.executable, *script)
    assert result.returncode == 0, result.stderr
    product.wait_step("plain", 20)
    product.kill("agent")
    product.start_agent()
    step = product.run_of("plain")["step"]

    product.wait_step("plain", step + 50)

    assert product.run_of("plain")["attempt"] == 1


def test_a_hook_is_believed_before_the_log(product: Product) -> None:
    product.train("hooked")

    until(lambda: product.run_of("hooked").get("step_source") == "hook", 10, message="the source")
    assert "from its hook" in product.cli("show", "hooked").stdout
