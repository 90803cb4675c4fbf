"""The hub's side of AgentLink, spoken to over a real socket by an agent that may misbehave."""

from __future__ import annotations

import math
import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from colossus_protos.v1 import common_pb2, frame_pb2, run_pb2
from colossus_tui.client import Client
from colossus_tui.model import Event
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent, frame, hello, local_run
from tests.support import until

NAN = math.nan
HOST = (0.5, float(1 << 30))


def gpus(hub: Product) -> list[dict[str, Any]]:
    """Return each GPU's metrics by name."""
    return [{value["name"]: value for value in gpu["values"]} for gpu in hub.json("gpus")["gpus"]]


def test_a_frame_is_seen_with_its_coverage(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.send(frame=frame([(40, 300), (NAN, NAN)], HOST))
        (node,) = until(lambda: [n for n in hub.json("nodes")["nodes"] if n["reporting_gpu_count"]])
        shown = gpus(hub)

    assert (node["reporting_gpu_count"], node["gpu_count"]) == (1, 2)
    assert node["gpu_power_watts"] == 300
    assert shown[0]["power"]["value"] == 300
    assert shown[1]["power"]["value"] is None  # not available is never 0


def test_a_node_that_has_said_nothing_yet_is_told_as_that(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        (node,) = until(lambda: hub.json("nodes")["nodes"])

    assert [alert["message"] for alert in node["alerts"]] == ["no frame yet"]


def test_what_is_acknowledged_is_on_disk(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run())
        agent.steps("r", [1, 2, 3])
        agent.until_acknowledged(1)
    hub.kill("hub")
    hub.start_hub()

    with Client(hub.address) as client:
        (loss,) = client.history("r", ["loss"])
    assert loss.steps == (1, 2, 3)


@pytest.mark.waits
def test_steps_that_come_twice_count_once(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run())
        agent.steps("r", [1, 2])
        agent.steps("r", [3])
        agent.until_acknowledged(2)
    with FakeAgent(hub.address) as agent:
        assert agent.greet().last_sequence == 2
        agent.report(local_run())
        for steps in ([1, 2], [3], [4]):  # the first two once more, then a new one
            agent.steps("r", steps)
        agent.until_acknowledged(3)
        assert until(lambda: hub.run_of("r").get("step") == 4)
        assert hub.run_of("r")["tokens"] == 40


def test_a_replayed_frame_does_not_pass_for_the_present(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.send(frame=frame([(40, 300), (41, 310)], HOST))
        until(lambda: gpus(hub)[0]["power"]["value"] == 300)
        number = agent.send(frame=frame([(1, 1), (1, 1)], HOST), replayed=True)
        agent.until_acknowledged(number)

        assert gpus(hub)[0]["power"]["value"] == 300


def test_an_agent_of_a_newer_version_is_understood_as_far_as_possible(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        message = hello()
        message.gpu_columns.add(field_id=20_000, name="colour", unit="count")
        agent.greet(message)
        agent.send()  # a kind of message that this hub does not know
        values = frame([(40, 300), (41, 310)], HOST)
        values.gpu_values = values.gpu_values[:8] + b"\0" * 4 + values.gpu_values[8:] + b"\0" * 4
        agent.send(frame=values)

        until(lambda: gpus(hub)[0]["power"]["value"])
        shown = gpus(hub)
    assert shown[0]["colour"]["value"] == 0


@pytest.mark.parametrize(
    ("first", "named"),
    [
        ({"frame": frame([], HOST)}, "hello"),
        ({"hello": hello("../../etc")}, "node_name"),
        ({"hello": hello("")}, "node_name"),
        ({"hello": hello("\x1b[2J")}, "node_name"),
        ({"hello": hello("n" * 254)}, "node_name"),
        ({"hello": hello(gpu_columns=[frame_pb2.MetricColumn(name="power")])}, "gpu_columns"),
    ],
)
def test_a_link_that_begins_wrongly_is_refused_by_field(
    hub: Product, first: dict[str, Any], named: str
) -> None:
    with FakeAgent(hub.address) as agent:
        agent.send(**first)
        error = agent.refusal()

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert named in (error.details() or "")


def test_a_frame_of_the_wrong_size_ends_the_link_and_is_an_event(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.send(frame=frame([(40, 300)], HOST))
        error = agent.refusal()

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "gpu_values" in (error.details() or "")
    (event,) = hub.json("events")["events"]
    assert event["kind"] == "agent.refused"


def test_a_second_link_of_a_node_takes_the_place_of_the_first(hub: Product) -> None:
    with FakeAgent(hub.address) as first, FakeAgent(hub.address) as second:
        first.greet()
        second.greet()
        second.send(frame=frame([(40, 300), (41, 310)], HOST))
        until(lambda: hub.json("nodes")["nodes"][0]["linked"])

        assert [event["kind"] for event in hub.json("events")["events"]] == ["agent.replaced"]
        assert len(hub.json("nodes")["nodes"]) == 1


def test_a_link_that_breaks_is_shown_at_once_and_its_figures_age(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.send(frame=frame([(40, 300), (41, 310)], HOST))
        until(lambda: hub.json("nodes")["nodes"][0]["linked"])

    node = until(lambda: [n for n in hub.json("nodes")["nodes"] if not n["linked"]])[0]
    assert node["gpu_power_watts"] == 610
    time.sleep(0.3)
    later = hub.json("nodes")["nodes"][0]
    assert later["age_seconds"] > node["age_seconds"]


def test_hostile_words_of_an_agent_reach_no_terminal(hub: Product) -> None:
    hostile = "\x1b[2J\x1b]0;x\x07[bold red]x[/]\r\n\u202e\u200b" + "A" * 10_000
    with FakeAgent(hub.address) as agent:
        message = hello(agent_version=hostile[:200], rack=hostile[:100])
        message.host.cpu_model = hostile
        message.gpus[0].product_name = hostile
        agent.greet(message)
        agent.send(frame=frame([(40, 300), (41, 310)], HOST))
        agent.send(
            event=common_pb2.Event(
                kind=hostile[:60], message=hostile, severity=common_pb2.SEVERITY_WARNING, run_id="r"
            )
        )
        agent.send(
            sequence=0,
            sensor_report=frame_pb2.SensorReport(
                sensors=[
                    frame_pb2.SensorStatus(
                        gpu_index=0,
                        sensor=hostile,
                        reason=common_pb2.MISSING_REASON_FAILED,
                        detail=hostile,
                    )
                ]
            ),
        )
        agent.send(
            sequence=0,
            process_report=frame_pb2.ProcessReport(
                processes=[
                    frame_pb2.ProcessSample(pid=1, name=hostile, command=hostile, user=hostile)
                ]
            ),
        )
        tail = local_run("r", command=hostile, label=hostile, output_tail=hostile)
        agent.report(tail, local_run("\x1b[31mevil"))
        until(lambda: hub.json("events")["events"] and hub.run_of("r"))

        for command in (["status"], ["runs"], ["nodes"], ["gpus"], ["events"], ["show", "r"],
                        ["show", "node-1"]):  # fmt: skip
            result = hub.cli(*command)
            text = result.stdout + result.stderr
            assert result.returncode == 0, text
            bad = [c for c in text if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160]
            assert not bad, command
            assert not {"\u202e", "\u200b"} & set(text)
            assert "A" * 2_000 not in text


def test_only_who_comes_over_the_socket_may_act(hub: Product, tcp: str) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run())
        until(lambda: hub.run_of("r"))
        with Client(tcp) as stranger:
            action = stranger.submit("pause", "r")
            preview = stranger.preview("pause", "r")

    assert (action.state, action.reason_code) == ("refused", "policy")
    assert preview.refusal == "policy"
    assert "viewer" in action.detail


def test_health_and_reflection_answer_as_grpcurl_expects(hub: Product, tcp: str) -> None:
    with grpc.insecure_channel(tcp) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "colossus.v1.Console", "colossus.v1.Actions", "colossus.v1.AgentLink"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (answer,) = reflection.ServerReflectionInfo(asked, timeout=5)

    names = {service.name for service in answer.list_services_response.service}
    assert {"colossus.v1.Console", "colossus.v1.Actions", "colossus.v1.AgentLink"} <= names
    assert "grpc.health.v1.Health" in names


def test_a_run_of_a_node_that_forgot_it_is_lost_not_running(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run())
        agent.steps("r", [1, 2])
        until(lambda: hub.run_of("r").get("state") == "running")
        agent.report()

        until(lambda: hub.run_of("r").get("state") == "lost", message="the run to be lost")


@pytest.mark.waits
@pytest.mark.timeout(150)
def test_a_run_that_no_node_reports_to_a_new_hub_is_lost_until_one_does(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run())
        agent.steps("r", [1, 2])
        until(lambda: hub.run_of("r").get("state") == "running")
        agent.until_acknowledged(1)  # it is on disk
    hub.kill("hub")
    hub.start_hub()

    with FakeAgent(hub.address) as agent:
        agent.greet(hello(instance_id="instance-2"))
        agent.report()
        time.sleep(50)
        assert hub.run_of("r")["state"] == "running"  # its agent may yet link
        until(lambda: hub.run_of("r").get("state") == "lost", 30, message="the run to be lost")
    with FakeAgent(hub.address) as agent:
        agent.greet(hello(instance_id="instance-2"))
        agent.report(local_run())
        until(lambda: hub.run_of("r").get("state") == "running", message="the run that came back")


def test_steps_are_whole_only_when_every_rank_finished_them(hub: Product) -> None:
    run = local_run(rank_count=2)
    run.ranks.add(rank=1, pid=2, alive=True, hooked=True, state="S")
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(run)
        agent.steps("r", [1, 2, 3], rank=0)
        agent.steps("r", [1], rank=1)

        until(lambda: hub.run_of("r").get("step") == 1)
        assert hub.run_of("r")["tokens"] == 20


def saved(rank: int, *, on_disk: bool) -> run_pb2.CheckpointReport:
    """Return what a rank says of its part of step 5."""
    return run_pb2.CheckpointReport(
        run_id="r", attempt=1, rank=rank, step=5, time_unix_ns=time.time_ns(), size_bytes=7,
        path=f"/part-{rank}", on_disk=on_disk, save_seconds=0.1,
    )  # fmt: skip


def missing(hub: Product) -> list[Event]:
    """Return the events of parts that are called safe and are not there."""
    events = hub.ask(lambda client: client.events(run_id="r"))
    return [event for event in events if event.kind == "run.checkpoint_missing"]


@pytest.mark.waits
def test_a_part_that_is_gone_is_told_of_while_the_run_is_not_over(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run())
        agent.send(checkpoint_report=saved(0, on_disk=True))
        until(lambda: hub.run_of("r").get("durable_step") == 5, message="the durable step")
        agent.send(checkpoint_report=saved(0, on_disk=False))
        until(lambda: len(missing(hub)) == 1, message="its loss to be told")
        ended = local_run()
        ended.ranks[0].alive = False
        ended.ranks[0].exit.known = True
        agent.report(ended)
        until(lambda: hub.run_of("r").get("state") == "completed")
        agent.until_acknowledged(2)
    hub.kill("hub")
    hub.start_hub()

    with FakeAgent(hub.address) as agent:
        agent.greet(hello(instance_id="instance-2"))
        agent.report(ended)
        agent.send(checkpoint_report=saved(0, on_disk=False))
        agent.until_acknowledged(1)
    assert len(missing(hub)) == 1  # the one that the hub before has told


def test_a_checkpoint_is_durable_once_every_rank_has_it_on_disk(hub: Product) -> None:
    run = local_run(rank_count=2)
    run.ranks.add(rank=1, pid=2, alive=True, hooked=True, state="S")
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(run)
        for rank in (0, 1):
            agent.steps("r", [5], rank=rank)
        agent.send(checkpoint_report=saved(0, on_disk=True))
        for _ in range(2):  # as a new link tells it
            agent.send(checkpoint_report=saved(1, on_disk=False))
        agent.until_acknowledged(5)
        assert hub.run_of("r")["durable_step"] is None
        assert len(missing(hub)) == 1
        assert "rank 1 calls step 5 safe" in missing(hub)[0].message
        agent.send(checkpoint_report=saved(1, on_disk=True))

        until(lambda: hub.run_of("r").get("durable_step") == 5, message="the durable step")


def test_steps_that_come_before_their_run_is_named_are_counted(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.steps("r", [1, 2, 3])
        agent.report(local_run())

        until(lambda: hub.run_of("r").get("step") == 3)
        with Client(hub.address) as client:
            (series,) = client.history("r", ["loss"])
    assert series.steps == (1, 2, 3)


def test_a_step_of_which_a_rank_never_told_holds_up_no_later_one(hub: Product) -> None:
    second = run_pb2.LocalRank(rank=1, pid=2, alive=True, hooked=True, state="S")
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run(ranks=[second], rank_count=2))
        agent.steps("r", [1, 2, 3, 4])
        agent.steps("r", [3, 4], rank=1)

        until(lambda: hub.run_of("r").get("step") == 4)
        with Client(hub.address) as client:
            (series,) = client.history("r", ["loss"])
    assert series.steps == (3, 4)
