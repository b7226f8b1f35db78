"""partcnn info: what a data set holds, or which layers a network has."""

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.tables import console, data_table, layer_entry, layer_table
from partcnn.foundation.errors import ConfigError


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--data", type=str | None, help="KIND:PLACE: counts per class and part")
    parser.add_argument("--category", type=str | None, help="one category against background")
    parser.add_argument("--crop", type=str | None, help="object: each picture cut to its object box")
    parser.add_argument("--margin", type=float, default=0.1, help="of that cut on each side, as a share of the box")
    parser.add_argument("--out", type=str | None, help="a picture file: some pictures of each class with their parts")
    parser.add_argument("--backbone", type=str | None, help="a network: its layers, map sizes and receptive fields")
    parser.add_argument("--weights", type=str, default="none", help="of the network: none, default, or a file")
    parser.add_argument("--input-size", type=int, nargs=2, help="height and width in pixels; else as in train")
    parser.add_argument("--all", action="store_true", help="also the layers that blocks are made of")
    parser.add_argument("--json", action="store_true", help="print the network's layers as one JSON object")


def execute(options: Namespace) -> int:

    if options.data is None and options.backbone is None:
        raise ConfigError("info: expected --data SPEC or --backbone NAME, got neither")
    if options.json and (options.backbone is None or options.data is not None):
        raise ConfigError("json: expected --backbone NAME alone, whose layers are printed as JSON")
    if options.out is not None and options.data is None:
        raise ConfigError("out: expected --data SPEC too, whose pictures are drawn on the sheet")
    if options.data is not None:
        _data_info(options)
    if options.backbone is not None:
        _backbone_info(options)
    return DONE


def _data_info(options: Namespace) -> None:
    from partcnn.datasets.loading import load_dataset

    dataset = load_dataset(
        options.data, category=options.category, split="all", crop=options.crop, margin=options.margin
    )
    console().print(data_table(dataset))
    if options.out is not None:
        from partcnn.plot.contact_sheet import save_contact_sheet

        console().print(f"contact sheet: {save_contact_sheet(dataset, Path(options.out))}", soft_wrap=True)


def _backbone_info(options: Namespace) -> None:
    from partcnn.app.runs.choices import chosen_input_size, trained_layers
    from partcnn.networks.backbones import load_backbone
    from partcnn.networks.probing.layer_choice import auto_depths, candidate_layers
    from partcnn.networks.probing.layer_shapes import layer_shapes
    from partcnn.networks.probing.receptive_field import traced_fields

    backbone = load_backbone(options.backbone, options.weights)
    height, width = options.input_size or chosen_input_size(backbone)
    size = (height, width)
    every = layer_shapes(backbone.network, size)
    shown = [shape for shape in every if min(shape.map_size) >= 2] if options.all else candidate_layers(every)
    auto = [shape.name for shape in auto_depths(trained_layers(backbone, every))]
    fields = traced_fields(backbone.network, [shape.name for shape in shown], size)
    if options.json:
        rows = [layer_entry(shape, fields.get(shape.name), is_auto=shape.name in auto) for shape in shown]
        found = {"backbone": options.backbone, "input_size": size, "auto": ",".join(auto), "layers": rows}
        print(json.dumps(found, indent=2))
        return
    console().print(layer_table(f"{options.backbone} at input {size[0]}×{size[1]}", shown, fields, auto))
