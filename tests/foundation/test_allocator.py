"""Memory that was freed: commands keep it for the next layer, and can still hand it back."""

import platform
import subprocess
import sys

import pytest

LAYERS = """
import os, resource, sys, torch
from partcnn.foundation.allocator import give_back_freed, keep_freed
if sys.argv[1] == "kept":
    keep_freed()
def layers():
    for _ in range(20):
        torch.ones(25 * 2**20).sum()  # 100 MiB, as of a layer's maps
layers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
layers()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
held = resident()
give_back_freed()
print(faults, held - resident())
"""


def _faults_and_given_back(how: str, **environment: str) -> tuple[int, float]:
    command = [sys.executable, "-c", LAYERS, how]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=600)
    faults, given_back = found.stdout.split()
    return int(faults), float(given_back)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_what_is_freed_is_kept_for_the_next_layer() -> None:
    faults, given_back = _faults_and_given_back("kept")
    assert faults < 20 * 20
    assert given_back > 90  # MiB
    faults, given_back = _faults_and_given_back("as it is")
    assert faults > 20 * 40  # of huge pages; of 4 KiB it would be 25,600 for each layer
    assert given_back < 50


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_what_the_environment_chose_stays() -> None:
    faults, _ = _faults_and_given_back("kept", MALLOC_TRIM_THRESHOLD_="131072")
    assert faults > 20 * 40
