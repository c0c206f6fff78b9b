"""The verbs of `f2c`. Each imports what it needs when it needs it, so help is quick."""

import difflib
import errno
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence

from rich.console import Console

from orchestrator.display import next_line, program
from trainables.disk import FORBIDDEN
from trainables.errors import BusyError, ConfigError, DataError
from trainables.secrets import hide_secrets

VERBS = {
    "prepare": "prepare RECIPE | SET --from PATH | cub200 --download | forest --images D; --verify",
    "plan": "plan RECIPE...         cells, stages, what is shared and done, time, disk",
    "run": "run [RECIPE]           train what is missing, then tables and figures",
    "status": "status RECIPE          which cells are done",
    "explain": "explain RECIPE CELL    its stages, and why one would be trained",
    "report": "report RECIPE | FOLDER  its tables, figures and report.html again",
    "heatmap": "heatmap RECIPE | FOLDER  what networks look at (Figure 3); --cells A B --images N",
    "predict": "predict RECIPE CELL PHOTO...  classes of any photos; --json FILE, --picture FILE",
    "export": "export RECIPE CELL     its network as a pt2 file, or --onnx",
    "sync": "sync RECIPE            what MLflow lacks of a run, from its record",
    "gc": "gc [--delete]          leftovers that no stage needs",
}


#: Verbs with no options of their own, whose help is their line of the usage.
WITHOUT_HELP = ("explain", "report", "sync")
ABOUT_FLAGS = "The flags are those of the run: `f2c run RECIPE --help` lists them all."

#: Commands in messages, to be printed as the user can run them.
_COMMAND = re.compile(rf"\bf2c (?=(?:{'|'.join(VERBS)})\b)")
#: What a message may hold of a stranger's file and no terminal should get.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
AFTER_FULL = "; free some space and run the same command again, nothing finished is lost"
#: Columns of tables where there is no terminal to ask.
PLAIN_WIDTH = 110


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; return the exit status (0, 2, 65, 70, 75, 129, 130, 143)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    console = _Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    if not given or given[0] in ("-h", "--help"):
        console.print(usage())
        return 0
    verb, rest = given[0], given[1:]
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        console.print(f"f2c has no verb {verb}{hint}\n\n{usage()}")
        return 2
    if verb in WITHOUT_HELP and {"-h", "--help"} & {*rest}:
        console.print(f"usage: f2c {VERBS[verb]}\n\n{ABOUT_FLAGS}")
        return 0
    try:
        return _VERBS[verb](rest, console)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _fault(error, console)


class _Console(Console):
    """A terminal whose reader may go away, as in `f2c run | head -1`."""

    def on_broken_pipe(self) -> None:
        """Go on in silence; Rich would end the run with status 1."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fault(error: Exception, console: Console) -> int:
    """Say what went wrong, in one sentence where the user can mend it; the exit status."""
    if isinstance(error, ConfigError | DataError | BusyError):
        console.print(_COMMAND.sub(f"{program()} ", _shown(str(error))))
        return error.exit_status
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        console.print(f"{error.strerror or error}".partition(";")[0] + AFTER_FULL)
        return 75
    if isinstance(error, OSError) and error.errno in FORBIDDEN and error.filename:
        place = _shown(str(error.filename))
        console.print(f"{place}: {error.strerror}; name another place, or have this one opened")
        return 2
    console.print(_shown("".join(traceback.format_exception(error))))
    console.print("this is a fault of the program; finished stages are kept")
    return 70


def _shown(text: str) -> str:
    """Without secrets, and without what would control the terminal."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], hide_secrets(text))


def usage() -> str:
    """All verbs, one line each."""
    from orchestrator.recipe_files import shipped

    verbs = "\n".join(f"  f2c {text}" for text in VERBS.values())
    return (
        "f2c - train on sharp photos, recognise blurry ones\n\n"
        f"{verbs}\n\n"
        f"RECIPE is one of {', '.join(shipped())}, a YAML file, or the name of\n"
        "a run under the root. Any field of it is a flag:\n"
        "  --train.epochs 3 --data.root DIR --data.resolution-px 25 --seeds 0 1 2\n"
        "`f2c run RECIPE --help` lists them all, with how to run: --root, --executor, ..."
    )


