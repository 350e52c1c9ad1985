"""The measured tables of a GPU: races, time to quality, kernels one by one, the card's ceilings, and variants of kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .harness import Record
from .tables import METRICS, Row, Table, field, ratio_text, short

# Set as goals before anything ran; the ratio to a contender is that of one dtype.
AIMS_MS = {
    ("step/bpr, 3 layers, batch 2048", "float32"): 0.35,
    ("step/softmax, 1 layer, batch 2048", "float32"): 0.15,
    ("topk/29858 users", "float32"): 4,
}
AIMS = {
    ("propagate/hop", "the fastest", "float32"): 1.5,
    ("propagate/hop", "the fastest", "bfloat16"): 2.5,
    ("step/bpr, 3 layers, batch 2048", "torch, CSR int32", "float32"): 3,
    ("step/bpr, 3 layers, batch 2048", "torch, COO (LightGCN-PyTorch)", "float32"): 10,
}
AIMS_US = {
    ("step BPR K=3", "float32"): 350,
    ("step softmax K=1", "float32"): 150,
    ("step softmax K=1 d=256", "float32"): 450,
}
AIMS_S = {"softmax": 5, "gowalla": 20}
CEILINGS = ("copy", "gather", "30 empty nodes", "FFMA", "launch")
NOW = "now"


def _aim(value: float | None) -> str:
    return f" (aim {value:g})" if value else ""


def _ours(row: Row, dtype: str) -> Record | None:
    """What the others of this dtype are held against."""
    first = next((r for r in row if r["dtype"] == dtype), None)
    return first if first and first["contender"].startswith("ours") else None


def _ours_ms(dtype: str) -> Callable[[Row], str]:
    def of(row: Row) -> str:
        ours = _ours(row, dtype)
        return short(ours["median_ms"]) + _aim(AIMS_MS.get((ours["case"], dtype))) + _eager(ours) if ours else ""

    return of


def _eager(r: Record) -> str:
    return "" if r.get("captured_calls", 1) else ", eager"


def _others(row: Row) -> str:
    texts, fastest = [], {}
    for r in row:
        ours = _ours(row, r["dtype"])
        if r is ours:
            continue
        ratio = r["ratio"] / ours["ratio"] if ours else r["ratio"]
        dtype = "" if r["dtype"] == "float32" else f", {r['dtype']}"
        if ratio <= fastest.get(r["dtype"], (ratio, 0))[0]:
            fastest[r["dtype"]] = ratio, len(texts)
        aim = _aim(AIMS.get((r["case"], r["contender"], r["dtype"])))
        texts.append(f"{r['contender']}{dtype}{_eager(r)} **{ratio_text(ratio)}**{aim}")
    for dtype, (_, at) in fastest.items():
        texts[at] += _aim(AIMS.get((row[0]["case"], "the fastest", dtype)))
    return "; ".join(texts)


def races(*cases: str) -> Table:
    """A row for each job: ours in ms by dtype, and how many times as long the others take that compute in the same dtype."""
    return Table(
        where=lambda r: "ratio" in r and r["device"] == "cuda" and r["case"].split("/")[0] in cases,
        same=lambda r: (r["case"], r["data"], r["contender"], r["dtype"]),
        order=lambda r: cases.index(r["case"].split("/")[0]),
        row=lambda r: (r["case"], r["data"]),
        columns={
            "job": lambda row: row[0]["case"].replace("/", ": ", 1),
            "ours, ms": _ours_ms("float32"),
            "ours, bfloat16, ms": _ours_ms("bfloat16"),
            "time of others / ours of their dtype": _others,
        },
        one_machine=True,
    )


QUALITY = Table(
    where=lambda r: r["case"].startswith("train/") and r["device"] == "cuda",
    same=lambda r: (r["case"], r["data"]),
    columns={
        "recipe": lambda row: f"`{_recipe(row[0])}`",
        "data": field("data"),
        "epochs": field("epochs"),
        **METRICS,
        "training, s": lambda row: short(row[0]["seconds_train"]) + _aim(AIMS_S.get(_recipe(row[0]))),
    },
    one_machine=True,
)


def _recipe(r: Record) -> str:
    return str(r["case"].split("/")[1])


def _kernel(r: Record) -> bool:
    return r["case"] == "kernel" and r["device"] == "cuda"


def _label(r: Record) -> tuple[str, str, str]:
    return r["name"], r["variant"], r["dtype"]


def _rate(row: Row) -> str:
    """Of its work where that is arithmetic or walks, else of the bytes that it must move."""
    r = row[0]
    if "giga_per_s" in r and (r["unit"] in ("FLOP", "steps") or "gb_per_s" not in r):
        return f"{_scaled(r['giga_per_s'])} {r['unit']}/s"
    return f"{short(r['gb_per_s'])} GB/s" if "gb_per_s" in r else ""


def _scaled(giga: float) -> str:
    for factor, prefix in ((1e-3, "T"), (1, "G"), (1e3, "M")):
        if giga * factor >= 1:
            return f"{short(giga * factor)} {prefix}"
    return f"{short(giga * 1e6)} k"


def _us(name: str) -> Callable[[Row], str]:
    return lambda row: short(row[0][name]) if name in row[0] else ""


_MEASURED: Mapping[str, Callable[[Row], str]] = {
    "us": _us("us"),
    "rate": _rate,
    "predicted, us": _us("predicted_us"),
    "measured / predicted": lambda row: (
        ratio_text(row[0]["measured_over_predicted"]) if "measured_over_predicted" in row[0] else ""
    ),
}

KERNELS = Table(
    where=lambda r: _kernel(r) and r["variant"] == NOW and not r["name"].startswith(CEILINGS),
    same=_label,
    columns={
        "kernel": lambda row: row[0]["name"],
        "sizes": field("sizes"),
        "dtype": field("dtype"),
        **_MEASURED,
    },
    one_machine=True,
)

CARD = Table(
    where=lambda r: _kernel(r) and r["name"].startswith(CEILINGS),
    same=_label,
    columns={
        "what": lambda row: row[0]["name"] + ("" if row[0]["variant"] == NOW else f", {row[0]['variant']}"),
        "sizes": field("sizes"),
        "dtype": field("dtype"),
        "in": field("lies"),
        **_MEASURED,
    },
    one_machine=True,
)

# By the parts of a captured step that gpu_main tells apart.
STEPS = Table(
    where=lambda r: _kernel(r) and "us_of_hops" in r,
    same=_label,
    columns={
        "step": lambda row: row[0]["name"],
        "dtype": field("dtype"),
        "us": lambda row: short(row[0]["us"]) + _aim(AIMS_US.get((row[0]["name"], row[0]["dtype"]))),
        "nodes": lambda row: f"{row[0]['graph_nodes']:.0f}",
        "sampling": _us("us_of_sampling"),
        "numbering": _us("us_of_numbering"),
        "hops but the last": _us("us_of_hops"),
        "last hop, with Adam": _us("us_of_update"),
        "loss": _us("us_of_loss"),
    },
    one_machine=True,
)


def _best(row: Row, n: int = 3) -> str:
    tried = sorted((r for r in row if r["variant"] != NOW), key=lambda r: float(r["us"]))
    return "; ".join(f"{r['variant']} **{short(r['us'])}**" for r in tried[:n])


def _in_use(row: Row) -> str:
    return next((short(r["us"]) for r in row if r["variant"] == NOW), "")


def _is_tried(r: Record) -> bool:
    return _kernel(r) and not r["name"].startswith(CEILINGS)


VARIANTS = Table(
    where=_is_tried,
    same=_label,
    row=lambda r: (r["name"], r["dtype"]),
    columns={
        "kernel": lambda row: row[0]["name"],
        "dtype": field("dtype"),
        "as it is, us": _in_use,
        "variants": lambda row: str(sum(r["variant"] != NOW for r in row)),
        "the best, us": _best,
    },
    shown=lambda row: any(r["variant"] != NOW for r in row),
    one_machine=True,
)


def _each(*names: str) -> Callable[[Row], str]:
    """By architecture; once, where all have the same."""

    def of(row: Row) -> str:
        texts = [", ".join(f"{r[name]:,}" for name in names) for r in row]
        return texts[0] if len(set(texts)) == 1 else " / ".join(texts)

    return of


def _per_unit(row: Row) -> str:
    known = [r for r in row if "loop_per_unit" in r]
    return f"{_each('loop_per_unit')(known)} a {known[0]['unit']}" if known else ""


CODE = Table(
    where=lambda r: r["case"] == "sass",
    same=lambda r: (r["kernel"], r["arch"]),
    row=lambda r: r["kernel"],
    columns={
        "kernel": lambda row: row[0]["kernel"],
        "for": lambda row: " / ".join(r["arch"] for r in row),
        "threads a block": _each("threads"),
        "registers": _each("registers"),
        "local memory, instructions": _each("local"),
        "shared memory, bytes": _each("shared"),
        "blocks a multiprocessor": _each("blocks"),
        "instructions of the loop": _each("loop"),
        "FFMA, HMMA, LDG, LDS of them": _each("ffma", "hmma", "ldg", "lds"),
        "instructions": _per_unit,
    },
    one_machine=True,
)

TABLES: Mapping[str, Table] = {
    "gpu hops and steps": races("propagate", "step", "ngcf", "loss", "adam"),
    "gpu ranking": races("topk"),
    "gpu calls": races("call"),
    "gpu time to quality": QUALITY,
    "gpu kernels": KERNELS,
    "gpu ceilings": CARD,
    "gpu steps": STEPS,
    "gpu variants": VARIANTS,
    "gpu code": CODE,
}
