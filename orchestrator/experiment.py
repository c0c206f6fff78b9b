"""A recipe together with what is known of its data and weights: all that a plan needs."""

from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from orchestrator.cells import superres_factors
from orchestrator.forests import superres_of
from orchestrator.recipe import Recipe
from trainables.datasets import find_dataset, read_index
from trainables.errors import ConfigError, DataError
from trainables.fingerprint import key_of
from trainables.index import Index, content_key, evaluation_split, file_sums
from trainables.spec import DataSpec, ModelSpec, SuperresSpec


@dataclass(frozen=True)
class Facts:
    """Counts and fingerprint of a data set; `known` is False where the photos are not at hand."""

    data_key: str
    n_train: int
    n_evaluate: int
    n_classes: int
    known: bool = True


@dataclass(frozen=True)
class Experiment:
    """What `plan` and `run` work from. `weights_key` is None for random weights.

    `variants` are the experiments of the recipe's variants, on the same photos; `superres` is how
    `sr` views are made, None where there are none.
    """

    recipe: Recipe
    facts: Facts
    weights_key: str | None
    index: Index | None = None
    auxiliary: Facts | None = None
    auxiliary_index: Index | None = None
    weights_known: bool = True
    variants: dict[str, "Experiment"] = field(default_factory=dict)
    superres: SuperresSpec | None = None

    @property
    def streamed(self) -> dict[str, tuple[Index | None, DataSpec]]:
        """Data sets, by fingerprint, whose photos are read while stages train."""
        sets = (
            (self.index, self.facts, self.recipe.data),
            (self.auxiliary_index, self.auxiliary, self.recipe.auxiliary),
        )
        return {
            facts.data_key: (index, data)
            for index, facts, data in sets
            if facts is not None and data is not None and data.mode == "stream"
        }

    @property
    def parts(self) -> tuple["Experiment", ...]:
        """The experiment and its variants."""
        return (self, *self.variants.values())


def load_experiment(recipe: Recipe, root: Path, *, must_exist: bool) -> Experiment:
    """Read the index tables and fingerprint the weights.

    Args:
        recipe: checked.
        root: where fingerprints of files are remembered.
        must_exist: False plans the complete published sets without their photos.

    Raises:
        ConfigError: when photos cannot be super-resolved as the recipe asks.
        DataError: missing data and missing weights, named in one message.
    """
    enlarged = _checked_factors(recipe)
    faults = []
    facts, index = _facts(recipe.data, root, faults, must_exist=must_exist)
    auxiliary = auxiliary_index = None
    if recipe.auxiliary is not None:
        auxiliary, auxiliary_index = _facts(recipe.auxiliary, root, faults, must_exist=must_exist)
    weights_key = _weights_key(recipe, root, faults, must_exist=must_exist)
    whole = Experiment(
        recipe,
        facts,
        weights_key,
        index,
        auxiliary,
        auxiliary_index,
        weights_known=_weights_known(recipe),
        superres=superres_of(recipe, facts.data_key, root) if enlarged else None,
    )
    variants = {
        name: replace(
            whole,
            recipe=(part := recipe.of(name)),
            weights_key=_weights_key(part, root, faults, must_exist=must_exist),
            weights_known=_weights_known(part),
        )
        for name in recipe.variants
    }
    if faults:
        raise DataError("\n".join(dict.fromkeys(faults)))
    return replace(whole, variants=variants)


def _checked_factors(recipe: Recipe) -> set[float]:
    factors, data = superres_factors(recipe), recipe.data
    if recipe.streams and factors:
        raise ConfigError(
            "data.mode: stream makes high and low photos only: super-resolved ones are made before "
            "training; take sr strategies out of cells.strategies, or use data.mode: resident"
        )
    others = sorted(factors - {data.canvas_px / data.resolution_px})
    if recipe.superres.way == "direct" and others:
        raise ConfigError(
            "superres.way: direct has one forest, of the factor data.canvas_px / "
            "data.resolution_px; cells.resolutions_px or variants need "
            f"{', '.join(f'{factor:g}' for factor in others)}, too; take x4, or a recipe for each"
        )
    return factors


def _weights_known(recipe: Recipe) -> bool:
    files = (recipe.model.weights, recipe.model.mean_image)
    return all(file in ("none", "torchvision") or Path(file).is_file() for file in files)


def _facts(
    data: DataSpec, root: Path, faults: list[str], *, must_exist: bool
) -> tuple[Facts, Index | None]:
    complete = find_dataset(data.dataset).complete
    try:
        index = read_index(data)
    except DataError as error:
        if must_exist or complete is None or data.root is not None:
            faults.append(str(error))
            return Facts("", 1, 1, 2, known=False), None
        n_classes = data.classes or complete.n_classes
        share = n_classes / complete.n_classes
        n_train = round(share * complete.n_train)
        held = round(data.validation * n_train)
        n_evaluate = held or round(share * complete.n_test)
        key = key_of(["expected", data.dataset, n_train, n_evaluate, n_classes])
        return Facts(key, n_train - held, n_evaluate, n_classes, known=False), None
    return facts_of(index, data, root), index


def facts_of(index: Index, data: DataSpec, root: Path) -> Facts:
    """Counts and content fingerprint of an index."""
    drawn_key = find_dataset(data.dataset).content_key
    key = drawn_key(data) if drawn_key else content_key(index, root / "data" / "sums.json")
    n_train, n_evaluate = len(index.rows("train")), len(index.rows(evaluation_split(data)))
    if not n_train or not n_evaluate:
        raise DataError(
            f"{data.dataset} has {n_train} training and {n_evaluate} {evaluation_split(data)} "
            "photos; both are needed"
        )
    if len(index.class_names) < 2:
        raise DataError(
            f"{data.dataset} has one class, {''.join(index.class_names)!r}, which nothing can be "
            f"told from; give photos of two or more (data.root is {data.root})"
        )
    return Facts(key, n_train, n_evaluate, len(index.class_names))


def _weights_key(recipe: Recipe, root: Path, faults: list[str], *, must_exist: bool) -> str | None:
    model = recipe.model
    if model.weights == "none":
        return None
    options = [] if model.fc6_order == "auto" else [["fc6_order", model.fc6_order]]
    if model.mean_image != "none":
        digest = _digest(model.mean_image, "mean image", model, root, faults if must_exist else [])
        options.append(["mean_image", digest])
    if model.weights == "torchvision":
        found = ["torchvision", version("torchvision")]
    else:
        found = [_digest(model.weights, "weights", model, root, faults if must_exist else [])]
    return key_of(["weights", model.name, *found, *options])


def _digest(file: str, what: str, model: ModelSpec, root: Path, faults: list[str]) -> str:
    """Fingerprint of a file's content; `expected`, and a fault, where there is no such file."""
    path = Path(file)
    if path.is_file():
        (digest,) = file_sums([path], root / "data" / "sums.json")
        return digest
    if what == "weights":
        advice = (
            "are missing: give --model.weights FILE (.caffemodel, .npy, .safetensors or a "
            "torchvision state dict), or --model.weights none for random ones"
        )
    else:
        advice = "is missing: give --model.mean-image FILE (.binaryproto or .npy), or none"
    faults.append(f"{what} {file} of {model.name} {advice}")
    return "expected"