def _run(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.cluster import check_local_machine, make_root
    from orchestrator.flags import parse_one
    from orchestrator.networks import check_model_fits

    recipe, machine = parse_one(arguments)
    check_model_fits(recipe)
    check_local_machine(machine)
    make_root(machine.root)
    from orchestrator.estimate import plan_text
    from orchestrator.run_copy import bring_run, send_run

    bring_run(machine, recipe.name)
    from orchestrator.experiment import load_experiment
    from orchestrator.plan import make_plan
    from orchestrator.roots import import_weights

    experiment = load_experiment(recipe, machine.root, must_exist=True)
    plan = make_plan([experiment])
    console.print(plan_text([experiment], plan, machine))
    from orchestrator.sweep import Sweep
    from trainables.store import Store

    import_weights(experiment, Store(machine.root / "store"))
    command = hide_secrets(shlex.join(["f2c", "run", *arguments]))
    outcome = Sweep(experiment, plan, machine, command, console).run()
    from orchestrator.publishing import publish

    publish(outcome, command, [*arguments], console)
    send_run(machine, recipe.name)
    return outcome.exit_status


def _plan(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.estimate import plan_text
    from orchestrator.experiment import load_experiment
    from orchestrator.flags import leading_words, parse
    from orchestrator.networks import check_model_fits
    from orchestrator.plan import make_plan

    words = leading_words(arguments)
    parsed = [parse(name, arguments[len(words) :]) for name in words or [None]]
    for recipe, _ in parsed:
        check_model_fits(recipe)
    experiments = [
        load_experiment(recipe, machine.root, must_exist=False) for recipe, machine in parsed
    ]
    console.print(plan_text(experiments, make_plan(experiments), parsed[0][1]))
    for word in words or [""]:
        flags = arguments[len(words) :]
        console.print(next_line("run", *filter(None, [word]), *flags))
    return 0


def _status(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.estimate import notes
    from orchestrator.experiment import load_experiment
    from orchestrator.flags import parse_one, with_recipe
    from orchestrator.inventory import take_inventory
    from orchestrator.plan import make_plan
    from orchestrator.results import cell_rows
    from trainables.store import Store

    recipe, machine = parse_one(arguments)
    experiment = load_experiment(recipe, machine.root, must_exist=False)
    plan, store = make_plan([experiment]), Store(machine.root / "store")
    rows = cell_rows(experiment, plan, store, {})
    still = [row for row in rows if row["status"] != "done"]
    console.print(
        f"{len(rows) - len(still)} of {len(rows)} cells done, "
        f"{len(take_inventory(plan, store).to_train)} of {len(plan.stages)} stages to train"
    )
    for note in notes(experiment):
        console.print(f"  {note}")
    for row in still[:10]:
        console.print(f"  {row['status']:9} {row['cell']}")
    results = machine.root / recipe.name / "results.parquet"
    if still or not results.is_file():
        console.print(next_line("run", *arguments))
    else:
        console.print(f"results  {results}")
        console.print(next_line("report", *with_recipe(arguments)))
    return 75 if still else 0


def _explain(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.experiment import load_experiment
    from orchestrator.explain import explain_cell
    from orchestrator.flags import leading_words, parse
    from orchestrator.plan import make_plan
    from trainables.store import Store

    words = leading_words(arguments)
    if len(words) != 2:
        raise ConfigError("explain wants a recipe and a cell: f2c explain demo staged_hl/h3-l5/s0")
    recipe, machine = parse(words[0], arguments[2:])
    plan = make_plan([load_experiment(recipe, machine.root, must_exist=False)])
    store = Store(machine.root / "store")
    for line in explain_cell(plan, words[1], store):
        console.print(line)
    entry = store.find(plan.cells[words[1]][1])
    usable = entry is not None and entry.kind == "stage"
    console.print(next_line(*(["export", *words] if usable else ["run", words[0]]), *arguments[2:]))
    return 0


def _prepare(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.bring import bring

    return bring(arguments, console)


def _report(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.publishing import report

    return report(arguments, console)


def _heatmap(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.heat_maps import heatmap

    return heatmap(arguments, console)


def _predict(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.predicting import predict, show

    found = predict(arguments)
    show(found, console)
    if found.picture is not None:
        from analysis.prediction_sheet import write_sheet

        title = f"{found.cell.recipe.name} {found.cell.name}"
        n_drawn = write_sheet(found.picture, title, found.photos, found.cell.entry)
        if found.json_file != "-":
            console.print(f"picture  {found.picture} ({n_drawn} of {len(found.photos)} photos)")
    if found.json_file != "-":
        console.print(next_line("export", *found.of))
    return 0


def _export(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.exporting import export

    return export(arguments, console)


def _sync(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.syncing import sync

    return sync(arguments, console)


def _gc(arguments: Sequence[str], console: Console) -> int:
    from orchestrator.leftovers import collect

    return collect(arguments, console)


_VERBS: dict[str, Callable[[Sequence[str], Console], int]] = {
    "prepare": _prepare,
    "plan": _plan,
    "run": _run,
    "status": _status,
    "explain": _explain,
    "report": _report,
    "heatmap": _heatmap,
    "predict": _predict,
    "export": _export,
    "sync": _sync,
    "gc": _gc,
}

if __name__ == "__main__":
    sys.exit(main())
