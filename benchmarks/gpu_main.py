"""What ``gpu_main time`` writes, as records: a kernel's times, without Python, beside the ceilings of the card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# By the kernels of a node, what it is for; the first that fits.
PARTS = {
    "sampling": ("batch_kernel",),
    "numbering": ("memset", "keys_kernel", "cub::", "heads_kernel", "number_"),
    "hops": ("hop_kernel", "combine"),
    "counters": ("gpu::advance_kernel",),  # of the test program's
}


def is_time(content: dict[str, Any]) -> bool:
    return content.get("program") == "gpu_main time"


def records_of(content: dict[str, Any]) -> list[dict[str, Any]]:
    """A record for each case that was measured. ``case`` is "kernel", ``data`` the graph's name, ``lies`` where the inputs lie; what a step's nodes
    take is ``us_of_PART``, where the last hop, which updates the parameters, is a part by itself."""
    card = content["card"]
    shared = {
        "date": content["date"][:10],
        "machine": {"gpu": card["name"], "processor": "unknown", "threads": "unknown", "isa_level": "unknown"},
        "versions": {key: card[key] for key in ("driver", "runtime") if key in card},
        "command": content["program"],
        "case": "kernel",
        "device": "cuda",
        "data": Path(content["graph"]["from"]).parent.name or content["graph"]["from"],
    }
    return [
        {
            **{key: value for key, value in case.items() if key not in ("data", "by_node")},
            **shared,
            "lies": case["data"],
            **_parts(case.get("by_node", [])),
        }
        for case in content["cases"]
        if case["us"] is not None
    ]


def _parts(nodes: list[dict[str, Any]]) -> dict[str, float]:
    if not nodes:
        return {}
    names = [next((part for part, kernels in PARTS.items() if n["node"].startswith(kernels)), "loss") for n in nodes]
    if "hops" in names:
        names[len(names) - 1 - names[::-1].index("hops")] = "update"
    sums: dict[str, float] = dict.fromkeys((*PARTS, "update", "loss"), 0.0)
    for name, node in zip(names, nodes, strict=True):
        sums[name] += node["us"]
    return {f"us_of_{name}": us for name, us in sums.items()}
