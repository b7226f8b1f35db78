"""A training loop of one's own: the filter loss is one more term, labels never enter the network."""

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

import partcnn
from partcnn.model.network import conversion_of
from partcnn.networks import DemoNet

EPOCHS = 8

if __name__ == "__main__":
    torch.manual_seed(0)
    giraffes = partcnn.load_dataset("demo:60", category="giraffe")
    model = partcnn.convert(DemoNet(), num_classes=2, filters=6, background=0, input_size=(112, 112))
    preprocessing = conversion_of(model).preprocessing
    pictures = giraffes.with_transform(preprocessing.transform(), resized_to=preprocessing.input_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(EPOCHS):
        model.train()
        losses = []
        for batch in DataLoader(pictures, batch_size=16, shuffle=True):
            task_loss = F.cross_entropy(model(batch.image), batch.label)
            filter_loss = partcnn.filter_loss(model, batch.label)  # of the maps that the forward pass just made
            optimizer.zero_grad()
            (task_loss + filter_loss).backward()
            optimizer.step()
            losses.append(torch.stack([task_loss, filter_loss]).detach())
        schedule.step()
        task, filters = torch.stack(losses).mean(dim=0).tolist()
        print(f"epoch {epoch}: task loss {task:.3f}, filter loss {filters:.3f}")
    found = partcnn.evaluate(model.eval(), giraffes.with_split("test"))
    print(f"accuracy {found.summary['accuracy']:.2f}, effective filters {found.summary['effective_filters']:.1f}")
    partcnn.save(model, "giraffes")
