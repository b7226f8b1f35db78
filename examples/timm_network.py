"""A network of timm: converted, trained and saved. Its name is in the saved files, so it is loaded without its code."""

import partcnn  # first: its import makes torchvision's possible where torch is another build (torchvision_shim)

# isort: split
import timm
import torch

from partcnn.model.network import conversion_of

if __name__ == "__main__":
    torch.manual_seed(0)
    giraffes = partcnn.load_dataset("demo:12", category="giraffe")
    cnn = timm.create_model("test_resnet")  # where hubs are reached "resnet50.a1_in1k" and pretrained=True
    model = partcnn.convert(cnn, num_classes=2, filters=6, background=0, input_size=(160, 160))
    print("layers:", *conversion_of(model).settings.layers)
    recipe = partcnn.Recipe(epochs=4, num_views=2, trunk_lr_frac=1.0)  # weights are random: the trunk learns too
    history = partcnn.fit(model, giraffes, recipe, trunk="finetune", is_progress_shown=False)
    print(f"filter loss: {history.epochs[0]['filter_loss']:.2f} before, {history.epochs[-1]['filter_loss']:.2f} after")
    again = partcnn.load(partcnn.save(model, "giraffes"))
    picture = giraffes.with_split("test").samples[-1].load_image()
    gap = partcnn.explain(again, picture).logit - partcnn.explain(model, picture).logit
    print("loaded by its name, the same logit:", abs(gap) < 1e-5)
