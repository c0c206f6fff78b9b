"""The forest against one anchored dictionary, searched whole, as A+ does (Timofte et al., 2014).

`python benchmarks/nbsrf_dictionary.py [--root runs] [--data ../shared/data] [--atoms 1024]`

Both work on the same patches, axes and coarse images; the dictionary's atoms are lines found by
spherical k-means, each with a ridge map from the patches nearest to it. Luminance, x2, one thread.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from nbsrf import forest_of, luminance_of, psnr_db, read_pair
from rounds import REPOSITORY, alternate, arguments, ratios, require, row, sides, write
from torch import Generator, Tensor
from torch.nn.functional import normalize

from trainables.superres.coarse import back_project, coarse
from trainables.superres.enhance import enhance
from trainables.superres.forest import Forest
from trainables.superres.patches import coverage, cut, fill_grid, lay
from trainables.superres.regressors import ridge_map
from trainables.superres.samples import Samples, draw_samples
from trainables.superres.training_images import read_training_images
from trainables.superres.trees import grouped_products

CHUNK_PATCHES, N_NEAREST, N_STEPS, N_CLUSTERED = 8192, 2048, 10, 200_000
#: A PSNR counts as the same within this.
SAME_DB = 0.05


def nearest(patches_NK: Tensor, atoms_AK: Tensor) -> Tensor:
    """The atom most parallel to each patch, by trying all."""
    parts = patches_NK.split(CHUNK_PATCHES)
    return torch.cat([(part_NK @ atoms_AK.T).abs().argmax(1) for part_NK in parts])


def atoms_of(patches_NK: Tensor, n_atoms: int) -> Tensor:
    atoms_AK = patches_NK[:n_atoms].clone()
    for _ in range(N_STEPS):
        places_N = nearest(patches_NK, atoms_AK)
        signs_N1 = (patches_NK * atoms_AK[places_N]).sum(1, keepdim=True).sign()
        # an atom without patches stays as it is
        sums_AK = (atoms_AK * 1e-3).index_add_(0, places_N, signs_N1 * patches_NK)
        atoms_AK = normalize(sums_AK)
    return atoms_AK


def maps_of(samples: Samples, atoms_AK: Tensor, ridge: float) -> Tensor:
    maps = []
    for atom_K in atoms_AK:
        along_N = samples.patches_NK @ atom_K
        chosen = along_N.abs().topk(N_NEAREST).indices
        maps.append(ridge_map(samples.patches_NK[chosen], samples.details_NP[chosen], ridge))
    return torch.stack(maps)


def enhance_by_dictionary(
    low_BHW: Tensor, forest: Forest, atoms_AK: Tensor, maps_AKP: Tensor
) -> Tensor:
    """As `enhance`, with one exhaustive search in place of the trees."""
    spec = forest.spec
    sides = spec.patch_px, spec.step_px
    size_px = [round(side * spec.factor) for side in low_BHW.shape[-2:]]
    coarse_BHW = coarse(low_BHW, *size_px, spec.n_ibp)
    grid_BHW = fill_grid(coarse_BHW, *sides)
    patches_NK = cut(grid_BHW, *sides) @ forest.axes_PK
    norms_N1 = patches_NK.norm(dim=1, keepdim=True)
    unit_NK = patches_NK / norms_N1.clamp_min(1e-6)
    details_NP = grouped_products(unit_NK, nearest(unit_NK, atoms_AK), maps_AKP) * norms_N1
    n_images, height_px, width_px = grid_BHW.shape
    summed_BHW = lay(details_NP, (n_images, height_px, width_px), *sides)
    summed_BHW /= coverage((height_px, width_px), details_NP, *sides)
    made_BHW = coarse_BHW + summed_BHW[:, : size_px[0], : size_px[1]]
    return back_project(made_BHW, low_BHW, spec.n_final_ibp).clamp(0, 1)


def psnr_of(pairs: list[tuple[Tensor, Tensor]], enlarge: Callable[[Tensor], Tensor]) -> float:
    """Mean over the photos, in dB."""
    return statistics.mean(psnr_db(sharp, enlarge(low)[0], 2) for sharp, low in pairs)


def cpu_s(pairs: list[tuple[Tensor, Tensor]], enlarge: Callable[[Tensor], Tensor]) -> float:
    """Seconds of processor time for all photos."""
    began = time.process_time()
    for _, low_BHW in pairs:
        enlarge(low_BHW)
    return time.process_time() - began


def dictionary_of(forest: Forest, images: list, n_atoms: int) -> tuple[Tensor, Tensor]:
    """Atoms and their ridge maps, from the forest's own patches."""
    spec = forest.spec.model_copy(update={"max_patches": 600_000})
    luminances = [luminance_of(image) for image in images]
    samples = draw_samples(luminances, spec, Generator().manual_seed(0))
    mixed = torch.randperm(len(samples.patches_NK), generator=Generator().manual_seed(1))
    atoms_AK = atoms_of(samples.patches_NK[mixed[:N_CLUSTERED]], n_atoms)
    return atoms_AK, maps_of(samples, atoms_AK, spec.ridge)


def compare(
    pairs: list[tuple[Tensor, Tensor]], ways: dict[str, Callable[[Tensor], Tensor]], rounds: int
) -> list[dict[str, Any]]:
    """The dictionary's time over the forest's, and the PSNR of both, which has to be as good."""
    decibels = {name: psnr_of(pairs, way) for name, way in ways.items()}
    require(decibels["forest"] >= decibels["dictionary"] - SAME_DB, f"PSNR {decibels}")
    timed = {name: lambda way=way: cpu_s(pairs, way) for name, way in ways.items()}
    found = alternate(timed, rounds)
    details = {"CPU seconds of Set14": sides(found), "PSNR, dB": decibels, "threads": 1}
    gains = ratios(found["dictionary"], found["forest"])
    return [row("nbsrf_dictionary/dictionary", gains, **details)]


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--root", type=Path, default=REPOSITORY / "runs")
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--atoms", type=int, default=1024)
    chosen = parser.parse_args()
    folder = chosen.data / "super_resolution"
    if not folder.is_dir():
        parser.error(
            f"{folder} is not here: give --data, a folder with super_resolution/T91, Set14"
        )
    images = read_training_images(folder / "T91")
    forest = forest_of(2, images, chosen.root)
    torch.set_num_threads(1)
    atoms_AK, maps_AKP = dictionary_of(forest, images, chosen.atoms)
    pairs = [read_pair(file, 2) for file in sorted((folder / "Set14").glob("*.png"))]
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "forest": lambda low_BHW: enhance(low_BHW, forest),
        "dictionary": lambda low_BHW: enhance_by_dictionary(low_BHW, forest, atoms_AK, maps_AKP),
    }
    write("nbsrf_dictionary", compare(pairs, ways, chosen.rounds), chosen.out)


if __name__ == "__main__":
    main()
