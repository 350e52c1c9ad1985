"""The measured tables of what grows: time and memory by size, and what several ranks take."""

from __future__ import annotations

from collections.abc import Mapping

from .tables import Table, _seconds, field, plain, short

SCALE = Table(
    where=lambda r: r["case"] == "scale" and r["device"] == "cpu",
    same=lambda r: (r["edges"], r["device"]),
    order=lambda r: r["edges"],
    columns={
        "edges": field("edges"),
        "graph, ns an edge": field("graph_ns_per_edge"),
        "hop": field("hop_ns_per_edge"),
        "step, BPR, 3 layers": field("step_ns_per_edge"),
        "hop in small pages / in huge": field("hop_small_pages"),
        "step in small pages / in huge": field("step_small_pages"),
        "peak, MiB": field("peak_mib"),
        "predicted, MiB": field("predicted_mib"),
    },
    one_machine=True,
)

RANKS = Table(
    where=lambda r: r["case"].startswith("ranks/") and r["device"] == "cpu",
    same=lambda r: (r["case"], r["data"], r["ranks"], r["threads_a_rank"]),
    columns={
        "step": lambda row: f"{row[0]['case'].split('/')[1]}, {row[0]['data']}",
        "ranks x threads": lambda row: f"{row[0]['ranks']} x {row[0]['threads_a_rank']}",
        "ms": lambda row: short(row[0]["median_ms"]),
        "one process of as many threads, ms": lambda row: short(row[0]["one_ms"]),
        "ratio": lambda row: f"{row[0]['ratio']:.2f} ({row[0]['ratio_q1']:.2f} to {row[0]['ratio_q3']:.2f})",
        "bytes sent a step by a rank": field("sent_bytes_a_rank"),
        "memory added by a rank, MiB": field("added_mib"),
        "predicted, MiB": field("predicted_mib"),
        "by the one process, MiB": field("one_added_mib"),
        "predicted, of it, MiB": field("one_predicted_mib"),
    },
    one_machine=True,
)

SCALE_OUT = Table(
    where=lambda r: r["case"] == "scale_out",
    columns={
        "interactions, nodes": lambda row: f"{row[0]['edges'] / 1e9:g} G, {row[0]['nodes'] / 1e6:g} M",
        "dim, batch": lambda row: f"{row[0]['dim']}, {row[0]['batch']:,}",
        "GPUs: columns x rows": lambda row: f"{row[0]['gpus']}: {row[0]['grid']}",
        "GiB each": lambda row: short(row[0]["gib"]),
        "hops, ms": lambda row: short(row[0]["hops_ms"]),
        "layers sent": lambda row: short(row[0]["layers_ms"]),
        "Adam": lambda row: short(row[0]["adam_ms"]),
        "loss": lambda row: short(row[0]["loss_ms"]),
        "rows sent": lambda row: short(row[0]["rows_ms"]),
        "step, ms": lambda row: short(row[0]["step_ms"]),
        "epoch, minutes": lambda row: short(row[0]["epoch_minutes"]),
    },
)

TOPK_SCALE = Table(
    where=lambda r: r["case"] == "topk_scale" and r["device"] == "cpu",
    same=lambda r: (r["queries"], r["items"], r["device"]),
    columns={
        "queries x items": lambda row: f"{row[0]['queries']:,} x {row[0]['items']:,}",
        "seconds": field("seconds"),
        "memory added at the peak, MiB": field("peak_mib"),
        "sorting what is excluded, MiB": field("exclusion_mib"),
        "the matrix would take, MiB": field("scores_mib"),
    },
    one_machine=True,
)

ITEM_SCALE = Table(
    where=lambda r: r["case"] == "item_scale" and r["device"] == "cpu",
    same=lambda r: (r["data"], r["items"]),
    order=lambda r: r["items"],
    columns={
        "data": field("data"),
        "items": field("items"),
        "interactions": field("edges"),
        "making, s": lambda row: _seconds("seconds", row[0]),
        "time of processors, s": field("cpu_seconds"),
        "peak, MiB": field("peak_mib"),
        "before it, MiB": field("data_mib"),
    },
)

ROWS = Table(
    where=lambda r: r["case"] == "rows",
    same=lambda r: (r["edges"], r["ranks"], r.get("rank"), r["at_once"]),
    columns={
        "edges": field("edges"),
        "process": lambda row: "one" if row[0]["ranks"] == 1 else f"rank {row[0]['rank']} of {row[0]['ranks']}",
        "columns of a layer at once": field("at_once"),
        "peak, MiB": field("peak_mib"),
        "of one process's": lambda row: f"{row[0]['peak_mib_of_one']:.2f}" if "peak_mib_of_one" in row[0] else "",
    },
    one_machine=True,
)


TABLES: Mapping[str, Table] = {
    "scale": SCALE,
    "ranks": RANKS,
    "scale out": SCALE_OUT,
    "rows": ROWS,
    "retrieve at scale": TOPK_SCALE,
    "items at scale": ITEM_SCALE,
    "reading": Table(
        where=lambda r: r["case"].startswith("reading/"),
        same=lambda r: (r["case"], r["rows"], r["contender"]),
        columns={
            "rows, ids": lambda row: f"{row[0]['rows']:,}, {row[0]['case'].split('/')[1].split()[0]}",
            "who": field("contender"),
            "seconds": field("seconds"),
            "time / ours": field("ratio"),
            "peak, MiB": field("peak_mib"),
        },
        one_machine=True,
    ),
    "reading larger": plain(
        "reading larger",
        rows="rows",
        users="users",
        items="items",
        **{"peak, MiB": "peak_mib", "bytes a row": "peak_bytes_per_row", "peak of the graph, MiB": "graph_peak_mib"},
    ),
}
