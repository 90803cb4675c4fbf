"""Slurm's JSON of every release gives the same runs, and no document makes a reader fail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from colossus_tui.hub.backends.base import Sighting, Standing
from colossus_tui.hub.backends.slurm import config, hostlist, shapes
from colossus_tui.hub.backends.slurm.command import _complaint, plain
from colossus_tui.hub.backends.slurm.nodes import cordoned
from colossus_tui.hub.backends.slurm.sightings import sightings
from colossus_tui.model import PriorityClass
from tests.slurm.shapes import releases

FOLDER = Path(releases.__file__).parent


def runs(document: dict[str, Any]) -> dict[str, Sighting]:
    """Return the runs of a document, as text makes it and takes it again."""
    return sightings(shapes.jobs(json.loads(json.dumps(document))), {})


@pytest.mark.parametrize("release", releases.RELEASES)
def test_every_release_tells_of_the_same_runs(release: str) -> None:
    found = runs(releases.document(release))

    states = {name.removeprefix("slurm-"): (run.state, run.attempt) for name, run in found.items()}
    assert states == {
        "11": ("pending", 1),
        "12": ("running", 1),
        "20": ("pending", 1),
        "20_0": ("running", 1),
        "30": ("running", 1),
        "40": ("pending", 1),
        "41": ("pending", 1),
        "42": ("stopping", 1),
        "50": ("failed", 1),
        "51": ("failed", 1),
        "52": ("completed", 1),
    }
    jobs = {name.removeprefix("slurm-"): run.job for name, run in found.items()}
    assert jobs["11"].reason == "Resources: not enough free nodes yet"
    assert (jobs["12"].node_names, jobs["12"].gpu_count) == (("n1", "n2", "n3"), 12)
    assert jobs["20"].part_of == "array 20, tasks 2-3%2 wait"
    assert jobs["20_0"].part_of == "array 20"
    assert (jobs["30"].part_of, jobs["30"].node_names) == ("2 components", ("n5", "n6", "n7"))
    assert jobs["30"].gpu_count == 12
    assert [name for name, job in jobs.items() if job.held] == ["40"]
    assert (jobs["41"].restart_count, jobs["41"].can_requeue) == (1, True)
    assert found["slurm-50"].why == "it ended with exit code 3 (NonZeroExitCode)"
    assert found["slurm-51"].why == "it was ended by signal 9"
    assert {run.started_unix_ns for run in found.values()} == {1_700_000_000 * 10**9}
    assert jobs["12"].priority == 4_294_901_000


@pytest.mark.parametrize("release", releases.RELEASES[1:])
def test_releases_do_not_differ_in_anything_that_is_shown(release: str) -> None:
    first, this = runs(releases.document("22.05")), runs(releases.document(release))
    leaving = first.pop("slurm-42"), this.pop("slurm-42")  # 22.05 has one word for its state

    assert this == first
    assert leaving[0].state == leaving[1].state


@pytest.mark.parametrize("release", releases.RELEASES)
def test_nodes_are_found_also_where_the_short_list_is_missing(release: str) -> None:
    found = runs(releases.without_short_names(releases.document(release)))

    assert found["slurm-12"].job.node_names == ("n1", "n2", "n3")
    assert found["slurm-30"].job.node_names == ("n5", "n6", "n7")


def test_nodes_that_are_numbered_by_key_are_found_too() -> None:
    allocated = {"0": {"nodename": "n1"}, "1": {"nodename": "n2"}}
    record = {"job_id": 1, "job_resources": {"allocated_nodes": allocated}}

    assert shapes.jobs({"jobs": [record]})[0].node_names == ("n1", "n2")


@pytest.mark.parametrize("release", releases.RELEASES)
def test_nodes_of_every_release_have_their_states_and_reasons(release: str) -> None:
    found = {node.name: node for node in shapes.nodes(releases.nodes_document(release))}

    assert sorted(found) == ["n1", "n2", "n3", "n4"]
    assert found["n2"].states == {"IDLE"}
    assert found["n3"].states == {"ALLOCATED"}
    assert found["n4"].states == {"IDLE", "DRAIN"}
    assert cordoned(found.values()) == {"n4": Standing("DRAIN+IDLE", "fan", is_cordoned=True)}
    assert found["n4"].reason == "fan"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        (0, 0),
        ({"set": True, "infinite": False, "number": 5}, 5),
        ({"set": False, "infinite": False, "number": 0}, None),
        ({"set": False, "infinite": True, "number": 0}, None),
        ({"set": True, "infinite": True, "number": 0}, None),
        ({"number": 7}, 7),
        ({}, None),
        (None, None),
        (True, None),
        ("5", None),
        (2**63, None),
        (float("inf"), None),
        (float("nan"), None),
    ],
)
def test_what_is_not_set_or_endless_is_not_available(value: object, number: int | None) -> None:
    assert shapes.number(value) == number


def test_what_a_real_slurm_printed_is_read() -> None:
    document = json.loads((FOLDER / "squeue-22.05-recorded.json").read_text())
    nodes = json.loads((FOLDER / "sinfo-22.05-recorded.json").read_text())

    found = {
        (run.job.name, run.job.part_of.partition(" ")[0]): run for run in runs(document).values()
    }

    assert found["two", ""].state == "running"
    assert len(found["two", ""].job.node_names) == 2
    assert found["waits", ""].state == "pending"
    assert found["held", ""].job.held
    assert found["three", ""].why == "it ended with exit code 3 (NonZeroExitCode)"
    assert found["nine", ""].why == "it was ended by signal 9"
    assert found["mixed", "2"].job.part_of == "2 components"
    (drained,) = [node for node in shapes.nodes(nodes) if "DRAIN" in node.states]
    assert (drained.name, drained.reason) == ("n3", "fan")


# --- what nobody has written -------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["set", "infinite", "number", "nodename", "name", "nodes", "signal", "id"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
FIELDS = sorted({name for job in releases.document("25.05")["jobs"] for name in job})
documents = st.fixed_dictionaries(
    {},
    optional={
        name: json_values
        | st.lists(
            st.dictionaries(st.sampled_from([*FIELDS, "node", "state"]), json_values), max_size=3
        )
        for name in ("jobs", "nodes", "sinfo")
    },
)


@given(documents)
@example({"sinfo": [{"nodes": {"nodes": None}}]})
def test_no_document_makes_a_reader_fail(document: dict[str, Any]) -> None:
    found = sightings(shapes.jobs(document), {})

    assert all(run.run_id == name for name, run in found.items())
    assert all(node.name for node in shapes.nodes(document))


@given(st.sampled_from(releases.RELEASES), st.sampled_from(FIELDS), json_values)
def test_one_odd_record_hides_no_other(release: str, field: str, value: Any) -> None:
    document = releases.document(release)
    document["jobs"][0][field] = value

    assert runs_of(document) >= {"slurm-12", "slurm-20_0", "slurm-30", "slurm-52"}


def runs_of(document: dict[str, Any]) -> set[str]:
    """Return the names of the runs."""
    return set(sightings(shapes.jobs(document), {}))


# --- names of nodes ----------------------------------------------------------------------------


def compress(names: Sequence[tuple[str, int, int]]) -> str:
    """Return names of a head, a number and its width in short form, in their order."""
    parts = []
    for (head, width), group in groupby(names, key=lambda name: (name[0], name[2])):
        parts.append(f"{head}[{','.join(f'{number:0{width}d}' for _, number, _ in group)}]")
    return ",".join(parts)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z][a-z-]{0,5}", fullmatch=True), st.integers(0, 99), st.just(3)
        ),
        max_size=30,
    )
)
def test_expanding_undoes_compressing(names: list[tuple[str, int, int]]) -> None:
    expanded = hostlist.expand(compress(names))

    assert expanded == tuple(f"{head}{number:0{width}d}" for head, number, width in names)


def test_ranges_keep_their_zeros_and_brackets_multiply() -> None:
    assert hostlist.expand("n[08-11],login") == ("n08", "n09", "n10", "n11", "login")
    assert hostlist.expand("r[1-2]n[1-2]") == ("r1n1", "r1n2", "r2n1", "r2n2")
    assert hostlist.expand("") == ()


@pytest.mark.parametrize(
    "text",
    [
        *("n[1", "n1]", "n[[1]]", "n[a-b]", "n[1-]", "n[]", "n[0-99999999]"),
        *("n[1-1000][1-1000]", "n[0-9][0-9][0-9][0-9][0-9][0-9][0-9]", "n[" + "9" * 5000 + "]"),
        *("n[" + "0" * 3000 + "1-5000]", "n[1]" * 3000, ",".join(["n[1-199999]"] * 50), "n[²]"),
    ],
)
def test_what_is_malformed_or_too_much_is_refused_and_never_expanded(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        hostlist.expand(text)


@given(st.text(alphabet="n[]-,019²a", max_size=60))
def test_no_text_makes_a_list_of_nodes_fail_otherwise_or_grow_beyond_its_limit(text: str) -> None:
    try:
        names = hostlist.expand(text)
    except ValueError:
        return
    assert len(names) <= hostlist.LIMIT


def test_a_list_of_nodes_longer_than_other_texts_is_read_whole() -> None:
    names = tuple(f"node-{index * 7:06d}" for index in range(2_000))
    record = {"job_id": 1, "job_state": "RUNNING", "nodes": ",".join(names)}

    (job,) = shapes.jobs({"jobs": [record]})

    assert job.node_names == names


# --- settings and complaints -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([], "slurm must be a table"),
        ({"config": "x"}, "slurm.config is no setting; known: conf"),
        ({"conf": "/no/such"}, "slurm.conf '/no/such': there is no such file"),
        ({"commands": 5}, "slurm.commands 5: there is no such folder"),
        ({"partitions": "gpu"}, "slurm.partitions must be a list of texts"),
        ({"job_seconds": 0.5}, "slurm.job_seconds must be 1 to 3600 seconds"),
        ({"node_seconds": float("nan")}, "slurm.node_seconds must be 1 to 3600 seconds"),
        ({"job_seconds": True}, "slurm.job_seconds must be 1 to 3600 seconds"),
        ({"classes": []}, "slurm.classes must be a table"),
        ({"classes": {"P9": {}}}, "slurm.classes.P9: the classes are P0 to P4"),
        ({"classes": {"P0": {"quality": "x"}}}, "slurm.classes.P0 may have qos and nice"),
        ({"classes": {"P0": {"qos": ""}}}, "slurm.classes.P0.qos must be the name"),
        ({"classes": {"P0": {"nice": 1.5}}}, "slurm.classes.P0.nice must be a whole number"),
        ({"classes": {"P0": {"nice": 2**31}}}, "slurm.classes.P0.nice must be a whole number"),
    ],
)
def test_a_wrong_setting_is_named(table: Any, words: str) -> None:
    with pytest.raises(config.SlurmConfigError) as caught:
        config.parse(table)

    assert words in str(caught.value)


def test_a_class_may_be_a_quality_and_have_a_nice_value() -> None:
    parsed = config.parse({"classes": {"P0": {"qos": "urgent"}, "P4": {"nice": 20_000}}})

    assert parsed.class_of_quality == {"urgent": PriorityClass.P0}
    assert parsed.nice[PriorityClass.P4] == 20_000
    assert parsed.nice[PriorityClass.P1] == 1_000


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ("slurm_update error: Access/permission denied\n", "Access/permission denied"),
        ("scontrol: error: Invalid job id specified\n", "Invalid job id specified"),
        ("first\nscancel: error: Kill job error on job id 5: Job/step already completing\n\n",) * 1
        + ("Kill job error on job id 5: Job/step already completing",),
        ("", ""),
        ("  \n", ""),
    ],
)
def test_slurms_last_complaint_is_told_without_its_functions_name(errors: str, words: str) -> None:
    assert plain(errors) == words


def test_a_complaint_in_json_is_told_whatever_its_shape() -> None:
    assert _complaint([{"error": "Unable to contact slurm controller", "error_number": 1}]) == (
        "Unable to contact slurm controller"
    )
    assert _complaint([{"error": "a", "description": "b"}]) == "a: b"
    assert _complaint([5]) == "an error"
    assert _complaint([]) == _complaint(None) == _complaint({}) == ""


@given(st.text(), json_values)
def test_no_complaint_is_endless(errors: str, value: Any) -> None:
    assert len(plain(errors)) <= 300
    assert len(_complaint(value)) <= 300
