"""Which partcnn this is."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """As it is installed; "not installed" of a copy that is imported from a folder, as torch.hub does."""
    try:
        return version("partcnn")
    except PackageNotFoundError:
        return "not installed"
