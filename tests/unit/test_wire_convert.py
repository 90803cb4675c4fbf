"""Every model value survives the wire, and the model names exactly the contract's fields."""

from __future__ import annotations

import dataclasses
import math
import typing

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from colossus_protos.v1 import (
    action_pb2,
    common_pb2,
    console_pb2,
    directive_pb2,
    frame_pb2,
    incident_pb2,
    run_pb2,
    shed_pb2,
)
from colossus_tui import model
from colossus_tui.wire import from_proto, to_proto

PAIRS: list[tuple[type[object], type[Message]]] = [
    (model.Event, common_pb2.Event),
    (model.Alert, console_pb2.Alert),
    (model.MetricValue, console_pb2.MetricValue),
    (model.MigInstance, frame_pb2.MigInstance),
    (model.Gpu, console_pb2.Gpu),
    (model.HostInventory, frame_pb2.HostInventory),
    (model.SensorStatus, frame_pb2.SensorStatus),
    (model.CollectorStatus, frame_pb2.CollectorStatus),
    (model.ProcessSample, frame_pb2.ProcessSample),
    (model.Node, console_pb2.Node),
    (model.NodeDetail, console_pb2.NodeDetail),
    (model.Badput, console_pb2.Badput),
    (model.Run, console_pb2.Run),
    (model.RankExit, run_pb2.RankExit),
    (model.Rank, console_pb2.Rank),
    (model.Spread, console_pb2.Spread),
    (model.Checkpoint, console_pb2.Checkpoint),
    (model.Series, console_pb2.Series),
    (model.RunDetail, console_pb2.RunDetail),
    (model.RunSpec, run_pb2.RunSpec),
    (model.ActionParameters, action_pb2.ActionParameters),
    (model.ShedStep, shed_pb2.ShedStep),
    (model.ShedLeft, shed_pb2.ShedLeft),
    (model.ShedPlan, shed_pb2.ShedPlan),
    (model.Shed, shed_pb2.Shed),
    (model.Figure, action_pb2.Figure),
    (model.Preflight, action_pb2.Preflight),
    (model.ResumePoint, directive_pb2.ResumePoint),
    (model.RankResult, directive_pb2.RankResult),
    (model.ActionStage, action_pb2.ActionStage),
    (model.Action, action_pb2.Action),
    (model.Header, console_pb2.Header),
    (model.Site, console_pb2.Site),
    (model.View, console_pb2.WatchViewResponse),
    (model.AffectedRun, incident_pb2.AffectedRun),
    (model.IncidentEffect, incident_pb2.IncidentEffect),
    (model.IncidentNote, incident_pb2.IncidentNote),
    (model.NextStep, incident_pb2.NextStep),
    (model.Incident, incident_pb2.Incident),
    (model.Timeline, console_pb2.Timeline),
]


@pytest.mark.parametrize(("value_type", "message_type"), PAIRS)
def test_model_and_contract_name_the_same_fields(
    value_type: type[typing.Any], message_type: type[Message]
) -> None:
    fields = {field.name for field in dataclasses.fields(value_type)}

    assert fields == set(message_type.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize(
    ("enum", "descriptor"),
    [
        (model.RunState, console_pb2.RunState.DESCRIPTOR),
        (model.Freshness, console_pb2.Freshness.DESCRIPTOR),
        (model.MissingReason, common_pb2.MissingReason.DESCRIPTOR),
        (model.PriorityClass, common_pb2.PriorityClass.DESCRIPTOR),
        (model.Severity, common_pb2.Severity.DESCRIPTOR),
        (model.Verb, common_pb2.Verb.DESCRIPTOR),
        (model.ActionState, action_pb2.ActionState.DESCRIPTOR),
        (model.ReasonCode, action_pb2.ReasonCode.DESCRIPTOR),
        (model.Confirmation, action_pb2.Confirmation.DESCRIPTOR),
    ],
)
def test_enums_have_the_same_members(enum: typing.Any, descriptor: typing.Any) -> None:
    prefix = descriptor.values[0].name.removesuffix("UNSPECIFIED")

    assert {member.name for member in enum} == {
        value.name.removeprefix(prefix) for value in descriptor.values if value.number
    }


def test_a_whole_view_survives_the_wire() -> None:
    run = model.Run(
        run_id="10t",
        state=model.RunState.PAUSING,
        priority_class=model.PriorityClass.P0,
        node_names=("node-1", "node-2"),
        step=0,
        loss=2.5,
        recent_losses=(3.0, 2.5),
        badput=(model.Badput("paused", 3.5),),
        alerts=(model.Alert(model.Severity.WARNING, "run.checkpoint_age", "old"),),
    )
    gpu = model.Gpu(
        node_name="node-1",
        gpu_index=3,
        values=(
            model.MetricValue("power", "W", 312.5, None, 0.2),
            model.MetricValue("gpu_temperature", "C", None, model.MissingReason.STUCK, 12.0),
        ),
        missing=model.MissingReason.LOST,
    )
    rank = model.Rank(rank=0, exit=model.RankExit(known=True, exit_signal=9), gpu_uuids=("GPU-1",))
    view = model.View(
        header=model.Header(revision=7, role="operator"),
        site=model.Site(power_watts=None, run_counts={"running": 3}),
        runs=(run,),
        run=model.RunDetail(run=run, ranks=(rank,), gpus=(gpu,)),
        actions=(
            model.Action(
                "0123456789",
                model.Verb.START,
                "10t",
                reason_code=model.ReasonCode.POLICY,
                parameters=model.ActionParameters(
                    spec=model.RunSpec("10t", ("a", "b"), environment={"A": "1"})
                ),
            ),
        ),
    )

    message = console_pb2.WatchViewResponse.FromString(
        to_proto(console_pb2.WatchViewResponse, view).SerializeToString()
    )

    assert view == from_proto(model.View, message)


def test_zero_is_kept_apart_from_not_available() -> None:
    message = to_proto(console_pb2.Run, model.Run("a", step=0, loss=None))

    assert message.HasField("step")
    assert not message.HasField("loss")
    assert from_proto(model.Run, message).loss is None


def test_an_enum_value_of_a_newer_peer_reads_as_absent() -> None:
    message = console_pb2.MetricValue(name="power", missing=typing.cast("typing.Any", 99))

    assert from_proto(model.MetricValue, message).missing is None


@given(st.floats(), st.text(), st.integers(-(2**63), 2**63 - 1))
def test_scalars_survive(value: float, text: str, number: int) -> None:
    text = text.encode("utf-8", "ignore").decode()
    run = model.Run("a", loss=value, command=text, step=number)
    message = console_pb2.Run.FromString(to_proto(console_pb2.Run, run).SerializeToString())
    back = from_proto(model.Run, message)

    assert (text, number) == (back.command, back.step)
    assert back.loss == value or (math.isnan(value) and math.isnan(back.loss or 0.0))
