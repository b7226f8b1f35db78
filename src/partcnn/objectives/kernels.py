"""Triton kernels of the filter objectives: everything between the two products with cones, in four passes.

Fitness s_μ(x) of every positive template is [image, filter, cell], with any strides. `counted` [image, filter] is 1 for
the images that Z_μ sums over and 0 for others; likelihoods are p(x|T_μ) = exp(s_μ(x) − log Z_μ), 0 where x is not
counted. What belongs to an image or to a template, [image, filter] or [filter, cell], is contiguous. All numbers are of
the fitness's type, float32 or float64, sums too. What sticks out of the maps is masked: it does not count.

Program (f, ..) works for filter f. Importing this file imports Triton; `partcnn.objectives.kernel_rules` launches what
is here. The formulas are those of `partcnn.objectives.information`.
"""

import triton
import triton.language as tl

_LOWEST = tl.constexpr(-(2.0**127))  # a finite stand-in for −∞ in both types: exp gives 0, and differences are no nan


@triton.jit
def _counted_fitness(
    fitness,  # both from the program's filter on
    counted,
    images,  # [block_images, 1]
    cells,  # [block_cells]
    num_images,
    num_filters,
    num_cells,
    image_stride,
    cell_stride,
):
    """s_μ(x) of a block, `_LOWEST` where x is not counted or outside of the maps, and where it is counted."""
    is_counted = tl.load(counted + images * num_filters, mask=images < num_images, other=0) > 0
    is_counted = is_counted & (cells < num_cells)[None, :]
    places = images * image_stride + cells[None, :] * cell_stride
    return tl.load(fitness + places, mask=is_counted, other=_LOWEST), is_counted


@triton.jit
def log_partition(
    fitness,
    counted,
    log_z,  # [filter, cell], written
    num_images,
    num_filters,
    num_cells,
    image_stride,
    filter_stride,
    cell_stride,
    block_images: tl.constexpr,
    block_cells: tl.constexpr,
):
    """log Z_μ = log Σ_x exp s_μ(x), with a running maximum; 0 where no image counts. Program (f, block of cells)."""
    f = tl.program_id(0).to(tl.int64)
    cells = tl.program_id(1) * block_cells + tl.arange(0, block_cells)
    top = tl.full([block_cells], _LOWEST, fitness.dtype.element_ty)
    total = tl.zeros([block_cells], fitness.dtype.element_ty)
    own, marks = fitness + f * filter_stride, counted + f
    for start in range(0, num_images, block_images):
        images = (start + tl.arange(0, block_images)).to(tl.int64)[:, None]
        s, is_counted = _counted_fitness(
            own, marks, images, cells, num_images, num_filters, num_cells, image_stride, cell_stride
        )
        higher = tl.maximum(top, tl.max(s, axis=0))
        added = tl.where(is_counted, tl.exp(s - higher[None, :]), 0.0)
        total = total * tl.exp(top - higher) + tl.sum(added, axis=0)
        top = higher
    is_empty = total == 0
    found = tl.where(is_empty, 0.0, top + tl.log(tl.where(is_empty, 1.0, total)))
    tl.store(log_z + f * num_cells + cells, found, mask=cells < num_cells)


@triton.jit
def sum_over_templates(
    fitness,
    counted,
    log_z,
    sum_p,  # [image, filter], written
    log_sum,  # [image, filter], written
    num_images,
    num_filters,
    num_cells,
    image_stride,
    filter_stride,
    cell_stride,
    block_images: tl.constexpr,
    block_cells: tl.constexpr,
):
    """Σ_μ p(x|T_μ), and log Σ_μ exp s_μ(x) of every image, counted or not. Program (f, block of images)."""
    f = tl.program_id(0).to(tl.int64)
    images = (tl.program_id(1) * block_images + tl.arange(0, block_images)).to(tl.int64)
    is_counted = tl.load(counted + images * num_filters + f, mask=images < num_images, other=0) > 0
    top = tl.full([block_images], _LOWEST, fitness.dtype.element_ty)
    total = tl.zeros([block_images], fitness.dtype.element_ty)
    likelihood = tl.zeros([block_images], fitness.dtype.element_ty)
    for start in range(0, num_cells, block_cells):
        cells = start + tl.arange(0, block_cells)
        is_inside = (images < num_images)[:, None] & (cells < num_cells)[None, :]
        places = images[:, None] * image_stride + f * filter_stride + cells[None, :] * cell_stride
        s = tl.load(fitness + places, mask=is_inside, other=_LOWEST)
        log_p = s - tl.load(log_z + f * num_cells + cells, mask=cells < num_cells, other=0)[None, :]
        likelihood += tl.sum(tl.exp(tl.where(is_inside & is_counted[:, None], log_p, _LOWEST)), axis=1)
        higher = tl.maximum(top, tl.max(s, axis=1))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(s - higher[:, None]), axis=1)
        top = higher
    written = images * num_filters + f
    tl.store(sum_p + written, likelihood, mask=images < num_images)
    tl.store(log_sum + written, top + tl.log(total), mask=images < num_images)


