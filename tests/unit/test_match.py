"""The expression that chooses runs and GPUs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colossus_tui.model import (
    Freshness,
    Job,
    Money,
    PriorityClass,
    Run,
    RunState,
    clock_event_reasons,
)
from colossus_tui.model.match import (
    FIELDS,
    GPU_FIELDS,
    RUN_FIELDS,
    And,
    Bits,
    Expression,
    Match,
    MatchError,
    Not,
    Number,
    NumberField,
    Or,
    Text,
    TextField,
    Word,
    parse,
    parse_gpus,
)
from colossus_tui.model.node import CLOCK_EVENT_REASONS

RUN = Run(
    "imagine-v2",
    label="Imagine V2",
    command="python train.py",
    priority_class=PriorityClass.P3,
    state=RunState.RUNNING,
    gpu_count=64,
    money=Money("$", 134.4),
    node_names=("n1", "n2"),
    job=Job(user="ada", queue="gpu"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("class>=P3", True),
        ("class>P3", False),
        ("class=p3 state=RUNNING", True),
        ("state!=paused gpus>=64", True),
        ("gpus>64", False),
        ("node=n2", True),
        ("node!=n2", False),
        ("user=ada queue=gpu backend=local", True),
        ("imagine", True),
        ("train.py IMAGINE", True),
        ("10t", False),
        ("loss<3", False),  # not available is never small
        ("loss>=0", False),
        ("cost>100 cost<=150", True),
    ],
)
def test_an_expression_chooses_by_all_its_terms(text: str, expected: bool) -> None:
    assert parse(text)(RUN) is expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour=red", "known: class, state"),
        ("class>=P7", "none of P0, P1"),
        ("state=runing", "none of starting, running"),
        ("state>paused", "= and != only"),
        ("gpus>many", "is no number"),
        ("gpus>", "a value must follow"),
        ("=3", "write FIELD"),
        ("a " * 33, "at most 32 terms"),
    ],
)
def test_a_wrong_term_is_named_with_the_remedy(text: str, named: str) -> None:
    with pytest.raises(MatchError, match=named):
        parse(text)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    try:
        match = parse(text)
    except MatchError:
        return
    match(RUN)


@dataclass
class GpuRow:
    numbers: dict[str, float | None] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)

    def number(self, field: str) -> float | None:
        return self.numbers.get(field)

    def texts(self, field: str) -> Sequence[str]:
        return [self.named[field]] if field in self.named else []

    def words(self) -> Sequence[str]:
        return list(self.named.values())


GPU = GpuRow(
    {"temp": 91.5, "util": 0.95, "power": 700.0, "age": 3.0, "mem": 40 * 2**30, "throttle": 0x44},
    {"run": "10t", "node": "h0-r1-n03", "uuid": "GPU-00ab", "class": "P1", "health": "live"},
)
A, B, C = Word("a"), Word("b"), Word("c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", A),
        ("a b", And((A, B))),
        ("a and b", And((A, B))),
        ("a or b c", Or((A, And((B, C))))),
        ("(a or b) c", And((Or((A, B)), C))),
        ("not a or b", Or((Not(A), B))),
        ("not a and b", And((Not(A), B))),
        ("NOT(a Or b)", Not(Or((A, B)))),
        ("not not a", Not(Not(A))),
        ("((a))", A),
        ("a (b c)", And((A, And((B, C))))),
        ("'a' \"B\"", And((A, B))),
        ("'and' it's", And((Word("and"), Word("it's")))),
        ("'it''s'", Word("it's")),
        ("", And()),
        (" \t\n", And()),
    ],
)
def test_terms_are_joined_by_precedence(text: str, expected: Expression) -> None:
    assert parse(text).expression == expected
    assert parse_gpus(text).expression == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run=10t,6t", Text("run", "=", ("10t", "6t"))),
        ("run = 10t , 'a, b'", Text("run", "=", ("10t", "a, b"))),
        ("run=''", Text("run", "=", ("",))),
        ("run='10t*'", Text("run", "=", ("10t*",))),
        ("node~H0-*,?3", Text("node", "~", ("h0-*", "?3"))),
        ("uuid~GPU-00*", Text("uuid", "~", ("gpu-00*",))),
        ("Class>=p3", Text("class", ">=", ("P3",))),
        ("class=p0,P1", Text("class", "=", ("P0", "P1"))),
        ("health!=LIVE", Text("health", "!=", ("live",))),
        ("temp>85", Number("temp", ">", 85)),
        ("temp > 85c", Number("temp", ">", 85)),
        ("temp>=-1.5e1", Number("temp", ">=", -15)),
        ("power<0.7kW", Number("power", "<", 700)),
        ("power<700w", Number("power", "<", 700)),
        ("util>95%", Number("util", ">", 0.95)),
        ("util>0.95", Number("util", ">", 0.95)),
        ("tensor<=1", Number("tensor", "<=", 1)),
        ("mem>40GiB", Number("mem", ">", 40 * 2**30)),
        ("mem>40gb", Number("mem", ">", 40e9)),
        ("mem>1024", Number("mem", ">", 1024)),
        ("clock<1.98GHz", Number("clock", "<", 1980)),
        ("age<5", Number("age", "<", 5)),
        ("age<500ms", Number("age", "<", 0.5)),
        ("age>=2m", Number("age", ">=", 120)),
        ("age>=2min", Number("age", ">=", 120)),
        ("age>1h", Number("age", ">", 3600)),
        ("xid!=0", Number("xid", "!=", 0)),
        ("gpu=0,2", Or((Number("gpu", "=", 0), Number("gpu", "=", 2)))),
        ("gpu!=0,2", And((Number("gpu", "!=", 0), Number("gpu", "!=", 2)))),
        ("throttle=thermal", Bits("throttle", "=", ("thermal",), 0x60)),
        ("throttle!=Thermal,power", Bits("throttle", "!=", ("thermal", "power"), 0xE4)),
        ("throttle>1", Number("throttle", ">", 1)),
    ],
)
def test_values_are_read_with_their_units(text: str, expected: Expression) -> None:
    assert parse_gpus(text).expression == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("temp>85F", r"'temp>85F': 'F' is no unit of temp; its units: C \(at character 6\)"),
        ("xid=3s", "'s' is no unit of xid; it has none"),
        (
            "run=a util>95",
            r"'util>95': a ratio is at most 1; write 95% or 0.95 \(at character 12\)",
        ),
        ("util>150%", "write 95% or 0.95"),
        ("temp>nan", "'nan' is no number"),
        ("temp>1e999", "'1e999' is no number"),
        ("power>1e308kW", "is too large"),
        ("temp~8*", "~ is for texts; temp goes with = != < <= > >="),
        ("temp=>85", "a value begins with no sign; quote it"),
        ("run==10t", "a value begins with no sign"),
        ("tmp>85", r"'tmp' is no field \(did you mean temp\?\); known: run, hall"),
        ("step>9", "'step' is no field"),
        ("gpu>0,1", "a list goes with = and != only"),
        ("class>P0,P1", "a list goes with = and != only"),
        ("class~P*", "class goes with =, !=, <, <=, > and >= only"),
        ("run>a", "run goes with =, != and ~ only"),
        ("run=10*", "patterns go with ~; quote it if it is none"),
        ("run~''", "a value must follow ~"),
        ("uuid~*ab", r"uuid takes one \* at the end, and no \?"),
        ("uuid~a?b", r"uuid takes one \* at the end, and no \?"),
        ("throttle=hot", "'hot' is no number, nor one of idle, clocks"),
        ("throttle=thermal,hot", "'hot' is none of idle, clocks"),
        ("throttle>thermal", "names go with = and != only"),
        ("mem>40 GiB", "no space before a unit; write '40GiB'"),
        ("run=a,", "a value must follow the comma"),
        ("run=(a)", "a value must follow ="),
        ("label(a)", r"'label': put a space before \( or quote"),
        ("run='a", "is not closed; add '"),
        ("'a'b", "put a space behind it"),
        ("''", "a word must not be empty"),
        ("a ! b", "write FIELD"),
        ("a\x00b", r"'\\x00' cannot be in it; .* \(at character 2\)"),
        ("'a\nb'", r"'a\\nb' must be on one line"),
        ("a and", r"a term must follow and \(at character 3\)"),
        ("a or or b", "a term must follow or"),
        ("not", "a term must follow not"),
        ("and a", "a term must stand before and"),
        ("()", r"a term must follow \("),
        ("(a", r"this \( is not closed; add \)"),
        ("a) b", r"no \( is open here; remove the \) \(at character 2\)"),
        ("(" * 17 + "a" + ")" * 17, "at most 16 parentheses and nots"),
        ("not " * 200 + "a", "at most 16 parentheses and nots"),
        ("a " * 501, "at most 1,000 characters, not 1,002"),
        ("gpu=" + ",".join("0" * 33), "at most 32 terms"),
    ],
)
def test_a_wrong_term_over_gpus_is_named_with_the_remedy(text: str, named: str) -> None:
    with pytest.raises(MatchError, match=named):
        parse_gpus(text)


def test_hostile_text_is_escaped_and_cut_in_errors() -> None:
    for text in ["\x1b[2J" + "x" * 900, "x" * 900 + "=1", "run='" + "\N{RIGHT-TO-LEFT OVERRIDE}'"]:
        with pytest.raises(MatchError) as caught:
            parse_gpus(text)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run=10t and temp>85 and age<5", True),
        ("run=6t or power>=0.7kW", True),
        ("util>95%", False),
        ("util>=95%", True),
        ("mem=40GiB", True),
        ("throttle=thermal", True),
        ("throttle=idle,sync", False),
        ("throttle!=idle", True),
        ("node~*n03 uuid~ab class<=P1 health=live", True),
        ("N03", True),
        ("product=''", True),
        ("product!=h100", True),
        ("hall~*", True),
        ("memtemp>0 or memtemp<=0 or memtemp!=0", False),  # not available meets none
        ("not memtemp>0", True),
        ("rank=0 or rank!=0", False),
        ("throttle!=thermal", False),
    ],
)
def test_an_expression_chooses_gpus(text: str, expected: bool) -> None:
    GPU.numbers["rank"] = math.nan
    assert parse_gpus(text)(GPU) is expected


def test_a_mask_that_is_not_available_meets_no_name() -> None:
    assert not parse_gpus("throttle=thermal or throttle!=thermal")(GpuRow())
    assert not parse_gpus("class>=P0 or class<=P4")(GpuRow())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("state=paused,running", True),
        ("not state=running", False),
        ("node!=n1", False),
        ("node~n?", True),
        ("run~*-v2 (user=bob or user=ada)", True),
        ("label='Imagine V2'", True),
        ("label=Imagine", False),
        ("label~imagine", True),
        ("mfu>40% or gpus=64", True),
        ("label~[i]*", False),  # brackets are no pattern
    ],
)
def test_runs_take_the_same_language(text: str, expected: bool) -> None:
    assert parse(text)(RUN) is expected


def test_a_match_says_which_fields_it_names() -> None:
    match = parse("gpus>3 or not (state=failed and imagine)")
    assert match.names("state")
    assert not match.names("run")
    assert Match()(RUN)
    assert str(Match()) == ""
    assert parse_gpus("not temp>85").names("temp")


def test_fields_are_what_the_product_knows() -> None:
    assert tuple(RUN_FIELDS) == FIELDS
    health, throttle = GPU_FIELDS["health"], GPU_FIELDS["throttle"]
    assert isinstance(health, TextField)
    assert list(health.known) == [*Freshness]
    assert isinstance(throttle, NumberField)
    assert sum(throttle.bits.values()) == sum(CLOCK_EVENT_REASONS)
    assert clock_event_reasons(throttle.bits["thermal"]) == "sw thermal, hw thermal"


PIECES = r"""
( ) and or not , = ~ > <= ! ' " a 'a b' it's run=10t,6t run~1*t temp>85 temp !=8.5kW util<5%
mem>1GiB class>=P3 state=paused gpus>64 label='x''y' throttle=thermal,power gpu=0,1 health = , 40
GiB uuid~GPU-1* é 'İ'
"""
pieces = st.sampled_from(
    [*PIECES.split(), "\N{KELVIN SIGN}", "\t", "[", "é\N{COMBINING ACUTE ACCENT}"]
)
expressions = st.lists(pieces, max_size=12).flatmap(
    lambda parts: st.sampled_from(["", " "]).map(lambda gap: gap.join(parts))
)


@settings(deadline=None)
@given(st.text(max_size=80) | expressions)
def test_any_text_prints_as_what_it_means_or_is_an_error(text: str) -> None:
    wrong: list[str] = []
    for read in (parse, parse_gpus):
        try:
            match = read(text)
        except MatchError as error:
            wrong.append(str(error))
            continue
        match(RUN) if isinstance(match, Match) else match(GPU)
        assert read(str(match)) == match
        assert str(read(str(match))) == str(match)
    assert all(error.isprintable() and len(error) < 600 for error in wrong)
