"""From a shop's exports to lists of what is in stock, by the commands of docs/data.md alone."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import code_of

from fastgcn_rec import Recommender

HEADER = [
    "Bestellnummer",
    "Bestelldatum",
    "Kundennummer",
    "Artikelnummer",
    "Artikelbezeichnung",
    "Menge",
    "Einzelpreis",
]
FORM = "%d.%m.%Y %H:%M"
N_ITEMS = 30


def sku(item):
    return f"{100 + item:05d}"


def name(item):
    return f'Topf "Luna", {item} cm; rot'


def order(path, month, seed):
    """Orders of a month as a spreadsheet writes them: byte order mark, semicolons, decimal commas, quotes, CR LF, returns."""
    rng = np.random.default_rng(seed)
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file, delimiter=";", lineterminator="\r\n")
        rows.writerow(HEADER)
        for n in range(600):
            item = int(rng.integers(0, N_ITEMS))
            count = -1 if item == 7 else int(rng.integers(1, 5))  # one that always comes back
            date = f"{1 + n * 28 // 600:02d}.{month:02d}.2025 {n % 24:02d}:05"
            rows.writerow([9000 + n, date, f"C{rng.integers(0, 40):05d}", sku(item), name(item), count, f"{n % 9},95"])


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("orders").mkdir()
    order("orders/2025-01.csv", 1, 1)
    stock = [f'{sku(item)};"{name(item)}";Gruppe {item % 3};9,95;{item % 2}' for item in range(N_ITEMS)]
    table = "\n".join(["Artikelnummer;Bezeichnung;Warengruppe;Preis;Lagerbestand", *stock]).replace(
        '"Luna"', '""Luna""'
    )
    Path("products.csv").write_text(table, encoding="utf-8")
    Path("stock.txt").write_text("".join(f"{sku(item)}\r\n" for item in range(1, N_ITEMS, 2)))
    return tmp_path


def test_an_export_becomes_lists_of_what_is_in_stock_without_returns_and_next_month_once_more(shop, capsys):
    assert code_of("inspect", "orders/*.csv") == 2
    assert "time_format='%d.%m.%Y %H:%M'" in capsys.readouterr().err
    bought = ["--rating", "Menge", "--min-rating", 1, "--items", "products.csv"]
    train = ["train", "orders/*.csv", "--time-format", FORM, *bought, "--recipe", "itemknn", "--out", "runs/shop"]
    assert code_of(*train) == 0
    said = capsys.readouterr().out
    assert "user=Kundennummer, item=Artikelnummer, rating=Menge, time=Bestelldatum (%d.%m.%Y %H:%M), sep=';'" in said
    assert (
        f"products.csv: {N_ITEMS - 1} of {N_ITEMS - 1} items by Artikelnummer; title=Bezeichnung, Warengruppe" in said
    )
    assert code_of("train", "runs/shop", "--recipe", "ease", "--split", "none", "--out", "runs/whole") == 0
    capsys.readouterr()
    lists = ["recommend", "runs/whole", "--users", "all", "--only", "stock.txt", "--out", "lists.csv", "--quiet"]
    assert code_of(*lists) == 0
    assert capsys.readouterr().err == f"--only stock.txt: 1 of 15 items are not known to the model: '{sku(7)}'\n"
    with open("lists.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["user", "rank", "item", "score", "title"]
    model = Recommender.load("runs/whole")
    assert {row[0] for row in rows} == set(model.user_ids.tolist())
    shown = {(item, title) for _, _, item, _, title in rows}
    assert shown <= {(sku(item), name(item)) for item in range(1, N_ITEMS, 2) if item != 7}
    order("orders/2025-02.csv", 2, 2)
    assert code_of("train", "runs/shop") == 0
    assert "data: other ones or another split, " in capsys.readouterr().out
    then, now = (json.loads(Path(run, "metrics.json").read_text()) for run in ("runs/shop", "runs/shop-again"))
    assert int(now["fingerprint"].split("-")[2]) > int(then["fingerprint"].split("-")[2])
