"""Which tests hold which parser of strangers' files."""

from dataclasses import dataclass

FUZZ, TRAINABLES = "tests/fuzz", "tests/trainables"
MODELS = "trainables/models"


@dataclass(frozen=True)
class Parser:
    """A parser: its files, its fuzzing tests by id, its unit tests; `n_tests` fuzz it."""

    name: str
    modules: tuple[str, ...]
    fuzz: tuple[str, ...]
    unit: tuple[str, ...]

    @property
    def n_tests(self) -> int:
        """Fuzzing tests; each tries so many examples."""
        return len(self.fuzz)

    @property
    def fuzz_files(self) -> tuple[str, ...]:
        """Files of the fuzzing tests."""
        return tuple({test.partition("::")[0] for test in self.fuzz})


def _fuzz(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"{FUZZ}/{file}::{test}" for test in tests)


def _weights(*names: str) -> tuple[str, ...]:
    return _fuzz("test_weights.py", *(f"test_weights_are_read_or_refused[{n}]" for n in names))


def _units(*names: str) -> tuple[str, ...]:
    return tuple(f"{TRAINABLES}/test_{name}.py" for name in names)


PARSERS = (
    Parser(
        "recipes (YAML)",
        ("orchestrator/recipe_files.py", "orchestrator/recipe.py"),
        _fuzz(
            "test_recipes.py",
            "test_a_changed_recipe_is_read_or_refused",
            "test_a_recipe_with_other_values_is_read_or_refused",
            "test_any_values_in_any_fields_are_read_or_refused",
            "test_any_yaml_is_read_or_refused",
            "test_any_text_is_read_or_refused",
        ),
        ("tests/orchestrator/test_recipe.py", "tests/orchestrator/test_flags.py"),
    ),
    Parser(
        "CUB's text files",
        ("trainables/datasets/cub200.py",),
        _fuzz("test_annotations.py", "test_cub_s_files_are_read_or_refused"),
        _units("datasets_cub200"),
    ),
    Parser(
        "CSV, Parquet and folders",
        (
            "trainables/datasets/folder.py", "trainables/photo_tables.py",
            "trainables/index_checks.py",
        ),
        _fuzz(
            "test_annotations.py",
            "test_csv_is_read_or_refused",
            "test_parquet_is_read_or_refused",
        ),
        _units("datasets_folder", "index_checks"),
    ),
    Parser(
        "Cars' MATLAB files",
        ("trainables/datasets/stanford_cars.py", "trainables/mat_file.py"),
        _fuzz(
            "test_annotations.py",
            "test_mat_files_are_read_or_refused",
            "test_mat_files_of_other_values_are_read_or_refused",
        ),
        _units("datasets_cars", "mat_file"),
    ),
    Parser(
        "photos",
        ("trainables/decode.py",),
        _fuzz("test_photos.py", "test_a_photo_is_read_or_refused"),
        _units("decode"),
    ),
    Parser(
        "caffemodel",
        (f"{MODELS}/caffemodel.py", f"{MODELS}/wire.py", f"{MODELS}/caffe_weights.py"),
        _weights("a.caffemodel"),
        _units("caffe_files", "caffe_import", "caffe_networks", "caffe_npy"),
    ),
    Parser(
        "npy with a pickle",
        (
            f"{MODELS}/npy_file.py", f"{MODELS}/npy_weights.py", f"{MODELS}/plain_pickle.py",
            f"{MODELS}/pickled_arrays.py",
        ),
        (
            *_weights("a.npy"),
            *_fuzz("test_weights.py", "test_a_pickle_becomes_plain_values_or_is_refused"),
        ),
        _units("caffe_npy", "caffe_fc6_order", "caffe_files"),
    ),
    Parser(
        "mean images",
        (f"{MODELS}/mean_image.py", f"{MODELS}/npy_file.py"),
        _fuzz(
            "test_weights.py",
            "test_mean_images_are_read_or_refused[mean.npy]",
            "test_mean_images_are_read_or_refused[mean.binaryproto]",
        ),
        _units("caffe_files", "caffe_npy"),
    ),
    Parser(
        "torch and safetensors",
        (f"{MODELS}/weights.py",),
        _weights("a.pt", "a.pth", "a.safetensors"),
        _units("weights", "caffe_files"),
    ),
    Parser(
        "manifests of stages and views",
        ("trainables/store.py", "trainables/entry.py", "trainables/views.py"),
        _fuzz(
            "test_stores.py",
            "test_a_changed_manifest_is_a_whole_entry_a_damaged_one_or_none",
            "test_what_lacks_a_field_is_no_manifest_of_a_view",
            "test_a_view_with_a_changed_manifest_is_opened_or_refused",
        ),
        (*_units("store", "store_crashes", "views"), "tests/orchestrator/test_bucket_root.py"),
    ),
    Parser(
        "records and leases",
        ("orchestrator/events.py", "orchestrator/leases.py"),
        _fuzz(
            "test_stores.py",
            "test_the_whole_lines_of_any_record_are_read",
            "test_a_changed_lease_belongs_to_somebody_else",
        ),
        ("tests/orchestrator/test_events.py", "tests/orchestrator/test_leases.py"),
    ),
    Parser(
        "results.parquet",
        ("analysis/runs.py",),
        _fuzz("test_stores.py", "test_results_are_read_or_refused"),
        ("tests/analysis/test_runs.py",),
    ),
    Parser(
        "class names in HTML",
        ("analysis/pages.py",),
        _fuzz("test_stores.py", "test_s11_no_name_of_a_class_becomes_markup"),
        ("tests/analysis/test_tables.py", "tests/analysis/test_outputs.py"),
    ),
)  # fmt: skip