@triton.jit
def information_of_templates(
    fitness,
    counted,
    log_z,
    log_p_x,  # [image, filter]
    of_template,  # [filter, cell], written
    num_images,
    num_filters,
    num_cells,
    image_stride,
    filter_stride,
    cell_stride,
    block_images: tl.constexpr,
    block_cells: tl.constexpr,
):
    """Σ_x p(x|T_μ) r_μ(x), with r_μ(x) = log p(x|T_μ) − log p(x). Program (f, block of cells)."""
    f = tl.program_id(0).to(tl.int64)
    cells = tl.program_id(1) * block_cells + tl.arange(0, block_cells)
    of_z = tl.load(log_z + f * num_cells + cells, mask=cells < num_cells, other=0)[None, :]
    found = tl.zeros([block_cells], fitness.dtype.element_ty)
    own, marks = fitness + f * filter_stride, counted + f
    for start in range(0, num_images, block_images):
        images = (start + tl.arange(0, block_images)).to(tl.int64)[:, None]
        s, is_counted = _counted_fitness(
            own, marks, images, cells, num_images, num_filters, num_cells, image_stride, cell_stride
        )
        log_p = s - of_z
        of_x = tl.load(log_p_x + images * num_filters + f, mask=images < num_images, other=0)
        found += tl.sum(tl.where(is_counted, tl.exp(log_p) * (log_p - of_x), 0.0), axis=0)
    tl.store(of_template + f * num_cells + cells, found, mask=cells < num_cells)


@triton.jit
def slopes(
    fitness,  # written over
    counted,
    log_z,
    log_p_x,
    of_template,
    log_sum,  # [image, filter]; not read unless `has_odds`
    by_log_odds,  # [image, filter], ∂loss/∂ log Σ_μ exp s_μ(x); not read unless `has_odds`
    num_templates,
    num_images,
    num_filters,
    num_cells,
    image_stride,
    filter_stride,
    cell_stride,
    has_odds: tl.constexpr,
    block_images: tl.constexpr,
    block_cells: tl.constexpr,
):
    """∂loss/∂s_μ(x): −p(x|T_μ) (r_μ(x) − Σ_x' p(x'|T_μ) r_μ(x')) / templates, which is −∂MI/∂s_μ(x).

    With `has_odds` also what comes by way of log Σ_μ exp s_μ(x): its slope times exp s_μ(x) / Σ_ν exp s_ν(x).
    Program (f, block of images, block of cells).
    """
    f = tl.program_id(0).to(tl.int64)
    images = (tl.program_id(1) * block_images + tl.arange(0, block_images)).to(tl.int64)[:, None]
    cells = (tl.program_id(2) * block_cells + tl.arange(0, block_cells))[None, :]
    is_inside = (images < num_images) & (cells < num_cells)
    of_image = images * num_filters + f
    is_counted = is_inside & (tl.load(counted + of_image, mask=images < num_images, other=0) > 0)
    places = fitness + images * image_stride + f * filter_stride + cells * cell_stride
    s = tl.load(places, mask=is_inside, other=_LOWEST)
    log_p = s - tl.load(log_z + f * num_cells + cells, mask=cells < num_cells, other=0)
    ratio = log_p - tl.load(log_p_x + of_image, mask=images < num_images, other=0)
    centred = ratio - tl.load(of_template + f * num_cells + cells, mask=cells < num_cells, other=0)
    likelihood = tl.exp(tl.where(is_counted, log_p, _LOWEST))
    found = tl.where(is_counted, -likelihood * centred / num_templates, 0.0)
    if has_odds:
        place = tl.exp(s - tl.load(log_sum + of_image, mask=images < num_images, other=0))
        found += place * tl.load(by_log_odds + of_image, mask=images < num_images, other=0)
    tl.store(places, found, mask=is_inside)
