"""The tree of commands. Their bodies import what they need, so that ``--help`` loads nothing heavy."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from ownlm import __version__
from ownlm.cli import (
    ask,
    bench,
    chat,
    data,
    eval,
    eval_prompt,
    eval_safety,
    export,
    index,
    ledger,
    models,
    quantize,
    serve,
    train,
    tune,
    up,
)
from ownlm.cli.output import say

# The base of what Typer raises for a wrong option, argument or command. Newer Typers carry their own copy
# of click, so it is found through the one subclass that Typer exports: BadParameter < UsageError < this.
UsageFault = cast(type[typer.BadParameter], typer.BadParameter.__mro__[2])
# What Ctrl-C becomes in some versions of Typer; in others the exit code 130.
Stopped = typer.Abort

app = typer.Typer(
    name="ownlm",
    help="Own your language model: answers from your own documents, with citations that are exact.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="up")(up.up)
app.command(name="serve")(serve.serve)
app.command(name="ask")(ask.ask)
app.command(name="chat")(chat.chat)
app.add_typer(index.app, name="index")
app.add_typer(ledger.app, name="ledger")
eval.app.command(name="prompt")(eval_prompt.prompt)
eval.app.command(name="safety")(eval_safety.safety)
app.add_typer(eval.app, name="eval")
app.add_typer(data.app, name="data")
app.command(name="train")(train.train)
app.command(name="tune")(tune.tune)
app.command(name="quantize")(quantize.quantize)
app.command(name="export")(export.export)
app.command(name="bench")(bench.bench)
app.command(name="pull")(models.pull)
app.command(name="list")(models.list_models)
app.command(name="show")(models.show)
app.command(name="rm")(models.rm)


def _version(wanted: bool) -> None:
    if not wanted:
        return
    from ownlm import native

    say(f"ownlm {__version__}")
    say(f"  kernels in use    {native.isa()}, {native.threads()} threads")
    for name, state in native.compiled().items():
        say(f"  {name:<17} {'built' if state == 'yes' else f'not built: {state}'}")
    raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and the kernels, and exit."
        ),
    ] = False,
) -> None:
    """Own your language model: answers from your own documents, with citations that are exact."""
