"""Tables and grids -> cells. Pure."""

import difflib
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from orchestrator.recipe import Recipe, sequence_drafts
from trainables.errors import ConfigError
from trainables.spec import Cell, StageDraft
from trainables.strategies import STRATEGIES


def cells_of(recipe: Recipe, n_train: int) -> tuple[Cell, ...]:
    """Every distinct cell of a recipe, in table order, for a training split of that many images.

    Raises:
        ConfigError: for unknown strategies, no cells, or more images than there are.
    """
    _check(recipe, n_train)
    found: dict[str, Cell] = {}
    resolutions = recipe.cells.resolutions_px or (None,)
    rows = [_row(recipe, *levels, n_train) for levels in _levels(recipe)]
    for seed, px in product(recipe.seeds, resolutions):
        for row in rows:
            cell = Cell(**row, seed=seed, resolution_px=px)
            found.setdefault(cell.name, cell)
    return tuple(found.values())


def _row(recipe: Recipe, strategy: str, high: int, low: int, n_train: int) -> dict[str, Any]:
    """What a cell has whatever its seed and resolution."""
    return {
        "strategy": strategy,
        "n_high": images_at(recipe, high, n_train),
        "n_low": images_at(recipe, low, n_train),
        "high_level": high,
        "low_level": low,
    }


def images_at(recipe: Recipe, level: int, n_train: int) -> int:
    """Images of a level: eighths of all, or `step` images each; the top level is all (A1)."""
    cells = recipe.cells
    if cells.step == "auto":
        return round(level * n_train / cells.top_level)
    return n_train if level == cells.top_level else level * cells.step


def drafts_of(recipe: Recipe, cell: Cell) -> tuple[StageDraft, ...]:
    """The stages of a cell by its strategy, shipped or spelt out in the recipe."""
    variant = recipe.variants.get(cell.strategy)
    strategy = cell.strategy if variant is None else variant.strategy
    if strategy in recipe.sequences:
        return sequence_drafts(recipe.sequences[strategy], cell.n_high, cell.n_low)
    return STRATEGIES[strategy](cell)


def token(cell: Cell, draft: StageDraft) -> str:
    """`h3`, `l5`, `m4`: the form and level of a stage, for its human name.

    Letters after it: x other updates, r random resolution, f frozen layers, n shuffled labels,
    p replay, d distilled, i interpolated.
    """
    form, *others = draft.views
    level = cell.high_level if draft.n_images == cell.n_high else cell.low_level
    size = f"{level}" if draft.n_images in (cell.n_high, cell.n_low) else f"{draft.n_images}img"
    px = draft.resolution_px or (cell.resolution_px if {*draft.views} - {"high"} else None)
    at = f"at{px}px" if px else ""
    at += f"by{draft.resolution_times:g}" if draft.resolution_times else ""
    marks = {
        "x": draft.updates_of != (),
        "r": draft.random_resolution,
        "f": draft.frozen_share > 0,
        "n": draft.labels == "shuffled",
        "p": draft.mixing == "replay",
        "d": draft.objective == "distill",
        "i": draft.objective == "interpolate",
    }
    letters = "".join(letter for letter, there in marks.items() if there)
    return f"{'m' if others else form[0]}{size}{at}{letters}"


def superres_factors(recipe: Recipe) -> set[float]:
    """How many times larger super-resolved photos of the recipe get; empty where it has none.

    Names that are unknown are passed over here; `cells_of` refuses them.
    """
    known = {*STRATEGIES, *recipe.sequences}
    known |= {name for name, variant in recipe.variants.items() if variant.strategy in known}
    strategies = known.intersection(recipe.cells.strategies)
    canvases_px = {
        recipe.of(name).data.canvas_px
        for name in strategies
        for draft in drafts_of(recipe, _probe(name, 1, 1))
        if "sr" in (*draft.views, draft.low_test)
    }
    resolutions_px = recipe.cells.resolutions_px or (recipe.data.resolution_px,)
    return {canvas_px / px for canvas_px in canvases_px for px in resolutions_px}


def _probe(strategy: str, n_high: int, n_low: int) -> Cell:
    """A cell that is asked for its stages only."""
    return Cell(strategy=strategy, n_high=n_high, n_low=n_low, high_level=1, low_level=1, seed=0)


