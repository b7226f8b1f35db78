"""Networks by name, their weights, and what a stranger's network is."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.networks.backbones import BACKBONES, Backbone, build_network, load_backbone
    from partcnn.networks.demo_net import DemoNet, WideFieldNet
    from partcnn.networks.identification import identify_network
    from partcnn.networks.preprocessing import Preprocessing

_HOMES = {
    "BACKBONES": "backbones",
    "Backbone": "backbones",
    "build_network": "backbones",
    "load_backbone": "backbones",
    "DemoNet": "demo_net",
    "identify_network": "identification",
    "Preprocessing": "preprocessing",
    "WideFieldNet": "demo_net",
}

__all__ = [
    "BACKBONES",
    "Backbone",
    "DemoNet",
    "Preprocessing",
    "WideFieldNet",
    "build_network",
    "identify_network",
    "load_backbone",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
