"""A network of one's own: no library knows it, so it is passed again when it is loaded."""

import torch
from torch import Tensor, nn

import partcnn


class MyNetwork(nn.Module):
    """Any module that takes pictures [image, channel, row, col] and has a layer of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 7, stride=4, padding=3), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU())
        self.classify = nn.Linear(32, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.body(self.stem(images)).mean(dim=(2, 3)))
        return logits


if __name__ == "__main__":
    torch.manual_seed(0)
    cats = partcnn.load_dataset("demo:20", category="cat")
    model = partcnn.convert(MyNetwork(), "body", num_classes=2, filters=8, background=0, input_size=(112, 112))
    partcnn.fit(model, cats, partcnn.Recipe(epochs=5, num_views=2), is_progress_shown=False)
    picture = cats.with_split("test").samples[-1].load_image()
    explanation = partcnn.explain(model, picture)
    print(f"{explanation.question}: {explanation.logit:.3f}")
    for contribution in explanation.contributions[:3]:
        print(f"  filter {contribution.filter} adds {contribution.value:+.3f}")
    explanation.save("explained.png")

    again = partcnn.load(partcnn.save(model, "my-cats"), model=MyNetwork())
    print("loaded, the same logit:", abs(partcnn.explain(again, picture).logit - explanation.logit) < 1e-5)