def _levels(recipe: Recipe) -> Iterator[tuple[str, int, int]]:
    cells = recipe.cells
    for high in cells.high:
        for low in cells.low:
            yield "staged_hl", high, low
    for level in cells.diagonal:
        yield "staged_hl", level, level
    for level in cells.mixed:
        yield "mixed", level, level
    for strategy in cells.strategies:
        yield strategy, *_levels_of(recipe, strategy)


def _levels_of(recipe: Recipe, strategy: str) -> tuple[int, int]:
    """Photos of each form that the strategy trains on or asks the number of, else none."""
    high, low = recipe.cells.strategies_at or (recipe.cells.top_level,) * 2
    both, more_high, more_low = (
        drafts_of(recipe, _probe(strategy, *counts)) for counts in ((1, 1), (2, 1), (1, 2))
    )
    forms = {form for draft in both for form in draft.views}
    uses_high = "high" in forms or both != more_high
    uses_low = bool(forms - {"high"}) or both != more_low
    return high * uses_high, low * uses_low


def _check(recipe: Recipe, n_train: int) -> None:
    faults = list(_name_faults(recipe))
    cells = recipe.cells
    grid = cells.diagonal or cells.mixed or (cells.high and cells.low)
    if not (cells.strategies or grid):
        faults.append("the recipe asks for no cells: give cells.high and cells.low, or strategies")
    faults += _level_faults(recipe, n_train)
    faults = faults or list(_overlaps(recipe, n_train))
    if faults:
        raise ConfigError("\n".join(faults))


def _level_faults(recipe: Recipe, n_train: int) -> Iterator[str]:
    """Levels that are no number of images, with the arithmetic."""
    cells = recipe.cells
    for level in sorted(set(cells.levels)):
        n_images = images_at(recipe, level, n_train)
        if n_images > n_train or level > cells.top_level:
            yield (
                f"level {level} asks for {n_images} images, there are {n_train} training images; "
                "lower cells.step or the level"
            )
        if level > 0 and n_images == 0 and cells.step == "auto":
            yield (
                f"level {level} is {level} / {cells.top_level} of the {n_train} training images, "
                "which rounds to 0; take a higher level, or more photos"
            )
    above_0 = (*cells.low, *cells.diagonal, *cells.mixed, *(cells.strategies_at or ()))
    if any(level < 0 for level in cells.levels) or 0 in above_0:
        yield "levels are 0 (cells.high only) or more"
    if cells.step != "auto" and cells.step < 1:
        yield "cells.step must be `auto` or a number of images"


def _name_faults(recipe: Recipe) -> Iterator[str]:
    """Names of strategies that are unknown, or given a second meaning."""
    written = [*STRATEGIES, *recipe.sequences]
    for name, variant in recipe.variants.items():
        if name in written:
            yield f"variants.{name}: there is a strategy of this name; call the variant otherwise"
        yield from _unknown(variant.strategy, written)
    tested = [name for test in recipe.tests.values() for name in test.strategies]
    for strategy in (*recipe.cells.strategies, *tested):
        yield from _unknown(strategy, [*written, *recipe.variants])


def _unknown(strategy: str, known: Sequence[str]) -> Iterator[str]:
    if strategy not in known:
        near = difflib.get_close_matches(strategy, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        yield f"no strategy named {strategy}: {hint}known are {', '.join(known)}"


def _overlaps(recipe: Recipe, n_train: int) -> Iterator[str]:
    """Why the high and low photos of a recipe's cells cannot be different ones."""
    if recipe.subset.relation != "disjoint":
        return
    if recipe.subset.rule == "independent":
        yield (
            "subset.rule: independent draws photos anew for every number of them, so high and low "
            "ones overlap; with subset.relation: disjoint take nested or stratified"
        )
    rows = [_row(recipe, *levels, n_train) for levels in _levels(recipe)]
    cells = [Cell(**row, seed=0) for row in rows]
    over = [c.name.rpartition("/")[0] for c in cells if _images_apart(recipe, c) > n_train]
    names = ", ".join(over[:5]) + (", ..." if len(over) > 5 else "")
    if over:
        yield (
            f"subset.relation: disjoint leaves {len(over)} cells without enough of the {n_train} "
            f"training images: {names}; leave them out"
        )


def _images_apart(recipe: Recipe, cell: Cell) -> int:
    """Images of a cell where no stage on low ones may see those of a stage on high ones."""
    sides = {"high": 0, "low": 0}
    for draft in drafts_of(recipe, cell):
        side = "high" if draft.views[0] == "high" else "low"
        sides[side] = max(sides[side], draft.n_images)
    return sum(sides.values())
