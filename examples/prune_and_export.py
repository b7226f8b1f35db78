"""Half of the filters cut, the rest trained on, and written as an ONNX file that explains itself without partcnn."""

import onnxruntime
import torch

import partcnn
from partcnn.model.network import conversion_of
from partcnn.networks import DemoNet

if __name__ == "__main__":
    torch.manual_seed(0)
    giraffes = partcnn.load_dataset("demo:50", category="giraffe")
    test = giraffes.with_split("test")
    model = partcnn.convert(DemoNet(), num_classes=2, filters=8, background=0, input_size=(112, 112))
    partcnn.fit(model, giraffes, partcnn.Recipe(epochs=20, head_epochs=10, num_views=2), is_progress_shown=False)
    small = partcnn.prune(model, giraffes, keep=0.5)
    partcnn.fit(small, giraffes, partcnn.Recipe(epochs=2, head_epochs=10, num_views=2), is_progress_shown=False)
    for name, network in (("all", model), ("half", small)):
        found = partcnn.evaluate(network, test).summary
        print(f"{name}: {found['num_filters']} filters, accuracy {found['accuracy']:.2f}")

    session = onnxruntime.InferenceSession(partcnn.export(small, "giraffes.onnx", parts=True))
    names = [output.name for output in session.get_outputs()]
    picture = test.samples[-1].load_image()
    images = conversion_of(small).preprocessing.of_rgb(picture)[None].numpy()
    given = dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))
    strongest = partcnn.explain(small, picture, "giraffe").contributions[0]
    gap = abs(given["contributions"][0, 1, strongest.filter] - strongest.value)
    print(f"filter {strongest.filter} adds {strongest.value:+.3f}; the file says the same: {gap < 1e-4}")
