"""A panel of one's own: a section of the page, below the others, with a link at its top."""

import torch
from markupsafe import Markup

import partcnn
from partcnn.networks import DemoNet
from partcnn.reporting import PageContent, Panel

ROW = Markup("<tr><th scope='row'>{}</th><td>{}</td><td>{:.2f}</td></tr>")


def doubts(content: PageContent) -> Markup:
    """The pictures that are classified wrong or hardly right, the most doubtful first."""
    rows = []
    for picture, logits in zip(content.gathered.pictures, content.gathered.logits, strict=True):
        chance = logits.softmax(dim=0)[picture.labels[0]].item()
        rows.append((chance, picture.name, content.evaluation.classes[picture.labels[0]]))
    shown = [ROW.format(name, label, chance) for chance, name, label in sorted(rows)[:10]]
    head = Markup("<tr><th>picture</th><th>is a</th><th>probability of that</th></tr>")
    return Markup("<table>{}{}</table>").format(head, Markup().join(shown))


if __name__ == "__main__":
    torch.manual_seed(0)
    model = partcnn.convert(DemoNet(), num_classes=2, filters=6, background=0, input_size=(112, 112))
    cats = partcnn.load_dataset("demo:8", category="cat", split="all")
    page = partcnn.report(model, cats, "report.html", panels=[Panel("Doubts", doubts)])
    print(f"{page}: {page.stat().st_size / 1000:.0f} kB, with the panel", "Doubts" in page.read_text())
