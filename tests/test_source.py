"""What the source must never do with other people's bytes: run them. Judged by syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SOURCES = ("trainables", "orchestrator", "analysis", "benchmarks")

#: Calls by the end of their dotted name, whatever their arguments.
BANNED_CALLS = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "cPickle.load", "cPickle.loads",
    "cloudpickle.load", "cloudpickle.loads", "dill.load", "dill.loads", "joblib.load",
    "marshal.load", "marshal.loads", "shelve.open", "pd.read_pickle", "pandas.read_pickle",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load",
    "yaml.full_load_all", "os.system", "os.popen", "subprocess.getoutput",
    "subprocess.getstatusoutput", "eval", "exec", "builtins.eval", "builtins.exec",
    "torch.hub.load", "tar.extractall", "zip.extractall", "Tuner.restore", "tempfile.mktemp",
}  # fmt: skip
#: Arguments by name that may never have this value.
BANNED_ARGUMENTS = {
    ("weights_only", False),
    ("allow_pickle", True),
    ("shell", True),
    ("trust_remote_code", True),
}
#: Names out of modules that may not be imported at all: only what could unpickle or run.
BANNED_IMPORTS = {"cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml.UnsafeLoader",
                  "yaml.FullLoader", "yaml.Loader", "pickle.load", "pickle.loads",
                  "pickle.Unpickler"}  # fmt: skip
BANNED_ATTRIBUTES = {"UnsafeLoader", "FullLoader", "CUnsafeLoader", "LOAD_TRUNCATED_IMAGES"}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def faults_of_call(call: ast.Call) -> Iterator[str]:
    name = dotted(call.func)
    if name in BANNED_CALLS or name.rsplit(".", 1)[-1] == "extractall":
        yield name
    given = {argument.arg: argument.value for argument in call.keywords}
    for keyword, value in given.items():
        constant = value.value if isinstance(value, ast.Constant) else None
        if (keyword, constant) in BANNED_ARGUMENTS and isinstance(constant, bool):
            yield f"{keyword}={constant}"
    only = given.get("weights_only")
    if name == "torch.load" and not (isinstance(only, ast.Constant) and only.value is True):
        yield "torch.load without weights_only=True"


def faults_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        yield from faults_of_call(node)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in BANNED_IMPORTS)
    elif isinstance(node, ast.ImportFrom):
        names = {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        yield from sorted(names & (BANNED_IMPORTS | BANNED_CALLS))
    elif isinstance(node, ast.Attribute) and node.attr in BANNED_ATTRIBUTES:
        yield node.attr


def faults(text: str) -> list[str]:
    return [
        f"{getattr(node, 'lineno', 0)}: {fault}"
        for node in ast.walk(ast.parse(text))
        for fault in faults_of(node)
    ]


def sources() -> list[Path]:
    found = [file for name in SOURCES for file in (REPOSITORY / name).rglob("*.py")]
    assert len(found) > 100, "the packages are not where this test looks for them"
    return found


def test_s03_s04_nothing_in_the_source_can_run_what_it_reads():
    found = [
        f"{file.relative_to(REPOSITORY)}:{fault}"
        for file in sources()
        for fault in faults(file.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "torch.load(f, weights_only=safe)",
        "weights.get_state_dict(weights_only=False)",
        "import pickle\npickle.load(f)",
        "from pickle import loads",
        "import cloudpickle",
        "from cloudpickle import loads",
        "pd.read_pickle(f)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(text, Loader=Own)",
        "yaml.unsafe_load(text)",
        "yaml.compose(text, Loader=yaml.UnsafeLoader)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "eval(text)",
        "exec(text)",
        "tar.extractall(folder)",
        "opened.extractall(folder)",
        "torch.hub.load('a/b', 'c')",
        "tune.Tuner.restore(folder)\nTuner.restore(folder)",
        "ImageFile.LOAD_TRUNCATED_IMAGES = True",
    ],
)
def test_s03_the_search_finds_each_kind(line):
    assert faults(line)


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(f, map_location='cpu', weights_only=True)",
        "import pickle\ntry:\n  f()\nexcept pickle.UnpicklingError:\n  pass",
        "np.load(f, allow_pickle=False)",
        "yaml.safe_load(text)",
        "module.eval()",
        "subprocess.run(['git', 'log'])",
    ],
)
def test_s03_the_search_leaves_what_is_harmless(line):
    assert faults(line) == []
