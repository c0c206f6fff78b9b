"""The forest against one anchored dictionary, searched whole, as A+ does (Timofte et al., 2014).

`python benchmarks/nbsrf_dictionary.py [--root runs] [--data ../shared/data] [--atoms 1024]`

Both work on the same patches, axes and coarse images; the dictionary's atoms are lines found by
spherical k-means, each with a ridge map from the patches nearest to it. Luminance, x2, one thread.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from nbsrf import forest_of, luminance_of, psnr_db, read_pair
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


def report(
    name: str, pairs: list[tuple[Tensor, Tensor]], enlarge: Callable[[Tensor], Tensor]
) -> float:
    """Print PSNR and CPU seconds an image; return the seconds."""
    decibels, seconds = [], []
    for sharp_HW, low_BHW in pairs:
        began = time.process_time()
        made_HW = enlarge(low_BHW)[0]
        seconds.append(time.process_time() - began)
        decibels.append(psnr_db(sharp_HW, made_HW, 2))
    mean_s = statistics.mean(seconds)
    print(f"{name}: {statistics.mean(decibels):.2f} dB, {mean_s:.3f} s of CPU an image")
    return mean_s


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--atoms", type=int, default=1024)
    chosen = parser.parse_args()
    folder = chosen.data / "super_resolution"
    images = read_training_images(folder / "T91")
    forest = forest_of(2, images, chosen.root)
    torch.set_num_threads(1)
    spec = forest.spec.model_copy(update={"max_patches": 600_000})
    luminances = [luminance_of(image) for image in images]
    samples = draw_samples(luminances, spec, Generator().manual_seed(0))
    mixed = torch.randperm(len(samples.patches_NK), generator=Generator().manual_seed(1))
    atoms_AK = atoms_of(samples.patches_NK[mixed[:N_CLUSTERED]], chosen.atoms)
    maps_AKP = maps_of(samples, atoms_AK, spec.ridge)
    files = sorted((folder / "Set14").glob("*.png"))
    pairs = [read_pair(file, 2) for file in files]
    forest_s = report("forest", pairs, lambda low_BHW: enhance(low_BHW, forest))
    dictionary_s = report(
        f"dictionary of {chosen.atoms}",
        pairs,
        lambda low_BHW: enhance_by_dictionary(low_BHW, forest, atoms_AK, maps_AKP),
    )
    print(f"the forest takes {forest_s / dictionary_s:.2f} of the dictionary's time")


if __name__ == "__main__":
    main()
