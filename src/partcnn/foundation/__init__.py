"""What every room stands on: errors, files, the disk cache, and torchvision on a CPU build."""
