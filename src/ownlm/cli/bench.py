"""``ownlm bench``: a model measured on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ownlm.cli.options import Device, ExactHead, Json, KvFormat, head_of, ops_of
from ownlm.cli.output import note, say, table, write_json

if TYPE_CHECKING:
    from ownlm.fit.figures import Figure, Memory, Report

_LIMITS = {"bandwidth": "memory bandwidth", "int8": "int8 peak", "bf16": "bfloat16 peak", "f32": "float peak"}


def bench(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A folder, a GGUF file, a Hub id that was pulled, or a name of `ownlm list`.",
            metavar="[MODEL]",
            show_default="the model that ships, a demonstration",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often each thing is measured; medians are given.")] = 5,
    prompt: Annotated[int, typer.Option(help="Tokens of a prompt.")] = 512,
    tokens: Annotated[int, typer.Option(help="Tokens of an answer.")] = 64,
    depth: Annotated[
        int | None,
        typer.Option(
            help="Measure answers behind so long a text, too.", show_default="8192 where context and memory admit it"
        ),
    ] = None,
    streams: Annotated[int, typer.Option(help="Answers that are written at the same time.")] = 8,
    rows: Annotated[int, typer.Option(help="Tokens of one step, as in checking a draft.")] = 16,
    price: Annotated[
        str | None,
        typer.Option(
            metavar="IN/OUT", help="A hosted service's price of a million input and output tokens, to compare with."
        ),
    ] = None,
    machine_price: Annotated[float | None, typer.Option(help="Price of an hour of this machine.")] = None,
    electricity: Annotated[float | None, typer.Option(help="Price of a kilowatt hour.")] = None,
    power: Annotated[
        float | None,
        typer.Option(help="Watts of this machine while it computes.", show_default="what its counters say, if any"),
    ] = None,
    kv_format: KvFormat = "bf16",
    exact_head: ExactHead = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure how fast a model is on this machine, and how close that is to what the machine can do.

    Loading, first token, prompts, answers behind a short and a long text, several answers at a time, checking drafts,
    memory, and, where the machine tells or you say, energy and the price of a million tokens. Nothing else should run
    meanwhile. Prompts are random; drafts are off.
    """
    from ownlm.cli.starter import or_starter
    from ownlm.fit.bench import Workload
    from ownlm.fit.bench import bench as measure
    from ownlm.fit.cost import prices
    from ownlm.fit.energy import meter

    workload = Workload(rounds=rounds, prompt=prompt, new=tokens, depth=depth, streams=streams, rows=rows)
    report = measure(
        or_starter(model),
        workload,
        prices=prices(price, machine_price, electricity),
        meter=meter(power),
        on_progress=note,
        ops=ops_of(device),
        kv_format=kv_format,
        head=head_of(exact_head),
    )
    if as_json:
        write_json(as_document(report))
        return
    for text in report.notes:
        note(f"note: {text}")
    for line in lines(report):
        say(line)
    costs = report.costs()
    if costs:
        say()
        money = [(name, _money(here), _money(hosted)) for name, here, hosted in costs]
        table(money, ("a million tokens of", "here", "hosted"))


def lines(report: Report) -> list[str]:
    """The report for a person: the machine, a line a figure, memory."""
    limits = report.machine
    peaks = f"int8 {limits.int8_ops / 1e9:,.0f}, floats {limits.f32_ops / 1e9:,.0f} GOP/s"
    found = [
        f"{report.model} on {limits.processor}, {limits.threads} threads, {limits.isa}",
        f"the machine can do   memory {limits.bandwidth / 1e9:.1f} GB/s, {peaks}",
        "",
    ]
    found += [_line(figure) for figure in report.figures]
    found += ["", *_memory(report.memory, report.kv_format)]
    if report.energy is not None:
        found.append(f"energy               by {report.energy}")
    return found


def as_document(report: Report) -> dict[str, Any]:
    """The report for a program: every value of every round, in seconds, bytes, tokens a second, operations a second."""
    import dataclasses

    figures = [
        dataclasses.asdict(figure) | {"values": list(figure.values), "median": figure.median}
        for figure in report.figures
    ]
    costs = [{"of": name, "here": here, "hosted": hosted} for name, here, hosted in report.costs()]
    return dataclasses.asdict(report) | {"figures": figures, "costs": costs, "notes": list(report.notes)}


def _line(figure: Figure) -> str:
    spread = "" if len(figure.values) == 1 else f"({_number(figure.low)} to {_number(figure.high)})"
    parts = [f"{figure.name:<20} {_number(figure.median):>8} {figure.unit:<9} {spread:<20}"]
    if figure.share is not None and figure.limit is not None:
        parts.append(f"{figure.share:>4.0%} of the {_LIMITS[figure.limit]}")
    if figure.joules is not None:
        parts.append(f"{figure.joules:.3g} J a token")
    if figure.remark:
        parts.append(figure.remark)
    return "  ".join(parts).rstrip()


def _memory(memory: Memory, kv_format: str) -> list[str]:
    found = []
    if memory.resident:
        found.append(
            f"memory               {memory.resident / 1e6:,.0f} MB resident, {memory.before / 1e6:,.0f} before loading"
        )
    if memory.layers is not None and memory.head is not None and memory.table is not None:
        found.append(
            f"  weights            {(memory.layers + memory.head + memory.table) / 1e6:,.0f} MB: layers "
            f"{memory.layers / 1e6:,.0f}, head {memory.head / 1e6:,.0f}, embeddings {memory.table / 1e6:,.0f}"
        )
    a_token = f"{memory.cache_per_token / 1e3:.1f} kB a token"
    found.append(f"  keys and values    {memory.cache / 1e6:,.0f} MB at most: {a_token}, {kv_format}".rstrip(", "))
    return found


def _number(value: float) -> str:
    """
    >>> _number(1234.5), _number(80.123), _number(0.0123)
    ('1,234', '80.1', '0.0123')
    """
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _money(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"
