"""The rules of `labelled` and `exact` by Triton kernels: the same slopes as `partcnn.objectives.information` gives.

The kernels do what has an image, a filter and a template; torch does what lacks one of these, the negative template
included. See `partcnn.objectives.fused` for what a rule is.
"""

import contextlib
import math
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from partcnn.objectives import kernels
from partcnn.objectives.fused import Rule, Slopes
from partcnn.objectives.information import entropy_of_presence, logistic_loss

_MOST_IMAGES, _MOST_CELLS = 16, 64  # of a block: 1024 numbers, 8 for each thread of Triton's usual 128


def exact_of_fitness(positive: Tensor, negative: Tensor, belongs: Tensor) -> Slopes:
    """Of Eq. 1, over all images. Term: the inter-category entropy Σ_x p(x) H(T' | X = x). Writes over `positive`."""
    num_templates = 1 + positive.shape[2]
    passes = _Passes(positive, torch.ones_like(negative, memory_format=torch.contiguous_format))
    log_z = passes.log_partition()
    sum_p, _ = passes.sum_over_templates(log_z)
    log_p_negative = negative.log_softmax(dim=0)
    p_negative = log_p_negative.exp()
    log_p_x = _log_mean(sum_p + p_negative, num_templates)
    of_template = passes.information_of_templates(log_z, log_p_x)
    ratio_negative = log_p_negative - log_p_x
    of_negative = (p_negative * ratio_negative).sum(dim=0)
    passes.write_slopes(log_z, log_p_x, of_template, num_templates)
    return Slopes(
        loss=-(of_template.sum(dim=1) + of_negative) / num_templates,
        terms=(entropy_of_presence(p_negative / num_templates, sum_p / num_templates).sum(dim=0),),
        by_positive=positive,
        by_negative=p_negative * (of_negative - ratio_negative) / num_templates,
    )


def labelled_of_fitness(positive: Tensor, negative: Tensor, marks: Tensor) -> Slopes:
    """Of `partcnn.objectives.labelled`. Terms: the logistic loss and MI(X_c; T⁺). Writes over `positive`."""
    num_templates = positive.shape[2]
    passes = _Passes(positive, (marks > 0).to(positive.dtype).contiguous())
    log_z = passes.log_partition()
    sum_p, log_sum = passes.sum_over_templates(log_z)
    logistic, by_log_odds = logistic_loss(log_sum - math.log(num_templates) - negative, marks)
    log_p_x = _log_mean(sum_p, num_templates)
    of_template = passes.information_of_templates(log_z, log_p_x)
    passes.write_slopes(log_z, log_p_x, of_template, num_templates, odds=(log_sum, by_log_odds))
    information = of_template.mean(dim=1)
    return Slopes(
        loss=logistic - information,
        terms=(logistic, information),
        by_positive=positive,
        by_negative=-by_log_odds,
    )


def _log_mean(sum_p: Tensor, num_templates: int) -> Tensor:
    """log p(x), finite where it underflows: there every p(x|T) does, and what it is subtracted from has no weight."""
    return (sum_p / num_templates).clamp(min=torch.finfo(sum_p.dtype).tiny).log()


class _Passes(NamedTuple):
    """The kernels on the fitness of some filters; formulas are theirs."""

    fitness: Tensor  # [image, filter, cell]
    counted: Tensor  # [image, filter], contiguous, 1 or 0

    def log_partition(self) -> Tensor:  # [filter, cell]
        log_z = self._of_templates()
        self._launch(kernels.log_partition, "cells", log_z)
        return log_z

    def sum_over_templates(self, log_z: Tensor) -> tuple[Tensor, Tensor]:  # each [image, filter]
        sum_p, log_sum = torch.empty_like(self.counted), torch.empty_like(self.counted)
        self._launch(kernels.sum_over_templates, "images", log_z, sum_p, log_sum)
        return sum_p, log_sum

    def information_of_templates(self, log_z: Tensor, log_p_x: Tensor) -> Tensor:  # [filter, cell]
        of_template = self._of_templates()
        self._launch(kernels.information_of_templates, "cells", log_z, log_p_x.contiguous(), of_template)
        return of_template

    def write_slopes(
        self,
        log_z: Tensor,
        log_p_x: Tensor,
        of_template: Tensor,
        num_templates: int,
        odds: tuple[Tensor, Tensor] | None = None,  # log Σ_μ exp s_μ(x), and the slope of the loss by it
    ) -> None:
        """Over the fitness."""
        log_sum, by_log_odds = odds or (log_p_x, log_p_x)  # stand-ins that are not read
        of_image = (one.contiguous() for one in (log_sum, by_log_odds))
        self._launch(
            kernels.slopes,
            "both",
            log_z,
            log_p_x.contiguous(),
            of_template,
            *of_image,
            num_templates,
            has_odds=odds is not None,
        )

    def _of_templates(self) -> Tensor:
        return self.fitness.new_empty(self.fitness.shape[1:])

    def _launch(self, kernel: Any, blocks_of: str, *arguments: Tensor | int, **constants: bool) -> None:
        """One program for each filter, and each block of images, of cells or of both."""
        num_images, num_filters, num_cells = self.fitness.shape
        if self.fitness.numel() == 0:
            return
        block_images = min(_MOST_IMAGES, triton.next_power_of_2(num_images))
        block_cells = min(_MOST_CELLS, triton.next_power_of_2(num_cells))
        of_images, of_cells = triton.cdiv(num_images, block_images), triton.cdiv(num_cells, block_cells)
        grids = {"images": (of_images,), "cells": (of_cells,), "both": (of_images, of_cells)}
        # Triton launches on the current device, whichever the tensors are on.
        with torch.cuda.device_of(self.fitness) if self.fitness.is_cuda else contextlib.nullcontext():
            kernel[(num_filters, *grids[blocks_of])](
                self.fitness,
                self.counted,
                *arguments,
                num_images,
                num_filters,
                num_cells,
                *self.fitness.stride(),
                **constants,
                block_images=block_images,
                block_cells=block_cells,
            )


def run_on(device: torch.device) -> bool:
    """Whether the kernels do: on CUDA, and anywhere under Triton's interpreter.

    Triton decides for each function when it is made, its own `tl.sum` when Triton is imported, whether it is compiled
    or interpreted, by `TRITON_INTERPRET`; the two do not mix.
    """
    functions = (kernels.log_partition, tl.sum)
    return device.type == "cuda" or not any(isinstance(one, triton.JITFunction) for one in functions)


RULES: dict[str, Rule] = {"exact": exact_of_fitness, "labelled": labelled_of_fitness}
